import json
from dataclasses import replace
from typing import Any

import pytest
import yaml

from s1ray.config.planning import KuberayConfig
from s1ray.planning.cluster import Cluster
from s1ray.planning.launcher import list_unfilled
from s1ray.planning.manifests import make_ray_job
from tests.choices import read_choice
from tests.planning.plans import load_cluster

CONFIG = KuberayConfig.model_validate(read_choice("kuberay", "p5"))
CLUSTER = load_cluster("h100_2x8_8x400g")
# The fields of KubeRay's API reference (ray-project/kuberay docs/reference/api.md) and of 1.5.1's
# release note, and of Kubernetes' PodSpec, that a manifest of ours may use.
KNOWN = {
    "job": {
        "activeDeadlineSeconds", "backoffLimit", "entrypoint", "rayClusterSpec", "runtimeEnvYAML",
        "shutdownAfterJobFinishes", "submissionMode", "suspend", "ttlSecondsAfterFinished",
    },
    "cluster": {"authOptions", "headGroupSpec", "rayVersion", "workerGroupSpecs"},
    "head": {"rayStartParams", "template"},
    "workers": {
        "groupName", "maxReplicas", "minReplicas", "rayStartParams", "replicas", "template",
    },
    "pod": {
        "automountServiceAccountToken", "containers", "imagePullSecrets", "nodeSelector",
        "restartPolicy", "volumes",
    },
    "container": {
        "env", "envFrom", "image", "name", "resources", "securityContext", "volumeMounts",
    },
}  # fmt: skip


def job(
    name: str = "s1-32b-0a1b2c3d",
    *,
    cluster: Cluster = CLUSTER,
    config: KuberayConfig = CONFIG,
    **environment: str,
) -> dict[str, Any]:
    return make_ray_job(
        name,
        entrypoint="python -m jobs.train experiment=s1_32b",
        environment=environment,
        cluster=cluster,
        config=config,
    )


def pods(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    spec = manifest["spec"]["rayClusterSpec"]
    return {
        "head": spec["headGroupSpec"]["template"]["spec"],
        "worker": spec["workerGroupSpecs"][0]["template"]["spec"],
    }


def test_manifests_use_known_fields_alone() -> None:
    manifest = job()

    cluster = manifest["spec"]["rayClusterSpec"]
    assert set(manifest["spec"]) <= KNOWN["job"]
    assert set(cluster) <= KNOWN["cluster"]
    assert set(cluster["headGroupSpec"]) <= KNOWN["head"]
    assert set(cluster["workerGroupSpecs"][0]) <= KNOWN["workers"]
    for pod in pods(manifest).values():
        assert set(pod) <= KNOWN["pod"]
        assert set(pod["containers"][0]) <= KNOWN["container"]


def test_the_job_has_one_worker_pod_a_planned_node() -> None:
    cluster = job()["spec"]["rayClusterSpec"]

    group = cluster["workerGroupSpecs"][0]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (2, 2, 2)
    assert limits["nvidia.com/gpu"] == "8"
    assert limits["vpc.amazonaws.com/efa"] == "32"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_the_job_ends_and_may_try_again() -> None:
    spec = job()["spec"]

    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["activeDeadlineSeconds"] == 86400
    assert spec["backoffLimit"] == 3
    assert yaml.safe_load(spec["runtimeEnvYAML"]) == {
        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "120"}
    }


@pytest.mark.parametrize("value", ["bar", "it's", 'a "b"', "x: y\nz", "0"])
def test_a_variable_reaches_the_job_as_it_was_given(value: str) -> None:
    variables = yaml.safe_load(job(NAME=value)["spec"]["runtimeEnvYAML"])["env_vars"]

    assert variables == {"RAY_JOB_STOP_WAIT_TIME_S": "120", "NAME": value}


def test_the_token_is_on_and_secrets_come_from_kubernetes_alone() -> None:
    manifest = job()

    assert manifest["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    for pod in pods(manifest).values():
        container = pod["containers"][0]
        assert container["envFrom"] == [{"secretRef": {"name": "s1ray-secrets"}}]
        assert {item["name"] for item in container["env"]} == {"HF_HOME", *CONFIG.environment}
    assert "WANDB_API_KEY" not in json.dumps(manifest)


def test_every_pod_mounts_the_shared_storage() -> None:
    for pod in pods(job()).values():
        claims = [volume.get("persistentVolumeClaim") for volume in pod["volumes"]]
        mounts = {
            mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]
        }
        assert {"claimName": "s1ray-storage"} in claims
        assert mounts["storage"] == "/shared"


def test_fetched_models_lie_on_the_shared_storage_unless_the_environment_says_where() -> None:
    elsewhere = CONFIG.model_copy(update={"environment": {"HF_HOME": "/models"}})

    for config, home in ((CONFIG, "/shared/huggingface"), (elsewhere, "/models")):
        manifest = job(config=config)
        for pod in pods(manifest).values():
            assert {"name": "HF_HOME", "value": home} in pod["containers"][0]["env"]


def test_only_workers_are_bound_to_gpu_nodes() -> None:
    manifest = job()

    assert pods(manifest)["worker"]["nodeSelector"] == CONFIG.node_selector
    assert pods(manifest)["head"]["nodeSelector"] == {}
    assert "nvidia.com/gpu" not in json.dumps(pods(manifest)["head"])


def test_a_cluster_without_rdma_asks_for_none() -> None:
    config = CONFIG.model_copy(update={"network_resource": None})

    manifest = job(config=config)

    assert "efa" not in json.dumps(pods(manifest)["worker"]["containers"][0]["resources"])


def test_a_cluster_of_cpus_asks_for_no_gpu() -> None:
    cluster = replace(CLUSTER, is_cpu=True)

    manifest = job(cluster=cluster)

    assert "gpu" not in json.dumps(pods(manifest))


def test_values_left_to_fill_in_are_named() -> None:
    messages = [problem.message for problem in list_unfilled(job())]

    assert messages == ["fill in CHANGE_ME_DIGEST", "fill in CHANGE_ME_REGISTRY"]


def test_manifests_survive_yaml() -> None:
    manifest = job()

    assert yaml.safe_load(yaml.safe_dump(manifest)) == manifest


@pytest.mark.parametrize("name", ["S1-32B", "a_b", "-a", "a" * 48, ""])
def test_a_name_that_kubernetes_refuses_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a Kubernetes name"):
        job(name)


def test_a_secret_in_the_environment_is_refused() -> None:
    config = CONFIG.model_copy(update={"environment": {"WANDB_API_KEY": "x"}})

    with pytest.raises(ValueError, match=r"\['WANDB_API_KEY'\].*look like secrets"):
        job(config=config)
