"""Verdicts on what the nodes say of themselves, without asking them anything further."""

from collections.abc import Mapping

from s1ray.config.doctor import DoctorConfig
from s1ray.orchestration.doctor.finding import Finding, fail_check, pass_check, warn_check
from s1ray.orchestration.doctor.probe import NodeFacts

Facts = Mapping[str, NodeFacts]
"""By the name of the node."""
_TOKEN_MODE = 0o600


def check_versions(nodes: Facts) -> Finding:
    """Find packages of which two nodes have different versions."""
    packages = sorted({name for facts in nodes.values() for name in facts.versions})
    different = []
    for package in packages:
        found = {name: facts.versions.get(package, "none") for name, facts in nodes.items()}
        if len(set(found.values())) > 1:
            different.append(f"{package} ({', '.join(f'{v} on {n}' for n, v in found.items())})")
    if different:
        return fail_check(
            "versions",
            f"not equal on all nodes: {'; '.join(different)}",
            fix="install the same on every node: one image, pinned by digest",
        )
    first = next(iter(nodes.values())).versions
    named = ", ".join(f"{name} {first[name]}" for name in ("ray", "torch", "transformers"))
    return pass_check("versions", f"{named} on {len(nodes)} nodes")


def check_gpus(nodes: Facts, config: DoctorConfig) -> Finding:
    """Find nodes with other GPUs than planned, or that torch cannot use."""
    cluster = config.cluster
    if cluster.device == "cpu":
        return pass_check("gpus", "none are planned (cluster.device=cpu)")
    wrong = []
    for name, facts in nodes.items():
        if facts.gpu_fault:
            wrong.append(f"{facts.gpu_fault} on {name}")
        elif len(facts.gpus) != cluster.devices_per_node:
            wrong.append(f"{name} has {len(facts.gpus)}")
        elif facts.num_torch_gpus != len(facts.gpus):
            wrong.append(f"torch sees {facts.num_torch_gpus} of {len(facts.gpus)} on {name}")
        least = config.min_memory_share * cluster.device_memory_gib
        small = [gpu for gpu in facts.gpus if (gpu.memory_gib or 0.0) < least]
        wrong += [f"{gpu.name} on {name} has {gpu.memory_gib or 0:.1f} GiB" for gpu in small[:1]]
    planned = f"{cluster.devices_per_node} of {cluster.device_memory_gib:g} GiB a node"
    if wrong:
        return fail_check(
            "gpus",
            f"planned are {planned}, but {'; '.join(wrong)}",
            fix="check the driver (nvidia-smi), torch's CUDA build, the container's GPUs, and that "
            "cluster= names this hardware",
        )
    return pass_check("gpus", f"{planned}, all usable by torch")


def check_power(nodes: Facts, config: DoctorConfig) -> Finding:
    """Find GPUs that may not draw their power or not reach their clocks."""
    wrong = []
    for name, facts in nodes.items():
        for index, gpu in enumerate(facts.gpus):
            limit, default = gpu.power_limit_watts, gpu.default_power_limit_watts
            if limit and default and limit < config.min_power_share * default:
                wrong.append(f"GPU {index} of {name} is held at {limit:.0f} of {default:.0f} W")
            clock, usual = gpu.clock_mhz, gpu.default_clock_mhz
            if clock and usual and clock < config.min_power_share * usual:
                wrong.append(f"GPU {index} of {name} is held at {clock:.0f} of {usual:.0f} MHz")
            wrong += [f"GPU {index} of {name}: {why}" for why in gpu.slowdowns]
    if wrong:
        return fail_check(
            "clocks and power",
            "; ".join(wrong),
            fix="sudo nvidia-smi -pl DEFAULT, sudo nvidia-smi -rac; look at cooling and supply. At "
            "250 W a run of 26 minutes was reported to take 3 hours (s1#125)",
        )
    num_gpus = sum(len(facts.gpus) for facts in nodes.values())
    return pass_check("clocks and power", f"{num_gpus} GPUs at their defaults")


