"""Training as it goes, on the terminal: read from the run's own event log."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from s1ray.orchestration.fine_tune.train_worker import START
from s1ray.orchestration.run_directory.events import EVENTS, follow_lines
from s1ray.orchestration.terminal import Bar, say, show_progress

_POLL_SECONDS = 0.5
"""How late a step is shown; no setting, since it changes no result and costs next to nothing."""


@contextmanager
def watch_training(run_path: Path, *, title: str, num_workers: int) -> Iterator[None]:
    """Show a run's steps while the block runs, and every time its workers begin.

    Args:
        run_path: The run.
        title: Of its bar.
        num_workers: As many as it should have.
    """
    stopped = threading.Event()
    thread = threading.Thread(
        target=_watch, args=(run_path, title, num_workers, stopped), name="watching", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _watch(run_path: Path, title: str, num_workers: int, stopped: threading.Event) -> None:
    start = run_path / START
    while not start.exists():
        if stopped.wait(_POLL_SECONDS):
            return
    facts = _read_start(start)
    _announce(facts, num_workers)
    with show_progress(title, total=facts["num_steps"]) as bar:
        offset = _show(run_path, 0, bar)
        while not stopped.wait(_POLL_SECONDS):
            offset = _show(run_path, offset, bar)
            if (again := _read_start(start))["time"] != facts["time"]:
                facts = again
                say("  the workers were started again")
                _announce(facts, num_workers)
        _show(run_path, offset, bar)


def _read_start(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


def _announce(facts: Mapping[str, Any], num_workers: int) -> None:
    for damage in facts["passed_over"]:
        say(f"  passed over a damaged checkpoint: {damage}")
    if facts["num_workers"] != num_workers:
        say(f"  on {facts['num_workers']} of {num_workers} workers")
    if facts["step"]:
        say(f"  going on after step {facts['step']} of {facts['num_steps']}")
    if facts["num_truncated_samples"]:
        say(
            f"  {facts['num_truncated_samples']} of {facts['num_samples']} samples lost "
            f"{facts['num_truncated_tokens']} tokens to training.max_seq_len"
        )


def _show(run_path: Path, offset: int, bar: Bar) -> int:
    new = list(follow_lines(run_path / EVENTS, offset=offset))
    if not new:
        return offset
    row, behind = new[-1]
    bar.advance_to(
        row["global_step"],
        f"loss {row['train/loss_nats_per_token']:.3f}, "
        f"{row['train/tokens_per_second']:.0f} tokens/s",
    )
    return behind
