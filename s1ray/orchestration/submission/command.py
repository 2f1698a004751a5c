"""The command that is to run: taken from the command line, checked, and named.

The same command with the same configuration has the same name, on every machine and at any time.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from s1ray.config.recipe import Recipe
from s1ray.orchestration.command_line import take_flags
from s1ray.orchestration.launch import CONF, explain_override, parse_config
from s1ray.orchestration.run_directory.runs import hash_identity

SEPARATOR = "--"
FLAGS = {"--dry": "dry=true", "--stop": "stop=true"}
_PRIMARY = re.compile(r'primary="(\w+)"')
_JOB = re.compile(r"jobs\.(\w+)")
_FREE = ("cluster", "lease", "planning", "ray", "report", "sharding", "tracking")
"""Sections that may differ between two submissions of one run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What runs on the cluster."""

    words: tuple[str, ...]
    name: str
    """Of the job, without its attempt."""


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
    return [FLAGS.get(word, word) for word in own], words


def read_command(words: Sequence[str]) -> Command:
    """Check and name a command.

    A job of this house is composed here as it will be there, so a typo is found before anything is
    sent; its name comes from its configuration, as a run's does, and from where it writes. The
    model and the data are not looked at: they need not be on this machine.

    Raises:
        ValueError: There is no such job, or its configuration is not legal.
    """
    job, overrides = _find_job(words)
    if job is None:
        return Command(words=tuple(words), name=f"command-{hash_identity({'words': list(words)})}")
    if not all("=" in word for word in overrides):
        raise ValueError(
            f"jobs.{job} is given {[word for word in overrides if '=' not in word]}; a submitted "
            "job takes key=value overrides alone."
        )
    content = _compose_job(job, overrides)
    digest = hash_identity({"job": job, "content": _drop_free(content)})
    slug = str(content.get("name", "")).replace("_", "-")
    return Command(words=tuple(words), name="-".join(filter(None, (job, slug, digest))))


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
    primary = _PRIMARY.search(source.read_text(encoding="utf-8"))
    if primary is None:
        raise ValueError(f"jobs.{job} cannot be submitted: it has no configuration.")
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            composed = compose(primary[1], overrides=list(overrides))
        if primary[1] == "recipe":
            return parse_config(composed, Recipe).model_dump(mode="json")
        content: Any = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(explain_override(error)) from None
    return dict(content)


def _drop_free(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in _FREE}
