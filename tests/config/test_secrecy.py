import pytest

from s1ray.config.secrecy import (
    is_secret_name,
    list_exposed,
    list_secrets,
    names_assigned_secret,
    names_secret,
    redact,
)

PLANTED = "wandb-0123456789abcdef"


@pytest.mark.parametrize(
    "name",
    [
        "WANDB_API_KEY",
        "HF_TOKEN",
        "api_key",
        "db-password",
        "AWS_SECRET_ACCESS_KEY",
        "tracking.key",
    ],
)
def test_a_secrets_name_is_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "max_thinking_tokens", "RAY_AUTH_TOKEN_PATH", "TOKENIZERS_PARALLELISM", "keyboard",
        "monkey", "ssl_key_file", "num_waits",
    ],
)  # fmt: skip
def test_another_name_is_not_taken_for_a_secrets(name: str) -> None:
    assert not is_secret_name(name)


def test_the_environments_secrets_are_listed_longest_first() -> None:
    environment = {
        "HF_TOKEN": "12345678",
        "WANDB_API_KEY": PLANTED,
        "PATH": "/bin",
        "A_KEY": "none",
    }

    assert list_secrets(environment) == (PLANTED, "12345678")


@pytest.mark.parametrize(
    "text",
    [
        f"--flag={PLANTED}",
        "hf_" + "a1" * 17,
        "sk-proj-" + "x" * 30,
        "ghp_" + "b" * 36,
        "AKIA" + "A" * 16,
        "-----BEGIN OPENSSH " + "PRIVATE KEY-----",  # in two, or this file could not be submitted
        "https://me:" + "word@host/v1",
    ],
)
def test_a_secret_in_a_text_is_found_and_not_repeated(text: str) -> None:
    why = names_secret(text, known=[PLANTED])

    assert why
    assert PLANTED not in why
    assert text not in why


@pytest.mark.parametrize(
    "text",
    [
        "budget.max_thinking_tokens=[0,16]", "a task-based risk-free sketch", "hf_hub", "",
        "http://[::1]:8265", "https://host:443/a@b:c@d", "https://me@host/v1",
        "https://{user}:{password}@host", "https://$USER:$PASSWORD@host",
    ],
)  # fmt: skip
def test_an_ordinary_text_is_clean(text: str) -> None:
    assert names_assigned_secret(text, known=[PLANTED, "task"]) is None


def test_a_variable_that_is_set_to_a_secret_is_found() -> None:
    assert names_assigned_secret("WANDB_API_KEY=abc python -m jobs.train", known=[])
    assert names_assigned_secret("export HF_TOKEN=abc", known=[])
    assert names_assigned_secret("HF_TOKEN=$HF_TOKEN python x.py", known=[]) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": {"api_key": "x"}}, "a.api_key looks"),
        ({"a": [{"b": f"as {PLANTED}"}]}, "a.0.b holds"),
        ({"a": ("sk-" + "x" * 30,)}, "a.0 holds"),
    ],
)
def test_settings_that_hold_a_secret_are_told_by_their_dotted_path(
    content: object, said: str
) -> None:
    [exposed] = list_exposed(content, known=[PLANTED], path="top.")

    assert exposed.startswith(f"top.{said}")
    assert PLANTED not in exposed


def test_settings_that_only_speak_of_secrets_are_clean() -> None:
    settings = {
        "api_key_variable": "HUB_KEY",
        "require_token": True,
        "token": None,
        "secret_names": ["s1ray-secrets"],
        "key": "",
    }

    assert list(list_exposed(settings, known=[PLANTED])) == []


def test_redacted_text_keeps_all_but_the_secrets() -> None:
    text = f"a {PLANTED} b hf_{'z' * 34} c https://me:" + "word@host/v1"

    redacted = "a [redacted] b [redacted] c https://[redacted]@host/v1"
    assert redact(text, known=[PLANTED]) == redacted
