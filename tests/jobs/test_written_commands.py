"""Every command of the README, of ARCHITECTURE.md's tables and of the jobs' own help is legal."""

import ast
import re
import runpy
import shlex
import sys

import pytest
from hydra import compose, initialize_config_dir

from s1ray.config.base import Section
from s1ray.config.suites.job import BenchmarkJobConfig
from s1ray.orchestration import launch
from s1ray.orchestration.cluster.session import ROOT
from s1ray.orchestration.command_line import take_flags
from s1ray.orchestration.submission.command import read_command
from s1ray.suites.benchmark import prepare_benchmark

JOBS = sorted(path.stem for path in (ROOT / "jobs").glob("[!_]*.py"))


def _written_commands() -> list[str]:
    guides = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split("\n")
    texts = [(ROOT / "README.md").read_text(encoding="utf-8")]
    texts += [line for line in guides if line.startswith("|")]
    for job in JOBS:
        tree = ast.parse((ROOT / "jobs" / f"{job}.py").read_text(encoding="utf-8"))
        texts.append(ast.get_docstring(tree) or "")
    joined = "\n".join(texts).replace("\\\n", "")  # as a shell reads lines that go on
    commands = re.findall(r"python -m jobs\.(\w+ [^`\n|\"]*)", joined)
    found = {" ".join(command.split()) for command in commands}
    return sorted(command for command in found if not re.search(r"<|\.\.\.", command))


def _parse(command: str) -> Section:
    """Return the configuration that ``python -m jobs.<command>`` would give to its job."""
    job, *words = shlex.split(command)
    asked = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "launch", lambda **options: asked.update(options))
        patch.setattr(launch, "launch_with_overrides", lambda **options: asked.update(options))
        patch.setattr(sys, "argv", [job, *words])
        runpy.run_module(f"jobs.{job}", run_name="__main__", alter_sys=False)
        overrides = [word for word in take_flags(sys.argv[1:])[1] if word != launch.DRY]
    with initialize_config_dir(str(launch.CONF), version_base="1.3"):
        composed = compose(asked["primary"], overrides=overrides)
    return launch.parse_config(composed, asked["schema"])


@pytest.mark.parametrize("command", _written_commands())
def test_every_command_that_is_written_down_is_legal(command: str) -> None:
    own, _, submitted = command.partition(" -- ")

    config = _parse(own)
    if isinstance(config, BenchmarkJobConfig):
        prepare_benchmark(config)
    if submitted.startswith("python"):
        read_command(shlex.split(submitted))


def test_every_job_has_a_command_that_is_written_down() -> None:
    assert {command.split()[0] for command in _written_commands()} == set(JOBS)


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("train experiment=tiny training.num_epochs=0 training.seed=fast", "training.num_epochs"),
        ("grade input=FILE output=FILE fields.text=a", "fields.gold"),
    ],
)
def test_command_with_an_illegal_or_missing_value_is_not(command: str, path: str) -> None:
    with pytest.raises(ValueError, match=path):
        _parse(command)
