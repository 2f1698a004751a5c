"""Seconds of an optimizer step, part by part, averaged over a run.

Every forward pass waits for the group with most to compute, as the collectives inside it do. It
does not know memory or money.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from s1ray.config.training import ActivationCheckpointing
from s1ray.planning.cluster import (
    Cluster,
    Link,
    Transfer,
    time_exchange,
    time_replicas,
    time_ring,
)
from s1ray.planning.memory import MASTER_BYTES, count_trained
from s1ray.planning.model import ModelShape
from s1ray.planning.recipe import Passes, Recipe

STATE_TRAFFIC_BYTES = 24
"""AdamW reads and writes the weight and reads the gradient; clipping reads it and scales it."""
MOMENT_TRAFFIC = 4
"""Two moments, each read and written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Mean seconds of a step. The parts add up to it."""

    arithmetic: float
    """The model's FLOPs, spread evenly over all devices."""
    imbalance: float
    """Waiting for the group with most to compute, and for layers too small to keep it busy."""
    recompute: float
    """Activations computed again."""
    sequence_exchange: float
    """All-to-all of sequence parallelism."""
    between_nodes: float
    """FSDP communication that waits for the network between nodes and is not hidden."""
    inside_node: float
    """FSDP communication that waits for links inside a node and is not hidden."""
    offload: float
    """Weights and gradients to and from main memory."""
    optimizer: float

    @property
    def total(self) -> float:
        """Seconds of a step."""
        return sum(self.parts.values())

    @property
    def parts(self) -> dict[str, float]:
        """Seconds by name, longest first."""
        named = {field.name.replace("_", " "): getattr(self, field.name) for field in fields(self)}
        return dict(sorted(named.items(), key=lambda item: -item[1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What a run computes, all steps together."""

    num_steps: int
    num_passes: int
    num_tokens: int
    flops: float
    """Of the model, without recompute."""
    slowest_flops: float
    """Sum over passes of what the busiest group computes."""
    recompute_flops: float
    """Sum over passes of what that group computes again."""
    slowest_tokens: int
    """Sum over passes of the longest row."""

    @property
    def mean_passes(self) -> float:
        """Forward passes of a step."""
        return self.num_passes / self.num_steps


def measure_workload(model: ModelShape, recipe: Recipe, *, steps: Sequence[Passes]) -> Workload:
    """Return what the steps compute."""
    num_adapters = None if recipe.adapters is None else count_trained(model, recipe)
    lengths = {n for passes in steps for rows in passes for row in rows for n in row}
    count = model.count_flops(num_adapters=num_adapters)
    count_again = model.count_recompute(mode=recipe.checkpointing)
    flops = {n: count.of_document(n) for n in lengths}
    again = {n: count_again.of_document(n) for n in lengths}
    every_pass = [rows for passes in steps for rows in passes]
    busiest = [max(rows, key=lambda row: sum(flops[n] for n in row)) for rows in every_pass]
    return Workload(
        num_steps=len(steps),
        num_passes=len(every_pass),
        num_tokens=sum(n for rows in every_pass for row in rows for n in row),
        flops=sum(flops[n] for rows in every_pass for row in rows for n in row),
        slowest_flops=sum(flops[n] for row in busiest for n in row),
        recompute_flops=sum(again[n] for row in busiest for n in row),
        slowest_tokens=sum(max(sum(row) for row in rows) for rows in every_pass),
    )


def time_step(
    model: ModelShape, recipe: Recipe, *, workload: Workload, cluster: Cluster
) -> StepTime:
    """Return the mean time of a step.

    Args:
        model: Its shape.
        recipe: The fine-tune.
        workload: What it computes.
        cluster: The devices that it holds.
    """
    efficiency = cluster.efficiency_compiled if recipe.is_compiled else cluster.efficiency_eager
    rate = cluster.peak_flops * efficiency
    num_steps, degree = workload.num_steps, recipe.sequence_parallel
    arithmetic = workload.flops / (num_steps * recipe.num_workers * rate)
    recompute = workload.recompute_flops / (num_steps * degree * rate)
    slowest = workload.slowest_flops / (num_steps * degree * rate)
    dispatch = workload.mean_passes * model.num_layers * cluster.dispatch_seconds
    if cluster.is_cpu:  # one after the other; a GPU computes while the next kernels are sent
        slowest += dispatch
    slowest = max(slowest, dispatch - recompute)
    transfers = _list_transfers(model, recipe, num_passes=workload.mean_passes, cluster=cluster)
    communication = sum(transfer.seconds for transfer in transfers)
    hidden = recipe.overlap * min(communication, slowest + recompute)
    exposed = (communication - hidden) / communication if communication else 0.0
    waits = {
        link: exposed * sum(transfer.seconds for transfer in transfers if transfer.link is link)
        for link in Link
    }
    return StepTime(
        arithmetic=arithmetic,
        imbalance=slowest - arithmetic,
        recompute=recompute,
        sequence_exchange=_time_sequence_exchange(model, recipe, workload, cluster),
        between_nodes=waits[Link.BETWEEN_NODES],
        inside_node=waits[Link.INSIDE_NODE],
        offload=_time_offload(model, recipe, num_passes=workload.mean_passes, cluster=cluster),
        optimizer=_time_optimizer(model, recipe, cluster),
    )


def _list_transfers(
    model: ModelShape, recipe: Recipe, *, num_passes: float, cluster: Cluster
) -> list[Transfer]:
    """Return FSDP's collectives of one step: gathers and scatters a pass, replicas' sums a pass."""
    shards, trained = recipe.num_shards, count_trained(model, recipe)
    gathered = float(model.num_parameters * recipe.compute_bytes)
    gradients = float(trained * recipe.reduce_bytes)
    transfers = []
    if shards > 1:
        gather = time_ring(gathered, group_size=shards, cluster=cluster)
        times = num_passes * recipe.gathers_per_pass
        transfers.append(Transfer(link=gather.link, seconds=times * gather.seconds))
        scatter = time_ring(gradients, group_size=shards, cluster=cluster)
        transfers.append(Transfer(link=scatter.link, seconds=num_passes * scatter.seconds))
    if recipe.replicas > 1:
        reduced = time_replicas(
            gradients, num_replicas=recipe.replicas, group_size=shards, cluster=cluster
        )
        transfers.append(Transfer(link=reduced.link, seconds=num_passes * reduced.seconds))
    return transfers


def _time_sequence_exchange(
    model: ModelShape, recipe: Recipe, workload: Workload, cluster: Cluster
) -> float:
    """Return the all-to-all of queries, keys, values and outputs, in every layer and direction."""
    degree = recipe.sequence_parallel
    if degree == 1:
        return 0.0
    elements = model.count_exchanged(degree=degree)
    tokens = workload.slowest_tokens / (workload.num_steps * degree)
    directions = 3 if recipe.checkpointing is ActivationCheckpointing.FULL else 2
    sent = tokens * elements * recipe.compute_bytes * model.num_layers * directions
    return time_exchange(sent, group_size=degree, cluster=cluster).seconds


def _time_offload(
    model: ModelShape, recipe: Recipe, *, num_passes: float, cluster: Cluster
) -> float:
    if not recipe.is_offloaded:
        return 0.0
    # FSDP2 casts to the compute dtype after the copy, not before.
    stored = MASTER_BYTES if recipe.adapters is None else recipe.adapters.base_bytes
    weights = model.num_parameters * stored * recipe.gathers_per_pass
    gradients = count_trained(model, recipe) * MASTER_BYTES
    return num_passes * (weights + gradients) / recipe.num_shards / cluster.host_link_rate


def _time_optimizer(model: ModelShape, recipe: Recipe, cluster: Cluster) -> float:
    """Return the time to stream the states once; arithmetic on them is free beside it."""
    traffic = STATE_TRAFFIC_BYTES + MOMENT_TRAFFIC * recipe.moment_bytes
    rate = cluster.memory_rate
    if recipe.is_offloaded:
        rate = cluster.host_memory_rate / cluster.devices_per_node
    return traffic * count_trained(model, recipe) / recipe.num_shards / rate
