import pytest

from s1ray.curation.pool.running_sums import generate_running_sums
from s1ray.records import ReasoningTrace


def _draw(
    *, num_questions: int = 300, seed: int = 1, max_terms: int = 6
) -> tuple[ReasoningTrace, ...]:
    return generate_running_sums(
        num_questions=num_questions,
        seed=seed,
        min_terms=2,
        max_terms=max_terms,
        max_number=9,
        operations=("+", "-"),
        phrasings=("What is {sum}?", "Compute {sum}."),
    )


def _evaluate(text: str) -> int:
    """Add up the numbers of a question, sign by sign: an oracle without the generator's code."""
    words = text.replace("?", "").replace(".", "").split()
    expression = [word for word in words if word.isdigit() or word in "+-"]
    total = int(expression[0])
    for sign, number in zip(expression[1::2], expression[2::2], strict=True):
        total += int(number) if sign == "+" else -int(number)
    return total


def test_running_sums_answers_equal_independent_evaluation() -> None:
    traces = _draw()

    golds = [int(trace.question.answer) for trace in traces]

    assert golds == [_evaluate(trace.question.text) for trace in traces]
    assert [trace.answer for trace in traces] == [trace.question.answer for trace in traces]


def test_running_sums_each_step_is_true_and_starts_where_the_last_ended() -> None:
    traces = _draw()

    for trace in traces:
        steps = [line.split() for line in trace.thinking.split("\n")]
        ends = [int(step[4]) for step in steps]
        assert all(
            _evaluate(
                " ".join(["0", "+", *step[:3]])
                if not step[0].startswith("-")
                else "0 - " + " ".join([step[0][1:], *step[1:3]])
            )
            == int(step[4])
            for step in steps
        )
        assert [int(step[0]) for step in steps[1:]] == ends[:-1]
        assert ends[-1] == int(trace.question.answer)


def test_running_sums_are_distinct_and_repeatable() -> None:
    first, second, other = _draw(), _draw(), _draw(seed=2)

    assert first == second
    assert len({trace.question.text for trace in first}) == 300
    assert {trace.question.id for trace in other} != {trace.question.id for trace in first}


def test_running_sums_phrase_a_sum_alike_under_every_seed() -> None:
    texts = {
        trace.question.text
        for seed in range(6)
        for trace in _draw(seed=seed, max_terms=2, num_questions=162)
    }

    assert len(texts) == 162


def test_running_sums_cover_lengths_and_mixes() -> None:
    domains = {trace.question.domain for trace in _draw(num_questions=2000)}

    assert {"additions, 2 terms", "subtractions, 3 terms", "mixed, 6 terms"} <= domains
    assert len(domains) == 14


def test_running_sums_refuses_more_than_exist() -> None:
    with pytest.raises(ValueError, match=r"num_questions=163 .* only 162 distinct"):
        _draw(num_questions=163, max_terms=2)
