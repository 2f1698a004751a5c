"""When checkpoints are saved while training goes on, so that it hardly waits for them.

It decides between steps, copies the state to host memory and writes it in a thread of its own. It
does not know what a checkpoint consists of, Ray or signals.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import torch
from torch import Tensor
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

from s1ray.config.checkpoint import CheckpointConfig
from s1ray.records import CheckpointRef
from s1ray.training.checkpoints.checkpoint import (
    Position,
    collect_tensors,
    read_random_state,
    write_checkpoint,
)
from s1ray.training.checkpoints.commit import CheckpointKind, name_checkpoint
from s1ray.training.checkpoints.peers import join_peers
from s1ray.training.checkpoints.search import apply_retention
from s1ray.training.loop import TrainState


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """What every rank knows after a step."""

    committed: tuple[CheckpointRef, ...]
    """Checkpoints that have come into existence since the step before, oldest first."""
    is_stopping: bool
    """Whether some rank was asked to stop; a checkpoint of this step exists."""


class CheckpointSaver:
    """Saves a run's checkpoints. Every method is called by all ranks, in the same order."""

    def __init__(
        self, directory: Path, *, config: CheckpointConfig, identity: Mapping[str, str]
    ) -> None:
        """Join the ranks.

        Args:
            directory: Holds the run's checkpoints, on storage that every rank sees.
            config: When, how and for how long.
            identity: What must be equal in a run that goes on from them.
        """
        self._directory = directory
        self._config = config
        self._identity = dict(identity)
        # Two groups: while the thread writes over one, the steps agree over the other.
        self._step_peers = join_peers(timeout_seconds=config.commit_timeout_seconds)
        self._write_peers = join_peers(timeout_seconds=config.commit_timeout_seconds)
        self._stager = _build_stager()
        self._thread = _open_thread()
        self._pending: Future[CheckpointRef] | None = None
        self._saved_at = self._returned_at = monotonic()
        self._step_seconds = (0.0, 0.0)
        self._write_seconds: float | None = None

    def after_step(
        self, state: TrainState, *, is_last: bool, is_stopping: bool, is_hurried: bool
    ) -> StepOutcome:
        """Save what is due, and return what has been committed.

        Args:
            state: At a step's boundary; it may change as soon as this returns.
            is_last: Whether the run ends here; its checkpoint is permanent.
            is_stopping: Whether this rank was asked to stop.
            is_hurried: Whether this rank may soon be killed: a checkpoint is due as soon as the one
                before is written.

        Raises:
            OSError: The disk is full. The checkpoint being written is gone, earlier ones are good.
            RuntimeError: A checkpoint could not be written. Every rank raises alike.
        """
        self._step_seconds = (self._step_seconds[1], monotonic() - self._returned_at)
        is_due, is_written, is_stopping = self._agree(
            is_stopping=is_stopping, is_hurried=is_hurried
        )
        kind = self._choose_kind(state.step, is_last=is_last, is_due=is_due or is_stopping)
        committed = []
        if self._pending is not None and (is_written or kind is not None):
            committed.append(self._collect())
        if kind is not None:
            self._start(state, kind)
            if is_last or is_stopping or self._config.mode == "synchronous":
                committed.append(self._collect())
        self._returned_at = monotonic()
        return StepOutcome(committed=tuple(committed), is_stopping=is_stopping)

    def close(self) -> tuple[CheckpointRef, ...]:
        """Wait for what is being written, and return it."""
        try:
            return () if self._pending is None else (self._collect(),)
        finally:
            self._thread.shutdown()
            self._stager.close()

    def _agree(self, *, is_stopping: bool, is_hurried: bool) -> tuple[bool, bool, bool]:
        """Return the same on every rank: rank 0's clock and thread decide, any rank may ask."""
        is_busy = self._pending is not None and not self._pending.done()
        is_written = self._pending is not None and not is_busy
        vote = (self._is_due() and not is_busy, is_written, is_stopping, is_hurried)
        votes = self._step_peers.gather(vote)
        is_due, is_written, _, _ = votes[0]
        is_asked = any(vote[3] for vote in votes) and (is_written or self._pending is None)
        return is_due or is_asked, is_written, any(vote[2] for vote in votes)

    def _is_due(self) -> bool:
        """Whether a temporary checkpoint begun a step later might be committed too late.

        What a crash costs is what was done since the state of the last checkpoint that exists. So
        the next one is begun the time of a write and of a step before the limit. A slow disk makes
        checkpoints rarer: they may take only their share of the time.
        """
        limit = self._config.max_lost_seconds
        if limit is None:
            return False
        expected = limit / 2 if self._write_seconds is None else self._write_seconds
        least = (self._write_seconds or 0.0) / self._config.temporary_write_share
        due = max(limit - expected - max(self._step_seconds), least)
        return monotonic() - self._saved_at >= due

    def _choose_kind(self, step: int, *, is_last: bool, is_due: bool) -> CheckpointKind | None:
        every = self._config.permanent_every_steps
        if is_last or (every is not None and step % every == 0):
            return CheckpointKind.PERMANENT
        return CheckpointKind.TEMPORARY if is_due else None

    def _start(self, state: TrainState, kind: CheckpointKind) -> None:
        step = state.step
        position = Position(
            step=step,
            samples_consumed=state.samples_consumed,
            kind=kind,
            identity=self._identity,
        )
        self._saved_at = monotonic()
        checkpoint = self._step_peers.decide(lambda: name_checkpoint(self._directory, step=step))
        tensors = collect_tensors(state.model, state.optimizer)
        if self._config.mode == "asynchronous":
            tensors = _copy_to_host(self._stager, tensors)
        self._pending = self._thread.submit(
            self._write, tensors, read_random_state(), checkpoint, position
        )

    def _write(
        self,
        tensors: Mapping[str, Tensor],
        random_state: Mapping[str, Tensor],
        checkpoint: Path,
        position: Position,
    ) -> CheckpointRef:
        peers, began = self._write_peers, self._saved_at
        written = write_checkpoint(
            tensors, random_state, checkpoint, position=position, peers=peers
        )
        peers.decide(
            lambda: apply_retention(
                self._directory,
                committed=checkpoint,
                keep_permanent=self._config.keep_permanent,
                keep_temporary=self._config.keep_temporary,
            )
        )
        self._write_seconds = monotonic() - began
        return written

    def _collect(self) -> CheckpointRef:
        pending, self._pending = self._pending, None
        assert pending is not None
        return pending.result()


def _open_thread() -> ThreadPoolExecutor:
    """Return the thread that writes; it has the device that the calling thread has.

    CUDA gives every new thread GPU 0, and its first use would open a context there for each rank.
    """
    if not torch.cuda.is_available():
        return ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
    return ThreadPoolExecutor(
        1,
        thread_name_prefix="checkpoint",
        initializer=torch.cuda.set_device,
        initargs=(torch.cuda.current_device(),),
    )


def _build_stager() -> DefaultStager:
    has_accelerator = torch.cuda.is_available()
    return DefaultStager(
        StagingOptions(
            use_pinned_memory=has_accelerator,
            use_shared_memory=False,
            use_async_staging=False,
            use_non_blocking_copy=has_accelerator,
        )
    )


def _copy_to_host(stager: DefaultStager, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies that stay as they are while training goes on; buffers are used again."""
    staged = stager.stage(dict(tensors))
    assert isinstance(staged, dict)
    return staged
