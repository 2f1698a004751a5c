"""Outcomes that s1's authors and users reported, beside what the plan predicts for them.

A prediction rests on the inputs its case states and on nothing fitted to the case. Where a report
does not state its network, the bandwidth is itself inferred from the reported time, and the case
only shows that the plan is consistent with it: ``infer_node_gbit`` does that inversion.
"""

import math
from dataclasses import dataclass, replace

from s1ray.config.planning import PlanningConfig, ReportConfig
from s1ray.planning.cluster import GIB, GIGA, Cluster
from s1ray.planning.estimate import SECONDS_PER_HOUR, Estimate, estimate
from s1ray.planning.model import ModelShape, read_shape
from s1ray.planning.recipe import Recipe, draw_lengths

BITS = 8
SLOWEST_GBIT, FASTEST_GBIT = 0.1, 10_000.0
HALVINGS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One report and its prediction."""

    report: ReportConfig
    estimate: Estimate
    is_agreeing: bool
    """Both on whether it fits and, where a time was reported, on the time."""

    @property
    def predicted(self) -> str:
        """The prediction as text."""
        memory = self.estimate.memory
        peak = f"{memory.peak / GIB:.0f} of {memory.capacity / GIB:.0f} GiB"
        if not self.estimate.fits:
            return f"out of memory: {peak}"
        if self.report.reported_hours is None:
            return f"fits: {peak}"
        return _format_hours(self.estimate.training_seconds / SECONDS_PER_HOUR)

    @property
    def reported(self) -> str:
        """The report as text."""
        if not self.report.reported_fit:
            return "out of memory"
        if self.report.reported_hours is None:
            return "fits"
        return _format_hours(self.report.reported_hours)


def compare_reports(cluster: Cluster, *, config: PlanningConfig) -> tuple[Comparison, ...]:
    """Return every reported outcome beside its prediction.

    Args:
        cluster: The hardware that reports name, with the network that they do not.
        config: The reports and their inputs.
    """
    model = read_shape(config.report_model)
    return tuple(_compare(model, cluster, report, config) for report in config.reports)


def infer_node_gbit(cluster: Cluster, report: ReportConfig, *, config: PlanningConfig) -> float:
    """Return the bandwidth between nodes at which the prediction equals the reported time.

    Returns:
        1e9 bits a second and node.

    Raises:
        ValueError: No time was reported, or no bandwidth explains it.
    """
    model = read_shape(config.report_model)
    if report.reported_hours is None:
        raise ValueError(f"report {report.name!r} states no time. Set reported_hours.")

    def predict(gbit: float) -> float:
        recipe = make_reported_recipe(report, config=config)
        slower = replace(cluster, node_rate=gbit * GIGA / BITS)
        seconds = estimate(model, slower, recipe, assumptions=config.assumptions).training_seconds
        return seconds / SECONDS_PER_HOUR

    low: float = SLOWEST_GBIT
    high: float = FASTEST_GBIT
    if not predict(high) < report.reported_hours < predict(low):
        raise ValueError(
            f"report {report.name!r}: no bandwidth between {low} and {high} Gbit/s explains "
            f"{report.reported_hours} hours. Its cause is not the network."
        )
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if predict(middle) > report.reported_hours else (low, middle)
    return high


def make_reported_recipe(report: ReportConfig, *, config: PlanningConfig) -> Recipe:
    """Return s1's training script as a recipe, on the lengths of one report."""
    script = config.report_recipe
    lengths: tuple[int, ...] = (report.max_seq_len,) * script.global_batch_size
    if report.lengths != "block":
        lengths = draw_lengths(config.report_lengths[report.lengths])
    return Recipe(
        lengths=lengths,
        max_seq_len=report.max_seq_len,
        num_epochs=script.num_epochs,
        max_steps=None,
        # Micro-batch 1 without accumulation: s1's batch is as large as the cluster.
        global_batch_size=min(script.global_batch_size, report.num_workers),
        seed=script.seed,
        num_workers=report.num_workers,
        sequence_parallel=1,
        replicas=1,
        micro_batch_tokens=None,
        is_balanced=False,
        checkpointing=report.checkpointing,
        loss_chunk_tokens=None,
        compute_bytes=script.compute_bytes,
        reduce_bytes=script.reduce_bytes,
        moment_bytes=script.moment_bytes,
        adapters=None,
        gathers_per_pass=script.gathers_per_pass,
        is_offloaded=False,
        is_compiled=script.is_compiled,
        is_optimizer_fused=script.is_optimizer_fused,
        overlap=script.overlap,
    )


def format_table(comparisons: tuple[Comparison, ...]) -> str:
    """Return the comparisons as a Markdown table."""
    lines = [
        "| reported outcome | source | predicted | reported | agrees | what it rests on |",
        "|---|---|---|---|---|---|",
    ]
    for item in comparisons:
        cells = (
            item.report.name,
            item.report.source,
            item.predicted,
            item.reported,
            "yes" if item.is_agreeing else "no",
            item.report.remark,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _compare(
    model: ModelShape, cluster: Cluster, report: ReportConfig, config: PlanningConfig
) -> Comparison:
    if report.node_gbit is not None:
        cluster = replace(cluster, node_rate=report.node_gbit * GIGA / BITS)
    recipe = make_reported_recipe(report, config=config)
    current = estimate(model, cluster, recipe, assumptions=config.assumptions)
    is_agreeing = current.fits == report.reported_fit
    if report.reported_hours is not None:
        ratio = current.training_seconds / SECONDS_PER_HOUR / report.reported_hours
        is_agreeing = is_agreeing and abs(ratio - 1) <= config.report_tolerance
    return Comparison(report=report, estimate=current, is_agreeing=is_agreeing)


def _format_hours(hours: float) -> str:
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h"
