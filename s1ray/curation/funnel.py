"""What every step of curation let through, and why it dropped the rest.

The funnel counts; it does not know what the steps decide. It is filled while items stream by.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from s1ray.curation.pool.items import PoolItem, Reason, RefusedRow, Rejection

JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelStep:
    """One finished step."""

    name: str
    num_in: int
    num_out: int
    reasons: tuple[tuple[str, int], ...]
    """How many were dropped for what, largest first; sums to ``num_in - num_out``."""
    sources: tuple[tuple[str, int], ...]
    """How many were dropped of which source, largest first."""
    stand_in: str | None
    """What the step used in place of what s1 used; None where nothing was missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """The steps in the order they ran."""

    steps: tuple[FunnelStep, ...]

    def summarise(self) -> str:
        """Return in a line how many rows there were, and which steps dropped how many for what."""
        num_rows = self.steps[0].num_in if self.steps else 0
        drops = [
            f"{step.name} dropped {step.num_in - step.num_out}: "
            + ", ".join(f"{reason} {number}" for reason, number in step.reasons)
            for step in self.steps
            if step.reasons
        ]
        return "; ".join([f"the pool has {num_rows} rows", *drops])

    def describe(self) -> dict[str, JsonValue]:
        """Return the content of funnel.json."""
        return {
            "steps": [
                {
                    "name": step.name,
                    "in": step.num_in,
                    "out": step.num_out,
                    "reasons": dict(step.reasons),
                    "dropped_by_source": dict(step.sources),
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
    sources: Counter[str] = field(default_factory=Counter)

    def freeze(self) -> FunnelStep:
        """Return the step as it stands."""
        return FunnelStep(
            name=self.name,
            num_in=self.num_in,
            num_out=self.num_in - self.reasons.total(),
            reasons=_rank(self.reasons),
            sources=_rank(self.sources),
            stand_in=self.stand_in,
        )


def _rank(counts: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


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
    ) -> Iterator[PoolItem]:
        """Return the items that ``judge`` has no reason to drop, lazily.

        The step takes its place in the funnel now; its counts grow as the result is consumed.

        Args:
            items: Read once.
            step: The step's name in the funnel.
            judge: Returns why an item is dropped, None to keep it.
        """
        return self.sift_into(items, count=self.open(step, stand_in=None), judge=judge)

    def admit(self, rows: Iterable[PoolItem | RefusedRow], *, step: str) -> Iterator[PoolItem]:
        """Return the rows that became items, lazily, and hand the refused ones on."""
        return self._admit(rows, count=self.open(step, stand_in=None))

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
        question = item.trace.question
        self._record(
            Rejection(
                step=count.name,
                reason=reason.name,
                id=question.id,
                source=question.source,
                origin=item.origin,
                evidence=reason.evidence,
            ),
            count=count,
        )

    def _record(self, rejection: Rejection, *, count: StepCount) -> None:
        count.reasons[rejection.reason] += 1
        count.sources[rejection.source] += 1
        self._reject(rejection)

    def _admit(
        self, rows: Iterable[PoolItem | RefusedRow], *, count: StepCount
    ) -> Iterator[PoolItem]:
        for row in rows:
            count.num_in += 1
            if isinstance(row, PoolItem):
                yield row
                continue
            rejection = Rejection(
                step=count.name,
                reason=row.reason,
                id=None,
                source=row.source,
                origin=row.origin,
                evidence={"detail": row.detail},
            )
            self._record(rejection, count=count)

    def sift_into(
        self,
        items: Iterable[PoolItem],
        *,
        count: StepCount,
        judge: Callable[[PoolItem], Reason | None],
    ) -> Iterator[PoolItem]:
        """Yield the items that ``judge`` has no reason to drop, counting into an open step."""
        for item in items:
            count.num_in += 1
            reason = judge(item)
            if reason is None:
                yield item
            else:
                self.drop(item, count=count, reason=reason)
