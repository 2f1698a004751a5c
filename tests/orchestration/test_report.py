"""What a page shows beside its runs: paired differences and predictions, from directories alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from s1ray.config.compare import BootstrapConfig
from s1ray.config.recipe import Recipe
from s1ray.orchestration.report import compare_pair, predict_training
from s1ray.orchestration.run_directory.runs import dump_config
from s1ray.reporting.reading.read import read_run
from s1ray.reporting.reading.records import Pair
from tests.reporting.fake_evaluations import write_evaluation
from tests.reporting.fake_runs import write_json, write_lines, write_run

BOOTSTRAP = BootstrapConfig(num_resamples=2000, confidence=0.95, seed=0)


def test_paired_difference_is_that_of_the_results_and_its_interval_holds_it(
    tmp_path: Path,
) -> None:
    pair = Pair(
        reference="base",
        variant="trained",
        reference_path=tmp_path / "evaluate" / "a",
        variant_path=tmp_path / "evaluate" / "b",
        policy="natural",
    )
    points = {
        path: write_evaluation(
            path, label=name, benchmarks=["gsm8k", "sums"], num_items=40, skill=skill
        )
        for path, name, skill in (
            (pair.reference_path, "base", 0.3),
            (pair.variant_path, "trained", 0.9),
        )
    }

    effects = compare_pair(pair, config=BOOTSTRAP)

    assert [effect.benchmark for effect in effects] == ["gsm8k", "sums"]
    for effect in effects:
        before, after = (
            next(
                point["accuracy"]
                for point in of_run
                if (point["benchmark"], point["policy"]) == (effect.benchmark, "natural")
            )
            for of_run in points.values()
        )
        assert effect.accuracy_reference == pytest.approx(before)
        assert effect.accuracy_variant == pytest.approx(after)
        assert effect.low < after - before < effect.high
        assert effect.num_items == 40


def test_runs_without_a_common_question_are_not_compared(tmp_path: Path) -> None:
    for name, benchmark in (("a", "gsm8k"), ("b", "sums")):
        write_evaluation(
            tmp_path / name, label=name, benchmarks=[benchmark], num_items=3, skill=0.5
        )
    pair = Pair(
        reference="a",
        variant="b",
        reference_path=tmp_path / "a",
        variant_path=tmp_path / "b",
        policy="natural",
    )

    assert compare_pair(pair, config=BOOTSTRAP) == ()


def write_train(path: Path, recipe: Recipe) -> Path:
    run = write_run(path / "train" / "t", identity={}, seconds={"train": 300.0})
    (run / "config.yaml").write_text(dump_config(recipe), encoding="utf-8")
    write_json(run / "start.json", {"num_samples": 600, "num_tokens": 60_000})
    shape = recipe.planning.known_models["Qwen/Qwen2.5-1.5B-Instruct"]
    write_json(run / "export" / "config.json", dict(shape))
    rows = [
        {"global_step": step, "train/seconds": 2.0, "train/tokens_per_second": 400.0}
        for step in (1, 2, 2, 3)
    ]
    write_lines(run / "events.jsonl", rows)
    return run


def test_training_is_held_against_its_plan(tmp_path: Path, tiny: Callable[..., Recipe]) -> None:
    run = write_train(tmp_path, tiny())

    predictions = {
        prediction.quantity: prediction for prediction in predict_training(read_run(run))
    }

    assert predictions["steps, seconds"].actual == 6.0
    assert predictions["tokens a second"].actual == pytest.approx(400.0)
    assert predictions["with reading and writing, seconds"].actual == 300.0
    steps, whole = (predictions[key].predicted for key in list(predictions)[::2])
    assert steps is not None and whole is not None and 0 < steps < whole


def test_training_of_another_version_has_no_prediction(
    tmp_path: Path, tiny: Callable[..., Recipe]
) -> None:
    run = write_train(tmp_path, tiny())
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"gone": 1}), encoding="utf-8")

    assert predict_training(read_run(run)) == ()
