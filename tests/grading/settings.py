"""The graders of conf/grading, and real data where it is there."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from s1ray.config.grading import GradingConfig

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"


def read_yaml(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "conf" / name).read_text(encoding="utf-8"))
    return content


def read_grading(name: str, **changes: Any) -> GradingConfig:
    """conf/grading/<name>.yaml over layered.yaml, with top-level keys or pool keys changed."""
    content = {**read_yaml("grading/layered.yaml"), **read_yaml(f"grading/{name}.yaml")}
    content.pop("defaults", None)
    pool = {key: changes.pop(key) for key in list(changes) if key in content["pool"]}
    return GradingConfig.model_validate({**content, **changes, "pool": content["pool"] | pool})


def find_shared(name: str) -> Path:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"the shared data is not here: {name}")
    return path
