from typing import Any

import pytest

from s1ray.planning.cluster import (
    Cluster,
    Link,
    read_cluster,
    share_devices,
    time_exchange,
    time_replicas,
    time_ring,
)
from tests.planning.plans import CLUSTERS, load_cluster, load_cluster_config, qwen_32b

WEIGHTS = 65.5e9
"""Bytes of Qwen2.5-32B in bf16."""


def with_nics(**changes: Any) -> Cluster:
    config = load_cluster_config("h100_2x8_8x400g")
    return read_cluster(config.model_copy(update=changes))


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_cluster_file_is_read_under_its_own_name(name: str) -> None:
    assert load_cluster(name).name == name


@pytest.mark.parametrize(
    ("nics", "gbit", "seconds"), [(8, 400, 0.54), (4, 400, 1.08), (1, 400, 4.34), (1, 100, 17.4)]
)
def test_sharding_over_two_nodes_takes_the_published_time(
    nics: int, gbit: float, seconds: float
) -> None:
    cluster = with_nics(nics_per_node=nics, nic_gbit=gbit)

    ring = time_ring(WEIGHTS, group_size=16, cluster=cluster)

    # Reference table: two gathers and a scatter of 32 B weights over 16 GPUs, 85 % of line rate.
    assert 3 * ring.seconds == pytest.approx(seconds, rel=0.01)
    assert ring.link is Link.BETWEEN_NODES


def test_hybrid_sharding_takes_the_published_time() -> None:
    cluster = load_cluster("h100_2x8_8x400g")

    inside = time_ring(WEIGHTS, group_size=8, cluster=cluster)
    between = time_replicas(WEIGHTS, num_replicas=2, group_size=8, cluster=cluster)

    assert inside.link is Link.INSIDE_NODE
    assert 3 * inside.seconds == pytest.approx(0.46, rel=0.02)
    assert between.link is Link.BETWEEN_NODES
    assert between.seconds == pytest.approx(0.19, rel=0.02)


def test_ulysses_inside_a_node_takes_the_published_time() -> None:
    shape, tokens_a_gpu = qwen_32b(), 5200
    elements = shape.count_exchanged(degree=8)
    sent = tokens_a_gpu * elements * 2 * shape.num_layers * 3

    exchange = time_exchange(sent, group_size=8, cluster=load_cluster("h100_2x8_8x400g"))

    # Reference: 0.06 s a step.
    assert exchange.seconds == pytest.approx(0.06, abs=0.005)


def test_ring_of_one_rank_moves_nothing() -> None:
    cluster = load_cluster("h200_1x1")

    assert time_ring(WEIGHTS, group_size=1, cluster=cluster).seconds == 0


def test_replicas_inside_one_node_use_its_links_alone() -> None:
    cluster = load_cluster("h100_1x8")

    reduced = time_replicas(WEIGHTS, num_replicas=4, group_size=2, cluster=cluster)

    assert reduced.link is Link.INSIDE_NODE
    assert reduced.seconds == pytest.approx(1.5 * WEIGHTS / 2 / 370e9)


def test_exchange_across_nodes_waits_for_the_network() -> None:
    cluster = load_cluster("h100_2x8_100gbe")

    exchange = time_exchange(1e9, group_size=16, cluster=cluster)

    # Half of what the eight GPUs of a node send goes to the other node.
    assert exchange.link is Link.BETWEEN_NODES
    assert exchange.seconds == pytest.approx(8 * 0.5e9 / (0.85 * 100e9 / 8))


def test_a_measured_network_replaces_the_line_rate() -> None:
    assert with_nics(measured_node_gbit=47.0).node_rate == pytest.approx(47e9 / 8)


def test_nodes_without_a_network_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_nodes=2, but nothing joins them: .*nics_per_node=0"):
        with_nics(nics_per_node=0)


def test_more_workers_than_gpus_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_workers=9, but cluster=h100_1x8 has 8 GPUs"):
        share_devices(load_cluster("h100_1x8"), num_workers=9)


def test_idle_nodes_are_left_out() -> None:
    held = share_devices(load_cluster("h100_2x8_8x400g"), num_workers=8)

    assert (held.num_nodes, held.devices_per_node) == (1, 8)


def test_workers_on_the_cpu_share_what_there_is() -> None:
    whole = load_cluster("laptop")

    held = share_devices(whole, num_workers=2)

    assert held.num_devices == 2
    assert held.peak_flops == whole.peak_flops / 2
    assert held.memory_bytes == whole.memory_bytes / 2
