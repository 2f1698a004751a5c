"""cluster.yaml as it stands: Ray's own validation, offline, and ours of what Ray lets through."""

import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from s1ray.planning.launcher import check_launcher, list_unfilled
from s1ray.planning.manifests import make_local_launcher
from tests.choices import read_choice

CLUSTER_FILE = Path(__file__).parents[1] / "cluster.yaml"
FILLED = {"CHANGE_ME_DIGEST": "0123456789abcdef" * 4, "CHANGE_ME_REGISTRY": "registry.example"}


def read() -> dict[str, Any]:
    return yaml.safe_load(CLUSTER_FILE.read_text(encoding="utf-8"))


def fill_in() -> dict[str, Any]:
    """The file as a user who has filled in every value would have it."""

    def replace(match: re.Match[str]) -> str:
        return FILLED.get(match[0], "filled-in")

    text = CLUSTER_FILE.read_text(encoding="utf-8")
    # Anchors share objects; a deep copy through plain data lets a test change one place alone.
    data = yaml.safe_load(re.sub(r"CHANGE_ME(?:_[A-Z]+)*", replace, text))
    return yaml.safe_load(yaml.dump(data, Dumper=NoAliases))


class NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def test_ray_accepts_the_file_as_it_stands() -> None:
    config = prepare_config(read())

    validate_config(config)

    assert config["head_node_type"] == "head"
    assert config["max_workers"] == 1


def test_none_of_rays_defaults_that_open_ports_or_install_wheels_is_left() -> None:
    text = yaml.dump(prepare_config(read()))

    assert "0.0.0.0" not in text
    assert "ray-wheels" not in text
    assert "spot" not in text


def test_the_file_describes_the_cluster_that_is_planned() -> None:
    launcher = read()
    planned = read_choice("cluster", "h100_2x8_8x400g")
    kuberay = read_choice("kuberay", "p5")

    types = launcher["available_node_types"].values()
    assert launcher["max_workers"] + 1 == planned["num_nodes"]
    assert {node_type["resources"]["GPU"] for node_type in types} == {planned["devices_per_node"]}
    assert launcher["docker"]["image"] == kuberay["image"]
    assert f"--shm-size={kuberay['shared_memory_gib']}g" in launcher["docker"]["run_options"]


def test_both_nodes_read_fetched_models_from_the_storage_that_they_share() -> None:
    options = read()["docker"]["run_options"]

    assert "--volume /shared:/shared" in options
    assert "--env HF_HOME=/shared/huggingface" in options


def test_the_file_has_no_other_problem_than_unfilled_values() -> None:
    problems = check_launcher(read())

    assert problems == list_unfilled(read())
    assert sorted(problem.message for problem in problems) == [
        "fill in CHANGE_ME_AMI",
        "fill in CHANGE_ME_DIGEST",
        "fill in CHANGE_ME_FSX_DNS",
        "fill in CHANGE_ME_FSX_MOUNT",
        "fill in CHANGE_ME_HEAD_PROFILE_ARN",
        "fill in CHANGE_ME_KEY_PAIR",
        "fill in CHANGE_ME_PLACEMENT_GROUP",
        "fill in CHANGE_ME_REGISTRY",
        "fill in CHANGE_ME_RESERVATION",
        "fill in CHANGE_ME_SECURITY_GROUP",
        "fill in CHANGE_ME_SUBNET",
        "fill in CHANGE_ME_WORKER_PROFILE_ARN",
    ]


def test_a_filled_in_file_has_no_problem() -> None:
    launcher = fill_in()

    validate_config(prepare_config(deepcopy(launcher)))

    assert check_launcher(launcher) == ()


def put(*path: str | int) -> Callable[[dict[str, Any], Any], None]:
    def change(launcher: dict[str, Any], value: Any) -> None:
        at: Any = launcher
        for key in path[:-1]:
            at = at[key]
        if value is None:
            del at[path[-1]]
        else:
            at[path[-1]] = value

    return change


