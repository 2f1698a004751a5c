"""The planned hardware as manifests: KubeRay's RayJob, and Ray's on-prem launcher.

Pure functions from a cluster description to dicts; nothing here talks to a cluster. Secrets reach
the pods through ``envFrom`` of Kubernetes secrets and never stand in a manifest.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from s1ray.config.planning import KuberayConfig
from s1ray.config.secrecy import is_secret_name
from s1ray.planning.cluster import Cluster

DASHBOARD_PORT = 8265
GCS_PORT = 6379
HUB_HOME = "HF_HOME"
"""Where fetched models lie: the driver fetches them, and every node reads them."""
_HUB_DIRECTORY = "huggingface"
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,45}[a-z0-9])?")
"""KubeRay appends to names, and Kubernetes allows 63 characters."""


def make_ray_job(
    name: str,
    *,
    entrypoint: str,
    environment: Mapping[str, str],
    cluster: Cluster,
    config: KuberayConfig,
) -> dict[str, Any]:
    """Return a RayJob: a cluster of its own, one command, and an end.

    Args:
        name: Of the job; a run's name makes a second submission collide instead of running twice.
        entrypoint: The command, quoted for a shell.
        environment: Of the job's processes; the pods' own is the configuration's.
        cluster: The hardware; every node becomes one worker pod.
        config: Image, storage, secrets' names and limits.

    Raises:
        ValueError: The name is not a Kubernetes name, or the environment holds a secret.
    """
    _check_name(name)
    variables = {"RAY_JOB_STOP_WAIT_TIME_S": str(config.stop_wait_seconds), **environment}
    lines = "".join(f"  {key}: {json.dumps(value)}\n" for key, value in variables.items())
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name, "namespace": config.namespace},
        "spec": {
            "entrypoint": entrypoint,
            "runtimeEnvYAML": f"env_vars:\n{lines}",
            "submissionMode": "K8sJobMode",
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": config.seconds_kept,
            "activeDeadlineSeconds": config.max_seconds,
            "backoffLimit": config.retries,
            "suspend": config.is_suspended,
            "rayClusterSpec": _specify_cluster(cluster, config),
        },
    }


def make_local_launcher(
    name: str,
    *,
    head_ip: str,
    worker_ips: tuple[str, ...],
    ssh_user: str,
    token_file: str,
    storage_path: str,
) -> dict[str, Any]:
    """Return the contents of a cluster file for machines that are already there.

    They must have this house's environment on the PATH of ``ssh_user`` and mount one storage.

    Args:
        name: Of the cluster.
        head_ip: The machine that runs the head, and works.
        worker_ips: The others.
        ssh_user: On all of them.
        token_file: Absolute path of the token, mode 0600, on your machine and on theirs.
        storage_path: Where all of them mount the same storage.
    """
    hub = f"{HUB_HOME}={storage_path}/{_HUB_DIRECTORY}"
    exports = f"export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={token_file} {hub}"
    ports = "--object-manager-port=8076 --disable-usage-stats"
    head = f"ray start --head --port={GCS_PORT} --dashboard-host=127.0.0.1 {ports}"
    worker = f"ray start --address=$RAY_HEAD_IP:{GCS_PORT} {ports}"
    return {
        "cluster_name": name,
        "provider": {"type": "local", "head_ip": head_ip, "worker_ips": list(worker_ips)},
        "auth": {"ssh_user": ssh_user},
        "min_workers": len(worker_ips),
        "max_workers": len(worker_ips),
        "file_mounts": {token_file: token_file},
        "setup_commands": [f"chmod 600 {token_file}"],
        "head_start_ray_commands": [
            "ray stop",
            f"{exports}; {head} --autoscaling-config=~/ray_bootstrap_config.yaml",
        ],
        "worker_start_ray_commands": ["ray stop", f"{exports}; {worker}"],
    }


def _specify_cluster(cluster: Cluster, config: KuberayConfig) -> dict[str, Any]:
    _check_environment(config)
    devices = {config.device_resource: str(cluster.devices_per_node)}
    if config.network_resource is not None:
        devices[config.network_resource] = str(config.network_devices)
    worker = _specify_pod(
        "ray-worker",
        cpus=config.worker_cpus,
        memory_gib=config.worker_memory_gib,
        devices={} if cluster.is_cpu else devices,
        config=config,
    )
    head = _specify_pod(
        "ray-head",
        cpus=config.head_cpus,
        memory_gib=config.head_memory_gib,
        devices={},
        config=config,
    )
    return {
        "rayVersion": config.ray_version,
        # KubeRay 1.5.1 and later make the token and hand it to every Ray container.
        "authOptions": {"mode": "token"},
        "headGroupSpec": {
            # The driver runs on the head; Ray's own work stays on the nodes that have GPUs. Inside
            # a pod the dashboard must listen on the pod's address: the submitter is another pod.
            "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},
            "template": head,
        },
        "workerGroupSpecs": [
            {
                "groupName": "workers",
                "replicas": cluster.num_nodes,
                "minReplicas": cluster.num_nodes,
                "maxReplicas": cluster.num_nodes,
                "rayStartParams": {},
                "template": worker,
            }
        ],
    }


def _check_environment(config: KuberayConfig) -> None:
    exposed = sorted(name for name in config.environment if is_secret_name(name))
    if exposed:
        raise ValueError(
            f"kuberay.environment holds {exposed}, which look like secrets; anyone who reads the "
            "manifest reads them. Put them into a Kubernetes secret and name it in "
            "kuberay.secret_names."
        )


def _specify_pod(
    name: str, *, cpus: int, memory_gib: int, devices: dict[str, str], config: KuberayConfig
) -> dict[str, Any]:
    amounts = {"cpu": str(cpus), "memory": f"{memory_gib}Gi", **devices}
    environment = {HUB_HOME: f"{config.storage_path}/{_HUB_DIRECTORY}", **config.environment}
    container: dict[str, Any] = {
        "name": name,
        "image": config.image,
        "resources": {"limits": dict(amounts), "requests": dict(amounts)},
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "envFrom": [{"secretRef": {"name": secret}} for secret in config.secret_names],
        "volumeMounts": [
            {"name": "storage", "mountPath": config.storage_path},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
        "securityContext": {"allowPrivilegeEscalation": False},
    }
    if devices:
        # RDMA pins memory.
        container["securityContext"] = {"capabilities": {"add": ["IPC_LOCK"]}}
    return {
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "imagePullSecrets": [{"name": secret} for secret in config.image_pull_secrets],
            "nodeSelector": dict(config.node_selector) if devices else {},
            "containers": [container],
            "volumes": [
                {"name": "storage", "persistentVolumeClaim": {"claimName": config.storage_claim}},
                {
                    "name": "shm",
                    "emptyDir": {"medium": "Memory", "sizeLimit": f"{config.shared_memory_gib}Gi"},
                },
            ],
        }
    }


def _check_name(name: str) -> None:
    if not LABEL.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a Kubernetes name: up to 47 lower-case letters, digits and hyphens, "
            "with a letter or digit at both ends. Rename the run."
        )
