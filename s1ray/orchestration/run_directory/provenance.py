"""What a result was made with: command, code state, versions, machine."""

import contextlib
import json
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

from s1ray.orchestration.cluster.secrets_at_hand import redact_at_hand

CODE = Path(__file__).parents[3]
"""Where this code lies: a checkout, or what was staged of one."""
STAGED_STATE = ".s1ray-git.json"
"""In a directory that ``jobs.submit`` staged: the git state of the checkout that it came from."""
DIFF = "code.diff"
"""What stood uncommitted in the code that a run was made with; absent where nothing did."""
ENVIRONMENT = "environment.txt"
"""Every package that a run was made with."""
_VERSIONED = ("s1ray", "torch", "transformers", "ray", "wandb", "hydra-core", "math-verify")


def describe_process() -> dict[str, Any]:
    """Return command, git state, versions and machine, as ``run.json`` records them."""
    return {
        "command": describe_command(),
        "git": read_git_state(CODE),
        "versions": read_versions() | {"python": platform.python_version()},
        "machine": describe_machine(),
    }


def list_environment() -> str:
    """Return every installed distribution with its version, a line each, as pip would freeze it."""
    found = {f"{item.metadata['Name']}=={item.version}" for item in distributions()}
    return "\n".join(sorted(found, key=str.lower)) + "\n"


def read_versions() -> dict[str, str]:
    """Return the versions of what results depend on; what is not installed is left out."""
    versions = {}
    for name in _VERSIONED:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def describe_command() -> str:
    """Return the command line that started this process, as a user would type it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = f"python -m {spec.name}" if spec else " ".join(["python", Path(sys.argv[0]).name])
    return redact_at_hand(" ".join([program, *map(shlex.quote, sys.argv[1:])]))


def describe_machine() -> dict[str, Any]:
    """Return cores, memory and processor of this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "processor": _read_processor(),
        "system": platform.platform(terse=True),
    }


def _read_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def read_git_state(root: Path) -> dict[str, Any]:
    """Return the commit a checkout stands at and the uncommitted change, where there is git.

    Args:
        root: Of the checkout, or of what was staged of one.
    """
    if (root / STAGED_STATE).is_file():
        staged: dict[str, Any] = json.loads((root / STAGED_STATE).read_text(encoding="utf-8"))
        return staged

    def git(*words: str) -> str | None:
        command = ["git", "-C", str(root), *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:
            return None
        return done.stdout if done.returncode == 0 else None

    sha = git("rev-parse", "HEAD")
    dirty = redact_at_hand(git("diff", "HEAD") or "")
    return {"sha": sha.strip() if sha else None, "dirty": dirty}
