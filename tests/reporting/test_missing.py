"""Reports of runs that lack something: the page says what is missing, and draws no figure of it."""

from pathlib import Path

import pytest

from tests.reporting.fake_evaluations import write_evaluation
from tests.reporting.fake_runs import write_curation, write_json, write_run, write_training
from tests.reporting.pages import PageParser, build


@pytest.mark.parametrize(
    ("stage", "present", "missing"),
    [
        ("train", "optimizer step", ("no point is scored", "jobs.curate", "holds samples.jsonl")),
        ("curate", "decontamination", ("no point is scored", "training loss. Run jobs.train")),
        ("evaluate", "cap_16", ("training loss. Run jobs.train", "Run jobs.curate")),
    ],
)
def test_report_of_one_stage_says_what_is_missing(
    tmp_path: Path, stage: str, present: str, missing: tuple[str, ...]
) -> None:
    path = tmp_path / stage / "alone"
    if stage == "train":
        write_training(path, num_steps=30)
    elif stage == "curate":
        write_curation(path, num_traces=20)
    else:
        write_evaluation(path, label="trained", benchmarks=["sums"], num_items=4, skill=0.8)

    text = PageParser(build(path, output=tmp_path / "report.html")).text

    assert present in text or present in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(words in text for words in missing)


def test_report_of_a_run_that_holds_nothing_yet_is_a_page(tmp_path: Path) -> None:
    path = write_run(tmp_path / "reproduce" / "r", identity={}, steps={"train": "train/gone"})

    text = PageParser(build(path, output=tmp_path / "report.html")).text

    assert "The step train of r has no run directory" in text


def test_evaluation_without_scores_shows_tokens_and_no_figure(tmp_path: Path) -> None:
    path = tmp_path / "evaluate" / "e"
    points = write_evaluation(path, label="trained", benchmarks=["s"], num_items=4, skill=0.8)
    bare = [point | {"accuracy": None, "stderr": None, "answered": None} for point in points]
    write_json(path / "results.json", {"points": bare})

    page = build(path, output=tmp_path / "report.html")

    assert "no point is scored" in page
    assert "cap_16" in page
    assert not (tmp_path / "scaling.png").exists()


def test_report_without_directories_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no run directory is named"):
        build(output=tmp_path / "report.html")
