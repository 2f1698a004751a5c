"""A plan: the estimate of a recipe on a cluster with advice, and its rows for a table.

It neither prints nor stores; the rows are text that any terminal or page can lay out.
"""

from dataclasses import dataclass

from s1ray.config.planning import PlanningConfig
from s1ray.planning.advice import Advice, Adviser
from s1ray.planning.cluster import GIB, Cluster
from s1ray.planning.estimate import SECONDS_PER_HOUR, Estimate, estimate
from s1ray.planning.model import ModelShape
from s1ray.planning.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a fine-tune on a cluster would need, and what to change."""

    model: ModelShape
    cluster: Cluster
    recipe: Recipe
    estimate: Estimate
    advice: tuple[Advice, ...]
    """Of a plan that does not fit: what makes it fit. Of one that does: what makes it faster."""

    @property
    def fits(self) -> bool:
        """Whether the run may start."""
        return self.estimate.fits


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a plan."""

    section: str
    name: str
    value: str
    note: str
    """Empty where there is nothing to add."""


def make_plan(
    model: ModelShape, cluster: Cluster, recipe: Recipe, *, config: PlanningConfig
) -> Plan:
    """Return the plan of a recipe on a cluster.

    Args:
        model: Its shape.
        cluster: The hardware.
        recipe: The fine-tune.
        config: Assumptions, and what advice may try.

    Raises:
        ValueError: The recipe's degrees do not fit the model or the cluster.
    """
    current = estimate(model, cluster, recipe, assumptions=config.assumptions)
    adviser = Adviser(
        model=model,
        assumptions=config.assumptions,
        config=config.advice,
        lora=config.lora_training.lora,
    )
    advice = adviser.advise(cluster, recipe, current=current)
    return Plan(model=model, cluster=cluster, recipe=recipe, estimate=current, advice=advice)


def refuse_misfit(plan: Plan) -> None:
    """Refuse a plan that does not fit.

    Raises:
        ValueError: What is needed, what there is, and the first change that helps.
    """
    if plan.fits:
        return
    memory = plan.estimate.memory
    fix = "No single change or combination that was tried is enough; use a larger cluster."
    if plan.advice:
        fix = f"Try {plan.advice[0].words} (`python -m jobs.plan` shows more)."
    need = f"needs {memory.peak / GIB:.1f} GiB of {memory.capacity / GIB:.1f} GiB a device"
    if memory.peak <= memory.capacity:
        need = (
            f"needs {memory.host_bytes / GIB:.0f} GiB of {memory.host_capacity / GIB:.0f} GiB "
            "main memory a node"
        )
    raise ValueError(f"this run {need} on cluster={plan.cluster.name} and would not fit. {fix}")


def list_rows(plan: Plan) -> tuple[Row, ...]:
    """Return a plan as lines: memory, time, cost, verdict, advice."""
    return (
        *_list_memory(plan.estimate),
        *_list_time(plan.estimate),
        *_list_cost(plan.estimate),
        *_list_verdict(plan),
        *_list_advice(plan),
    )


def _list_memory(current: Estimate) -> list[Row]:
    memory = current.memory
    rows = []
    for part in memory.parts:
        at = f"{part.loss / GIB:.1f} / {part.backward / GIB:.1f} / {part.optimizer / GIB:.1f} GiB"
        rows.append(_row("memory a device", part.name, at, "at loss / backward / optimizer"))
    rows.append(
        _row(
            "memory a device",
            "highest",
            f"{memory.peak / GIB:.1f} GiB of {memory.capacity / GIB:.1f} GiB",
            f"at {memory.moment}, with {memory.row_tokens} tokens in the longest row",
        )
    )
    if memory.host_bytes:
        value = f"{memory.host_bytes / GIB:.0f} GiB of {memory.host_capacity / GIB:.0f} GiB"
        rows.append(_row("memory a device", "main memory of a node", value, "offloaded"))
    return rows


def _list_time(current: Estimate) -> list[Row]:
    total = current.step.total
    rows = [
        _row("time a step", name, f"{seconds:.3f} s", f"{seconds / total:.0%}")
        for name, seconds in current.step.parts.items()
        if seconds
    ]
    passes = current.workload.mean_passes
    note = f"{current.workload.num_steps} steps, {passes:.1f} passes each"
    return [*rows, _row("time a step", "all", f"{total:.3f} s", note)]


def _list_cost(current: Estimate) -> list[Row]:
    minutes = current.training_seconds / 60
    price = f"{current.dollars_per_device_hour:.2f} dollars a device and hour"
    return [
        _row("run", "training", f"{minutes:.1f} min", f"{current.tokens_per_second:.0f} tokens/s"),
        _row("run", "hours", f"{current.hours:.2f}", "with reading and writing the weights"),
        _row(
            "run", "device-hours", f"{current.device_hours:.2f}", f"{current.num_devices} devices"
        ),
        _row("run", "dollars", f"{current.dollars:.2f}", price),
        _row("run", "MFU", f"{current.mfu:.1%}", "matrix products and half of attention"),
        _row("run", "balance", f"{current.balance_efficiency:.3f}", "mean over slowest group"),
        _row("run", "bottleneck", current.bottleneck, ""),
    ]


def _list_verdict(plan: Plan) -> list[Row]:
    verdict = "fits" if plan.fits else "does not fit"
    note = "by a hair: expect trouble" if plan.estimate.is_tight else ""
    return [_row("verdict", "a projection, not a measurement", verdict, note)]


def _list_advice(plan: Plan) -> list[Row]:
    section = "faster" if plan.fits else "what would fit"
    rows = []
    for advice in plan.advice:
        after = advice.estimate
        hours = after.training_seconds / SECONDS_PER_HOUR
        value = f"{hours:.2f} h, {after.dollars:.2f} dollars, {after.memory.peak / GIB:.1f} GiB"
        notes = ["changes the result"] if not advice.is_same_result else []
        notes += ["by a hair"] if after.is_tight else []
        note = ", ".join(notes)
        rows.append(_row(section, advice.words, value, note))
    if not plan.fits and not rows:
        rows.append(_row(section, "nothing that was tried", "", "use a larger cluster"))
    return rows


def _row(section: str, name: str, value: str, note: str) -> Row:
    return Row(section=section, name=name, value=value, note=note)
