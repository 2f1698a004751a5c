"""One fine-tune from traces to what it exports, in this process alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from s1ray.orchestration.models import PreparedModel, read_export, read_model
from s1ray.records import StepMetrics
from s1ray.training.fine_tune import EXPORT, FineTuneJob, fine_tune
from tests.fakes import read_model_config, write_tiny_qwen2
from tests.training.checkpoint_runs import LORA, make_checkpointing
from tests.training.plain_loop import make_sharding, make_training
from tests.training.samples.traces import make_trace

COMMIT = "0123456789abcdef" * 2 + "01234567"
TRACES = [make_trace(f"What is {n} + 1?", f"{n} + 1 is {n + 1}.", f"{n + 1}") for n in range(4)]


@pytest.fixture
def base(tmp_path: Path) -> PreparedModel:
    return read_model(write_tiny_qwen2(tmp_path / "base"))


def run_job(
    base: PreparedModel, path: Path, *, lora: Any, merge_adapter: bool, hub: Any = None
) -> list[int]:
    """Fine-tune to the end and return the steps that were told."""
    export = {"dtype": "model", "shard_gib": 1.0, "merge_adapter": merge_adapter}
    job = FineTuneJob(
        model=read_model_config("tiny").model_copy(update=hub),
        model_path=base.path,
        training=make_training(max_seq_len=512, lora=lora),
        sharding=make_sharding(micro_batch_tokens=512),
        checkpoint=make_checkpointing(export=export),
        run_path=path,
        identity={},
        resume_from=None,
        token_cache=None,
    )
    told: list[StepMetrics] = []
    is_finished = fine_tune(
        job,
        TRACES,
        on_start=lambda start: None,
        on_step=told.append,
        should_stop=lambda: False,
        should_hurry=lambda: False,
    )
    assert is_finished
    return [metrics.step for metrics in told]


def test_adapter_that_is_not_merged_is_exported_beside_its_base(
    base: PreparedModel, tmp_path: Path
) -> None:
    steps = run_job(base, tmp_path / "run", lora=LORA, merge_adapter=False)

    exported = read_export(tmp_path / "run" / EXPORT, base=base)
    assert steps == [1]
    assert (exported.path, exported.adapter) == (base.path, tmp_path / "run" / EXPORT)
    assert exported.fingerprint.weights != base.fingerprint.weights
    assert exported.fingerprint.tokenizer == base.fingerprint.tokenizer


@pytest.mark.parametrize(
    ("lora", "merge_adapter"), [(LORA, True), (None, True), (None, False)],
    ids=["merged", "whole", "nothing to merge"],
)  # fmt: skip
def test_every_other_export_is_a_model_of_its_own(
    base: PreparedModel, tmp_path: Path, lora: Any, *, merge_adapter: bool
) -> None:
    run_job(base, tmp_path / "run", lora=lora, merge_adapter=merge_adapter)

    exported = read_export(tmp_path / "run" / EXPORT, base=base)
    assert (exported.path, exported.adapter) == (tmp_path / "run" / EXPORT, None)
    assert exported.fingerprint.weights != base.fingerprint.weights


@pytest.mark.parametrize("is_of_hub", [True, False])
def test_adapter_names_its_base_as_others_find_it(
    base: PreparedModel, tmp_path: Path, *, is_of_hub: bool
) -> None:
    hub = {"source": "owner/model", "revision": COMMIT, "random": None} if is_of_hub else {}
    run_job(base, tmp_path / "run", lora=LORA, merge_adapter=False, hub=hub)

    written = tmp_path / "run" / EXPORT / "adapter_config.json"
    config = json.loads(written.read_text(encoding="utf-8"))
    named = (config["base_model_name_or_path"], config["revision"])
    assert named == (("owner/model", COMMIT) if is_of_hub else (str(base.path), None))
