"""What is refused before anything is sent, and what other tools are handed."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from ray.job_submission import JobStatus

from s1ray.config.submit import SubmitConfig
from s1ray.orchestration.cluster.security import (
    answers_anybody,
    refuse_open_cluster,
    refuse_open_server,
)
from s1ray.orchestration.launch import CONF, parse_config
from s1ray.orchestration.submission import submit
from s1ray.orchestration.submission.submit import prepare_submit, run_submit
from s1ray.planning.launcher import check_launcher

SECRET = "wandb-0123456789abcdef"
TRAIN = ["python", "-m", "jobs.train", "experiment=tiny"]


def _config(*overrides: str) -> SubmitConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return parse_config(compose("submit", overrides=list(overrides)), SubmitConfig)


@pytest.mark.parametrize(
    ("overrides", "words", "reason"),
    [
        (["target=kuberay", "stop=true"], TRAIN, r"kubectl delete rayjob train-tiny-\w{8}"),
        (["target=on_prem"], TRAIN, "target=on_prem .* jobs.train"),
        (["target=on_prem", "stop=true"], [], "target=on_prem .* no job"),
        (["target=on_prem", "+environment.FOO=bar"], [], r"environment=\['FOO'\]"),
    ],
)
def test_what_a_target_cannot_do_is_refused(
    overrides: list[str], words: list[str], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        prepare_submit(_config(*overrides), words=words)


def test_an_unfilled_manifest_is_not_sent() -> None:
    with pytest.raises(ValueError, match="CHANGE_ME_DIGEST"):
        prepare_submit(_config("target=kuberay"), words=[])


def test_a_filled_manifest_is_handed_to_kubectl(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words\ncat > {tmp_path}/manifest\n')
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    image = "kuberay.image=registry.example/s1ray@sha256:" + "0" * 64

    run_submit(prepare_submit(_config("target=kuberay", image), words=[]))

    assert (tmp_path / "words").read_text().split() == ["create", "-f", "-"]
    assert yaml.safe_load((tmp_path / "manifest").read_text())["kind"] == "RayJob"


@dataclass(kw_only=True)
class KnownJob:
    """A job as a job server tells of it."""

    submission_id: str
    metadata: dict[str, str]
    status: JobStatus


@dataclass
class FakeServer:
    """A job server whose jobs end at once, and well."""

    jobs: list[KnownJob] = field(default_factory=list)

    def list_jobs(self) -> list[KnownJob]:
        return self.jobs

    def submit_job(self, *, submission_id: str, metadata: dict[str, str], **_: object) -> None:
        job = KnownJob(submission_id=submission_id, metadata=metadata, status=JobStatus.SUCCEEDED)
        self.jobs.append(job)


@pytest.mark.parametrize(("job", "attempts"), [("train", ["a1"]), ("doctor", ["a1", "a2"])])
def test_a_run_that_succeeded_is_shown_again_and_a_question_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, job: str, attempts: list[str]
) -> None:
    server = FakeServer()
    monkeypatch.setattr(submit, "JobSubmissionClient", lambda _: server)
    config = _config("address=http://127.0.0.1:1", "require_token=false", "follow=false")
    prepared = prepare_submit(config, words=["python", "-m", f"jobs.{job}"])

    ids = [run_submit(prepared) for _ in range(2)]

    assert [known.submission_id.rpartition("-")[2] for known in server.jobs] == attempts
    assert ids[-1] == server.jobs[-1].submission_id


def test_the_on_prem_launcher_is_printed_and_has_no_problem_but_what_is_unfilled() -> None:
    text = run_submit(
        prepare_submit(_config("target=on_prem", "on_prem.head_ip=10.0.0.1"), words=[])
    )

    problems = check_launcher(yaml.safe_load(text))
    assert yaml.safe_load(text)["provider"]["head_ip"] == "10.0.0.1"
    assert all("fill in" in problem.message for problem in problems)


@pytest.fixture
def serve() -> Iterator[Callable[[int], str]]:
    """Return a starter of servers that answer every request with one status."""
    servers: list[HTTPServer] = []

    def start(status: int) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_server_that_wants_a_token_is_told_from_one_that_does_not(
    serve: Callable[[int], str],
) -> None:
    assert answers_anybody(serve(200))
    assert not answers_anybody(serve(401))
    with pytest.raises(ValueError, match=r"no job server.*address="):
        answers_anybody(serve(404))


def test_an_open_server_on_loopback_is_taken(serve: Callable[[int], str]) -> None:
    refuse_open_server(serve(200))


def test_an_open_server_beyond_loopback_is_refused(
    serve: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = serve(200).rsplit(":", 1)[1]
    resolve = socket.getaddrinfo

    def to_loopback(host: str, *arguments: object, **keywords: object) -> object:
        return resolve("127.0.0.1" if host == "head.example" else host, *arguments, **keywords)

    monkeypatch.setattr(socket, "getaddrinfo", to_loopback)

    with pytest.raises(ValueError, match="RAY_AUTH_MODE=token"):
        refuse_open_server(f"http://head.example:{port}")


@pytest.mark.parametrize("address", ["ftp://127.0.0.1", "file:///etc/passwd", "http://127.0.0.1:1"])
def test_an_address_without_a_job_server_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        answers_anybody(address)


@pytest.mark.parametrize("host", ["10.0.0.1", "head.example", "fd00::1"])
def test_a_cluster_beyond_loopback_needs_a_token(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)

    with pytest.raises(ValueError, match=r"ray\.require_token=false"):
        refuse_open_cluster(["127.0.0.1", host])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_cluster_on_loopback_needs_none(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)

    refuse_open_cluster([host])


def test_a_cluster_joined_with_a_token_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")

    refuse_open_cluster(["10.0.0.1"])
