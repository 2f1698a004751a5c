"""One recipe on one cluster: does it fit, how long does it take, what does it cost.

Everything here is a projection from sizes and rates, never a measurement.
"""

from dataclasses import dataclass

from s1ray.config.planning import AssumptionsConfig
from s1ray.model_source.heads import check_degree
from s1ray.planning.cluster import Cluster, share_devices
from s1ray.planning.memory import Memory, estimate_memory
from s1ray.planning.model import ModelShape
from s1ray.planning.recipe import Recipe, lay_out_steps
from s1ray.planning.step_time import StepTime, Workload, measure_workload, time_step

SECONDS_PER_HOUR = 3600
EXPORT_BYTES = 2
"""Of a weight in storage: read once by every node at the start, written once at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a fine-tune would need."""

    memory: Memory
    step: StepTime
    workload: Workload
    num_devices: int
    setup_seconds: float
    """Reading the weights and writing them at the end; the rest of start-up is not estimated."""
    mfu: float
    """Model FLOPs over peak FLOPs of all devices while training, by ``model``'s convention."""
    balance_efficiency: float
    """Mean over maximum of the groups' FLOPs, over all forward passes."""
    dollars_per_device_hour: float
    is_tight: bool
    """Fits, but with less free memory than the plan trusts."""

    @property
    def fits(self) -> bool:
        """Whether every device and every host holds its part."""
        return self.memory.fits

    @property
    def training_seconds(self) -> float:
        """All steps."""
        return self.workload.num_steps * self.step.total

    @property
    def hours(self) -> float:
        """Training with reading and writing the weights."""
        return (self.training_seconds + self.setup_seconds) / SECONDS_PER_HOUR

    @property
    def device_hours(self) -> float:
        """Over all devices."""
        return self.hours * self.num_devices

    @property
    def dollars(self) -> float:
        """At the cluster's price; storage and traffic are not counted."""
        return self.device_hours * self.dollars_per_device_hour

    @property
    def tokens_per_second(self) -> float:
        """Over all devices, while training."""
        return self.workload.num_tokens / self.training_seconds

    @property
    def bottleneck(self) -> str:
        """Arithmetic where it is half of a step or more, else the largest other part."""
        parts = self.step.parts
        if parts["arithmetic"] >= self.step.total / 2:
            return "arithmetic"
        return next(name for name in parts if name != "arithmetic")


def estimate(
    model: ModelShape, cluster: Cluster, recipe: Recipe, *, assumptions: AssumptionsConfig
) -> Estimate:
    """Return what a recipe needs on a cluster.

    Args:
        model: Its shape.
        cluster: The hardware.
        recipe: The fine-tune.
        assumptions: What sizes and rates alone do not say.

    Raises:
        ValueError: The recipe's degrees do not fit the model or the cluster.
    """
    check_degrees(model, recipe)
    held = share_devices(cluster, num_workers=recipe.num_workers)
    steps = lay_out_steps(recipe)
    workload = measure_workload(model, recipe, steps=steps)
    step = time_step(model, recipe, workload=workload, cluster=held)
    memory = estimate_memory(model, recipe, steps=steps, cluster=held, assumptions=assumptions)
    seconds = workload.num_steps * step.total
    free = 1 - memory.peak / memory.capacity
    return Estimate(
        memory=memory,
        step=step,
        workload=workload,
        num_devices=recipe.num_workers,
        setup_seconds=2 * EXPORT_BYTES * model.num_parameters / held.storage_rate,
        mfu=workload.flops / (seconds * recipe.num_workers * held.peak_flops),
        balance_efficiency=workload.flops / (recipe.num_groups * workload.slowest_flops),
        dollars_per_device_hour=held.dollars_per_device_hour,
        is_tight=memory.fits and free < assumptions.tight_share,
    )


def check_degrees(model: ModelShape, recipe: Recipe) -> None:
    """Refuse sharding degrees that do not divide what they split.

    Raises:
        ValueError: Which degree, and which are legal.
    """
    for name, degree in (
        ("sequence_parallel", recipe.sequence_parallel),
        ("replicas", recipe.replicas),
    ):
        if recipe.num_workers % degree:
            legal = [n for n in range(1, recipe.num_workers + 1) if recipe.num_workers % n == 0]
            raise ValueError(
                f"sharding.{name}={degree} does not divide sharding.num_workers="
                f"{recipe.num_workers}. Set it to one of {legal}."
            )
    check_degree(
        recipe.sequence_parallel,
        num_heads=model.num_heads,
        num_key_value_heads=model.num_kv_heads,
    )
