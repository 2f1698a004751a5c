import asyncio
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from s1ray.config.generation import (
    BudgetConfig,
    EngineConfig,
    SamplingConfig,
    TransformersEngineConfig,
    VllmEngineConfig,
)
from s1ray.generation.build import build_engine
from s1ray.generation.engine import Generation, Request
from s1ray.generation.shared_chains import SharedChains
from tests.generation.scripted_engines import GREEDY
from tests.generation.tiny_models import build_tiny, generate_alone

CONF = Path(__file__).parents[2] / "conf"


def read(path: Path) -> dict[str, object]:
    content = yaml.safe_load(path.read_text())
    parents = [read(path.with_name(f"{name}.yaml")) for name in content.pop("defaults", [])[:-1]]
    return {key: value for part in [*parents, content] for key, value in part.items()}


@pytest.mark.parametrize("path", sorted(CONF.glob("budget/*.yaml")), ids=lambda path: path.stem)
def test_budget_file_fits_the_schema(path: Path) -> None:
    BudgetConfig.model_validate(read(path))


@pytest.mark.parametrize("path", sorted(CONF.glob("sampling/*.yaml")), ids=lambda path: path.stem)
def test_sampling_file_fits_the_schema(path: Path) -> None:
    SamplingConfig.model_validate(read(path))


@pytest.mark.parametrize("path", sorted(CONF.glob("engine/*.yaml")), ids=lambda path: path.stem)
def test_engine_file_fits_the_schema(path: Path) -> None:
    made = TypeAdapter(EngineConfig).validate_python(read(path))
    assert path.stem.startswith(made.kind)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is in this environment")
def test_engine_that_is_not_installed_is_named(tmp_path: Path) -> None:
    config = VllmEngineConfig.model_validate(read(CONF / "engine/vllm.yaml"))
    with pytest.raises(ValueError, match="engine=vllm needs vLLM"):
        build_engine(config, model_path=tmp_path, context_tokens=64)


def test_fewer_slots_than_samples_are_refused() -> None:
    content = {**read(CONF / "engine/transformers.yaml"), "cache_slots": 2}
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
        {**read(CONF / "engine/transformers.yaml"), **changes}
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
