"""From an engine's configuration to the engine.

It knows which class carries out which kind; it does not know what an engine is used for.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
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
    engine: Engine
    if isinstance(config, VllmEngineConfig):
        vllm = _build_vllm(config, model_path, context_tokens, num_adapters=adapter is not None)
        engine = vllm if adapter is None else vllm.with_adapter(adapter)
    else:
        engine = _build_transformers(config, model_path, context_tokens, adapter)
    return _share(engine, config)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """One model's engines: without an adapter, and under each by its name."""

    base: Engine
    adapted: Mapping[str, Engine]
    is_shared: bool
    """Whether all of them are one engine, which counts its work once."""

    def counters(self) -> Mapping[str, int]:
        """Return the work of all of them together."""
        total: Counter[str] = Counter()
        for engine in (self.base, *(() if self.is_shared else self.adapted.values())):
            total.update(engine.counters())
        return total

    async def close(self) -> None:
        """Close all of them."""
        for engine in (*self.adapted.values(), self.base):
            await engine.close()


def build_engines(
    config: EngineConfig,
    *,
    model_path: Path,
    context_tokens: int,
    adapters: Mapping[str, Path],
) -> Engines:
    """Load a model and its adapters.

    vLLM's share one copy of the weights; the transformers engine loads a copy for each.

    Args:
        config: Which engine, and its sizes.
        model_path: A Hugging Face directory.
        context_tokens: The longest context with its continuation.
        adapters: PEFT adapters' directories by name.

    Raises:
        ValueError: The engine is not installed or cannot hold the model.
    """
    base: Engine
    adapted: dict[str, Engine]
    if isinstance(config, VllmEngineConfig):
        vllm = _build_vllm(config, model_path, context_tokens, num_adapters=len(adapters))
        base, adapted = vllm, {name: vllm.with_adapter(path) for name, path in adapters.items()}
    else:
        base = _build_transformers(config, model_path, context_tokens, None)
        adapted = {
            name: _build_transformers(config, model_path, context_tokens, path)
            for name, path in adapters.items()
        }
    return Engines(
        base=_share(base, config),
        adapted={name: _share(engine, config) for name, engine in adapted.items()},
        is_shared=isinstance(base, VllmEngine),
    )


def _share(engine: Engine, config: EngineConfig) -> Engine:
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
    config: VllmEngineConfig, model_path: Path, context_tokens: int, *, num_adapters: int
) -> VllmEngine:
    return VllmEngine(
        model_path,
        context_tokens=context_tokens,
        num_adapters=num_adapters,
        settings={
            "dtype": config.dtype,
            "tensor_parallel_size": config.tensor_parallel_size,
            "max_num_seqs": config.max_batch_size,
            "gpu_memory_utilization": config.memory_utilization,
            "enable_prefix_caching": config.has_prefix_caching,
            "enforce_eager": config.is_eager,
            **({"max_lora_rank": config.max_lora_rank} if num_adapters else {}),
        },
    )
