"""A whole examination of two nodes on one machine, one of which stops to answer; real nodes:
tests/jobs/test_doctor.py.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
import ray
from ray.exceptions import RayError

from s1ray.orchestration.doctor import examination
from s1ray.orchestration.doctor.examination import Examination
from s1ray.orchestration.doctor.finding import Finding, Verdict
from s1ray.orchestration.doctor.nodes import Node
from s1ray.orchestration.doctor.probe import NodeFacts, NodeProbe
from tests.orchestration.doctor.facts import HEALTHY, read_doctor
from tests.planning.plans import load_cluster

pytestmark = pytest.mark.usefixtures("ray_head")
Examine = Callable[..., dict[str, Finding]]


class HealthyProbe(NodeProbe):
    """A node that says that it is well, at once."""

    def read_facts(self, **_: object) -> NodeFacts:  # type: ignore[override]
        return HEALTHY


class WriteHangs(HealthyProbe):
    """A node whose mount hangs as soon as it is written to; then it does not tell the time, too."""

    def write_marker(self, path: str, text: str) -> str | None:
        time.sleep(600)
        return super().write_marker(path, text)


class ReadFails(HealthyProbe):
    """A node that fails where it is to read."""

    def find_missing(self, markers: Mapping[str, str], *, seconds: float) -> list[str]:
        raise OSError(f"stale file handle of {len(markers)}, after {seconds} s")


@pytest.fixture
def examine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Examine]:
    """Return an examination of a healthy node and of one of another kind, by check."""
    probes = []

    def start(kind: type[NodeProbe], *overrides: str) -> dict[str, Finding]:
        for each in (HealthyProbe, kind):
            probes.append(ray.remote(each).options(num_cpus=0).remote())
        ray.get([probe.read_facts.remote() for probe in probes])
        nodes = [
            Node(name=name, node_id=name, address="127.0.0.1", has_devices=False, probe=probe)
            for name, probe in zip(("first", "second"), probes, strict=True)
        ]
        monkeypatch.setattr(examination, "find_nodes", lambda _: nodes)
        config = read_doctor(f"paths.storage={tmp_path}", "storage_seconds=0.1", *overrides)
        found = Examination(config, planned=load_cluster("laptop")).examine()
        return {finding.check: finding for finding in found}

    yield start
    for probe in probes:
        with suppress(RayError):
            ray.kill(probe)


@pytest.mark.parametrize(
    ("kind", "overrides", "checks"),
    [
        (WriteHangs, ["patience_seconds=5"], ["shared storage", "clocks"]),
        (ReadFails, [], ["shared storage"]),
    ],
)
def test_a_node_that_stops_to_answer_is_named_and_the_rest_is_examined(
    examine: Examine, kind: type[NodeProbe], overrides: list[str], checks: list[str]
) -> None:
    found = examine(kind, *overrides)

    assert {found[check].verdict for check in checks} == {Verdict.FAIL}
    assert all("from second" in found[check].found for check in checks)
    assert found["free disk"].verdict is Verdict.OK
    assert "token" in found


class DeadServer:
    """A job server that was there when it was looked for."""

    def get_address(self) -> str:
        return "http://127.0.0.1:1"

    def list_jobs(self) -> list[object]:
        raise RuntimeError("Request failed with status code 500")


def test_a_job_server_that_does_not_answer_is_a_warning(
    examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "find_job_server", DeadServer)

    found = examine(HealthyProbe)

    assert found["token"].verdict is Verdict.OK
    assert found["secrets"].verdict is Verdict.WARN
