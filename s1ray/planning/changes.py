"""Changes of a recipe that a user could make, mildest first; it does not know whether they help."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from s1ray.config.planning import AdviceConfig
from s1ray.config.training import ActivationCheckpointing, LoraConfig
from s1ray.model_source.heads import list_legal_degrees
from s1ray.planning.cluster import Cluster
from s1ray.planning.model import ModelShape
from s1ray.planning.recipe import DTYPE_BYTES, Recipe, read_adapters

BFLOAT16_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change, as a user would make it."""

    overrides: Mapping[str, str]
    """Configuration keys and their values."""
    recipe: Recipe
    cluster: Cluster
    is_same_result: bool
    """Whether the trained weights stay the same, up to the order of sums."""


def list_smaller(
    model: ModelShape,
    cluster: Cluster,
    recipe: Recipe,
    *,
    config: AdviceConfig,
    lora: LoraConfig | None,
) -> Iterator[Change]:
    """Yield changes that can lower the memory of a device.

    Args:
        model: Its shape.
        cluster: The hardware.
        recipe: The fine-tune.
        config: What may be tried.
        lora: The adapters that may be tried, on frozen weights in the run's own dtype.
    """
    yield from _list_leaner(cluster, recipe, config)
    yield from _list_spreading(model, cluster, recipe)
    yield from _list_lossy(cluster, recipe, lora=lora)


def list_faster(
    model: ModelShape, cluster: Cluster, recipe: Recipe, *, config: AdviceConfig
) -> Iterator[Change]:
    """Yield changes that can save time.

    Args:
        model: Its shape.
        cluster: The hardware.
        recipe: What is changed.
        config: What may be tried.
    """
    change = partial(_change, cluster, recipe)
    if not recipe.is_compiled:
        yield change({"sharding.compile": "true"}, is_compiled=True)
    for degree in _list_degrees(model, cluster, recipe):
        tokens = _limit_rows(recipe, degree=degree, step=config.block_step_tokens)
        yield change(
            {"sharding.sequence_parallel": degree, "sharding.micro_batch_tokens": tokens},
            sequence_parallel=degree,
            micro_batch_tokens=tokens,
            is_balanced=True,
        )
    yield from _list_replicas(cluster, recipe)
    if recipe.gathers_per_pass > 1:
        yield change({"sharding.reshard_after_forward": "false"}, gathers_per_pass=1)
    if recipe.checkpointing is ActivationCheckpointing.FULL:
        yield _checkpoint(cluster, recipe, ActivationCheckpointing.SELECTIVE)
    if recipe.checkpointing is not ActivationCheckpointing.NONE:
        yield _checkpoint(cluster, recipe, ActivationCheckpointing.NONE)
    if recipe.is_offloaded:
        yield change({"sharding.cpu_offload": "false"}, is_offloaded=False)


