"""What tests of checkpoints share: a model to train."""

from pathlib import Path

import pytest

from tests.fakes import write_tiny_qwen2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_qwen2(tmp_path_factory.mktemp("model"))
