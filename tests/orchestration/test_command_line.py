import logging
from pathlib import Path

import pytest

from s1ray.orchestration.command_line import take_flags
from s1ray.orchestration.run_directory.keeping import describe_kept
from tests.reporting.fake_runs import write_json, write_lines


@pytest.mark.parametrize(
    ("flags", "is_quiet", "level"),
    [
        ([], False, logging.INFO),
        (["-q"], True, logging.WARNING),
        (["--quiet"], True, logging.WARNING),
        (["-v"], False, logging.DEBUG),
        (["--log-level=error"], False, logging.ERROR),
        (["--log-level", "debug"], False, logging.DEBUG),
        (["-q", "--log-level=error"], True, logging.ERROR),
    ],
)
def test_flags_say_how_much_is_said_and_are_taken_off(
    flags: list[str],
    is_quiet: bool,  # noqa: FBT001 - a parameter of the table above
    level: int,
) -> None:
    verbosity, rest = take_flags(["jobs/train.py", "experiment=tiny", *flags, "--cfg", "job"])

    assert (verbosity.is_quiet, verbosity.level) == (is_quiet, level)
    assert rest == ["jobs/train.py", "experiment=tiny", "--cfg", "job"]


def test_flags_of_a_submitted_command_stay_with_it() -> None:
    words = ["jobs/submit.py", "--", "python", "-m", "jobs.train", "-q"]

    verbosity, rest = take_flags(words)

    assert rest == words
    assert not verbosity.is_quiet


@pytest.mark.parametrize("flags", [["--log-level=loud"], ["--log-level"]])
def test_level_that_there_is_not_is_refused(flags: list[str]) -> None:
    with pytest.raises(ValueError, match="legal: debug, info, warning, error"):
        take_flags(["jobs/train.py", *flags])


def test_what_a_directory_keeps_is_told(tmp_path: Path) -> None:
    assert describe_kept(tmp_path) == ""

    write_lines(tmp_path / "samples.jsonl", [{"a": 1}, {"a": 2}])
    with (tmp_path / "samples.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"torn')
    assert describe_kept(tmp_path) == "2 answers"

    write_json(tmp_path / "checkpoints" / "step-1" / "manifest.json", {})
    (tmp_path / "checkpoints" / "step-2").mkdir()
    assert describe_kept(tmp_path) == "1 checkpoint"

    write_json(tmp_path / "manifest.json", {"files": {"gone": "0"}})
    assert describe_kept(tmp_path) == "1 checkpoint"
    write_json(tmp_path / "manifest.json", {"files": {}})
    assert describe_kept(tmp_path) == "finished"