HEAD = ("available_node_types", "head", "node_config")
OPTIONS = ["--ulimit memlock=-1", "--shm-size=64g", "--device=/dev/infiniband"]
FAULTS = [
    (put("provider", "type"), "gcp", "provider.type", "this check knows"),
    (put("provider", "regin"), "us-east-1", "provider.regin", "is not a known key"),
    (put("provider", "region"), None, "provider.region", "is missing"),
    (put("provider", "availability_zone"), "a,b", "availability_zone", "name exactly one"),
    (put("provider", "cache_stopped_nodes"), True, "cache_stopped_nodes", "at your cost"),
    (put("provider", "use_internal_ips"), None, "use_internal_ips", "public address"),
    (put("auth"), {"ssh_user": "ubuntu"}, "auth.ssh_private_key", "is missing"),
    (put("idle_timeout_minutes"), 0, "idle_timeout_minutes", "idle GPUs"),
    (put("docker", "image"), "rayproject/ray:latest", "docker.image", "pin it"),
    (put("docker", "run_options"), OPTIONS, "docker.run_options", "RAY_AUTH_MODE=token"),
    (put("docker", "run_options"), ["--privileged"], "docker.run_options", "memlock"),
    (put("docker", "run_options"), ["-v /a:/a"], "initialization_commands", "shared storage"),
    (put("initialization_commands"), [], "initialization_commands", "shared storage"),
    (put("file_mounts"), {}, "file_mounts", "does not bring the token file"),
    (put("file_mounts", "/x"), "conf/token", "file_mounts./x", "inside the repository"),
    (put("head_start_ray_commands"), ["ray start --head"], "head_start", "127.0.0.1"),
    (
        put("head_start_ray_commands", 1),
        "ray start --head --dashboard-host=0.0.0.0",
        "head_start_ray_commands[1]",
        "opens a port to every address",
    ),
    (put("worker_start_ray_commands"), [], "worker_start_ray_commands", "ray start --address"),
    (put("setup_commands"), None, "setup_commands", "development wheel"),
    (
        put("setup_commands"),
        ["pip install https://example/ray-wheels/latest/ray.whl"],
        "setup_commands[0]",
        "pin the release",
    ),
    (put("setup_commands"), ["export WANDB_API_KEY=abc"], "setup_commands[0]", "be a secret"),
    (put("setup_commands"), ["hf auth login hf_" + "a" * 34], "setup_commands[0]", "a secret"),
    (put("setup_commands"), ["pip install x@https://me:" + "pw@host/x"], "commands[0]", "a secret"),
    (put("docker", "run_options", 3), "--env HF_TOKEN=hf_x", "run_options[3]", "be a secret"),
    (put(*HEAD, "InstanceTyp"), "p5", "node_config.InstanceTyp", "is not a known key"),
    (put(*HEAD, "SubnetId"), "subnet-1", "node_config.SubnetId", "is not a known key"),
    (put(*HEAD, "ImageId"), None, "node_config.ImageId", "is missing"),
    (put(*HEAD, "IamInstanceProfile"), None, "IamInstanceProfile", "is missing"),
    (put(*HEAD, "Placement"), {"Tenancy": "default"}, "Placement.GroupName", "placement group"),
    (
        put(*HEAD, "CapacityReservationSpecification"),
        {"CapacityReservationPreference": "open"},
        "CapacityReservationTarget",
        "without a reservation",
    ),
    (put(*HEAD, "InstanceMarketOptions"), {"MarketType": "spot"}, "MarketOptions", "is spot"),
    (put(*HEAD, "MetadataOptions", "HttpTokens"), "optional", "HttpTokens", "IMDSv1"),
    (
        put(*HEAD, "BlockDeviceMappings", 0, "Ebs", "Encrypted"),
        False,
        "Ebs.Encrypted",
        "is not true",
    ),
    (put(*HEAD, "NetworkInterfaces", 7), None, "NetworkInterfaces", "31 of 32 cards"),
    (put(*HEAD, "NetworkInterfaces", 0), None, "NetworkInterfaces", "exactly one interface"),
    (
        put(*HEAD, "NetworkInterfaces", 0, "InterfaceType"),
        "efa-only",
        "NetworkInterfaces",
        "may not be efa-only",
    ),
    (put(*HEAD, "NetworkInterfaces", 3, "Groups"), [], "[3].Groups", "is missing"),
    (put(*HEAD, "NetworkInterfaces", 3, "Group"), "sg", "[3].Group", "is not a known key"),
    (
        put(*HEAD, "NetworkInterfaces", 0, "AssociatePublicIpAddress"),
        True,
        "AssociatePublicIpAddress",
        "must not be public",
    ),
]


@pytest.mark.parametrize(("change", "value", "path", "message"), FAULTS)
def test_a_planted_fault_is_found(
    change: Callable[[dict[str, Any], Any], None], value: Any, path: str, message: str
) -> None:
    launcher = fill_in()
    change(launcher, value)

    problems = check_launcher(launcher)

    assert any(path in p.path and message in p.message for p in problems), problems


def test_the_on_prem_variant_validates() -> None:
    launcher = make_local_launcher(
        "lab",
        head_ip="10.0.0.1",
        worker_ips=("10.0.0.2",),
        ssh_user="ray",
        token_file="/home/ray/.ray/auth_token",
        storage_path="/mnt/lab",
    )

    validate_config(prepare_config(deepcopy(launcher)))

    assert check_launcher(launcher) == ()
    commands = launcher["head_start_ray_commands"] + launcher["worker_start_ray_commands"]
    assert sum("RAY_AUTH_MODE=token" in command for command in commands) == 2
    assert sum("HF_HOME=/mnt/lab/huggingface;" in command for command in commands) == 2


def test_an_on_prem_file_that_opens_the_dashboard_is_found() -> None:
    launcher = make_local_launcher(
        "lab",
        head_ip="10.0.0.1",
        worker_ips=(),
        ssh_user="ray",
        token_file="/token",
        storage_path="/shared",
    )
    launcher["head_start_ray_commands"][1] += " --dashboard-host=0.0.0.0"

    problems = check_launcher(launcher)

    assert [problem.path for problem in problems] == ["head_start_ray_commands[1]"]
