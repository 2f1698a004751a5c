from collections.abc import Sequence
from dataclasses import replace

from s1ray.curation.pool.items import PoolItem, ProtectedQuestion, Rejection
from s1ray.curation.pool.running_sums import generate_running_sums
from s1ray.records import Verdict
from tests.curation.composed import curate
from tests.curation.made import ask_models
from tests.curation.rules import make_rules


def _sums(*, num_questions: int, seed: int) -> list[PoolItem]:
    traces = generate_running_sums(
        num_questions=num_questions,
        seed=seed,
        min_terms=2,
        max_terms=3,
        max_number=9,
        operations=("+", "-"),
        phrasings=("What is {sum}?",),
    )
    return [
        PoolItem(trace=trace, source="sums", origin=f"sums:{number}", level=None)
        for number, trace in enumerate(traces)
    ]


def _protect(items: Sequence[PoolItem]) -> list[ProtectedQuestion]:
    return [
        ProtectedQuestion(
            benchmark="test", item=item.origin, text=item.trace.question.text, is_private=False
        )
        for item in items
    ]


def test_curate_drops_repeats_test_questions_and_solved_ones_and_accounts_for_all() -> None:
    pool, test = _sums(num_questions=600, seed=1), _sums(num_questions=100, seed=2)
    pool += [replace(item, origin=f"again:{item.origin}") for item in pool[:7]]
    test_ids = {item.trace.question.id for item in test}
    solved = {item.trace.question.id for item in pool[100:150]}
    rejections: list[Rejection] = []

    result = curate(
        pool,
        protected=_protect(test),
        verdicts={key: {"base": [Verdict.CORRECT]} for key in solved},
        labels=None,
        count_tokens=len,
        rules=make_rules(difficulty=ask_models(["base"], num_samples=1)),
        reject=rejections.append,
    )

    pool_ids = {item.trace.question.id for item in pool}
    counts = {step.name: (step.num_in, step.num_out) for step in result.funnel.steps}
    assert counts["deduplicate"] == (607, 600)
    assert counts["decontaminate"] == (600, 600 - len(pool_ids & test_ids))
    assert counts["difficulty"][1] == len(pool_ids - test_ids - solved)
    assert counts["selection"] == (len(pool_ids - test_ids - solved), 50)
    assert len(rejections) == 607 - 50
    assert len(pool_ids & test_ids) > 10
    assert {trace.question.id for trace in result.selected} <= pool_ids - test_ids - solved


def test_curate_rejections_name_the_benchmark_item_they_overlap_with() -> None:
    pool = _sums(num_questions=300, seed=1)
    rejections: list[Rejection] = []

    curate(
        pool,
        protected=_protect(pool[5:6]),
        verdicts={},
        labels=None,
        count_tokens=len,
        rules=make_rules(),
        reject=rejections.append,
    )

    (evidence,) = [item.evidence for item in rejections if item.step == "decontaminate"]
    assert (evidence["benchmark"], evidence["item"], evidence["overlap"]) == ("test", "sums:5", 1.0)


def test_curate_is_the_same_for_any_order_of_the_pool() -> None:
    pool = _sums(num_questions=300, seed=1)

    def run(items: list[PoolItem]) -> list[str]:
        result = curate(
            items,
            protected=[],
            verdicts={},
            labels=None,
            count_tokens=len,
            rules=make_rules(),
            reject=lambda _: None,
        )
        return [trace.question.id for trace in result.selected]

    assert run(pool) == run(pool[::-1])
