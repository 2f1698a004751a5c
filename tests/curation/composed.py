"""Groups of conf/ as tests change them, and a whole curation by a selection of conf/."""

from collections.abc import Iterable
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pydantic import TypeAdapter

from s1ray.config.curation import (
    DecontaminationConfig,
    NoDifficultyConfig,
    QualityConfig,
    SelectionConfig,
    SourceDiversityConfig,
)
from s1ray.curation.curate import Curation, curate
from s1ray.curation.pool.items import PoolItem, RefusedRow
from s1ray.curation.screening.screening import CurationRules

CONF = Path(__file__).parents[2] / "conf"


def compose_group(group: str, choice: str, **changes: object) -> dict[str, object]:
    """Return one choice of a group, changed key by key."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        content = OmegaConf.to_container(compose(overrides=[f"+{group}={choice}"]), resolve=True)
    assert isinstance(content, dict)
    return {**content[group], **changes}


def curate_by(selection: str, pool: Iterable[PoolItem | RefusedRow], **changes: object) -> Curation:
    """Curate with s1's decontamination, no difficulty and no filters.

    Args:
        selection: A choice of the group.
        pool: Read more than once.
        changes: Of the selection.
    """
    rules = CurationRules(
        max_duplicate_fraction=0.5,
        decontamination=TypeAdapter(DecontaminationConfig).validate_python(
            compose_group("decontamination", "s1")
        ),
        quality=QualityConfig(filters=(), asymptote_sources=(), max_part=1),
        difficulty=NoDifficultyConfig(kind="none"),
        diversity=SourceDiversityConfig(kind="source"),
        selection=TypeAdapter(SelectionConfig).validate_python(
            compose_group("selection", selection, **changes)
        ),
    )
    return curate(
        pool,
        protected=[],
        verdicts={},
        labels=None,
        count_tokens=len,
        rules=rules,
        reject=lambda _: None,
    )
