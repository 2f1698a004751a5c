import logging
from pathlib import Path

import pytest

from s1ray.orchestration.cluster.secrets_at_hand import (
    RedactingFormatter,
    list_secrets_at_hand,
    redact_at_hand,
)
from s1ray.orchestration.terminal import say

PLANTED = {"netrc": "planted-netrc-key", "token": "planted-ray-token", "key": "planted-api-key"}


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give this process a secret in each of the places where it may have one."""
    (tmp_path / ".netrc").write_text(
        f"machine api.wandb.ai login user password {PLANTED['netrc']}\n"
    )
    (tmp_path / ".netrc").chmod(0o600)
    (tmp_path / "token").write_text(PLANTED["token"] + "\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("SOME_API_KEY", PLANTED["key"])


def test_secrets_of_environment_netrc_and_ray_are_known() -> None:
    assert set(PLANTED.values()) <= set(list_secrets_at_hand())


def test_a_text_is_freed_of_all_of_them() -> None:
    text = " and ".join(PLANTED.values())

    assert redact_at_hand(text) == "[redacted] and [redacted] and [redacted]"


def test_the_netrc_that_the_environment_names_is_the_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").write_text("default login user password another-netrc-key\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "elsewhere"))

    assert redact_at_hand("is another-netrc-key") == "is [redacted]"


def test_a_password_of_one_letter_leaves_words_whole(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine a.example login user password x\n")

    assert redact_at_hand("an experiment") == "an experiment"


def test_what_is_said_holds_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"the key is {PLANTED['key']}")

    said = capsys.readouterr().err
    assert "the key is" in said
    assert PLANTED["key"] not in said


def test_a_logged_traceback_holds_no_secret() -> None:
    try:
        int(PLANTED["token"])
    except ValueError as error:
        record = logging.LogRecord("s1ray", logging.ERROR, "", 0, "it failed", (), None)
        record.exc_info = (type(error), error, error.__traceback__)

    text = RedactingFormatter("%(message)s").format(record)

    assert "it failed" in text
    assert "ValueError" in text
    assert PLANTED["token"] not in text
