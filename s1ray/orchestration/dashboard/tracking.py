"""Weights & Biases as a sink: what stands in the run directory is forwarded, in order, once.

A process of its own (``sink``) reads the run's ``events.jsonl`` and ``samples.jsonl`` and forwards
what the dashboard lacks; a thread here starts it again when it dies. Nothing waits for it but the
end of the job, and that no longer than its limit: a slow, dead or refusing server costs the
dashboard, and ``wandb sync`` or the same command fills it in, also when the run is finished.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from s1ray.config.tracking import TrackingConfig, TrackingMode
from s1ray.orchestration.cluster.secrets_at_hand import read_netrc, redact_at_hand
from s1ray.orchestration.dashboard.artifacts import ERROR
from s1ray.orchestration.dashboard.sink import DONE, STOPPED, SinkOrder
from s1ray.orchestration.run_directory.runs import Run

logger = logging.getLogger(__name__)
LOG = "tracking.log"
"""What the sink has to say."""
_OFFLINE = "offline-"
"""How the name of a directory begins that W&B's client has left offline; a time follows."""
_KEY_HOSTS = ("api.forge.coreweave.com", "api.wandb.ai")
"""Under which W&B's client looks in netrc for the key of its own service: today's name, the old."""
_ROOT = Path(__file__).parents[3]


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
    error = run.path / ERROR
    error.unlink(missing_ok=True)
    keeper = None
    if config.mode == "online" and not _is_logged_in():
        _warn_of_no_key()
    if config.mode != "disabled":
        order = _write_order(run, config=config, group=group, settings=settings)
        keeper = _SinkKeeper(order, config)
    word = STOPPED
    try:
        yield
        word = DONE
    except Exception:
        error.write_text(redact_at_hand(traceback.format_exc()), encoding="utf-8")
        raise
    finally:
        if keeper is not None:
            keeper.end(word)


def _write_order(
    run: Run, *, config: TrackingConfig, group: str, settings: Mapping[str, Any]
) -> SinkOrder:
    return SinkOrder(
        run_path=str(run.path),
        run_name=run.name,
        stage=run.stage,
        group=group,
        settings=flatten_settings(settings),
        mode=resolve_mode(config.mode),
        project=config.project,
        entity=config.entity,
        tags=list(config.tags),
        poll_seconds=config.poll_seconds,
        init_timeout_seconds=config.init_timeout_seconds,
        upload_timeout_seconds=config.upload_timeout_seconds,
        table_rows=config.table_rows,
    )


class _SinkKeeper:
    """Keeps one sink alive until the run has ended."""

    def __init__(self, order: SinkOrder, config: TrackingConfig) -> None:
        self._order, self._config = order, config
        self._word = ""
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="tracking", daemon=True)
        self._thread.start()

    def end(self, word: str) -> None:
        """Say how the run ended, and wait for the sink as long as the configuration allows."""
        with self._lock:
            self._word = word
            self._tell(word + "\n")
        self._thread.join(self._config.finish_timeout_seconds)
        if self._thread.is_alive():
            self._given_up.set()
            with self._lock:
                self._kill()
            self._thread.join()
            logger.warning("W&B did not finish in time; all is in %s", self._order.run_path)

    def _keep(self) -> None:
        for _ in range(1 + self._config.max_restarts):
            with self._lock:
                if self._given_up.is_set():
                    return
                self._process = process = self._start()
                self._tell(self._order.to_line() + (f"{self._word}\n" if self._word else ""))
            code = process.wait()
            self._close(process)
            if code == 0 or self._given_up.is_set():
                return
            # What is left of the dead one's client notices within this time, and ends.
            self._given_up.wait(self._config.restart_seconds)
        logger.warning(
            "W&B tracking ended (see %s/%s); nothing is lost there", self._order.run_path, LOG
        )

    def _start(self) -> "subprocess.Popen[str]":
        known = os.environ.get("PYTHONPATH")
        with (Path(self._order.run_path) / LOG).open("a", encoding="utf-8") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "s1ray.orchestration.dashboard.sink", self._order.run_name],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), known]))},
            )

    def _tell(self, text: str) -> None:
        """Write to the sink; one that is dead is told when it is up again."""
        process = self._process
        if process is None or process.stdin is None:
            return
        with suppress(OSError, ValueError):  # dead, or closed already
            process.stdin.write(text)
            process.stdin.flush()

    @staticmethod
    def _close(process: "subprocess.Popen[str]") -> None:
        with suppress(OSError):  # what was not read goes with the dead
            if process.stdin is not None:
                process.stdin.close()

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)


def resolve_mode(mode: TrackingMode) -> Literal["online", "offline"]:
    """Return "online" or "offline": auto is online where the environment or netrc has a key."""
    asked = os.environ.get("WANDB_MODE") if mode in ("auto", "wandb_sweep") else mode
    if asked == "offline":
        return "offline"
    return "online" if asked == "online" or _is_logged_in() else "offline"


def is_replay_due(run_path: Path, config: TrackingConfig) -> bool:
    """Return whether a finished run is to be forwarded once more.

    It is where W&B's client has left nothing in its directory, for it was not tracked; and where
    the newest that it left is offline, while now somebody is logged in. ``online``, asked for by
    name, is always due: the server alone knows what it lacks, where it refused or died before.
    """
    if config.mode == "disabled":
        return False
    left = [path.name for path in run_path.glob("wandb/*run-[0-9]*")]
    if resolve_mode(config.mode) == "offline":
        return not left
    newest = max(left, key=lambda name: name.removeprefix(_OFFLINE), default=_OFFLINE)
    return config.mode == "online" or newest.startswith(_OFFLINE)


@cache
def _warn_of_no_key() -> None:
    """Say it once for all stages of a job; a server that asks for none may take the runs."""
    logger.warning(
        "tracking.mode=online, but neither WANDB_API_KEY nor netrc has a key: what W&B refuses is "
        "recorded offline. Log in with `wandb login` and give the same command again to send it."
    )


def _is_logged_in() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    base = os.environ.get("WANDB_BASE_URL")
    hosts = (urlsplit(base).netloc,) if base else _KEY_HOSTS
    passwords = read_netrc()
    return any(passwords.get(host, passwords.get("default")) for host in hosts)


def flatten_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten_settings(value, f"{path}.")
        else:
            flat[path] = list(value) if isinstance(value, tuple) else value
    return flat
