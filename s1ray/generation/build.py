"""From an engine's configuration to the engine.

It knows which class carries out which kind; it does not know what an engine is used for.
"""

from pathlib import Path

from s1ray.config.generation import EngineConfig, TransformersEngineConfig, VllmEngineConfig
from s1ray.generation.engine import Engine
from s1ray.generation.shared_chains import SharedChains
from s1ray.generation.transformers_engine import TransformersEngine, load_model
from s1ray.generation.vllm_engine import VllmEngine


def build_engine(
    config: EngineConfig, *, model_path: Path, context_tokens: int, adapter: Path | None = None
) -> Engine:
    """Load a model and return an engine on it.

    Args:
        config: Which engine, and its sizes.
        model_path: A Hugging Face directory.
        context_tokens: The longest context with its continuation.
        adapter: A PEFT adapter's directory; None for none.

    Raises:
        ValueError: The engine is not installed or cannot hold the model.
    """
    if isinstance(config, VllmEngineConfig):
        engine = _build_vllm(config, model_path, context_tokens, adapter)
    else:
        engine = _build_transformers(config, model_path, context_tokens, adapter)
    if not config.remembered_tokens:
        return engine
    return SharedChains(
        engine,
        remembered_tokens=config.remembered_tokens,
        is_noise_positional=isinstance(engine, TransformersEngine),
    )


def _build_transformers(
    config: TransformersEngineConfig, model_path: Path, context_tokens: int, adapter: Path | None
) -> Engine:
    model = load_model(model_path, dtype=config.dtype, device=config.device, adapter=adapter)
    return TransformersEngine(
        model,
        max_batch_size=config.max_batch_size,
        cache_slots=config.cache_slots,
        max_prefill_tokens=config.max_prefill_tokens,
        context_tokens=context_tokens,
        num_threads=config.num_threads,
    )


def _build_vllm(
    config: VllmEngineConfig, model_path: Path, context_tokens: int, adapter: Path | None
) -> Engine:
    return VllmEngine(
        model_path,
        context_tokens=context_tokens,
        adapter=adapter,
        settings={
            "dtype": config.dtype,
            "tensor_parallel_size": config.tensor_parallel_size,
            "max_num_seqs": config.max_batch_size,
            "gpu_memory_utilization": config.memory_utilization,
            "enable_prefix_caching": config.has_prefix_caching,
            "enforce_eager": config.is_eager,
            "max_lora_rank": config.max_lora_rank,
        },
    )
