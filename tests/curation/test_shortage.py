"""What is refused when fewer questions are left than a selection needs, or ids do not tell."""

from dataclasses import replace

import pytest

from tests.curation.composed import curate_by
from tests.curation.made import make_item


def test_a_shortage_says_which_steps_dropped_the_rest() -> None:
    pool = [make_item(f"question {number}") for number in range(20)]
    pool.append(replace(pool[0], origin="again"))

    with pytest.raises(
        ValueError,
        match=r"num_questions=50, and only 20 questions passed the steps before it \(the pool has "
        r"21 rows; deduplicate dropped 1: same_question 1\)",
    ):
        curate_by("random", pool, num_questions=50)


def test_an_empty_pool_is_refused_also_where_all_of_it_is_wanted() -> None:
    with pytest.raises(ValueError, match=r"selection=full, and only 0 .*has 0 rows\). Enlarge"):
        curate_by("full", [])


def test_an_id_that_stands_for_two_questions_is_refused() -> None:
    one, other = make_item("a"), make_item("b")
    question = replace(other.trace.question, id=one.trace.question.id)
    pool = [one, replace(other, trace=replace(other.trace, question=question))]

    with pytest.raises(ValueError, match=r"stands for two questions, src:a and src:b"):
        curate_by("random", pool, num_questions=2)
