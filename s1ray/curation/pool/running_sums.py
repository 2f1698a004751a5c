"""A generator of running sums: questions with exact step-by-step traces and gold answers.

It knows arithmetic and its own phrasing; it does not know what a pool or a benchmark does with
the questions. Two seeds draw from the same distribution, so overlaps between two draws are whole
questions, which decontamination finds.
"""

import hashlib
import random
from collections.abc import Sequence

from s1ray.records import AnswerKind, Question, ReasoningTrace

TEACHER = "running_sums"
_MIX = {"+": "additions", "-": "subtractions"}


def generate_running_sums(
    *,
    num_questions: int,
    seed: int,
    min_terms: int,
    max_terms: int,
    max_number: int,
    operations: Sequence[str],
    phrasings: Sequence[str],
) -> tuple[ReasoningTrace, ...]:
    """Draw distinct sums with their running totals.

    The number of terms is uniform over the lengths that still have unseen sums. The domain of a
    question is its operation mix and length, for example "mixed, 4 terms".

    Args:
        num_questions: How many; all differ.
        seed: Chooses the sums; the same arguments give the same traces on any machine.
        min_terms: Fewest terms of a sum.
        max_terms: Most terms of a sum.
        max_number: Terms lie between 1 and this.
        operations: "+", "-" or both.
        phrasings: Texts with one ``{sum}``. Which one a sum gets depends on the sum alone.

    Raises:
        ValueError: Fewer distinct sums exist than are asked for.
    """
    lengths = range(min_terms, max_terms + 1)
    unseen = {n: max_number**n * len(set(operations)) ** (n - 1) for n in lengths}
    _check_enough(num_questions, num_sums=sum(unseen.values()))
    rng = random.Random(seed)
    seen: set[str] = set()
    traces: list[ReasoningTrace] = []
    while len(traces) < num_questions:
        terms = rng.choice([length for length, left in unseen.items() if left])
        numbers = [rng.randint(1, max_number) for _ in range(terms)]
        signs = [rng.choice(operations) for _ in range(terms - 1)]
        expression = _spell(numbers, signs)
        if expression in seen:
            continue
        seen.add(expression)
        unseen[terms] -= 1
        traces.append(trace_running_sum(numbers, signs=signs, phrasings=phrasings))
    return tuple(traces)


def trace_running_sum(
    numbers: Sequence[int], *, signs: Sequence[str], phrasings: Sequence[str]
) -> ReasoningTrace:
    """Return one sum as a question with its running totals, one step a line.

    Args:
        numbers: The terms.
        signs: What stands between them; one fewer than the terms.
        phrasings: As in ``generate_running_sums``.
    """
    total, steps = numbers[0], []
    for sign, number in zip(signs, numbers[1:], strict=True):
        before = total
        total = before + number if sign == "+" else before - number
        steps.append(f"{before} {sign} {number} = {total}")
    thinking = "\n".join(steps)
    mix = _MIX[signs[0]] if len(set(signs)) == 1 else "mixed"
    text = _phrase(_spell(numbers, signs), phrasings)
    question = Question(
        id=hashlib.sha256(text.encode()).hexdigest()[:16],
        text=text,
        answer=str(total),
        answer_kind=AnswerKind.INTEGER,
        source=TEACHER,
        domain=f"{mix}, {len(numbers)} terms",
        solution=thinking,
    )
    return ReasoningTrace(
        question=question, thinking=thinking, answer=str(total), teacher=TEACHER, is_correct=True
    )


def _check_enough(num_questions: int, *, num_sums: int) -> None:
    if num_questions > num_sums:
        raise ValueError(
            f"num_questions={num_questions} running sums were asked for, and only {num_sums} "
            "distinct ones exist. Raise max_terms or max_number, or ask for fewer."
        )


def _spell(numbers: Sequence[int], signs: Sequence[str]) -> str:
    rest = (f" {sign} {number}" for sign, number in zip(signs, numbers[1:], strict=True))
    return f"{numbers[0]}{''.join(rest)}"


def _phrase(expression: str, phrasings: Sequence[str]) -> str:
    # A function of the sum alone: otherwise the same sum could stand in pool and benchmark under
    # two phrasings, and no comparison of texts would find it.
    digest = hashlib.sha256(expression.encode()).digest()
    return phrasings[int.from_bytes(digest[:8], "big") % len(phrasings)].replace(
        "{sum}", expression
    )
