"""One fine-tune in this process, without Ray: what it exports."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from s1ray.config.recipe import Recipe
from s1ray.curation.traces import read_traces
from s1ray.orchestration.fine_tune.train import describe_job, prepare_train
from s1ray.training.fine_tune import EXPORT, FineTuneJob, fine_tune
from tests.recipes import write_traces

LORA = "training.lora={rank:2,alpha:4,targets:[q_proj],base_dtype:float32}"
COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize("is_of_hub", [True, False])
def test_adapter_names_its_base_as_others_find_it(
    tmp_path: Path, tiny: Callable[..., Recipe], *, is_of_hub: bool
) -> None:
    traces = write_traces(tmp_path)
    plan = prepare_train(
        tiny(f"traces={traces}", LORA, "sharding=cpu1", "checkpoint.export.merge_adapter=false")
    )
    job = describe_job(plan)
    if is_of_hub:
        hub = {"source": "owner/model", "revision": COMMIT, "random": None}
        job = replace(job, model=job.model.model_copy(update=hub))

    config = train_and_read_adapter(job, traces)

    base = ("owner/model", COMMIT) if is_of_hub else (str(plan.model.path), None)
    assert (config["base_model_name_or_path"], config["revision"]) == base


def train_and_read_adapter(job: FineTuneJob, traces: Path) -> dict[str, object]:
    ignore, no = (lambda _: None), (lambda: False)
    assert fine_tune(
        job, read_traces(traces), on_start=ignore, on_step=ignore, should_stop=no, should_hurry=no
    )
    content: dict[str, object] = json.loads(
        (job.run_path / EXPORT / "adapter_config.json").read_text(encoding="utf-8")
    )
    return content
