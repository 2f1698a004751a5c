"""Which questions are hard enough: rules over verdicts and levels, nothing else.

Models are asked elsewhere; here a verdict is a fact about a question. Where no model was asked,
a source's own level stands in, and the funnel says so.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from s1ray.config.curation import (
    DifficultyConfig,
    LevelDifficultyConfig,
    ModelsDifficultyConfig,
)
from s1ray.curation.pool.items import PoolItem, Reason
from s1ray.records import Verdict

Verdicts = Mapping[str, Mapping[str, Sequence[Verdict]]]
"""Question id to the verdicts on each judge's answers."""

_SCORED = frozenset({Verdict.CORRECT, Verdict.INCORRECT, Verdict.NO_ANSWER})


def find_pass_rate(verdicts: Sequence[Verdict]) -> float | None:
    """Return the share of right answers among the scored ones; None where none is scored.

    An answer without an answer in it counts as not solved; a time-out and a faulty gold answer
    are unscored.
    """
    scored = [verdict for verdict in verdicts if verdict in _SCORED]
    return scored.count(Verdict.CORRECT) / len(scored) if scored else None


def find_unsolved_reason(
    verdicts: Mapping[str, Sequence[Verdict]],
    *,
    judges: Collection[str],
    max_pass_rate: float,
    keep_unscored: bool,
) -> Reason | None:
    """Return why a question is too easy, or None to keep it.

    Args:
        verdicts: Per judge, what its answers were judged.
        judges: Who must have failed; s1 drops what either of two models solves.
        max_pass_rate: The largest pass rate that is a failure; 0 in s1.
        keep_unscored: Whether a question stays that nobody solved and somebody did not answer in
            a way that could be scored.

    Source: s1 (arXiv 2501.19393) section 2.2; simplescaling/s1 data/filter.ipynb.
    """
    rates = {judge: find_pass_rate(verdicts.get(judge, ())) for judge in judges}
    solved = [judge for judge, rate in rates.items() if rate is not None and rate > max_pass_rate]
    if solved:
        return Reason(name="solved", evidence={"solved_by": solved})
    unscored = [judge for judge, rate in rates.items() if rate is None]
    if unscored and not keep_unscored:
        return Reason(name="unscored", evidence={"unscored_by": unscored})
    return None


def find_level_reason(
    item: PoolItem, *, min_levels: Mapping[str, float], keep_unlevelled: bool
) -> Reason | None:
    """Return why a question's own level is too low, or None to keep it.

    Args:
        item: The question and its source's level.
        min_levels: Per source, the lowest level kept; scales differ between sources.
        keep_unlevelled: Whether rows of other sources, or without a level, stay.
    """
    floor = find_floor(item, min_levels=min_levels)
    if floor is None or item.level is None:
        return None if keep_unlevelled else Reason(name="no_level", evidence={})
    if item.level < floor:
        return Reason(name="level_too_low", evidence={"level": item.level, "min_level": floor})
    return None


def judge_difficulty(
    verdicts: Verdicts, *, config: DifficultyConfig
) -> Callable[[PoolItem], Reason | None]:
    """Return a judge of pool items.

    Args:
        verdicts: Of the models that ``config`` names; empty where it names none.
        config: Which rule, with its numbers.
    """
    if isinstance(config, ModelsDifficultyConfig):
        return lambda item: find_unsolved_reason(
            verdicts.get(item.trace.question.id, {}),
            judges=config.judges,
            max_pass_rate=config.max_pass_rate,
            keep_unscored=config.keep_unscored,
        )
    if isinstance(config, LevelDifficultyConfig):
        return lambda item: find_level_reason(
            item, min_levels=config.min_levels, keep_unlevelled=config.keep_unlevelled
        )
    return lambda _: None


def name_difficulty_stand_in(config: DifficultyConfig, *, kept: Iterable[PoolItem]) -> str | None:
    """Return what stands in for the verdicts of s1's two models; None where models are asked.

    Args:
        config: How difficulty was judged.
        kept: What was hard enough.
    """
    if isinstance(config, ModelsDifficultyConfig):
        return None
    if not isinstance(config, LevelDifficultyConfig):
        return "nothing stands in for models' verdicts: no question is dropped as too easy"
    levels = ", ".join(f"{name} >= {level:g}" for name, level in config.min_levels.items())
    note = f"the sources' own levels stand in for models' verdicts: {levels}"
    compared = [find_floor(item, min_levels=config.min_levels) is not None for item in kept]
    unlevelled = compared.count(False)
    if not unlevelled:
        return note
    return f"{note}; {unlevelled} of the {len(compared)} questions kept have no such level"


def find_floor(item: PoolItem, *, min_levels: Mapping[str, float]) -> float | None:
    """Return the level below which an item goes; None where it has no level to compare."""
    return None if item.level is None else min_levels.get(item.trace.question.source)
