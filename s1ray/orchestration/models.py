"""The recipe's model on this machine: its directory and what identifies it."""

from dataclasses import asdict, dataclass
from pathlib import Path

from s1ray.config.model import ModelConfig
from s1ray.config.tracking import PathsConfig
from s1ray.model_source.fingerprint import (
    ModelFingerprint,
    fingerprint_adapter,
    fingerprint_model,
)
from s1ray.model_source.model_directory import ADAPTER_CONFIG_FILE, check_tokenizer_files
from s1ray.model_source.resolve import default_cache_directory, resolve_model
from s1ray.orchestration.terminal import say


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedModel:
    """A local Hugging Face directory."""

    path: Path
    adapter: Path | None
    """A PEFT adapter that belongs to it; None for none."""
    fingerprint: ModelFingerprint

    def describe(self) -> dict[str, str]:
        """Return what identifies it, for a run's identity."""
        return asdict(self.fingerprint)


def prepare_model(config: ModelConfig, paths: PathsConfig) -> PreparedModel:
    """Fetch the model where it is not here yet.

    Raises:
        ValueError: The source cannot be had; nothing was started.
    """
    cache = default_cache_directory() if paths.cache is None else Path(paths.cache).expanduser()
    try:
        path = resolve_model(
            config.source,
            revision=config.revision,
            sha256=config.sha256,
            random=config.random,
            cache=cache,
            on_progress=say,
        )
    except OSError as error:
        raise ValueError(
            f"cannot keep the model {config.source} in {cache}: {error}. Free space there, or set "
            "paths.cache to another directory."
        ) from error
    return read_model(path)


def read_model(path: Path) -> PreparedModel:
    """Return a model directory that is here already, such as a training run's export.

    Raises:
        ValueError: It lacks its tokenizer.
    """
    check_tokenizer_files(path)
    return PreparedModel(path=path.resolve(), adapter=None, fingerprint=fingerprint_model(path))


def read_export(path: Path, *, base: PreparedModel) -> PreparedModel:
    """Return what a training run exported: a model, or an adapter that stays beside its base.

    Args:
        path: The export directory.
        base: What was trained on; used where the export is an adapter alone.

    Raises:
        ValueError: The directory holds neither.
    """
    if (path / "config.json").is_file() or not (path / ADAPTER_CONFIG_FILE).is_file():
        return read_model(path)
    return PreparedModel(
        path=base.path,
        adapter=path.resolve(),
        fingerprint=fingerprint_adapter(base.fingerprint, path),
    )
