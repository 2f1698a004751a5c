"""What to change when a plan does not fit, or wastes time; every change is estimated again.

Changes that leave the result as it is come before those that do not.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from s1ray.config.planning import AdviceConfig, AssumptionsConfig
from s1ray.config.training import LoraConfig
from s1ray.planning.changes import Change, list_faster, list_smaller, shorten
from s1ray.planning.cluster import Cluster
from s1ray.planning.estimate import Estimate, estimate
from s1ray.planning.model import ModelShape
from s1ray.planning.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Changes that make a plan fit, or faster, and the estimate after them."""

    overrides: Mapping[str, str]
    """Configuration keys and their values."""
    is_same_result: bool
    """Whether the trained weights stay the same, up to the order of sums."""
    recipe: Recipe
    cluster: Cluster
    estimate: Estimate

    @property
    def words(self) -> str:
        """The overrides as a shell takes them."""
        return shlex.join(f"{key}={value}" for key, value in self.overrides.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Adviser:
    """Weighs changes of one model's plan."""

    model: ModelShape
    assumptions: AssumptionsConfig
    config: AdviceConfig
    lora: LoraConfig | None
    """The adapters that may be tried; None where they are no way out."""

    def advise(self, cluster: Cluster, recipe: Recipe, *, current: Estimate) -> tuple[Advice, ...]:
        """Return what makes a plan fit, best first; of one that fits, what makes it faster.

        Args:
            cluster: The hardware.
            recipe: The fine-tune as it stands.
            current: Its estimate.

        Returns:
            Only what was found to help: single changes, and a combination where no single change
            is enough, or where several add up.
        """
        start = Advice(
            overrides={}, is_same_result=True, recipe=recipe, cluster=cluster, estimate=current
        )
        return self._find_faster(start) if current.fits else self._find_fitting(start)

    def _find_fitting(self, start: Advice) -> tuple[Advice, ...]:
        changes = self._list_smaller(start)
        singles = list(self._apply(start, changes))
        found = [advice for advice in singles if advice.estimate.fits]
        if not any(a.is_same_result and not a.estimate.is_tight for a in found):
            found += self._combine_until_it_fits(start)
        for advice in singles:
            if not (advice.is_same_result or advice.estimate.fits):
                found += self._combine_until_it_fits(advice)
        blocks = shorten(start.cluster, start.recipe, config=self.config)
        shorter = (advice for advice in self._apply(start, blocks) if advice.estimate.fits)
        found += [advice for advice in [next(shorter, None)] if advice is not None]
        return _rank(found)

    def _combine_until_it_fits(self, start: Advice) -> list[Advice]:
        """Take one relieving change after the other, the mildest first."""
        advice = start
        while not advice.estimate.fits or advice.estimate.is_tight:
            changes = self._list_smaller(advice)
            limit = (1 - self.config.least_relief) * advice.estimate.memory.peak
            relieving = (
                after
                for after in self._apply(advice, (c for c in changes if c.is_same_result))
                if after.estimate.memory.peak < limit
            )
            following = next(relieving, None)
            if following is None:
                return [advice] if advice.estimate.fits else []
            advice = following
        return [advice]

    def _list_smaller(self, start: Advice) -> Iterator[Change]:
        return list_smaller(
            self.model, start.cluster, start.recipe, config=self.config, lora=self.lora
        )

    def _find_faster(self, start: Advice) -> tuple[Advice, ...]:
        singles = self._list_faster(start)
        if not singles:
            return ()
        found = list(singles)
        for is_same_result in (True, False):
            following = [a for a in singles if a.is_same_result or not is_same_result]
            while following:
                best = min(following, key=_training_seconds)
                found.append(best)
                following = [
                    a for a in self._list_faster(best) if a.is_same_result or not is_same_result
                ]
        return _rank(found)

    def _list_faster(self, start: Advice) -> list[Advice]:
        limit = start.estimate.training_seconds / self.config.worthwhile_speedup
        changes = list_faster(self.model, start.cluster, start.recipe, config=self.config)
        return [
            advice
            for advice in self._apply(start, changes)
            if advice.estimate.fits
            and not advice.estimate.is_tight
            and _training_seconds(advice) <= limit
        ]

    def _apply(self, start: Advice, changes: Iterable[Change]) -> Iterable[Advice]:
        for change in changes:
            after = estimate(
                self.model, change.cluster, change.recipe, assumptions=self.assumptions
            )
            yield Advice(
                overrides={**start.overrides, **change.overrides},
                is_same_result=start.is_same_result and change.is_same_result,
                recipe=change.recipe,
                cluster=change.cluster,
                estimate=after,
            )


def _training_seconds(advice: Advice) -> float:
    return advice.estimate.training_seconds


def _rank(advice: list[Advice]) -> tuple[Advice, ...]:
    """Return the best of each set of keys: what keeps the result, what is safe, what is at hand."""

    def order(item: Advice) -> tuple[bool, bool, bool, float]:
        is_elsewhere = "cluster.num_nodes" in item.overrides
        is_tight = item.estimate.is_tight
        return (not item.is_same_result, is_tight, is_elsewhere, _training_seconds(item))

    ranked = sorted(advice, key=order)
    best: dict[frozenset[str], Advice] = {}
    for item in ranked:
        best.setdefault(frozenset(item.overrides), item)
    return tuple(best.values())
