"""What a teacher of running sums must know."""

import re


def add_terms(question: str) -> str:
    """Return a question's sum."""
    terms = re.findall(r"[+-]?\d+", question.replace(" ", ""))
    return str(sum(int(term) for term in terms))
