"""The hardware on paper, in bytes, FLOPs and seconds, and how long its links take to move bytes.

It does not know models or recipes.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from s1ray.config.planning import ClusterConfig

GIB = 2**30
GIGA = 1e9


class Link(StrEnum):
    """Which wire a transfer waits for."""

    BETWEEN_NODES = "between nodes"
    INSIDE_NODE = "inside a node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A collective's time on the slower of the links it uses."""

    link: Link
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Nodes of equal devices. Rates are a second, and of one direction."""

    name: str
    is_cpu: bool
    num_nodes: int
    devices_per_node: int
    memory_bytes: float
    """Of one device."""
    peak_flops: float
    efficiency_eager: float
    efficiency_compiled: float
    memory_rate: float
    """Bytes, of one device."""
    device_rate: float
    """Bytes a ring moves, of one device, inside a node."""
    node_rate: float
    """Bytes a ring moves between nodes, of one node; 0 for a single node."""
    host_memory_bytes: float
    """Of one node."""
    host_memory_rate: float
    """Bytes, of one node."""
    host_link_rate: float
    """Bytes, of one device."""
    storage_rate: float
    """Bytes, of one node."""
    dispatch_seconds: float
    """Least time of one decoder layer's forward and backward."""
    dollars_per_device_hour: float

    @property
    def num_devices(self) -> int:
        """Of all nodes."""
        return self.num_nodes * self.devices_per_node


def read_cluster(config: ClusterConfig) -> Cluster:
    """Return the cluster that a description states.

    Raises:
        ValueError: Several nodes, but nothing between them.
    """
    node_gbit = config.measured_node_gbit
    if node_gbit is None:
        node_gbit = config.nics_per_node * config.nic_gbit * config.line_rate_share
    if config.num_nodes > 1 and node_gbit == 0:
        raise ValueError(
            f"cluster.num_nodes={config.num_nodes}, but nothing joins them: "
            f"cluster.nics_per_node={config.nics_per_node}, cluster.nic_gbit={config.nic_gbit}. "
            "Set both, or cluster.measured_node_gbit."
        )
    return Cluster(
        name=config.name,
        is_cpu=config.device == "cpu",
        num_nodes=config.num_nodes,
        devices_per_node=config.devices_per_node,
        memory_bytes=config.device_memory_gib * GIB,
        peak_flops=config.peak_tflops * 1e12,
        efficiency_eager=config.efficiency_eager,
        efficiency_compiled=config.efficiency_compiled,
        memory_rate=config.device_bandwidth_gb * GIGA,
        device_rate=config.device_link_gb * GIGA,
        node_rate=node_gbit * GIGA / 8,
        host_memory_bytes=config.host_memory_gib * GIB,
        host_memory_rate=config.host_bandwidth_gb * GIGA,
        host_link_rate=config.host_link_gb * GIGA,
        storage_rate=config.storage_gb * GIGA,
        dispatch_seconds=config.dispatch_microseconds * 1e-6,
        dollars_per_device_hour=config.dollars_per_device_hour,
    )


def share_devices(cluster: Cluster, *, num_workers: int) -> Cluster:
    """Return the part of a cluster that this many worker processes hold, one device each.

    GPUs that stay idle are left out, whole nodes first; on the cpu workers share what there is.

    Raises:
        ValueError: More workers than GPUs.
    """
    if cluster.is_cpu:
        part = cluster.num_devices / num_workers
        return replace(
            cluster,
            num_nodes=1,
            devices_per_node=num_workers,
            memory_bytes=cluster.memory_bytes * part,
            peak_flops=cluster.peak_flops * part,
            memory_rate=cluster.memory_rate * part,
            dollars_per_device_hour=cluster.dollars_per_device_hour * part,
        )
    if num_workers > cluster.num_devices:
        raise ValueError(
            f"sharding.num_workers={num_workers}, but cluster={cluster.name} has "
            f"{cluster.num_devices} GPUs. Lower it, or plan for a larger cluster."
        )
    num_nodes = -(-num_workers // cluster.devices_per_node)
    per_node = min(num_workers, cluster.devices_per_node)
    return replace(cluster, num_nodes=num_nodes, devices_per_node=per_node)


def time_ring(num_bytes: float, *, group_size: int, cluster: Cluster) -> Transfer:
    """Return the time of an all-gather or a reduce-scatter of so many bytes over neighbours.

    A ring carries all but one part over each of its edges. Rings of the devices of a node leave it
    through all of its NICs together, so between nodes the whole node's rate counts, once.

    Args:
        num_bytes: The gathered size, not one rank's part.
        group_size: Ranks, consecutive, nodes filled one after the other.
        cluster: Whose links.
    """
    moved = num_bytes * (group_size - 1) / group_size
    inside = moved / cluster.device_rate
    if group_size <= cluster.devices_per_node:
        return Transfer(link=Link.INSIDE_NODE, seconds=inside)
    return _slower(inside=inside, between=moved / cluster.node_rate)


def time_replicas(
    num_bytes: float, *, num_replicas: int, group_size: int, cluster: Cluster
) -> Transfer:
    """Return the time of summing gradients over replicas, each sharded over ``group_size`` ranks.

    Every rank all-reduces its shard with its counterparts; the shards of a node share its NICs.

    Args:
        num_bytes: Of all gradients.
        num_replicas: Copies of the model.
        group_size: Ranks that share one copy.
        cluster: The hardware.
    """
    shard = num_bytes / group_size
    moved = 2 * shard * (num_replicas - 1) / num_replicas
    inside = moved / cluster.device_rate
    if num_replicas * group_size <= cluster.devices_per_node:
        return Transfer(link=Link.INSIDE_NODE, seconds=inside)
    rings = min(group_size, cluster.devices_per_node)
    return _slower(inside=inside, between=moved * rings / cluster.node_rate)


def time_exchange(num_bytes: float, *, group_size: int, cluster: Cluster) -> Transfer:
    """Return the time of an all-to-all in which each rank sends so many bytes in all."""
    inside = num_bytes * (group_size - 1) / group_size / cluster.device_rate
    if group_size <= cluster.devices_per_node:
        return Transfer(link=Link.INSIDE_NODE, seconds=inside)
    others = (group_size - cluster.devices_per_node) / group_size
    leaving = num_bytes * others * cluster.devices_per_node
    return _slower(inside=inside, between=leaving / cluster.node_rate)


def _slower(*, inside: float, between: float) -> Transfer:
    if inside > between:
        return Transfer(link=Link.INSIDE_NODE, seconds=inside)
    return Transfer(link=Link.BETWEEN_NODES, seconds=between)
