"""What a result was made with: command, code state, versions, machine."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

_VERSIONED = ("s1ray", "torch", "transformers", "ray", "wandb", "hydra-core", "math-verify")


def describe_process() -> dict[str, Any]:
    """Return command, git state, versions and machine, as ``run.json`` records them."""
    return {
        "command": describe_command(),
        "git": read_git_state(),
        "versions": {name: version(name) for name in _VERSIONED} | {"python": sys.version[:7]},
        "machine": describe_machine(),
    }


def describe_command() -> str:
    """Return the command line that started this process, as a user would type it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = f"python -m {spec.name}" if spec else " ".join(["python", Path(sys.argv[0]).name])
    return " ".join([program, *sys.argv[1:]])


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


def read_git_state() -> dict[str, Any]:
    """Return the commit the code stands at and the uncommitted change, where there is git."""
    root = Path(__file__).parents[2]

    def git(*words: str) -> str | None:
        command = ["git", "-C", str(root), *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:
            return None
        return done.stdout if done.returncode == 0 else None

    sha = git("rev-parse", "HEAD")
    return {"sha": sha.strip() if sha else None, "dirty": git("diff", "HEAD") or ""}
