"""A suite's parts are measured one after the other, and what was measured is on disk."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from s1ray.config.suites.job import BenchmarkJobConfig, SuiteSettings
from s1ray.config.tracking import PathsConfig
from s1ray.orchestration.run_directory.runs import RefusedError
from s1ray.suites.benchmark import BenchmarkPlan, prepare_benchmark, run_benchmark
from s1ray.suites.suite import Outcome
from tests.choices import read_choice


def _plan(tmp_path: Path) -> BenchmarkPlan:
    settings = SuiteSettings(kind="made", num_pairs=2)
    return BenchmarkPlan(
        settings=settings,
        parts={
            "first": lambda told, _: Outcome(summary="1 to 1", results={"pairs": told.num_pairs}),
            "second": _fail,
        },
        paths=PathsConfig(storage=str(tmp_path), cache=None),
        directory=tmp_path / "made",
    )


def _fail(settings: SuiteSettings, _: PathsConfig) -> Outcome:
    raise RuntimeError(f"the sides of {settings.kind} differ")


def test_last_line_is_one_json_object_with_every_part(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    whole = replace(plan, parts={"first": plan.parts["first"]})

    line = run_benchmark(whole)

    report = json.loads(line)
    assert "\n" not in line
    assert report["parts"] == {"first": {"summary": "1 to 1", "pairs": 2}}
    assert report["machine"]["cores"]
    assert json.loads(Path(report["path"]).read_text(encoding="utf-8")) == report


def test_what_was_measured_before_a_failure_is_kept(tmp_path: Path) -> None:
    plan = _plan(tmp_path)

    with pytest.raises(RuntimeError, match="differ"):
        run_benchmark(plan)

    report = json.loads((plan.directory / "result.json").read_text(encoding="utf-8"))
    assert list(report["parts"]) == ["first"]


def test_unknown_suite_is_refused() -> None:
    config = BenchmarkJobConfig.model_validate(
        {
            "suite": {"kind": "nothing", "num_pairs": 1},
            "parts": None,
            "paths": {"storage": "runs", "cache": None},
        }
    )

    with pytest.raises(ValueError, match="nothing"):
        prepare_benchmark(config)


def _choose(tmp_path: Path, kind: str, *parts: str) -> BenchmarkPlan:
    config = BenchmarkJobConfig.model_validate(
        {
            "suite": read_choice("suite", kind),
            "parts": parts or None,
            "paths": {"storage": str(tmp_path), "cache": None},
        }
    )
    return prepare_benchmark(config)


def test_parts_are_measured_into_a_directory_of_their_own(tmp_path: Path) -> None:
    whole = _choose(tmp_path, "training")
    balance = _choose(tmp_path, "training", "balance")
    kernels = _choose(tmp_path, "training", "cross_entropy", "attention")

    assert len({whole.directory, balance.directory, kernels.directory}) == 3
    assert (
        kernels.directory == _choose(tmp_path, "training", "attention", "cross_entropy").directory
    )
    assert whole.directory == _choose(tmp_path, "training", *whole.parts).directory


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_suite_without_a_gpu_is_refused_before_it_begins(tmp_path: Path) -> None:
    plan = _choose(tmp_path, "gpu")

    with pytest.raises(RefusedError, match="torch finds none here"):
        run_benchmark(plan)

    assert not plan.directory.exists()


def test_part_that_needs_another_interpreter_is_refused_before_the_others_begin(
    tmp_path: Path,
) -> None:
    suite = read_choice("suite", "forcing") | {"vllm_python": str(tmp_path / "python")}
    paths = {"storage": str(tmp_path), "cache": None}
    told = {"suite": suite, "parts": ("sweep", "prefix"), "paths": paths}

    plan = prepare_benchmark(BenchmarkJobConfig.model_validate(told))

    with pytest.raises(RefusedError, match="make test-vllm"):
        run_benchmark(plan)

    assert not plan.directory.exists()


def test_model_that_is_no_part_of_the_plan_suite_is_refused() -> None:
    suite = read_choice("suite", "plan")
    suite["models"]["mine"] = suite["models"]["tiny"]
    paths = {"storage": "runs", "cache": None}

    with pytest.raises(ValueError, match=r"suite\.models\.mine"):
        prepare_benchmark(
            BenchmarkJobConfig.model_validate({"suite": suite, "parts": None, "paths": paths})
        )


def _choose_machine(*, parts: tuple[str, ...] | None) -> BenchmarkJobConfig:
    return BenchmarkJobConfig.model_validate(
        {
            "suite": {"kind": "machine", "num_pairs": 1, "matrix_size": 64, "num_products": 1},
            "parts": parts,
            "paths": {"storage": "runs", "cache": None},
        }
    )


def test_unknown_part_is_refused() -> None:
    with pytest.raises(ValueError, match="products"):
        prepare_benchmark(_choose_machine(parts=("nothing",)))


def test_machine_suite_measures_both_precisions() -> None:
    plan = prepare_benchmark(_choose_machine(parts=None))

    outcome = plan.parts["products"](plan.settings, plan.paths)

    rates = outcome.results["gflops_per_second"]
    assert all(rates[name]["median"] > 0 for name in ("bfloat16", "float32"))
