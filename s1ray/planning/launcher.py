"""What Ray's schema lets through in a cluster file, checked before anything is launched.

Ray checks neither provider nor node_config keys, and its defaults bind the dashboard to every
address, open SSH to the world and grant the head full access. This reads a parsed file and returns
what is wrong with it; it knows neither Ray nor YAML nor AWS's API.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from s1ray.config.secrecy import names_assigned_secret

PLACEHOLDER = re.compile(r"CHANGE_ME(?:_[A-Z]+)*")
DIGEST = re.compile(r"@sha256:(?:[0-9a-f]{64}|CHANGE_ME_DIGEST)$")
PROVIDER_KEYS = {
    "aws": {"type", "region", "availability_zone", "cache_stopped_nodes", "use_internal_ips"},
    "local": {"type", "head_ip", "worker_ips"},
}
NODE_KEYS = {
    "BlockDeviceMappings",
    "CapacityReservationSpecification",
    "IamInstanceProfile",
    "ImageId",
    "InstanceMarketOptions",
    "InstanceType",
    "KeyName",
    "MetadataOptions",
    "NetworkInterfaces",
    "Placement",
}
"""Of EC2's create_instances, those that a GPU node needs."""
REQUIRED_NODE_KEYS = sorted(NODE_KEYS - {"InstanceMarketOptions"})
CARD_KEYS = {
    "AssociatePublicIpAddress",
    "DeleteOnTermination",
    "DeviceIndex",
    "Groups",
    "InterfaceType",
    "NetworkCardIndex",
    "SubnetId",
}
EFA_CARDS = {"p4d.24xlarge": 4, "p5.48xlarge": 32, "p5e.48xlarge": 32}
"""EC2 user guide, instances with several network cards."""
RUN_OPTIONS = {
    "--ulimit memlock=-1": "RDMA pins memory",
    "--shm-size=": "the object store and NCCL live in shared memory",
    "--device=/dev/infiniband": "EFA is not in the container without it",
    "--env RAY_AUTH_MODE=token": "whoever reaches Ray otherwise runs code on it",
    "--env RAY_AUTH_TOKEN_PATH=": "every process must find the token",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to mend before `ray up`."""

    path: str
    """Dotted, into the file."""
    message: str
    """What was found, what is right, and why."""


def check_launcher(launcher: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Return what is wrong with a cluster file that Ray's schema accepts.

    Args:
        launcher: The parsed file.

    Returns:
        Unfilled values last; nothing where the file may be launched.
    """
    provider = dict(launcher.get("provider", {}))
    kind = str(provider.get("type"))
    if kind not in PROVIDER_KEYS:
        legal = sorted(PROVIDER_KEYS)
        return (_problem("provider.type", f"is {kind!r}; this check knows {legal}"),)
    problems = [
        *_check_keys("provider", provider, PROVIDER_KEYS[kind]),
        *_check_commands(launcher),
        *_check_secrets(launcher),
        *_check_idle(launcher),
    ]
    if kind == "aws":
        problems += _check_aws(launcher, provider)
    return (*problems, *list_unfilled(launcher))


def list_unfilled(launcher: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Return every CHANGE_ME that is left, once, with the first place where it stands."""
    first: dict[str, str] = {}
    for path, value in _walk("", launcher):
        for placeholder in PLACEHOLDER.findall(value):
            first.setdefault(placeholder, path)
    return tuple(_problem(path, f"fill in {name}") for name, path in sorted(first.items()))


def _check_aws(launcher: Mapping[str, Any], provider: Mapping[str, Any]) -> Iterator[Problem]:
    if not provider.get("region"):
        yield _problem("provider.region", "is missing; name one, as us-east-1")
    zone = str(provider.get("availability_zone", ""))
    if not zone or "," in zone:
        yield _problem(
            "provider.availability_zone",
            f"is {zone!r}; name exactly one, for a placement group and a reservation live in one",
        )
    for key, right, why in (
        ("cache_stopped_nodes", False, "stopped nodes keep their disks at your cost"),
        ("use_internal_ips", True, "nodes must have no public address"),
    ):
        if provider.get(key) is not right:
            yield _problem(f"provider.{key}", f"is {provider.get(key)!r}, not {right}: {why}")
    if "ssh_private_key" not in launcher.get("auth", {}):
        yield _problem("auth.ssh_private_key", "is missing; Ray would create a key pair of its own")
    yield from _check_docker(launcher)
    yield from _check_storage(launcher)
    for name, node_type in launcher.get("available_node_types", {}).items():
        yield from _check_node(f"available_node_types.{name}.node_config", node_type["node_config"])


def _check_node(path: str, node: Mapping[str, Any]) -> Iterator[Problem]:
    yield from _check_keys(path, node, NODE_KEYS)
    for key in REQUIRED_NODE_KEYS:
        if not node.get(key):
            yield _problem(f"{path}.{key}", "is missing")
    if "GroupName" not in node.get("Placement", {}):
        yield _problem(
            f"{path}.Placement.GroupName", "is missing; EFA needs a cluster placement group"
        )
    target = node.get("CapacityReservationSpecification", {}).get("CapacityReservationTarget", {})
    if not target:
        yield _problem(
            f"{path}.CapacityReservationSpecification.CapacityReservationTarget",
            "is missing; GPU nodes are rarely there without a reservation",
        )
    if node.get("InstanceMarketOptions", {}).get("MarketType") == "spot":
        yield _problem(f"{path}.InstanceMarketOptions", "is spot; two nodes stop when one is taken")
    if node.get("MetadataOptions", {}).get("HttpTokens") != "required":
        yield _problem(f"{path}.MetadataOptions.HttpTokens", "is not required; IMDSv1 leaks roles")
    for index, device in enumerate(node.get("BlockDeviceMappings", [])):
        if not device.get("Ebs", {}).get("Encrypted"):
            yield _problem(f"{path}.BlockDeviceMappings[{index}].Ebs.Encrypted", "is not true")
    yield from _check_cards(path, node)


def _check_cards(path: str, node: Mapping[str, Any]) -> Iterator[Problem]:
    """Check the network interfaces: one address, and EFA on every card."""
    cards = node.get("NetworkInterfaces", [])
    for index, card in enumerate(cards):
        at = f"{path}.NetworkInterfaces[{index}]"
        yield from _check_keys(at, card, CARD_KEYS)
        for key in ("SubnetId", "Groups"):
            if not card.get(key):
                yield _problem(f"{at}.{key}", "is missing; Ray needs it on each interface")
        if card.get("AssociatePublicIpAddress"):
            yield _problem(f"{at}.AssociatePublicIpAddress", "is true; nodes must not be public")
    primary = [c for c in cards if (c.get("NetworkCardIndex"), c.get("DeviceIndex")) == (0, 0)]
    if len(primary) != 1 or primary[0].get("InterfaceType") == "efa-only":
        yield _problem(
            f"{path}.NetworkInterfaces",
            "needs exactly one interface with card 0 and device 0, and it may not be efa-only",
        )
    has_efa = {c.get("NetworkCardIndex") for c in cards if "efa" in str(c.get("InterfaceType"))}
    wanted = set(range(EFA_CARDS.get(str(node.get("InstanceType")), 0)))
    if wanted - has_efa:
        yield _problem(
            f"{path}.NetworkInterfaces",
            f"has EFA on {len(wanted & has_efa)} of {len(wanted)} cards of {node['InstanceType']}; "
            f"card {min(wanted - has_efa)} is the first without: the network would be slower",
        )


def _check_docker(launcher: Mapping[str, Any]) -> Iterator[Problem]:
    docker = launcher.get("docker", {})
    image = str(docker.get("image", ""))
    if not DIGEST.search(image):
        yield _problem("docker.image", f"is {image!r}; pin it as NAME@sha256:64 hex digits")
    options = " ".join(docker.get("run_options", []))
    for option, why in RUN_OPTIONS.items():
        if option not in options:
            yield _problem("docker.run_options", f"lacks {option}: {why}")
    token = re.search(r"--env RAY_AUTH_TOKEN_PATH=(\S+)", options)
    mounts = launcher.get("file_mounts", {})
    if token and token[1] not in mounts:
        yield _problem("file_mounts", f"does not bring the token file to {token[1]} on both nodes")
    for remote, local in mounts.items():
        if not str(local).startswith(("~", "/")):
            yield _problem(
                f"file_mounts.{remote}",
                f"comes from {local!r}, inside the repository; keep it outside, as ~/.ray/token",
            )


def _check_storage(launcher: Mapping[str, Any]) -> Iterator[Problem]:
    """Check that both nodes mount one storage and that the container sees it."""
    host = " ".join(launcher.get("initialization_commands", []))
    volumes = re.findall(r"(?:--volume|-v)[ =](\S+?):", " ".join(_options(launcher)))
    if "mount " not in host or not any(f"mountpoint -q {volume}" in host for volume in volumes):
        yield _problem(
            "initialization_commands",
            "does not mount shared storage that docker.run_options gives the container; a run "
            "resumes from there and every node writes to it",
        )


def _check_commands(launcher: Mapping[str, Any]) -> Iterator[Problem]:
    head = " ".join(launcher.get("head_start_ray_commands", []))
    worker = " ".join(launcher.get("worker_start_ray_commands", []))
    if "ray start --head" not in head or "--dashboard-host=127.0.0.1" not in head:
        yield _problem(
            "head_start_ray_commands",
            "must run ray start --head with --dashboard-host=127.0.0.1: Ray's default for a "
            "launched cluster is every address",
        )
    if "ray start --address=" not in worker:
        yield _problem(
            "worker_start_ray_commands", "must run ray start --address=$RAY_HEAD_IP:6379"
        )
    setup = launcher.get("setup_commands")
    if setup is None and launcher["provider"].get("type") == "aws":
        yield _problem("setup_commands", "is missing; Ray's default installs a development wheel")
    for path, value in _walk("", launcher):
        if "0.0.0.0" in value:
            yield _problem(path, f"opens a port to every address: {value!r}")
        if "ray-wheels/latest" in value:
            yield _problem(path, "installs a development wheel of Ray; pin the release")


def _check_secrets(launcher: Mapping[str, Any]) -> Iterator[Problem]:
    for path, value in _walk("", launcher):
        if why := names_assigned_secret(value, known=()):
            yield _problem(path, f"{why}; mount a file, or use the node's role")


def _check_idle(launcher: Mapping[str, Any]) -> Iterator[Problem]:
    if launcher["provider"].get("type") != "local" and not launcher.get("idle_timeout_minutes"):
        yield _problem("idle_timeout_minutes", "is missing or 0; idle GPUs would run on")


def _check_keys(path: str, given: Mapping[str, Any], legal: set[str]) -> Iterator[Problem]:
    for key in sorted(set(given) - legal):
        yield _problem(f"{path}.{key}", f"is not a known key; known are {sorted(legal)}")


def _options(launcher: Mapping[str, Any]) -> list[str]:
    return [str(option) for option in launcher.get("docker", {}).get("run_options", [])]


def _walk(path: str, value: object) -> Iterator[tuple[str, str]]:
    """Yield the path and text of every scalar."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(f"{path}.{key}" if path else str(key), item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _walk(f"{path}[{index}]", item)
    else:
        yield path, str(value)


def _problem(path: str, message: str) -> Problem:
    return Problem(path=path, message=message)
