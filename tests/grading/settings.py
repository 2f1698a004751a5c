"""The graders of conf/grading, and a file graded by them."""

from pathlib import Path
from typing import Any

from s1ray.config.grade import GradeFields
from s1ray.config.grading import GradingConfig
from s1ray.grading.regrade import RegradeReport, regrade
from s1ray.grading.stored_answers import read_stored
from s1ray.records import AnswerKind
from tests.choices import read_choice

ROOT = Path(__file__).parents[2]


def read_grading(name: str, **changes: Any) -> GradingConfig:
    """conf/grading/<name>.yaml, with top-level keys or pool keys changed."""
    content = read_choice("grading", name)
    pool = {key: changes.pop(key) for key in list(changes) if key in content["pool"]}
    return GradingConfig.model_validate({**content, **changes, "pool": content["pool"] | pool})


def regrade_file(
    source: Path, output: Path, *, fields: GradeFields, config: GradingConfig, max_pending: int = 3
) -> RegradeReport:
    """Grade a file's rows, which are of mathematics where they do not say."""
    stored = read_stored(
        source,
        output_path=output,
        fields=fields,
        answer_kind=AnswerKind.MATH,
        forms=config.forms,
    )
    return regrade(stored, output_path=output, max_pending=max_pending, config=config)
