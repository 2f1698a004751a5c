"""What trainers are told, and who is refused; racing TRL itself needs TRL."""

import json
import sys
from pathlib import Path

import pytest

from s1ray.config.suites.training import MixtureConfig, TrainingSuiteSettings
from s1ray.config.training import ShardingConfig
from s1ray.orchestration.run_directory.runs import RefusedError
from s1ray.suites.measuring.gate import open_gate
from s1ray.suites.trainers.comparison import Race, summarize
from s1ray.suites.trainers.mixture import draw_mixture
from s1ray.suites.trainers.requests import (
    ACCUMULATED,
    PACKED,
    PADDED,
    PADDING_FREE,
    UNPACKED,
    build_program,
    check_trl,
    set_task,
)
from tests.fakes import write_tiny_qwen2


@pytest.fixture
def tiny(settings: TrainingSuiteSettings, tmp_path: Path) -> TrainingSuiteSettings:
    model = settings.model.model_copy(
        update={"source": str(write_tiny_qwen2(tmp_path / "tiny")), "sha256": None}
    )
    training = settings.training.model_copy(update={"global_batch_size": 3})
    return settings.model_copy(update={"model": model, "training": training})


def test_mixture_is_uneven_and_always_the_same(settings: TrainingSuiteSettings) -> None:
    config: MixtureConfig = settings.trainers.mixture

    traces = draw_mixture(config, num_samples=200)

    terms = [trace.thinking.count("\n") + 2 for trace in traces]
    assert (min(terms), max(terms)) == (config.min_terms, config.max_terms)
    assert traces == draw_mixture(config, num_samples=200)


def test_interpreter_without_trl_is_refused_with_the_way_to_it(
    settings: TrainingSuiteSettings,
) -> None:
    wanted = settings.trainers.model_copy(update={"trl_version": "0.0"})
    changed = settings.model_copy(update={"trainers": wanted, "peer_python": sys.executable})

    with pytest.raises(RefusedError, match=r"TRL(.|\n)*suite\.peer_python=/path/to/bin/python"):
        check_trl(changed)


def test_interpreter_that_is_not_there_is_named(settings: TrainingSuiteSettings) -> None:
    with pytest.raises(RefusedError, match=r"suite\.peer_python=/nowhere/python cannot be started"):
        check_trl(settings.model_copy(update={"peer_python": "/nowhere/python"}))


def test_packed_and_unpacked_take_the_same_steps(
    tiny: TrainingSuiteSettings, tmp_path: Path
) -> None:
    task = set_task(tiny, Path(tiny.model.source), num_steps=2, compute_dtype="float32")
    programs = {
        side: build_program(side, task, tiny, directory=tmp_path, num_threads=1)
        for side in (PACKED, UNPACKED)
    }

    with open_gate(programs, directory=tmp_path, start_seconds=120) as gated:
        answers = {name: [side.step() for _ in range(2)] for name, side in gated.items()}

    race = Race(task=task, answers=answers, warm_up_steps=1, product_seconds=[1.0, 1.0])
    assert race.largest_loss_difference() < 1e-5
    assert race.list_tokens_per_second(PACKED).median > 0
    assert race.peak_gib(UNPACKED) > 0


def test_unpacked_has_one_sample_a_pass(tiny: TrainingSuiteSettings, tmp_path: Path) -> None:
    task = set_task(tiny, Path(tiny.model.source), num_steps=1, compute_dtype="float32")

    program = build_program(UNPACKED, task, tiny, directory=tmp_path, num_threads=1)

    request = json.loads(Path(program.command[-1]).read_text(encoding="utf-8"))
    assert ShardingConfig.model_validate(request["sharding"]).micro_batch_tokens is None
    assert len(request["examples"]) == 3


def make_race(settings: TrainingSuiteSettings, sides: dict[str, float]) -> Race:
    """A race in which a side takes so many seconds for a step, every time."""
    task = set_task(settings, Path(settings.model.source), num_steps=3, compute_dtype="float32")
    return Race(
        task=task,
        answers={
            name: [{"loss": 1.0, "seconds": seconds, "peak": 2.0}] * 3
            for name, seconds in sides.items()
        },
        warm_up_steps=1,
        product_seconds=[0.5] * 3,
    )


def test_summary_takes_the_best_of_trl_as_the_peer(tiny: TrainingSuiteSettings) -> None:
    first = {PACKED: 1.0, UNPACKED: 2.0, ACCUMULATED: 3.0, PADDING_FREE: 2.5}
    races = [make_race(tiny, sides) for sides in (first, {PACKED: 1.0, PADDED: 4.0})]

    results = summarize(races, tiny)

    assert results["trl_best"] == PADDING_FREE
    assert results["packed_over_trl_best"]["values"] == pytest.approx([2.5, 2.5])
    assert results["packed_over_trl_padded"]["median"] == pytest.approx(4.0)
    assert results["unpacked_over_trl_accumulated"]["median"] == pytest.approx(1.5)
    assert results["share_of_product_rate"]["median"] > 0
