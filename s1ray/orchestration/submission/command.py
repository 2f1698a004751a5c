"""The command that is to run: taken from the command line, checked, and named.

The same command with the same configuration has the same name, on every machine and at any time.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from s1ray.config.base import Section
from s1ray.orchestration.command_line import take_flags
from s1ray.orchestration.composing import compose_config
from s1ray.orchestration.launch import CONF, parse_config
from s1ray.orchestration.run_directory.runs import hash_identity

SEPARATOR = "--"
FLAGS = {
    "--dry": "say what would be sent, and send nothing",
    "--stop": "stop what the same command submitted, with a checkpoint",
    "-- COMMAND": "what runs on the cluster",
}
"""Of ``jobs.submit`` itself, each with what it does."""
_OVERRIDES = {"--dry": "dry=true", "--stop": "stop=true"}
_PRIMARY = re.compile(r'primary="(\w+)"')
_SCHEMA = re.compile(r"^from (s1ray\.config\.[\w.]+) import (\w+)$", re.MULTILINE)
_JOB = re.compile(r"jobs\.(\w+)")
_RUN_MAKERS = {"curate", "distill", "evaluate", "reproduce", "sweep", "train", "verify_resume"}
"""Jobs whose answer is a run; of the others it is what the cluster, or the plan, is like now."""
_FREE = {"cluster", "lease", "planning", "ray", "report", "sharding", "tracking"}
"""Sections that may differ between two submissions of one run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What runs on the cluster."""

    words: tuple[str, ...]
    name: str
    """Of the job, without its attempt."""
    makes_run: bool
    """Whether it is done for good once it has succeeded, as nothing but a run can be."""


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return a command line as Hydra takes it, and the words behind ``--``.

    Args:
        arguments: The program and its arguments.
    """
    own = list(arguments)
    words: list[str] = []
    if SEPARATOR in own:
        at = own.index(SEPARATOR)
        own, words = own[:at], own[at + 1 :]
    return [_OVERRIDES.get(word, word) for word in own], words


def read_command(words: Sequence[str]) -> Command:
    """Check and name a command.

    A job of this house is composed and parsed here as it will be there, so a typo is found before
    anything is sent; its name comes from its configuration, as a run's does, and from where it
    writes. The model and the data are not looked at: they need not be on this machine.

    Raises:
        ValueError: There is no such job, or its configuration is not legal.
    """
    job, overrides = _find_job(words)
    if job is None:
        name = f"command-{hash_identity({'words': list(words)})}"
        return Command(words=tuple(words), name=name, makes_run=False)
    if not all("=" in word for word in overrides):
        raise ValueError(
            f"jobs.{job} is given {[word for word in overrides if '=' not in word]}; a submitted "
            "job takes key=value overrides alone."
        )
    content = _compose_job(job, overrides)
    makes_run = job in _RUN_MAKERS
    told = {key: value for key, value in content.items() if not makes_run or key not in _FREE}
    digest = hash_identity({"job": job, "content": told})
    name = "-".join(filter(None, (job, str(content.get("name", "")), digest)))
    return Command(words=tuple(words), name=name.replace("_", "-"), makes_run=makes_run)


def _find_job(words: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    for index in range(len(words) - 1):
        found = _JOB.fullmatch(words[index + 1])
        if words[index] == "-m" and found:
            return found[1], take_flags(words[index + 2 :])[1]
    return None, ()


def _compose_job(job: str, overrides: Sequence[str]) -> Mapping[str, Any]:
    source = CONF.parent / "jobs" / f"{job}.py"
    if not source.is_file():
        legal = sorted(path.stem for path in Path(source.parent).glob("[!_]*.py"))
        raise ValueError(f"there is no jobs.{job}; there are {legal}.")
    text = source.read_text(encoding="utf-8")
    primary, schema = _PRIMARY.search(text), _SCHEMA.search(text)
    if primary is None or schema is None:
        raise ValueError(f"jobs.{job} cannot be submitted: it has no configuration.")
    section: type[Section] = getattr(import_module(schema[1]), schema[2])
    return parse_config(compose_config(primary[1], overrides), section).model_dump(mode="json")
