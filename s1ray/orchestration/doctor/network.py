"""The network between nodes as collectives see it, held against what the plan assumes."""

from collections.abc import Sequence
from dataclasses import dataclass

from s1ray.config.doctor import DoctorConfig
from s1ray.orchestration.doctor.finding import Finding, fail_check, pass_check, warn_check
from s1ray.planning.cluster import GIGA, Cluster

MIB = 2**20
BITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class AllReduce:
    """The fastest of several all-reduces of one size over all nodes."""

    num_bytes: int
    seconds: float
    world_size: int

    @property
    def node_gbit(self) -> float:
        """What each node sent and received, 1e9 bits a second, as a ring over the nodes does it."""
        moved = 2 * (self.world_size - 1) / self.world_size * self.num_bytes
        return moved / self.seconds * BITS / GIGA


def check_network(
    measured: Sequence[AllReduce], *, planned: Cluster, config: DoctorConfig
) -> Finding:
    """Hold the largest message's rate against the plan's.

    Args:
        measured: Every size, smallest first; the last one counts.
        planned: The cluster of ``jobs.plan``.
        config: Which share of the plan is enough.
    """
    rates = ", ".join(
        f"{item.node_gbit:.2f} Gbit/s at {item.num_bytes / MIB:g} MiB" for item in measured
    )
    rate, plan = measured[-1].node_gbit, planned.node_rate * BITS / GIGA
    if plan == 0:
        return warn_check(
            "network",
            f"{rates}; no network is planned",
            fix=f"plan with cluster.num_nodes and cluster.measured_node_gbit={rate:.3g}",
        )
    found = f"{rates}; planned {plan:.3g}"
    fix = (
        f"plan with cluster.measured_node_gbit={rate:.3g} (`python -m jobs.plan` says what it "
        "costs); look at GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME, EFA or RDMA, and placement"
    )
    if rate < config.min_network_share * plan:
        return fail_check("network", found, fix=fix)
    if rate < config.good_network_share * plan:
        return warn_check("network", found, fix=fix)
    return pass_check("network", found)
