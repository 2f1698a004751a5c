"""The settings of the curation suite: which pools are screened, how large, and by whom."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from s1ray.config.curation import (
    OverlapDecontaminationConfig,
    QualityConfig,
    RayScreeningConfig,
)
from s1ray.config.grading import RowsBenchmarkConfig
from s1ray.config.pool import PoolConfig
from s1ray.config.suites.job import SuiteSettings
from s1ray.config.tracking import RayConfig

SideName = Literal["ray_data", "in_turn", "datasets"]
Sizes = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
Sides = Annotated[tuple[SideName, ...], Field(min_length=1)]


class CurationSettings(SuiteSettings):
    """Pools of several sizes, and who screens them."""

    data: str
    """Directory with ``pool/`` and ``eval/``."""
    pool: PoolConfig
    """What the sizes are drawn from."""
    benchmark: dict[str, RowsBenchmarkConfig]
    """What is protected."""
    decontamination: OverlapDecontaminationConfig
    quality: QualityConfig
    screening: RayScreeningConfig
    ray: RayConfig
    num_selected: PositiveInt
    sides: Sides
    """Measured in turn; their selections must be equal."""
    sizes: Sizes
    """Rows of the pools that every side screens ``num_pairs`` times."""
    whole_sides: Sides
    whole_sizes: Sizes
    """Rows of the pools that are screened once, to see how cost and memory grow."""
    copy_rows: PositiveInt
    """Rows of the whole pool; larger sizes are written copy by copy."""
    num_processes: PositiveInt
    """Of the maps of ``datasets``."""
    sample_seconds: PositiveFloat
    """How often memory is looked at."""
