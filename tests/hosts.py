"""Hosts on this machine: network namespaces with addresses of their own, joined by a switch.

Links can be throttled. Needs root and a kernel that has namespaces.
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ray_nodes import START_SECONDS, Nodes, hide_directory
from tests.waiting import wait_until

INTERFACE = "eth0"
ENVIRONMENT = {
    # Every host of this machine has the machine's name, which means its own loopback: collectives
    # must be told the interface, as on real hosts with several.
    "GLOO_SOCKET_IFNAME": INTERFACE,
    "NCCL_SOCKET_IFNAME": INTERFACE,
}


@dataclass(frozen=True, kw_only=True)
class Host:
    namespace: str
    address: str

    @property
    def wrapper(self) -> Sequence[str]:
        """What runs a command on this host."""
        return ("ip", "netns", "exec", self.namespace)

    def cut(self) -> None:
        """Take the cable out."""
        _ip("-n", self.namespace, "link", "set", INTERFACE, "down")

    def mend(self) -> None:
        """Put it back; the way out went with it."""
        _ip("-n", self.namespace, "link", "set", INTERFACE, "up")
        _ip("-n", self.namespace, "route", "add", "default", "dev", INTERFACE)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def make_hosts(count: int, *, rate: str | None = None) -> Iterator[list[Host]]:
    """Yield hosts 10.77.0.1 and on.

    Args:
        count: How many.
        rate: Of every link in both directions, as tc writes it ("200mbit"); None: unlimited.
    """
    prefix = f"s1ray-{os.getpid()}"
    switch = f"{prefix}-switch"
    try:
        _ip("netns", "add", switch)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("network namespaces need root, iproute2 and a kernel that has them")
    names = [f"{prefix}-{number}" for number in range(count)]
    try:
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        yield [_plug_in(n, switch, number=i, rate=rate) for i, n in enumerate(names, start=1)]
    finally:
        for name in (*names, switch):
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", name)


def _plug_in(name: str, switch: str, *, number: int, rate: str | None) -> Host:
    port, address = f"port{number}", f"10.77.0.{number}"
    _ip("netns", "add", name)
    _ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", INTERFACE, "netns", name)
    _ip("-n", switch, "link", "set", port, "master", "bridge", "up")
    _ip("-n", name, "address", "add", f"{address}/24", "dev", INTERFACE)
    for interface in ("lo", INTERFACE):
        _ip("-n", name, "link", "set", interface, "up")
    # Ray finds its own address by the way out.
    _ip("-n", name, "route", "add", "default", "dev", INTERFACE)
    if rate is not None:
        for namespace, interface in ((switch, port), (name, INTERFACE)):
            shape = ["root", "tbf", "rate", rate, "burst", "256kb", "latency", "100ms"]
            command = ["tc", "-n", namespace, "qdisc", "add", "dev", interface, *shape]
            subprocess.run(command, check=True, capture_output=True)
    return Host(namespace=name, address=address)


def start_ray(nodes: Nodes, hosts: Sequence[Host], *, num_cpus: int = 1) -> None:
    """Start a head on the first host and a node on each other one, and wait for all."""
    nodes.start_head(f"--num-cpus={num_cpus}", environment=ENVIRONMENT, wrapper=hosts[0].wrapper)
    _wait_for_head(nodes, hosts[0])
    for number, host in enumerate(hosts[1:], start=2):
        join(nodes, host, name=f"host{number}", num_cpus=num_cpus)
    nodes.wait_for_nodes(len(hosts), wrapper=hosts[0].wrapper)


def _wait_for_head(nodes: Nodes, host: Host) -> None:
    probe = [*host.wrapper, "bash", "-c", f"</dev/tcp/{nodes.host}/{nodes.gcs_port}"]
    wait_until(
        lambda: subprocess.run(probe, capture_output=True, check=False).returncode == 0,
        seconds=START_SECONDS,
        process=nodes.processes["head"],
        log=nodes.home / "head.log",
    )


def join(
    nodes: Nodes, host: Host, *, name: str, num_cpus: int = 1, hides: Path | None = None
) -> None:
    """Start a node on a host; ``hides`` is a directory that it finds empty, as if not mounted."""
    veil = () if hides is None else hide_directory(hides)
    nodes.join(
        name,
        f"--num-cpus={num_cpus}",
        f"--node-ip-address={host.address}",
        environment=ENVIRONMENT,
        wrapper=(*host.wrapper, *veil),
    )
