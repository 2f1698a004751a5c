"""What the tests of planning build upon: the committed configuration, and s1ray's own recipe."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from s1ray.config.planning import ClusterConfig, PlanningConfig
from s1ray.config.training import ActivationCheckpointing
from s1ray.planning.cluster import Cluster, read_cluster
from s1ray.planning.model import ModelShape, read_shape
from s1ray.planning.recipe import Recipe, draw_lengths
from tests.choices import read_choice

CONF = Path(__file__).parents[2] / "conf"
CLUSTERS = sorted(path.stem for path in (CONF / "cluster").glob("*.yaml"))


@cache
def load_planning() -> PlanningConfig:
    return PlanningConfig.model_validate(read_choice("planning", "published"))


@cache
def load_cluster_config(name: str) -> ClusterConfig:
    return ClusterConfig.model_validate(read_choice("cluster", name))


@cache
def load_cluster(name: str) -> Cluster:
    return read_cluster(load_cluster_config(name))


@cache
def qwen_32b() -> ModelShape:
    return read_shape(load_planning().report_model)


def own_recipe(**changes: Any) -> Recipe:
    """s1's fine-tune as this house runs it on 16 GPUs: sequence parallel 8, packed, compiled."""
    recipe = Recipe(
        lengths=draw_lengths(load_planning().report_lengths["s1k"]),
        max_seq_len=32768,
        num_epochs=5,
        max_steps=None,
        global_batch_size=16,
        seed=42,
        num_workers=16,
        sequence_parallel=8,
        replicas=1,
        micro_batch_tokens=65536,
        is_balanced=True,
        checkpointing=ActivationCheckpointing.FULL,
        loss_chunk_tokens=1024,
        compute_bytes=2,
        reduce_bytes=4,
        moment_bytes=4,
        adapters=None,
        gathers_per_pass=2,
        is_offloaded=False,
        is_compiled=True,
        is_optimizer_fused=True,
        overlap=0.9,
    )
    return replace(recipe, **changes)
