"""From an engine's configuration to the engine.

It knows which class carries out which kind; it does not know what an engine is used for.
"""

from pathlib import Path

from s1ray.config.generation import TransformersEngineConfig
from s1ray.generation.engine import Engine
from s1ray.generation.shared_chains import SharedChains
from s1ray.generation.transformers_engine import TransformersEngine, load_model


def build_engine(
    config: TransformersEngineConfig, *, model_path: Path, context_tokens: int
) -> Engine:
    """Load a model and return an engine on it.

    Args:
        config: Which engine, and its sizes.
        model_path: A Hugging Face directory.
        context_tokens: The longest context with its continuation.

    Raises:
        ValueError: The engine cannot hold the model.
    """
    model = load_model(model_path, dtype=config.dtype, device=config.device, adapter=None)
    engine: Engine = TransformersEngine(
        model,
        max_batch_size=config.max_batch_size,
        cache_slots=config.cache_slots,
        max_prefill_tokens=config.max_prefill_tokens,
        context_tokens=context_tokens,
        num_threads=config.num_threads,
    )
    if config.remembered_tokens:
        engine = SharedChains(
            engine, remembered_tokens=config.remembered_tokens, is_noise_positional=True
        )
    return engine
