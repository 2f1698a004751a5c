"""Secrets that the cluster shows to whoever may look: what its job server tells of its jobs."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import ray
from ray.exceptions import RayError
from ray.job_submission import JobSubmissionClient

from s1ray.config.secrecy import is_secret_name, names_assigned_secret, names_secret
from s1ray.orchestration.cluster.secrets_at_hand import list_secrets_at_hand
from s1ray.orchestration.doctor.finding import Finding, fail_check, pass_check, warn_check


def find_job_server() -> JobSubmissionClient | None:
    """Return the job server of the cluster that this process has joined; None where it has none."""
    try:
        return JobSubmissionClient(ray.get_runtime_context().gcs_address)
    except (ConnectionError, RuntimeError, ValueError, RayError):
        return None


def check_jobs(client: JobSubmissionClient) -> Finding:
    """Find jobs whose command, environment or metadata give a secret away."""
    known = list_secrets_at_hand()
    try:
        jobs = client.list_jobs()
    except (OSError, RuntimeError) as error:  # requests' errors are OSErrors
        return warn_check(
            "secrets",
            f"what the job server tells of its jobs is not known: {error}",
            fix="look at dashboard.log on the head",
        )
    wrong = []
    for job in jobs:
        name = job.submission_id or job.job_id or "a driver"
        variables = (job.runtime_env or {}).get("env_vars") or {}
        shown: Mapping[str, Any] = {"runtime_env": job.runtime_env, "metadata": job.metadata}
        wrong += [f"{name}: {why}" for why in _find_exposed(job.entrypoint or "", variables, known)]
        wrong += [
            f"{name}: its {part} {why}"
            for part, content in shown.items()
            if (why := names_secret(json.dumps(content, default=str), known=known))
        ]
    if wrong:
        return fail_check(
            "secrets",
            "; ".join(dict.fromkeys(wrong)),
            fix="take them for known and replace them; give secrets to the nodes (environment, "
            "mounted file, netrc), never to a job's runtime_env or command",
        )
    return pass_check("secrets", f"none in what the job server tells of {len(jobs)} jobs")


def _find_exposed(
    entrypoint: str, variables: Mapping[str, str], known: tuple[str, ...]
) -> Iterator[str]:
    if why := names_assigned_secret(entrypoint, known=known):
        yield f"its command {why}"
    for variable in variables:
        if is_secret_name(variable):
            yield f"{variable} in its runtime_env"
