"""A submission as a file for another tool: KubeRay's RayJob, Ray's launcher for own machines."""

import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from s1ray.config.submit import SubmitConfig
from s1ray.orchestration.submission.command import Command
from s1ray.orchestration.terminal import complain
from s1ray.planning.cluster import read_cluster
from s1ray.planning.launcher import PLACEHOLDER, Problem, list_unfilled
from s1ray.planning.manifests import make_local_launcher, make_ray_job


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What another tool takes: printed, or handed to kubectl."""

    config: SubmitConfig
    content: Mapping[str, Any]


def make_job_manifest(config: SubmitConfig, command: Command) -> Manifest:
    """Return the RayJob of a command.

    Raises:
        ValueError: It would be sent with values that are not filled in, or without kubectl; or the
            job is to be stopped, which is kubectl's to do.
    """
    if config.stop:
        namespace = config.kuberay.namespace
        raise ValueError(
            "stop=true with target=kuberay: jobs.submit stops the jobs of target=ray alone. Use "
            f"`kubectl delete rayjob {command.name} --namespace {namespace}`."
        )
    content = make_ray_job(
        command.name,
        entrypoint=shlex.join(command.words),
        environment=config.environment,
        cluster=read_cluster(config.cluster),
        config=config.kuberay,
    )
    manifest = Manifest(config=config, content=content)
    if not config.dry:
        _refuse_unready(manifest)
    return manifest


def make_launcher_manifest(config: SubmitConfig, words: Sequence[str]) -> Manifest:
    """Return the launcher file of machines that are there already.

    Args:
        config: The machines.
        words: A command that was given, of which the file has no use.

    Raises:
        ValueError: A job is to run, to be stopped, or given an environment; the file starts none.
    """
    if config.stop or config.environment or words:
        raise ValueError(
            f"target=on_prem prints a launcher file and submits no job: stop={config.stop}, "
            f"environment={sorted(config.environment)} and the command {shlex.join(words)!r} would "
            "do nothing. Remove them; `ray up` starts the machines, and target=ray submits to them."
        )
    content = make_local_launcher(
        config.on_prem.name,
        head_ip=config.on_prem.head_ip,
        worker_ips=config.on_prem.worker_ips,
        ssh_user=config.on_prem.ssh_user,
        token_file=config.on_prem.token_file,
        storage_path=config.on_prem.storage_path,
    )
    return Manifest(config=config, content=content)


def _refuse_unready(manifest: Manifest) -> None:
    problems = [
        f"  {problem.path} {problem.message}" for problem in list_unfilled(manifest.content)
    ]
    if problems:
        raise ValueError("\n".join(["fill in what only you know; --dry prints all:", *problems]))
    if shutil.which("kubectl") is None:
        raise ValueError(
            "kubectl is not on the PATH. Install it, or print the manifest with --dry and apply it "
            "elsewhere."
        )


def _name_keys(config: SubmitConfig, problem: Problem) -> str:
    """Return the keys of the configuration that an unfilled place is filled from, in brackets."""
    placeholder = PLACEHOLDER.search(problem.message)
    section = config.on_prem if config.target == "on_prem" else config.kuberay
    keys = [
        f"{config.target}.{key}"
        for key, value in section.model_dump().items()
        if placeholder and placeholder[0] in str(value)
    ]
    return f" ({', '.join(keys)})" if keys else ""


def send_manifest(manifest: Manifest) -> str:
    """Hand the manifest to kubectl, or return it as YAML where it is only to be shown.

    Raises:
        RuntimeError: kubectl refuses it.
    """
    text = yaml.safe_dump(dict(manifest.content), sort_keys=False)
    unfilled = list_unfilled(manifest.content)
    for problem in unfilled:
        complain(f"  {problem.path}: {problem.message}{_name_keys(manifest.config, problem)}")
    if manifest.config.dry or manifest.config.target == "on_prem":
        return text
    command = ["kubectl", "create", "-f", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"kubectl refuses the job: {done.stderr.strip()}")
    return done.stdout.strip()
