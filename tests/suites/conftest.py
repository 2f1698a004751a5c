"""What tests of several suites share."""

import pytest

from s1ray.config.suites.training import TrainingSuiteSettings
from tests.choices import read_choice


@pytest.fixture(scope="module")
def settings() -> TrainingSuiteSettings:
    """conf/suite/training.yaml."""
    return TrainingSuiteSettings.model_validate(read_choice("suite", "training"))
