"""A grid of budgets on real Serve replicas: sharing chains changes nothing but the work."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from s1ray.config.recipe import Recipe
from s1ray.evaluation.samples import SampleGroup, SampleTask
from s1ray.evaluation.store import read_samples
from s1ray.orchestration.answering.evaluate import prepare_evaluate
from s1ray.orchestration.answering.evaluation import run_evaluation
from s1ray.orchestration.answering.serve import Replica
from s1ray.records import Completion

pytestmark = [pytest.mark.usefixtures("ray_head"), pytest.mark.slow]

NUM_QUESTIONS, NUM_SAMPLES, NUM_POLICIES = 4, 2, 5


def count_in(file: Path) -> type[Replica]:
    """Return a replica that leaves its engine's counters in a file after every group."""

    class CountingReplica(Replica):
        async def solve(self, group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
            async for answer in super().solve(group):
                yield answer
            file.write_text(json.dumps(dict(await self.count())), encoding="utf-8")

    return CountingReplica


@pytest.mark.parametrize("sampling", ["greedy", "temperature_1"])
def test_shared_and_independent_chains_leave_identical_records(
    tiny: Callable[..., Recipe], tmp_path: Path, sampling: str
) -> None:
    def evaluate(name: str, *overrides: str) -> tuple[dict[SampleTask, Completion], int]:
        recipe = tiny(
            "target=base", f"sampling={sampling}", f"evaluation.num_samples={NUM_SAMPLES}",
            "budget.max_thinking_tokens=[0,4,9,null]", "model.context_tokens=256", *overrides,
            storage=tmp_path / name,
        )  # fmt: skip
        plan = prepare_evaluate(recipe).evaluation
        assert plan is not None
        counts = tmp_path / f"{name}.json"
        path = run_evaluation(plan, replica=count_in(counts))
        samples = read_samples(path / "samples.jsonl")
        num_decoded = json.loads(counts.read_text(encoding="utf-8"))["decoded_tokens"]
        return {sample.task: sample.completion for sample in samples}, num_decoded

    shared, shared_work = evaluate("shared")
    alone, work = evaluate("alone", "engine.remembered_tokens=0")

    assert len(shared) == NUM_QUESTIONS * NUM_SAMPLES * NUM_POLICIES
    assert shared == alone
    assert shared_work < work
