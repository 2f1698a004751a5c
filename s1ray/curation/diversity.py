"""Which domain a question belongs to.

It knows the source's own subject and looked-up labels; it asks no model.
"""

from collections.abc import Mapping

from s1ray.records import Question


def find_domain(question: Question, *, labels: Mapping[str, str] | None) -> str:
    """Return the domain that selection balances.

    Args:
        question: Carries the source's own subject, or None.
        labels: Question id to a label given elsewhere (a model's MSC code, a cluster); None
            to use the source's own subject, or the source's name where it has none.

    Raises:
        ValueError: ``labels`` does not cover the question.
    """
    if labels is None:
        return question.domain if question.domain is not None else question.source
    label = labels.get(question.id)
    if label is None:
        raise ValueError(
            f"diversity has no label for question {question.id} of {question.source}; "
            f"{len(labels)} questions are labelled. Label every question that passes the "
            "difficulty step, or set diversity=source."
        )
    return label
