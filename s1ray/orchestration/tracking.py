"""Weights & Biases as a sink: what stands in the run directory is forwarded, in order, once.

A thread reads the run's ``events.jsonl`` and ``samples.jsonl`` and forwards what is new; how far
it came stands in ``tracking.json``. Nothing waits for it: a slow, dead or refusing server costs
the dashboard, and a later ``replay`` or ``wandb sync`` fills it in.
"""

import json
import logging
import netrc
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from s1ray.config.tracking import TrackingConfig, TrackingMode
from s1ray.orchestration.events import EVENTS, follow_lines
from s1ray.orchestration.runs import Run, write_json

logger = logging.getLogger(__name__)
SAMPLES = "samples.jsonl"
POSITION = "tracking.json"
_SECRET_WORDS = ("key", "token", "secret", "password")
_SAMPLE_COLUMNS = (
    "benchmark", "item", "sample", "policy", "model", "question", "thinking", "answer",
    "extracted", "gold", "verdict", "num_waits_applied", "thinking_end",
)  # fmt: skip


@dataclass(slots=True)
class _Position:
    """Byte offsets up to which the files have been forwarded."""

    events: int = 0
    samples: int = 0


@contextmanager
def track(
    run: Run, *, config: TrackingConfig, group: str, settings: Mapping[str, Any]
) -> Iterator[None]:
    """Forward a run's events and samples while the block runs.

    Args:
        run: Its directory is followed; its name is the W&B run id.
        config: Mode, names and time limits.
        group: The experiment that the run belongs to.
        settings: The resolved configuration, shown flat in the dashboard.
    """
    if config.mode == "disabled":
        yield
        return
    sink = _Sink(run, config=config, group=group, settings=settings)
    thread = threading.Thread(target=sink.follow, name="tracking", daemon=True)
    thread.start()
    try:
        yield
    finally:
        sink.stopped.set()
        thread.join(config.init_timeout_seconds + config.finish_timeout_seconds)
        if thread.is_alive():
            logger.warning("W&B did not finish in time; the run directory %s is whole", run.path)


class _Sink:
    """Owns the W&B run; every call of wandb happens in its one thread."""

    def __init__(
        self, run: Run, *, config: TrackingConfig, group: str, settings: Mapping[str, Any]
    ) -> None:
        self._run, self._config, self._group, self._settings = run, config, group, settings
        self._position = _read_position(run.path)
        self.stopped = threading.Event()

    def follow(self) -> None:
        """Forward until stopped, then the rest; a failing client ends the sink, never the run."""
        try:
            board = self._open()
            while not self.stopped.wait(self._config.poll_seconds):
                self._forward(board)
            self._forward(board)
            board.finish()
        except Exception:  # wandb raises many kinds; the run must not hear of any
            logger.warning(
                "W&B tracking stopped; nothing is lost in %s", self._run.path, exc_info=True
            )

    def _open(self) -> Any:  # noqa: ANN401 - wandb's run
        import wandb  # noqa: PLC0415 - half a second that a run without tracking need not pay

        mode = resolve_mode(self._config.mode)
        arguments: dict[str, Any] = {
            "project": self._config.project,
            "entity": self._config.entity,
            "id": self._run.name,
            "name": self._run.name,
            "group": self._group,
            "job_type": self._run.stage,
            "tags": list(self._config.tags),
            "dir": str(self._run.path),
            "resume": "allow",
            "reinit": "create_new",
            "config": flatten_settings(self._settings),
            "settings": wandb.Settings(
                init_timeout=self._config.init_timeout_seconds,
                finish_timeout=self._config.finish_timeout_seconds,
                console="off",
                disable_git=True,
                silent=True,
            ),
        }
        try:
            board = wandb.init(mode=mode, **arguments)
        except wandb.errors.Error as error:
            if mode == "offline":
                raise
            logger.warning("W&B cannot be reached (%s); recording offline", error)
            board = wandb.init(mode="offline", **arguments)
        board.define_metric("*", step_metric="global_step")
        return board

    def _forward(self, board: Any) -> None:  # noqa: ANN401 - wandb's run
        for row, offset in follow_lines(self._run.path / EVENTS, offset=self._position.events):
            board.log({name: value for name, value in row.items() if name != "time"})
            self._position.events = offset
        self._forward_samples(board)
        write_json(
            self._run.path / POSITION,
            {"events": self._position.events, "samples": self._position.samples},
        )

    def _forward_samples(self, board: Any) -> None:  # noqa: ANN401 - wandb's run
        batch: list[dict[str, Any]] = []
        behind = self._position.samples
        for row, offset in follow_lines(self._run.path / SAMPLES, offset=behind):
            batch.append(row)
            behind = offset
            if len(batch) == self._config.table_rows:
                self._log_samples(board, batch, behind)
                batch = []
        if batch and self.stopped.is_set():
            self._log_samples(board, batch, behind)

    def _log_samples(self, board: Any, rows: list[dict[str, Any]], offset: int) -> None:  # noqa: ANN401
        import wandb  # noqa: PLC0415 - see _open

        table = wandb.Table(
            columns=list(_SAMPLE_COLUMNS),
            data=[[row[name] for name in _SAMPLE_COLUMNS] for row in rows],
        )
        board.log({"samples": table})
        self._position.samples = offset


def _read_position(run_path: Path) -> _Position:
    try:
        content = json.loads((run_path / POSITION).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return _Position()
    return _Position(events=content["events"], samples=content["samples"])


def resolve_mode(mode: TrackingMode) -> Literal["online", "offline"]:
    """Return "online" or "offline": auto is online where the environment or netrc has a key."""
    asked = os.environ.get("WANDB_MODE") if mode == "auto" else mode
    if asked == "offline":
        return "offline"
    is_logged_in = bool(os.environ.get("WANDB_API_KEY")) or _has_netrc_key()
    return "online" if asked == "online" or is_logged_in else "offline"


def _has_netrc_key() -> bool:
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("://")[-1].split(":")[0]
    try:
        return netrc.netrc().authenticators(host) is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False


def flatten_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as dotted keys.

    Raises:
        ValueError: A key looks like a secret; secrets come from the environment alone.
    """
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten_settings(value, f"{path}.")
            continue
        words = path.rsplit(".", maxsplit=1)[-1].lower().split("_")
        if isinstance(value, str) and any(word in _SECRET_WORDS for word in words):
            raise ValueError(
                f"{path} looks like a secret and would be shown in the dashboard. Secrets come "
                "from the environment or netrc; remove it from the configuration."
            )
        flat[path] = list(value) if isinstance(value, tuple) else value
    return flat
