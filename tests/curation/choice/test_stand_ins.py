"""What funnel and card say of a selection whose pool lacks what s1's had."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from s1ray.config.pool import PoolConfig
from s1ray.curation.curate import Curation
from s1ray.curation.pool.items import PoolItem
from s1ray.curation.pool.rows import SOLUTION_TEACHER
from s1ray.curation.pool.sources import Pool
from tests.curation.composed import compose_group, curate_by
from tests.curation.made import make_item

TYPES = ("qq8933/AIME_1983_2024", "Idavidrein/gpqa", "AI-MO/NuminaMath-CoT/aops_forum")


def _stand_in(curation: Curation, step: str) -> str:
    (found,) = [item.stand_in for item in curation.funnel.steps if item.name == step]
    return found or ""


def _release(path: Path, *, num_rows: int) -> Pool:
    """Write rows with the columns of the authors' 59,000 questions with traces, and read them."""
    rows = (
        {
            "question": f"What is {number} plus {number * number}?",
            "solution": str(number + number * number),
            "cot_type": "math",
            "source_type": TYPES[number % len(TYPES)],
            "thinking_trajectories": ["x" * (number + 1)],
            "attempt": "so",
        }
        for number in range(num_rows)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    content = compose_group("pool", "s1_59k_traces", root=str(path.parent))
    sources = content["sources"]
    assert isinstance(sources, dict)
    sources["s1k"]["files"] = [path.name]
    return Pool(PoolConfig.model_validate(content))


def test_s1s_selection_of_the_released_traces_is_a_thousand_long_ones_and_says_what_it_rests_on(
    tmp_path: Path,
) -> None:
    pool = _release(tmp_path / "full.jsonl", num_rows=6000)

    curation = curate_by("s1k", pool)

    assert len(curation.selected) == 1000
    assert {trace.question.domain for trace in curation.selected} == set(TYPES)
    assert min(curation.lengths) > 4000
    assert "no question is dropped as too easy" in _stand_in(curation, "difficulty")
    notes = _stand_in(curation, "selection").split("; ")
    assert notes == [
        "the sources' own subjects stand in for subjects chosen by a model",
        "no row carries a graded answer of a teacher, so none is chosen for it",
        "no question is of aime or gpqa, by whose domains s1 weights its last draws, so that every "
        "draw is uniform over the domains",
    ]


def _items(source: str = "aime", *, thinking: str = "so") -> list[PoolItem]:
    return [
        make_item(f"{source} question {n}", source=source, domain=f"d{n % 2}", thinking=thinking)
        for n in range(20)
    ]


def test_a_benchmark_that_weights_no_domain_is_named() -> None:
    curation = curate_by("s1k", _items(), num_questions=5)

    note = _stand_in(curation, "selection")
    assert note.endswith("no question is of gpqa, by whose domains s1 weights its last draws")
    papers = curate_by("s1k", _items(), num_questions=5, variant="paper")
    assert "gpqa" not in _stand_in(papers, "selection")


def test_solutions_and_empty_thinking_are_named_where_thinking_ranks() -> None:
    items = _items()
    items[0] = replace(items[0], trace=replace(items[0].trace, teacher=SOLUTION_TEACHER))
    items[1] = replace(items[1], trace=replace(items[1].trace, thinking=""))

    note = _stand_in(curate_by("longest", items, num_questions=5), "selection")

    assert "stands in for that of a teacher's thinking in 1 of 20 questions" in note
    assert "1 of 20 questions have neither thinking nor solution and rank last" in note
    at_random = _stand_in(curate_by("random", items, num_questions=5), "selection")
    assert "thinking" not in at_random


def test_a_single_domain_is_named_where_domains_are_balanced() -> None:
    items = [make_item(f"question {n}", source="gsm8k") for n in range(20)]

    note = _stand_in(curate_by("diverse", items, num_questions=5), "selection")

    assert "all questions are of one domain, gsm8k, so that none is balanced" in note


@pytest.mark.parametrize("selection", ["s1k", "longest"])
def test_a_ranking_by_thinking_that_no_question_has_is_refused(selection: str) -> None:
    with pytest.raises(ValueError, match=r"which is 0 for each of the 20.*Set selection\.length="):
        curate_by(selection, _items(thinking=""), num_questions=5)


def test_a_pool_without_thinking_is_chosen_from_where_nothing_ranks() -> None:
    assert len(curate_by("random", _items(thinking=""), num_questions=5).selected) == 5
