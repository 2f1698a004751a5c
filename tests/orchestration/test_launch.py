"""What a job says of a preparation that fails, and how it ends."""

import sys

import pytest

from s1ray.config.recipe import Recipe
from s1ray.orchestration.launch import launch

SECRET = "no-shape-but-secret"


@pytest.mark.parametrize(
    ("error", "code"),
    [(RuntimeError, 1), (KeyError, 1), (PermissionError, 2), (ValueError, 2)],
)
def test_preparation_that_fails_is_told_without_secrets_and_with_its_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: type[Exception],
    code: int,
) -> None:
    monkeypatch.setenv("HUB_TOKEN", SECRET)
    monkeypatch.setattr(sys, "argv", ["train.py", "experiment=tiny"])

    def prepare(_: Recipe) -> str:
        raise error(f"planted, with {SECRET}")

    with pytest.raises(SystemExit) as ended:
        launch(doc="", primary="recipe", schema=Recipe, prepare=prepare, run=lambda plan: plan)

    said = "".join(capsys.readouterr())
    assert ended.value.code == code
    assert "planted" in said
    assert SECRET not in said
