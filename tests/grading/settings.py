"""The graders of conf/grading."""

from pathlib import Path
from typing import Any

from s1ray.config.grading import GradingConfig
from tests.choices import read_choice

ROOT = Path(__file__).parents[2]


def read_grading(name: str, **changes: Any) -> GradingConfig:
    """conf/grading/<name>.yaml, with top-level keys or pool keys changed."""
    content = read_choice("grading", name)
    pool = {key: changes.pop(key) for key in list(changes) if key in content["pool"]}
    return GradingConfig.model_validate({**content, **changes, "pool": content["pool"] | pool})
