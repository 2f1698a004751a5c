"""Whose lengths a plan reckons with: the traces' where they are here, else published ones."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest

from s1ray.config.recipe import Recipe
from s1ray.curation.traces import read_traces
from s1ray.orchestration.models import prepare_model
from s1ray.orchestration.plan import PLAN, prepare_plan, read_lengths, run_plan
from s1ray.orchestration.training_data.curate import SELECTED, prepare_curate, run_curate
from tests.recipes import compose_recipe, write_traces

COMMIT = "0" * 40
ON_HUB = ("model.source=owner/name", f"model.revision={COMMIT}", "model.random=null")


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the model owner/name would lie in a hub's cache, the hub being out of reach."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub" / "models--owner--name" / "snapshots" / COMMIT


def _fill(hub: Path, recipe: Recipe, *patterns: str) -> None:
    hub.mkdir(parents=True)
    model = prepare_model(recipe.model, recipe.paths).path
    for file in (file for pattern in patterns for file in model.glob(pattern)):
        shutil.copy(file, hub)


def test_samples_of_which_nothing_is_known_are_not_given_others_lengths(
    tiny: Callable[..., Recipe],
) -> None:
    with pytest.raises(ValueError, match=r"nothing says how long.*jobs\.curate.*unread_lengths="):
        read_lengths(tiny())


def test_curated_traces_are_read(tiny: Callable[..., Recipe]) -> None:
    run = run_curate(prepare_curate(tiny()))

    tokens = read_lengths(tiny()).tokens

    assert len(tokens) == len(read_traces(run / SELECTED)) == 10


def test_named_traces_are_read(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    assert len(read_lengths(tiny(f"traces={write_traces(tmp_path)}")).tokens) == 1


def test_named_traces_of_a_hub_model_are_read_with_its_tokenizer_alone(
    tiny: Callable[..., Recipe], tmp_path: Path, hub: Path
) -> None:
    traces = f"traces={write_traces(tmp_path)}"
    _fill(hub, tiny(), "*.json", "*.jinja")

    assert read_lengths(tiny(traces, *ON_HUB)) == read_lengths(tiny(traces))


def test_curated_traces_of_a_hub_model_that_is_here_are_read(
    tiny: Callable[..., Recipe], hub: Path
) -> None:
    _fill(hub, tiny(), "*")
    run_curate(prepare_curate(tiny(*ON_HUB)))

    assert len(read_lengths(tiny(*ON_HUB)).tokens) == 10


def test_named_traces_of_a_hub_model_out_of_reach_are_refused(tmp_path: Path) -> None:
    traces = write_traces(tmp_path)

    with pytest.raises(ValueError, match=r"the hub did not give Qwen.*set model\.source to its"):
        read_lengths(compose_recipe("experiment=s1_32b", f"traces={traces}"))


@pytest.mark.parametrize("experiment", ["tiny", "s1_32b"])
def test_named_traces_that_are_not_there_are_refused(experiment: str) -> None:
    with pytest.raises(ValueError, match="cannot read the traces in /nope"):
        read_lengths(compose_recipe(f"experiment={experiment}", "traces=/nope.jsonl"))


def test_a_released_set_has_the_lengths_that_were_published_of_it() -> None:
    planning = compose_recipe("experiment=s1_32b").planning

    for experiment, name in (("s1_32b", "s1k"), ("s1_1_32b", "r1")):
        tokens = read_lengths(compose_recipe(f"experiment={experiment}")).tokens
        assert len(tokens) == 1000
        assert max(tokens) <= planning.report_lengths[name].longest_tokens
        assert sum(tokens) > 1000 * planning.report_lengths[name].median_tokens


def test_a_larger_pool_is_not_priced_as_the_released_set() -> None:
    larger = ("experiment=s1_32b", "pool=s1_59k_traces", "selection=full")

    with pytest.raises(ValueError, match="nothing says how long"):
        read_lengths(compose_recipe(*larger))
    assumed = ("planning.unread_lengths=s1k", "planning.report_lengths.s1k.num_samples=59000")
    assert len(read_lengths(compose_recipe(*larger, *assumed)).tokens) == 59000


def test_as_many_samples_are_planned_as_are_selected(tiny: Callable[..., Recipe]) -> None:
    assert len(read_lengths(tiny("planning.unread_lengths=s1k")).tokens) == 10


def test_plans_of_other_traces_have_other_directories(
    tiny: Callable[..., Recipe], tmp_path: Path
) -> None:
    assumed = tiny("planning.unread_lengths=s1k", "training.overflow=truncate")
    before = run_plan(prepare_plan(assumed))

    run_curate(prepare_curate(assumed))
    after = run_plan(prepare_plan(assumed))

    assert before != after
    told = [json.loads((path / PLAN).read_text(encoding="utf-8")) for path in (before, after)]
    assert "s1k" in told[0]["lengths"]
    assert SELECTED in told[1]["lengths"]


@pytest.mark.parametrize(
    "asked",
    [
        ("experiment=s1_32b", "sharding=h100_1", "cluster=h200_1x1"),
        # Frozen weights in bfloat16 would be refused beside arithmetic in float32.
        (
            "experiment=s1_1_5b", "training.compute_dtype=float32", "cluster.device_memory_gib=20",
            "sharding.attention=per_document",
        ),
    ],
)  # fmt: skip
def test_what_is_advised_gives_the_numbers_that_stand_beside_it(asked: tuple[str, ...]) -> None:
    advice = prepare_plan(compose_recipe(*asked)).plan.advice

    assert any("training.lora" in item.overrides for item in advice)
    for item in advice:
        followed = prepare_plan(compose_recipe(*asked, *shlex.split(item.words))).plan
        assert followed.fits
        assert followed.estimate == item.estimate


def test_what_is_advised_is_printed_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = prepare_plan(
        compose_recipe(
            "experiment=s1_32b", "sharding=h100_1", "cluster=h200_1x1", f"paths.storage={tmp_path}"
        )
    )

    run_plan(prepared)

    printed = capsys.readouterr().err
    assert all(advice.words in printed for advice in prepared.plan.advice)
    assert "targets:[q_pr" in "".join(printed.split("to try")[0].split())
