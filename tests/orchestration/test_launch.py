"""What a job says of a command line or a preparation that fails, and how it ends."""

import sys

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from s1ray.config.recipe import Recipe
from s1ray.orchestration.launch import CONF, launch
from s1ray.orchestration.mistakes import explain_override

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


def test_result_stands_alone_on_standard_output_whatever_is_printed_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "experiment=tiny"])

    def run(_: Recipe) -> str:
        print("a worker died")  # noqa: T201 - as Ray does
        return "runs/train/tiny"

    launch(doc="", primary="recipe", schema=Recipe, prepare=lambda recipe: recipe, run=run)

    said = capsys.readouterr()
    assert said.out == "runs/train/tiny\n"
    assert "a worker died" in said.err


def _explain(primary: str, override: str) -> str:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        with pytest.raises(HydraException) as refused:
            compose(primary, overrides=[override])
        return explain_override(refused.value)


@pytest.mark.parametrize(
    ("primary", "override"),
    [("submit", "environment.FOO=bar"), ("recipe", "server.adapters.mine=a")],
)
def test_name_of_ones_own_without_a_plus_is_told_how(primary: str, override: str) -> None:
    explained = _explain(primary, override)

    assert override.partition("=")[0] in explained
    assert "+environment.NAME=value" in explained


def test_key_that_is_misspelt_is_not_proposed_with_a_plus() -> None:
    assert "+training" not in _explain("recipe", "training.num_epoch=3")
