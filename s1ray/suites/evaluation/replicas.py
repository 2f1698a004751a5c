"""One evaluation replica against two on the same machine, for the same answers."""

import asyncio
import time
from collections.abc import Sequence

from s1ray.config.suites.evaluation import EvaluationSettings
from s1ray.config.tracking import PathsConfig
from s1ray.evaluation.evaluate import Solve
from s1ray.evaluation.samples import SampleGroup
from s1ray.orchestration.answering.evaluation import EvaluationPlan, describe_replica
from s1ray.orchestration.answering.serve import evaluation_replicas
from s1ray.orchestration.cluster.session import ray_session
from s1ray.orchestration.composing import spell_paths
from s1ray.records import Completion
from s1ray.suites.evaluation.journal import plan_recipe
from s1ray.suites.measuring.pairs import Side, Spread, compare_pairs, measure_in_turn
from s1ray.suites.suite import Outcome

Answers = dict[tuple[str, str], Completion]


def measure_replicas(settings: EvaluationSettings, paths: PathsConfig) -> Outcome:
    """Compare questions solved per second on one and on two replicas, each with one thread.

    Raises:
        RuntimeError: The two do not give the same answers.
    """
    places = spell_paths(storage=paths.storage, cache=paths.cache)
    plan = plan_recipe([*settings.replicas, *places])
    seconds = _time_sides(plan, num_pairs=settings.num_pairs)
    ratio = compare_pairs(seconds["one"], seconds["two"])
    rates = {
        name: Spread(values=tuple(len(plan.groups) / value for value in spread.values))
        for name, spread in seconds.items()
    }
    return Outcome(
        summary=f"{rates['one'].median:.1f} questions/s on one replica, "
        f"{rates['two'].median:.1f} on two, ratio {ratio.median:.2f}",
        results={
            "num_questions": len(plan.groups),
            "questions_per_second": {name: rate.describe() for name, rate in rates.items()},
            "two_over_one": ratio.describe(),
        },
    )


def _time_sides(plan: EvaluationPlan, *, num_pairs: int) -> dict[str, Spread]:
    """Return the seconds that one and two replicas take for all questions, measured in turn."""
    config = plan.recipe.serving
    answers: dict[str, Answers] = {}

    def make_side(name: str, solve: Solve, num_replicas: int) -> Side:
        in_flight = num_replicas * config.groups_per_replica

        def side() -> float:
            began = time.perf_counter()
            answers[name] = asyncio.run(_solve_all(plan.groups, solve, max_in_flight=in_flight))
            return time.perf_counter() - began

        return side

    one, two = (config.model_copy(update={"num_replicas": number}) for number in (1, 2))
    described = describe_replica(plan)
    with (
        ray_session(plan.recipe.ray),
        evaluation_replicas(described, config=one, name="one") as solve_one,
        evaluation_replicas(described, config=two, name="two") as solve_two,
    ):
        sides = {"one": make_side("one", solve_one, 1), "two": make_side("two", solve_two, 2)}
        for side in sides.values():
            side()
        if answers["one"] != answers["two"]:
            raise RuntimeError("one replica and two replicas answer differently.")
        return measure_in_turn(sides, num_pairs=num_pairs)


async def _solve_all(groups: Sequence[SampleGroup], solve: Solve, *, max_in_flight: int) -> Answers:
    slots = asyncio.Semaphore(max_in_flight)
    answers: Answers = {}

    async def solve_one(group: SampleGroup) -> None:
        async with slots:
            async for policy, completion in solve(group):
                answers[group.question.id, policy] = completion

    await asyncio.gather(*(solve_one(group) for group in groups))
    return answers
