"""What a source resolves to: a directory as it is, a commit of the hub, or the legal forms."""

from pathlib import Path

import huggingface_hub
import pydantic
import pytest

from tests.fakes import read_model_config, write_tiny_qwen2
from tests.model_source.sources import resolve


def test_local_source_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = write_tiny_qwen2(tmp_path / "owner" / "name")
    assert resolve(str(directory), tmp_path / "cache") == directory
    monkeypatch.chdir(tmp_path)
    assert resolve("owner/name", tmp_path / "cache") == directory
    assert not (tmp_path / "cache").exists()
    with pytest.raises(ValueError, match=r"Set model.revision=null"):
        resolve(str(directory), tmp_path / "cache", revision="0" * 40)


@pytest.mark.parametrize("source", ["no-such-model", "./missing", "a/b/c", "https://x.org/y", ""])
def test_source_of_unknown_form_lists_the_legal_ones(tmp_path: Path, source: str) -> None:
    if source == "":
        with pytest.raises(pydantic.ValidationError, match="source"):
            read_model_config("tiny", source=source)
        return
    with pytest.raises(ValueError, match=r"no other known form. Legal: pypi:.*Hugging Face id"):
        resolve(source, tmp_path)


@pytest.mark.parametrize("revision", [None, "main", "v1.0", "abc123"])
def test_hub_source_without_a_commit_is_refused(tmp_path: Path, revision: str | None) -> None:
    with pytest.raises(ValueError, match=r"needs model.revision, a commit of 40 hex digits"):
        resolve("owner/name", tmp_path, revision=revision)


def test_hub_source_out_of_reach_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ValueError, match=r"did not give owner/name at 0000.*To go on, check the n"):
        resolve("owner/name", tmp_path, revision="0" * 40)
