"""What every step of curation let through, and why it dropped the rest.

The funnel counts; it does not know what the steps decide. It is filled while items stream by.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from s1ray.curation.items import PoolItem, Reason, Rejection

JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelStep:
    """One finished step."""

    name: str
    num_in: int
    num_out: int
    reasons: tuple[tuple[str, int], ...]
    """How many were dropped for what, largest first; sums to ``num_in - num_out``."""
    stand_in: str | None
    """What the step used in place of what s1 used; None where nothing was missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """The steps in the order they ran."""

    steps: tuple[FunnelStep, ...]

    def describe(self) -> dict[str, JsonValue]:
        """Return the content of funnel.json."""
        return {
            "steps": [
                {
                    "name": step.name,
                    "in": step.num_in,
                    "out": step.num_out,
                    "reasons": dict(step.reasons),
                    "stand_in": step.stand_in,
                }
                for step in self.steps
            ]
        }


@dataclass(slots=True, kw_only=True)
class StepCount:
    """A step that is still running."""

    name: str
    stand_in: str | None
    num_in: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def freeze(self) -> FunnelStep:
        """Return the step as it stands."""
        return FunnelStep(
            name=self.name,
            num_in=self.num_in,
            num_out=self.num_in - self.reasons.total(),
            reasons=tuple(sorted(self.reasons.items(), key=lambda pair: (-pair[1], pair[0]))),
            stand_in=self.stand_in,
        )


class FunnelRecorder:
    """Counts items as they pass through steps, and hands every rejection on."""

    def __init__(self, *, reject: Callable[[Rejection], None]) -> None:
        self._steps: list[StepCount] = []
        self._reject = reject

    def sift(
        self,
        items: Iterable[PoolItem],
        *,
        step: str,
        judge: Callable[[PoolItem], Reason | None],
        stand_in: str | None,
    ) -> Iterator[PoolItem]:
        """Return the items that ``judge`` has no reason to drop, lazily.

        The step takes its place in the funnel now; its counts grow as the result is consumed.
        """
        count = self.open(step, stand_in=stand_in)
        return self._sift(items, count=count, judge=judge)

    def open(self, step: str, *, stand_in: str | None) -> StepCount:
        """Add a step whose counts the caller fills."""
        count = StepCount(name=step, stand_in=stand_in)
        self._steps.append(count)
        return count

    def finish(self) -> Funnel:
        """Return the funnel as it stands."""
        return Funnel(steps=tuple(step.freeze() for step in self._steps))

    def drop(self, item: PoolItem, *, count: StepCount, reason: Reason) -> None:
        """Count one rejection and hand it on."""
        count.reasons[reason.name] += 1
        self._reject(
            Rejection(
                step=count.name,
                reason=reason.name,
                id=item.trace.question.id,
                source=item.trace.question.source,
                origin=item.origin,
                evidence=reason.evidence,
            )
        )

    def _sift(
        self,
        items: Iterable[PoolItem],
        *,
        count: StepCount,
        judge: Callable[[PoolItem], Reason | None],
    ) -> Iterator[PoolItem]:
        for item in items:
            count.num_in += 1
            reason = judge(item)
            if reason is None:
                yield item
            else:
                self.drop(item, count=count, reason=reason)
