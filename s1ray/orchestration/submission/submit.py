"""``jobs.submit``: a command to a cluster, with the checks that people need.

What is sent, under which name, and what to do with a job that is there already. The plain command
that does the same without any of it is printed.
"""

import hashlib
import json
import logging
import os
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ray.exceptions import RayError
from ray.job_submission import JobStatus, JobSubmissionClient

from s1ray.config.secrecy import is_secret_name, names_assigned_secret, names_secret
from s1ray.config.submit import SubmitConfig
from s1ray.orchestration.cluster.secrets_at_hand import list_secrets_at_hand
from s1ray.orchestration.cluster.security import refuse_open_server
from s1ray.orchestration.cluster.session import ROOT
from s1ray.orchestration.submission.command import Command, read_command
from s1ray.orchestration.submission.job_server import Attempt, JobServer
from s1ray.orchestration.submission.manifest import (
    Manifest,
    make_job_manifest,
    make_launcher_manifest,
    send_manifest,
)
from s1ray.orchestration.submission.staging import MIB, Staging, read_staging, stage
from s1ray.orchestration.terminal import say

_ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
_OWN_MACHINE = "http://127.0.0.1:8265"
STOP_WAIT = "RAY_JOB_STOP_WAIT_TIME_S"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A command, checked and named; nothing has been sent."""

    config: SubmitConfig
    command: Command
    staging: Staging
    address: str

    @property
    def entrypoint(self) -> str:
        """The command for a shell."""
        return shlex.join(self.command.words)

    @property
    def variables(self) -> dict[str, str]:
        """Environment of the job's processes."""
        return {STOP_WAIT: str(self.config.stop_wait_seconds), **self.config.environment}

    @property
    def metadata(self) -> dict[str, str]:
        """What the cluster keeps beside the job: which code it is."""
        git = self.staging.git
        dirty = git["dirty"] or ""
        digest = hashlib.sha256(dirty.encode()).hexdigest()[:8] if dirty else ""
        return {"s1ray_git_sha": git["sha"] or "", "s1ray_uncommitted": digest}


def prepare_submit(
    config: SubmitConfig, *, words: Sequence[str], root: Path = ROOT
) -> Submission | Manifest:
    """Check and name a submission.

    Args:
        config: How to submit.
        words: The command; empty for the configuration's.
        root: The checkout that is sent.

    Raises:
        ValueError: The command is wrong, a secret would be sent, or the files are too many.
    """
    if config.target == "on_prem":
        return make_launcher_manifest(config, words)
    secrets = list_secrets_at_hand()
    _refuse_secrets(words or config.command, config.environment, secrets=secrets)
    command = read_command(words or config.command)
    if config.target == "kuberay":
        return make_job_manifest(config, command)
    staging = read_staging(
        root, size_limit_mib=config.size_limit_mib, num_named=config.num_named, secrets=secrets
    )
    named = (os.environ.get(name) for name in _ADDRESSES)
    address = config.address or next(filter(None, named), _OWN_MACHINE)
    if not config.dry:
        address = _find_server(address)
        if config.require_token:
            refuse_open_server(address)
    return Submission(config=config, command=command, staging=staging, address=address)


def _find_server(address: str) -> str:
    """Return the job server's address; a control store's (``host:port``) is asked where that is.

    Raises:
        ValueError: Nothing answers.
    """
    if "://" in address:
        return address
    try:
        return JobSubmissionClient(address).get_address()
    except (ConnectionError, RuntimeError, RayError) as error:
        raise ValueError(
            f"no Ray cluster answers at {address}: {error}. Start it, or set address= to its job "
            "server, as http://127.0.0.1:8265."
        ) from error


def _refuse_secrets(
    words: Sequence[str], environment: Mapping[str, str], *, secrets: Sequence[str]
) -> None:
    advice = (
        "Everybody who reaches the cluster can read it. Give secrets to the nodes: their "
        "environment, a mounted file, or netrc."
    )
    for word in words:
        if why := names_assigned_secret(word, known=secrets):
            raise ValueError(f"a part of the command {why}. {advice}")
    for name, value in environment.items():
        if is_secret_name(name):
            raise ValueError(f"environment.{name} looks like a secret. {advice}")
        if why := names_secret(value, known=secrets):
            raise ValueError(f"environment.{name} {why}. {advice}")


