"""Training as it goes, on the terminal: read from the run's own event log."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from s1ray.orchestration.events import EVENTS, follow_lines
from s1ray.orchestration.terminal import Bar, say, show_progress

_POLL_SECONDS = 0.5


@contextmanager
def watch_training(run_path: Path, *, title: str) -> Iterator[None]:
    """Show a run's steps while the block runs."""
    stopped = threading.Event()
    thread = threading.Thread(
        target=_watch, args=(run_path, title, stopped), name="watching", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _watch(run_path: Path, title: str, stopped: threading.Event) -> None:
    start = run_path / "start.json"
    while not start.exists():
        if stopped.wait(_POLL_SECONDS):
            return
    facts = json.loads(start.read_text(encoding="utf-8"))
    for damage in facts["passed_over"]:
        say(f"  passed over a damaged checkpoint: {damage}")
    if facts["step"]:
        say(f"  going on after step {facts['step']} of {facts['num_steps']}")
    if facts["num_truncated_samples"]:
        say(
            f"  {facts['num_truncated_samples']} of {facts['num_samples']} samples lost "
            f"{facts['num_truncated_tokens']} tokens to training.max_seq_len"
        )
    with show_progress(title, total=facts["num_steps"]) as bar:
        offset = _show(run_path, 0, bar)
        while not stopped.wait(_POLL_SECONDS):
            offset = _show(run_path, offset, bar)
        _show(run_path, offset, bar)


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
