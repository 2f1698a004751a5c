"""Every file of the curation groups of conf/ composes and parses."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pydantic import TypeAdapter

from s1ray.config.curation import (
    DecontaminationConfig,
    DifficultyConfig,
    DiversityConfig,
    QualityConfig,
    SelectionConfig,
)
from s1ray.config.pool import PoolConfig, SourceConfig

CONF = Path(__file__).parents[2] / "conf"
GROUPS = {
    "pool": PoolConfig,
    "pool/source": SourceConfig,
    "decontamination": DecontaminationConfig,
    "quality": QualityConfig,
    "difficulty": DifficultyConfig,
    "diversity": DiversityConfig,
    "selection": SelectionConfig,
}
CHOICES = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]


def _read(group: str, choice: str) -> object:
    """Compose what refers to other files, and read the rest: composing takes half a second."""
    content = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{choice}.yaml"))
    assert isinstance(content, dict)
    return _compose(group, choice) if "defaults" in content else content


def _compose(group: str, choice: str) -> object:
    package = "chosen"
    overrides = [f"+{group}@{package}={choice}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        content = OmegaConf.to_container(compose(overrides=overrides), resolve=True)
    assert isinstance(content, dict)
    return content[package]


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_and_parses(group: str, choice: str) -> None:
    TypeAdapter(GROUPS[group]).validate_python(_read(group, choice))


def test_s1s_pool_names_all_of_its_sources_in_the_order_of_its_code() -> None:
    pool = PoolConfig.model_validate(_compose("pool", "s1_59k"))

    # simplescaling/s1 data/collect_data.py, DS_TO_SELECTION; data/add_aime.py adds AIME.
    families = ["math", "olympic_arena", "theoremqa", "numinamath", "omni_math", "sci_eval"]
    families += ["olympiad_bench", "jeebench", "agieval", "s1_prob", "gpqa", "xword", "usaco"]
    families += ["s1_teasers", "livecodebench", "aime"]
    found = [next(name for name in families if source.startswith(name)) for source in pool.sources]
    assert list(dict.fromkeys(found)) == families
    assert len(families) == 16
    assert all(source.kind == "rows" and source.hub is not None for source in pool.sources.values())