def shorten(cluster: Cluster, recipe: Recipe, *, config: AdviceConfig) -> Iterator[Change]:
    """Yield shorter blocks, longest first."""
    longest = max(recipe.cut_lengths)
    step = config.block_step_tokens
    for tokens in range((longest - 1) // step * step, 0, -step):
        yield _change(
            cluster,
            recipe,
            {"training.max_seq_len": tokens},
            is_same_result=False,
            max_seq_len=tokens,
        )


def _list_leaner(cluster: Cluster, recipe: Recipe, config: AdviceConfig) -> Iterator[Change]:
    """Yield changes that keep less on a rank at once."""
    change = partial(_change, cluster, recipe)
    if recipe.gathers_per_pass == 1 and recipe.num_workers > 1:
        yield change({"sharding.reshard_after_forward": "true"}, gathers_per_pass=2)
    if recipe.checkpointing is ActivationCheckpointing.NONE:
        yield _checkpoint(cluster, recipe, ActivationCheckpointing.SELECTIVE)
    if recipe.checkpointing is not ActivationCheckpointing.FULL:
        yield _checkpoint(cluster, recipe, ActivationCheckpointing.FULL)
    for limit in _shorten_rows(recipe, step=config.block_step_tokens):
        value = "null" if limit is None else limit
        yield change({"sharding.micro_batch_tokens": value}, micro_batch_tokens=limit)


def _list_spreading(model: ModelShape, cluster: Cluster, recipe: Recipe) -> Iterator[Change]:
    """Yield changes that spread the same over more devices, or over main memory."""
    change = partial(_change, cluster, recipe)
    if recipe.replicas > 1:
        yield change({"sharding.replicas": 1}, replicas=1)
    for degree in _list_degrees(model, cluster, recipe):
        if degree > recipe.sequence_parallel:
            yield change({"sharding.sequence_parallel": degree}, sequence_parallel=degree)
    yield from _list_more_devices(cluster, recipe)
    if not (recipe.is_offloaded or cluster.is_cpu) and recipe.num_workers > 1:
        yield change({"sharding.cpu_offload": "true"}, is_offloaded=True)


def _list_lossy(cluster: Cluster, recipe: Recipe, *, lora: LoraConfig | None) -> Iterator[Change]:
    """Yield changes that save memory and change the trained weights."""
    change = partial(_change, cluster, recipe, is_same_result=False)
    if recipe.moment_bytes > BFLOAT16_BYTES:
        overrides = {"training.optimizer.moments_dtype": "bfloat16"}
        yield change(overrides, moment_bytes=BFLOAT16_BYTES)
    if recipe.adapters is None and lora is not None:
        # Frozen weights may be in bfloat16 only where the run computes in it.
        [dtype] = [name for name, size in DTYPE_BYTES.items() if size == recipe.compute_bytes]
        chosen = lora.model_copy(update={"base_dtype": dtype})
        overrides = {"training.lora": _spell(chosen)}
        yield change(overrides, adapters=read_adapters(chosen))


def _spell(lora: LoraConfig) -> str:
    """Return adapters as a command line sets them."""
    targets = ",".join(lora.targets)
    return (
        f"{{rank:{lora.rank},alpha:{lora.alpha},targets:[{targets}],base_dtype:{lora.base_dtype}}}"
    )


def _change(
    cluster: Cluster,
    recipe: Recipe,
    overrides: Mapping[str, object],
    *,
    is_same_result: bool = True,
    **fields: Any,  # noqa: ANN401 - fields of Recipe
) -> Change:
    return Change(
        overrides={key: str(value) for key, value in overrides.items()},
        recipe=replace(recipe, **fields),
        cluster=cluster,
        is_same_result=is_same_result,
    )


def _checkpoint(cluster: Cluster, recipe: Recipe, mode: ActivationCheckpointing) -> Change:
    key = "sharding.activation_checkpointing"
    return _change(cluster, recipe, {key: mode.value}, checkpointing=mode)


def _list_degrees(model: ModelShape, cluster: Cluster, recipe: Recipe) -> list[int]:
    """Return sequence-parallel degrees that stay inside a node and divide heads and workers."""
    legal = list_legal_degrees(num_heads=model.num_heads, num_key_value_heads=model.num_kv_heads)
    return [
        degree
        for degree in legal
        if 1 < degree <= cluster.devices_per_node
        and recipe.num_workers % degree == 0
        and cluster.devices_per_node % degree == 0
    ]


def _shorten_rows(recipe: Recipe, *, step: int) -> Iterator[int | None]:
    """Yield rows a quarter shorter each, down to the longest sample; then one sample a row."""
    if recipe.micro_batch_tokens is None:
        return
    tokens, longest = recipe.micro_batch_tokens, max(recipe.cut_lengths)
    while (tokens := tokens * 3 // 4 // step * step) >= longest:
        yield tokens
    yield None


def _list_replicas(cluster: Cluster, recipe: Recipe) -> Iterator[Change]:
    """Yield whole copies a node or one over all; copies also with moments of half the size."""
    if cluster.num_nodes == 1 or recipe.num_workers % cluster.num_nodes:
        return
    copies = cluster.num_nodes if recipe.replicas == 1 else 1
    overrides = {"sharding.replicas": copies}
    yield _change(cluster, recipe, overrides, replicas=copies)
    if copies > 1 and recipe.moment_bytes > BFLOAT16_BYTES:
        yield _change(
            cluster,
            recipe,
            {**overrides, "training.optimizer.moments_dtype": "bfloat16"},
            is_same_result=False,
            replicas=copies,
            moment_bytes=BFLOAT16_BYTES,
        )


def _limit_rows(recipe: Recipe, *, degree: int, step: int) -> int:
    """Return a row length that holds a group's share of any step in one pass."""
    lengths = sorted(recipe.cut_lengths, reverse=True)
    groups = recipe.num_workers // degree
    share = sum(lengths[: recipe.global_batch_size]) // groups + lengths[0]
    return -(-share // step) * step


def _list_more_devices(cluster: Cluster, recipe: Recipe) -> Iterator[Change]:
    """Yield all devices of the cluster, else twice its nodes where something could join them."""
    if cluster.is_cpu:
        return
    if recipe.num_workers < cluster.num_devices:
        workers = cluster.num_devices
        if workers % recipe.sequence_parallel == 0 and workers % recipe.replicas == 0:
            yield _change(cluster, recipe, {"sharding.num_workers": workers}, num_workers=workers)
    elif cluster.node_rate > 0:
        larger = replace(cluster, num_nodes=2 * cluster.num_nodes)
        workers = larger.num_devices
        overrides = {"cluster.num_nodes": larger.num_nodes, "sharding.num_workers": workers}
        yield _change(larger, recipe, overrides, num_workers=workers)
