import asyncio
from importlib.util import find_spec
from pathlib import Path

import pytest
from pydantic import ValidationError

from s1ray.config.generation import TransformersEngineConfig, VllmEngineConfig
from s1ray.generation.build import build_engine
from s1ray.generation.engine import Generation, Request
from s1ray.generation.shared_chains import SharedChains
from tests.choices import read_choice
from tests.generation.scripted_engines import GREEDY
from tests.generation.tiny_models import build_tiny, generate_alone


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is in this environment")
def test_engine_that_is_not_installed_is_named(tmp_path: Path) -> None:
    config = VllmEngineConfig.model_validate(read_choice("engine", "vllm"))
    with pytest.raises(ValueError, match="engine=vllm needs vLLM"):
        build_engine(config, model_path=tmp_path, context_tokens=64)


def test_fewer_slots_than_samples_are_refused() -> None:
    content = {**read_choice("engine", "transformers"), "cache_slots": 2}
    with pytest.raises(ValidationError, match="cache_slots=2 is below max_batch_size=32"):
        TransformersEngineConfig.model_validate(content)


@pytest.mark.parametrize("remembered_tokens", [0, 100])
def test_built_engine_generates_as_the_model_in_the_directory(
    tmp_path: Path, remembered_tokens: int
) -> None:
    model = build_tiny("llama")
    model.save_pretrained(tmp_path)
    changes = {"dtype": "float32", "num_threads": 1, "remembered_tokens": remembered_tokens}
    config = TransformersEngineConfig.model_validate(
        {**read_choice("engine", "transformers"), **changes}
    )
    request = Request(
        token_ids=(5, 6, 7), min_tokens=0, max_tokens=9, stop_sequences=(), sampling=GREEDY
    )

    async def run() -> Generation:
        engine = build_engine(config, model_path=tmp_path, context_tokens=64)
        assert isinstance(engine, SharedChains) == (remembered_tokens > 0)
        made = await engine.generate(request)
        await engine.close()
        return made

    assert asyncio.run(run()).token_ids == generate_alone(model, (5, 6, 7), max_tokens=9)