def check_disk(nodes: Facts, config: DoctorConfig) -> Finding:
    """Find nodes that would run out of disk."""
    wrong = []
    for name, facts in nodes.items():
        if facts.storage_gib is not None and facts.storage_gib < config.min_storage_gib:
            wrong.append(f"{facts.storage_gib:.1f} GiB below paths.storage on {name}")
        if facts.temporary_gib < config.min_temporary_gib:
            wrong.append(f"{facts.temporary_gib:.1f} GiB for temporary files on {name}")
    if wrong:
        return fail_check(
            "free disk",
            f"only {'; '.join(wrong)}",
            fix=f"free at least {config.min_storage_gib:g} GiB of storage and "
            f"{config.min_temporary_gib:g} GiB of temporary space (a checkpoint of 32B has 393)",
        )
    free = [facts.storage_gib for facts in nodes.values() if facts.storage_gib is not None]
    return pass_check("free disk", f"at least {min(free, default=0.0):.0f} GiB of storage")


def check_services(nodes: Facts, config: DoctorConfig) -> list[Finding]:
    """Find services outside that a run needs and a node does not reach."""
    needed = {"wandb": config.tracking.mode == "online", "hub": config.needs_hub}
    without = {
        "wandb": "runs may be recorded offline and synchronised later",
        "hub": "models and questions are on the nodes or the shared storage",
    }
    findings = []
    for service in config.service_urls:
        reasons = {n: f.unreachable[service] for n, f in nodes.items() if service in f.unreachable}
        if not reasons:
            findings.append(pass_check(service, f"answers on {len(nodes)} nodes"))
            continue
        name, reason = next(iter(reasons.items()))
        found = f"does not answer on {len(reasons)} of {len(nodes)} nodes ({name}: {reason})"
        if needed.get(service):
            fix = f"open the way out or set a proxy; or do without, where {without[service]}"
            findings.append(fail_check(service, found, fix=fix))
        else:
            findings.append(
                warn_check(service, found, fix=f"nothing to do where {without[service]}")
            )
    return findings


def check_token(nodes: Facts, *, is_beyond_loopback: bool, is_server_open: bool | None) -> Finding:
    """Find nodes that take commands from anybody, and token files that anybody reads.

    Args:
        nodes: What they say.
        is_beyond_loopback: Whether others can reach the cluster at all.
        is_server_open: Whether the job server answers without a token; None where there is none.
    """
    open_nodes = [name for name, facts in nodes.items() if not facts.is_token_demanded]
    if open_nodes or is_server_open:
        where = ", ".join(open_nodes) or "the job server"
        verdict = fail_check if is_beyond_loopback else warn_check
        return verdict(
            "token",
            f"not demanded by {where}: whoever reaches it runs code there",
            fix="ray get-auth-token --generate, the same file on every node, RAY_AUTH_MODE=token "
            "before ray start",
        )
    loose = [
        f"{oct(facts.token_mode)} on {name}"
        for name, facts in nodes.items()
        if facts.token_mode is not None and facts.token_mode & ~_TOKEN_MODE
    ]
    if loose:
        return fail_check(
            "token",
            f"its file can be read by others: {', '.join(loose)}",
            fix="chmod 600 ~/.ray/auth_token, or what RAY_AUTH_TOKEN_PATH names there",
        )
    server = "" if is_server_open is None else ", the job server refuses strangers"
    return pass_check("token", f"demanded by {len(nodes)} nodes{server}")


def check_clocks(offsets: Mapping[str, tuple[float, float]], config: DoctorConfig) -> Finding:
    """Find nodes whose clocks differ from this one's.

    Args:
        offsets: By node: seconds ahead of this process's clock, and how uncertain that is.
        config: The limit.
    """
    wrong = [
        f"{name} by {offset:+.1f} s"
        for name, (offset, doubt) in offsets.items()
        if abs(offset) - doubt > config.clock_skew_seconds
    ]
    if wrong:
        return fail_check(
            "clocks", f"differ from this machine's: {', '.join(wrong)}", fix="run chrony or ntpd"
        )
    largest = max((abs(offset) for offset, _ in offsets.values()), default=0.0)
    return pass_check("clocks", f"within {largest * 1000:.0f} ms")
