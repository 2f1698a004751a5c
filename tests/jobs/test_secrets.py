"""A secret in a job's configuration: refused before anything is written, and not repeated."""

import runpy
import sys
from pathlib import Path

import pytest

VALUE = "no-shape-but-secret"
"""Known by its value alone: it stands in the environment."""
SHAPE = "sk-" + "x" * 30  # in two, or this file could not be submitted


@pytest.mark.parametrize(
    ("secret", "override"),
    [
        ("any-text", "+endpoint.extra.api_key={}"),
        (SHAPE, "+endpoint.extra.note={}"),
        (SHAPE, "tracking.tags=[first,{}]"),
        ("me:" + "word", "endpoint.base_url=https://{}@host/v1"),
        (VALUE, "model.system_prompt='Say {}.'"),
        (VALUE, "model.system_prompt=${{oc.env:HUB_TOKEN}}"),
        (VALUE, "+no.such.key={}"),
    ],
)
@pytest.mark.parametrize("job", ["curate", "serve", "sweep"])
def test_secret_in_the_configuration_is_refused_unrepeated_and_written_nowhere(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    job: str,
    secret: str,
    override: str,
) -> None:
    monkeypatch.setenv("HUB_TOKEN", VALUE)
    words = ["experiment=tiny", f"paths.storage={tmp_path}", "tracking.mode=disabled"]
    monkeypatch.setattr(sys, "argv", [job, *words, override.format(secret)])

    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"jobs.{job}", run_name="__main__", alter_sys=False)

    said = "".join(capsys.readouterr())
    assert ended.value.code == 2
    assert override.partition("=")[0].strip("+") in said
    assert "secret" in said
    assert secret not in said
    assert not list(tmp_path.iterdir())
