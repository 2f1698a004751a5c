"""The schema of conf/cluster, conf/planning and conf/kuberay: hardware, assumptions, reports."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from s1ray.config.base import Section
from s1ray.config.training import ActivationCheckpointing, TrainingConfig

Fraction = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class ClusterConfig(Section):
    """The hardware a run would be planned for. Bandwidths are of one direction."""

    name: str
    device: Literal["cpu", "cuda"]
    num_nodes: PositiveInt
    devices_per_node: PositiveInt
    """GPUs of a node; on the cpu, worker processes share what stands here for one device."""
    device_memory_gib: PositiveFloat
    """What torch reports as total, not the name on the box."""
    peak_tflops: PositiveFloat
    """Dense matrix products in the compute dtype, by data sheet (GPU) or measured (CPU)."""
    efficiency_eager: Fraction
    """Share of the peak that the layers of a model reach, without torch.compile."""
    efficiency_compiled: Fraction
    device_bandwidth_gb: PositiveFloat
    """Of the device's memory, 1e9 bytes a second."""
    device_link_gb: PositiveFloat
    """What a ring among a node's devices moves, 1e9 bytes a second and device."""
    nics_per_node: Annotated[int, Field(ge=0)]
    """0 for a single node."""
    nic_gbit: NonNegativeFloat
    """Line rate of one NIC, 1e9 bits a second."""
    line_rate_share: Fraction
    """Of the line rate that collectives reach."""
    measured_node_gbit: PositiveFloat | None
    """What a preflight measured between nodes, 1e9 bits a second and node; null: the line rate."""
    host_memory_gib: PositiveFloat
    """Of a node."""
    host_bandwidth_gb: PositiveFloat
    """Of a node's main memory, 1e9 bytes a second."""
    host_link_gb: PositiveFloat
    """Between one device and main memory, 1e9 bytes a second."""
    storage_gb: PositiveFloat
    """What a node reads from storage, 1e9 bytes a second."""
    dispatch_microseconds: NonNegativeFloat
    """The least one decoder layer takes, forward and backward, however few its tokens."""
    dollars_per_device_hour: NonNegativeFloat


class AssumptionsConfig(Section):
    """What the plan takes for granted about the software."""

    overlap: Share
    """Share of the smaller of compute and FSDP communication that is hidden behind the other."""
    runtime_gib: NonNegativeFloat
    """CUDA context, NCCL buffers and workspaces on each GPU."""
    whole_logit_copies: PositiveInt
    """Float32 copies of the logits that live at once where the loss is not computed in chunks."""
    tight_share: Share
    """Below this share of free memory a plan fits, but is called tight."""


class AdviceConfig(Section):
    """What the advice may try."""

    block_step_tokens: PositiveInt
    """A shorter block or row is advised as a multiple of this."""
    least_relief: Share
    """A change joins a combination if it lowers the peak at least by this share."""
    worthwhile_speedup: Annotated[float, Field(gt=1)]
    """A change that only saves time is advised from this ratio on."""


class LengthsConfig(Section):
    """Lengths of a training set known by its statistics: a lognormal, cut at the longest."""

    origin: str
    """The set, as a pool's source names it."""
    num_samples: PositiveInt
    median_tokens: PositiveFloat
    sigma: NonNegativeFloat
    """Standard deviation of the logarithm of the tokens."""
    longest_tokens: PositiveInt


class ReportedRecipeConfig(Section):
    """What s1's training script computes, as far as its cost depends on it."""

    num_epochs: PositiveInt
    global_batch_size: PositiveInt
    seed: int
    compute_bytes: PositiveInt
    reduce_bytes: PositiveInt
    moment_bytes: PositiveInt
    gathers_per_pass: PositiveInt
    overlap: Share
    is_optimizer_fused: bool
    is_compiled: bool


class ReportConfig(Section):
    """One outcome that somebody reported."""

    name: str
    source: str
    num_workers: PositiveInt
    lengths: Literal["s1k", "r1", "block"]
    """Whose lengths; ``block``: one sample fills the block."""
    max_seq_len: PositiveInt
    checkpointing: ActivationCheckpointing
    node_gbit: PositiveFloat | None
    """Between nodes; null: the planned cluster's."""
    reported_hours: PositiveFloat | None
    reported_fit: bool
    remark: str
    """What the prediction rests on, or why it cannot be one."""


class PlanningConfig(Section):
    """What ``jobs.plan`` reckons with, beside the recipe and the cluster."""

    misfit: Literal["refuse", "warn", "ignore"]
    """What ``jobs.train`` does with a plan that does not fit ``cluster``; ``ignore`` makes none."""
    assumptions: AssumptionsConfig
    advice: AdviceConfig
    lora_training: TrainingConfig
    """A choice of conf/training; only its adapters are read, for advice."""
    known_models: dict[str, dict[str, int | bool | str]]
    """config.json by Hugging Face id, for planning without the hub."""
    unread_lengths: Literal["s1k", "r1"] | None
    """Which of ``report_lengths`` stands in for traces that are not here yet; null: the one with
    the origin of the pool, if any."""
    report_model: dict[str, int | bool | str]
    """The keys of a Hugging Face config.json that fix the shape of the reports' model."""
    report_lengths: dict[Literal["s1k", "r1"], LengthsConfig]
    report_recipe: ReportedRecipeConfig
    report_tolerance: Fraction
    """A prediction agrees with a report within this ratio."""
    reports: tuple[ReportConfig, ...]


class KuberayConfig(Section):
    """What a Kubernetes cluster must know to run a job, beside the planned hardware."""

    namespace: str
    ray_version: str
    image: str
    """Pinned by digest; CHANGE_ME until it is built."""
    image_pull_secrets: tuple[str, ...]
    secret_names: tuple[str, ...]
    """Kubernetes secrets whose keys become environment variables; no value stands here."""
    storage_claim: str
    """A ReadWriteMany volume claim that every pod mounts."""
    storage_path: str
    node_selector: dict[str, str]
    head_cpus: PositiveInt
    head_memory_gib: PositiveInt
    worker_cpus: PositiveInt
    worker_memory_gib: PositiveInt
    shared_memory_gib: PositiveInt
    device_resource: str
    """Kubernetes' name of one GPU."""
    network_resource: str | None
    """Kubernetes' name of one RDMA interface; null where there is none."""
    network_devices: Annotated[int, Field(ge=0)]
    environment: dict[str, str]
    """Not secret: anyone who reads the manifest reads it."""
    max_seconds: PositiveInt
    retries: Annotated[int, Field(ge=0)]
    """Each on a new cluster; the run resumes by its name."""
    seconds_kept: Annotated[int, Field(ge=0)]
    """How long a finished job's cluster stays for its logs."""
    stop_wait_seconds: PositiveInt
    """Between SIGTERM and SIGKILL of a stopped job: time for a checkpoint."""
    is_suspended: bool
    """Created suspended: Kueue starts it."""
