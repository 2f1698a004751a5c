"""A point of a budget curve, one with Waits, and what others published."""

from dataclasses import dataclass, replace

from s1ray.reporting.reading.records import BudgetPoint

POINT = BudgetPoint(
    benchmark="sums",
    model="trained",
    policy="cap_8",
    max_thinking_tokens=8,
    num_waits=0,
    num_samples=100,
    accuracy=0.5,
    stderr=0.05,
    thinking_tokens=7.5,
    answered=1.0,
    control=1.0,
    forced=0.5,
)
WAITED = replace(
    POINT,
    policy="wait_2",
    max_thinking_tokens=None,
    num_waits=2,
    thinking_tokens=40.0,
    accuracy=0.7,
)


@dataclass(frozen=True)
class Published:
    system: str
    benchmark: str
    accuracy: float
    is_drawn: bool
    source: str
