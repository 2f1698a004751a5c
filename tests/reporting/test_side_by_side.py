"""What a page puts side by side: trials, experiments, licences, published scores, predictions."""

from dataclasses import replace
from pathlib import Path

import pytest

from s1ray.reporting.reading.records import Pair, PairedEffect, Prediction, Run
from tests.reporting.fake_evaluations import POLICIES, write_evaluation
from tests.reporting.fake_experiments import write_experiment, write_sweep
from tests.reporting.fake_runs import write_json
from tests.reporting.pages import NO_COMPANIONS, PageParser, build
from tests.reporting.points import Published


def test_report_of_a_sweep_shows_what_its_trials_did(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, num_items=3, sizes=[80, 160])

    page = build(sweep, output=tmp_path / "out" / "report.html")

    assert "No training curve" not in page
    data = page[page.index('id="data"') : page.index('id="samples"')]
    assert [data.count(f"<h3>{label}</h3>") for label in ("80 sums", "160 sums")] == [1, 1]
    losses = (tmp_path / "out" / "training.csv").read_text(encoding="utf-8").splitlines()
    assert [sum(row.startswith(label) for row in losses) for label in ("80 ", "160 ")] == [10, 20]
    assert "160 sums against 80 sums" in page
    assert "running_sums, 160 sums, cap_8" in page
    assert page.count("jobs.sweep experiment=demo search.axes.data.only=160") == 1 + len(POLICIES)


def test_licences_stand_with_the_benchmarks_and_with_the_data(tmp_path: Path) -> None:
    one = write_experiment(tmp_path, num_items=3, benchmarks=["aime24"], name="demo-aaaaaaaa")
    two = write_experiment(tmp_path, num_items=3, benchmarks=["aime24"], name="demo-bbbbbbbb")
    private = write_evaluation(
        tmp_path / "evaluate" / "gpqa", label="x", benchmarks=["gpqa"], num_items=2, skill=0.5
    )
    note = {"name": "gpqa", "num_questions": 2, "licence": "CC BY 4.0", "is_private": True}
    results = {"points": private, "benchmarks": {"gpqa": note}}
    write_json(tmp_path / "evaluate" / "gpqa" / "results.json", results)

    page = build(one, two, tmp_path / "evaluate" / "gpqa", output=tmp_path / "report.html")

    budgets = page[page.index('id="budgets"') : page.index('id="training"')]
    data = page[page.index('id="data"') : page.index('id="samples"')]
    assert budgets.count("MIT, as aime24 states") == 1
    assert "<td>CC BY 4.0</td><td>kept out of this page</td>" in budgets
    assert data.count("<td>Apache-2.0</td>") == 2


def test_models_of_several_experiments_are_told_apart(tmp_path: Path) -> None:
    one = write_experiment(tmp_path, num_items=3, name="demo-aaaaaaaa")
    two = write_experiment(tmp_path, num_items=3, name="demo-bbbbbbbb")

    text = PageParser(build(one, two, output=tmp_path / "report.html")).text

    assert "2 experiments" in text
    assert "trained, demo-aaaaaaaa" in text
    assert "base, demo-bbbbbbbb" in text
    losses = (tmp_path / "training.csv").read_text(encoding="utf-8")
    assert {"demo-aaaaaaaa", "demo-bbbbbbbb"} <= {row.split(",")[0] for row in losses.split("\n")}


def test_runs_may_be_given_labels(tmp_path: Path) -> None:
    one = write_experiment(tmp_path, num_items=3, name="demo-aaaaaaaa")
    two = write_experiment(tmp_path, num_items=3, name="demo-bbbbbbbb")

    text = PageParser(
        build(one, two, output=tmp_path / "report.html", labels=["seed 1", "seed 2"])
    ).text

    assert "trained, seed 2" in text
    with pytest.raises(ValueError, match="as many labels as runs"):
        build(one, two, output=tmp_path / "report.html", labels=["seed 1", "seed 1"])


def test_what_stands_beside_the_runs_is_shown(tmp_path: Path) -> None:
    run = write_experiment(tmp_path, num_items=3)
    pairs: list[Pair] = []

    def compare(pair: Pair) -> tuple[PairedEffect, ...]:
        pairs.append(pair)
        effect = PairedEffect(
            benchmark="running_sums",
            accuracy_reference=0.25,
            accuracy_variant=0.75,
            low=0.125,
            high=0.875,
            num_items=3,
            is_resolved=False,
        )
        return (effect,)

    def predict(run: Run) -> tuple[Prediction, ...]:
        row = Prediction(
            run=run.name, quantity="minutes", predicted=4.0, actual=5.0, basis="cluster=laptop"
        )
        return (row,)

    beside = replace(NO_COMPANIONS, compare=compare, predict=predict)
    text = PageParser(build(run, output=tmp_path / "report.html", companions=beside)).text

    assert [(pair.reference, pair.variant, pair.policy) for pair in pairs] == [
        ("base", "trained", "natural")
    ]
    assert "[+12.5, +87.5]" in text
    assert "cluster=laptop" in text
    assert "1.25" in text


def test_comparators_on_the_same_benchmark_are_quoted(tmp_path: Path) -> None:
    run = write_experiment(tmp_path, num_items=3, benchmarks=["aime24"])
    theirs = [
        Published("s1-32B", "aime24", 0.567, is_drawn=True, source="arXiv 2501.19393, Table 1")
    ]

    text = PageParser(
        build(
            run,
            output=tmp_path / "report.html",
            companions=replace(NO_COMPANIONS, comparators=tuple(theirs)),
        )
    ).text
    assert "arXiv 2501.19393, Table 1" in text
    assert "56.7" in text
