"""A cluster's job server: which attempts of a job it knows, and following one to its end.

An attempt's id is the job's name and a number, so whoever submits the same again finds it.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientError
from ray.job_submission import JobStatus, JobSubmissionClient

from s1ray.orchestration.terminal import console

_NOT_YET = "No available agent"
"""Ray's job server has no node yet that would start a driver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A job that was submitted."""

    submission_id: str
    number: int
    status: JobStatus
    metadata: Mapping[str, str]


class JobServer:
    """What this house asks of Ray's job server."""

    def __init__(
        self, client: JobSubmissionClient, *, poll_seconds: float, start_seconds: float
    ) -> None:
        """Ask through a client.

        Args:
            client: Of one cluster.
            poll_seconds: Between two looks at a job.
            start_seconds: How long a cluster may take until it accepts jobs, or answers again.
        """
        self._client = client
        self._poll_seconds = poll_seconds
        self._start_seconds = start_seconds

    def find_newest(self, name: str) -> Attempt | None:
        """Return the newest attempt of a job; None where the cluster knows none."""
        found = []
        for job in self._client.list_jobs():
            prefix, _, number = (job.submission_id or "").rpartition("-a")
            if prefix == name and number.isdigit():
                found.append(
                    Attempt(
                        submission_id=str(job.submission_id),
                        number=int(number),
                        status=job.status,
                        metadata=job.metadata or {},
                    )
                )
        return max(found, key=lambda attempt: attempt.number, default=None)

    def submit(
        self,
        submission_id: str,
        *,
        entrypoint: str,
        runtime_env: dict[str, Any],
        metadata: dict[str, str],
    ) -> bool:
        """Submit a job; return False where somebody submitted it just before.

        A cluster that has only just started takes no jobs for some seconds; it is asked again.

        Args:
            submission_id: The job's name; a second job of one name is not taken.
            entrypoint: The command.
            runtime_env: What it runs in.
            metadata: Kept beside it.

        Raises:
            RuntimeError: The server refuses it.
        """
        deadline = time.monotonic() + self._start_seconds
        while True:
            try:
                self._client.submit_job(
                    entrypoint=entrypoint,
                    submission_id=submission_id,
                    runtime_env=runtime_env,
                    metadata=metadata,
                )
            except (RuntimeError, ValueError) as error:
                if submission_id in {job.submission_id for job in self._client.list_jobs()}:
                    return False
                if _NOT_YET not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(self._poll_seconds)
            else:
                return True

    def stop(self, submission_id: str, *, within_seconds: float) -> JobStatus:
        """Ask a job to stop and wait for its end.

        Raises:
            RuntimeError: It has not ended in time.
        """
        self._client.stop_job(submission_id)
        deadline = time.monotonic() + within_seconds
        while time.monotonic() < deadline:
            status = self.read_status(submission_id)
            if status.is_terminal():
                return status
            time.sleep(self._poll_seconds)
        raise RuntimeError(f"{submission_id} has not ended within {within_seconds:.0f} s")

    def read_status(self, submission_id: str) -> JobStatus:
        """Return how a job stands."""
        return self._client.get_job_status(submission_id)

    def explain(self, submission_id: str) -> str:
        """Return what the server says about a job's end."""
        return self._client.get_job_info(submission_id).message or ""

    def follow(self, submission_id: str) -> JobStatus:
        """Show a job's log, from its beginning, until the job ends.

        A connection that is lost is made again, and what was shown is not shown twice.

        Raises:
            OSError: The server was away for too long; the job goes on.
        """
        shown = 0
        last_heard = time.monotonic()
        while True:
            shown = asyncio.run(self._show(submission_id, skip=shown))
            try:
                status = self.read_status(submission_id)
                if status.is_terminal():
                    rest = self._client.get_job_logs(submission_id)[shown:]
                    console.out(rest, end="", highlight=False)
                    return status
                last_heard = time.monotonic()
            except (OSError, RuntimeError):  # requests' errors are OSErrors
                if time.monotonic() - last_heard > self._start_seconds:
                    raise
            time.sleep(self._poll_seconds)

    async def _show(self, submission_id: str, *, skip: int) -> int:
        """Show what comes after the first ``skip`` characters; return how far it came."""
        position = 0
        try:
            async for text in self._client.tail_job_logs(submission_id):
                new = text[max(0, skip - position) :]
                position += len(text)
                console.out(new, end="", highlight=False)
        except (RuntimeError, OSError, ClientError):
            return max(position, skip)
        return max(position, skip)
