"""The one writer to Weights & Biases: a process of its own that follows one run directory.

Started by ``tracking`` as ``python -m s1ray.orchestration.dashboard.sink RUN``, which restarts it
when it dies. Its first line of input says what to follow; a later word says how the run ended; the
end of input means that the job is gone. It may hang or die with W&B: the job neither waits nor
notices.
"""

import fcntl
import json
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from s1ray.orchestration.dashboard.artifacts import build_artifacts, log_artifacts, log_error
from s1ray.orchestration.dashboard.board_rows import SAMPLE_COLUMNS, BoardRow, BoardRows
from s1ray.orchestration.dashboard.datasets import build_datasets

DONE = "done"
STOPPED = "stopped"
TRIAL = "trial"
"""The stage of a sweep's trials."""
RUN_ID = "WANDB_RUN_ID"
"""Where W&B's agent says which of its runs a command is."""
LOCK = "tracking.lock"
"""Held by the writer, so that there is one; holds its process id."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkOrder:
    """What a sink is to do; one line of JSON."""

    run_path: str
    run_name: str
    stage: str
    group: str
    settings: dict[str, Any]
    """Flat, as the dashboard shows them."""
    mode: Literal["online", "offline"]
    project: str
    entity: str | None
    tags: list[str]
    poll_seconds: float
    init_timeout_seconds: float
    upload_timeout_seconds: float
    table_rows: int

    def to_line(self) -> str:
        """Return the order as the sink reads it."""
        return json.dumps(asdict(self), ensure_ascii=False) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Return the order of a line."""
        return cls(**json.loads(line))


class _Ending:
    """Listens for the word that ends the run."""

    def __init__(self) -> None:
        self.word = ""
        self._heard = threading.Event()
        threading.Thread(target=self._listen, name="ending", daemon=True).start()

    def _listen(self) -> None:
        self.word = sys.stdin.readline().strip()
        self._heard.set()

    def wait(self, seconds: float) -> bool:
        """Return whether the run has ended, after so many seconds at most."""
        return self._heard.wait(seconds)


def follow(order: SinkOrder, ending: _Ending) -> None:
    """Forward a run's rows until it ends, then the rest."""
    rows = BoardRows(Path(order.run_path), table_rows=order.table_rows)
    board, first_step = open_board(order)
    is_over = False
    while not is_over:
        is_over = ending.wait(order.poll_seconds)
        for row in rows.read(is_whole=is_over and ending.word == DONE):
            if row.step >= first_step:
                _log(board, row)
    run_path, is_done = Path(order.run_path), ending.word == DONE
    log_error(board, run_path)
    log_artifacts(board, build_datasets(run_path) if is_done else ())
    log_artifacts(board, build_artifacts(run_path, run_name=order.run_name))
    board.finish(exit_code=0 if is_done else 1)


def open_board(order: SinkOrder) -> tuple[Any, int]:
    """Return W&B's run, and the first step that it does not have.

    Online the server says how far it came. Offline the whole record is written anew, and what an
    earlier attempt recorded is removed: its rows are all in the new one.
    """
    import wandb  # noqa: PLC0415 - after the order is read: the import itself may fail

    run_id, mode = choose_run_id(order), order.mode
    for earlier in Path(order.run_path).glob(f"wandb/offline-run-*-{run_id}"):
        shutil.rmtree(earlier)
    try:
        board = _begin(order, run_id, mode)
    except wandb.errors.Error as error:
        if mode == "offline":
            raise
        logger.warning("W&B cannot be reached (%s); recording offline", error)
        wandb.teardown()  # its client still holds the run id
        mode = "offline"
        board = _begin(order, run_id, mode)
    board.define_metric("*", step_metric="global_step")
    board.define_metric("train/loss_nats_per_token", step_metric="global_step", summary="min,last")
    return board, board.starting_step if mode == "online" else 0


def _begin(order: SinkOrder, run_id: str, mode: Literal["online", "offline"]) -> Any:  # noqa: ANN401
    import wandb  # noqa: PLC0415 - see open_board

    # Offline nobody is waited for: a slow start there is a busy machine's.
    patience: dict[str, Any] = (
        {"init_timeout": order.init_timeout_seconds} if mode == "online" else {}
    )
    return wandb.init(
        mode=mode,
        resume="allow" if mode == "online" else None,
        project=order.project,
        entity=order.entity,
        id=run_id,
        name=order.run_name,
        group=order.group,
        job_type=order.stage,
        tags=order.tags,
        dir=order.run_path,
        config=order.settings,
        settings=wandb.Settings(
            **patience,
            finish_timeout=order.upload_timeout_seconds,
            console="off",
            disable_git=True,
            silent=True,
        ),
    )


def choose_run_id(order: SinkOrder) -> str:
    """Return the W&B run that a run directory goes into: a trial that an agent began, the agent's.

    The agent's sweep is for trials alone; what they begin are runs beside it.
    """
    if order.stage == TRIAL and RUN_ID in os.environ:
        return os.environ[RUN_ID]
    for name in (RUN_ID, "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH"):
        os.environ.pop(name, None)
    return order.run_name


def _log(board: Any, row: BoardRow) -> None:  # noqa: ANN401 - wandb's run
    content: dict[str, Any] = dict(row.metrics)
    if row.samples:
        import wandb  # noqa: PLC0415 - see open_board

        content["samples"] = wandb.Table(
            columns=list(SAMPLE_COLUMNS), data=[*map(list, row.samples)]
        )
    board.log(content, step=row.step, commit=True)


@contextmanager
def hold_lock(run_path: Path) -> Iterator[None]:
    """Be the run's one writer while the block runs; wait until another one has ended."""
    with (run_path / LOCK).open("a+", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def main() -> None:
    """Follow the run that the first line of input names."""
    # A stop is the job's to hear: it ends its sink in good order, whatever the terminal sends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    line = sys.stdin.readline()
    if not line:
        return
    order = SinkOrder.from_line(line)
    # Its client is its own: one shared with the job, or W&B's agent, would still hold the run id of
    # a sink before it.
    os.environ.pop("WANDB_SERVICE", None)
    ending = _Ending()
    with hold_lock(Path(order.run_path)):
        follow(order, ending)


if __name__ == "__main__":
    main()