def run_submit(prepared: Submission | Manifest) -> str:
    """Send what was prepared, or print it; return the job's id, or the manifest.

    Raises:
        RuntimeError: The job failed or was stopped, or the server refuses it.
    """
    if isinstance(prepared, Manifest):
        return send_manifest(prepared)
    _describe(prepared)
    for chatty in ("ray.dashboard", "ray._private.runtime_env.packaging"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    if prepared.config.dry:
        return prepared.command.name
    server = JobServer(
        JobSubmissionClient(prepared.address),
        poll_seconds=prepared.config.poll_seconds,
        start_seconds=prepared.config.start_seconds,
    )
    newest = server.find_newest(prepared.command.name)
    if prepared.config.stop:
        return _stop(prepared, newest, server)
    submission_id = _attach_or_submit(prepared, newest, server)
    if prepared.config.follow:
        _follow(submission_id, server)
    return submission_id


def _describe(submission: Submission) -> None:
    staging = submission.staging
    git = submission.metadata
    change = f" with uncommitted change {git['s1ray_uncommitted']}" * bool(git["s1ray_uncommitted"])
    say(
        f"{submission.command.name}: {len(staging.sizes)} files, "
        f"{staging.num_bytes / MIB:.1f} MiB, commit {git['s1ray_git_sha'][:12] or 'none'}"
        f"{change}, to {submission.address}"
    )
    if staging.left_behind:
        named = ", ".join(staging.left_behind[: submission.config.num_named])
        say(f"  {len(staging.left_behind)} untracked files stay behind (git add them): {named}")
    say(f"  the same, plainly: {_spell_plainly(submission)}")


def _spell_plainly(submission: Submission) -> str:
    environment = json.dumps({"env_vars": submission.variables})
    options = ["--address", submission.address, "--working-dir", "."]
    options += ["--runtime-env-json", environment]
    return shlex.join(["ray", "job", "submit", *options, "--", *submission.command.words])


def _attach_or_submit(submission: Submission, newest: Attempt | None, server: JobServer) -> str:
    """Return the id of the job that does this command: one that is there, or a new one."""
    number = 1
    if newest is not None:
        is_same = _is_same_code(newest, submission)
        if not newest.status.is_terminal():
            say(f"  {newest.submission_id} is {newest.status.value} already: attaching to it")
            if not is_same:
                say("  it runs other code than this checkout's: --stop it first to run yours")
            return newest.submission_id
        is_done = newest.status is JobStatus.SUCCEEDED and submission.command.makes_run
        if is_done and is_same:
            say(f"  {newest.submission_id} has succeeded with this code already; its log:")
            return newest.submission_id
        number = newest.number + 1
        say(f"  {newest.submission_id} ended as {newest.status.value}: attempt {number}")
    submission_id = f"{submission.command.name}-a{number}"
    with tempfile.TemporaryDirectory() as directory:
        stage(submission.staging, Path(directory))
        is_ours = server.submit(
            submission_id,
            entrypoint=submission.entrypoint,
            runtime_env={"working_dir": directory, "env_vars": submission.variables},
            metadata=submission.metadata,
        )
    say(f"  submitted {submission_id}" if is_ours else f"  attaching to {submission_id}")
    return submission_id


def _is_same_code(attempt: Attempt, submission: Submission) -> bool:
    return all(attempt.metadata.get(key) == value for key, value in submission.metadata.items())


def _follow(submission_id: str, server: JobServer) -> None:
    """Show the job's log until it ends.

    Raises:
        RuntimeError: It ended otherwise than well.
    """
    try:
        status = server.follow(submission_id)
    except KeyboardInterrupt:
        say(f"{submission_id} goes on. The same command shows it again; with --stop it ends it.")
        return
    if status is not JobStatus.SUCCEEDED:
        raise RuntimeError(f"{submission_id} {status.value}: {server.explain(submission_id)}")


def _stop(submission: Submission, newest: Attempt | None, server: JobServer) -> str:
    if newest is None or newest.status.is_terminal():
        say(f"  no attempt of {submission.command.name} is running")
        return submission.command.name
    patience = submission.config.stop_wait_seconds
    say(f"  stopping {newest.submission_id}: it has {patience} s for a checkpoint")
    status = server.stop(newest.submission_id, within_seconds=2 * patience)
    say(
        f"  {newest.submission_id} {status.value}; "
        "the same command without --stop goes on from there"
    )
    return newest.submission_id
