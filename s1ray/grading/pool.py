"""Grading with algebra in processes that end at a deadline.

Texts are searched and compared here, in the caller's process; only what needs algebra is sent
out. Each process has a thread that feeds it one comparison at a time, so an item that never ends
costs its own process one deadline and nobody else's anything. The deadline is processor time: a
starved machine turns no verdict into a time-out. Works from any thread, from asyncio
and inside a Ray worker: a grading process is a fresh interpreter that imports neither the caller's
main module nor torch.
"""

import asyncio
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from s1ray.closing import ClosedAtEnd
from s1ray.config.grading import GraderProcessesConfig, GradingConfig
from s1ray.grading.algebra import Outcome
from s1ray.grading.equivalence import Decision, Judge
from s1ray.grading.grader import (
    OpenComparison,
    ask_judge,
    compare_extracted,
    finish_grading,
    is_open_to_judge,
    start_grading,
)
from s1ray.grading.worker import READY
from s1ray.records import AnswerKind, GradedAnswer, Verdict

_DEADLINE_SIGNALS = (-signal.SIGPROF, -signal.SIGALRM)
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SYSTEMROOT")


@dataclass(frozen=True, slots=True, kw_only=True)
class GradingItem:
    """One text to be graded."""

    text: str
    gold: str
    kind: AnswerKind
    is_private: bool = False
    """Whether neither the answer nor the gold answer may leave the machine, not even to a judge."""


class GraderPool(ClosedAtEnd):
    """Grades texts; verdicts are those of ``grade_answer``, and TIMEOUT past the deadline."""

    def __init__(self, config: GradingConfig, *, judge: Judge | None = None) -> None:
        """Get ready; processes start with the first comparisons that need them.

        Args:
            config: The grader's rules and processes.
            judge: Asked, in threads of its own, where no layer found an answer equal.
        """
        self._config = config
        self._judge = judge
        num_askers = config.judge.endpoint.max_concurrency if config.judge else 1
        self._askers = ThreadPoolExecutor(num_askers, thread_name_prefix="judge")
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._feed, name=f"grader-{index}", daemon=True)
            for index in range(config.pool.num_workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, item: GradingItem) -> "Future[GradedAnswer]":
        """Return the future verdict of a text; done already where no algebra is needed.

        Raises:
            ValueError: The pool is closed.
        """
        if self._is_closed:
            raise ValueError("the grader pool is closed. Submit before close().")
        started = start_grading(item.text, gold=item.gold, kind=item.kind, config=self._config)
        future = self._decide(started)
        if self._judge is None or item.is_private:
            return future
        return self._appeal(future, item, self._judge)

    def is_same(self, first: str, second: str, *, kind: AnswerKind) -> bool:
        """Whether two extracted answers are equal, as a vote counts them; waits for algebra."""
        compared = compare_extracted(second, gold=first, kind=kind, config=self._config)
        if isinstance(compared, Decision):
            return compared.verdict is Verdict.CORRECT
        return self._decide(compared).result().verdict is Verdict.CORRECT

    def _decide(self, started: GradedAnswer | OpenComparison) -> "Future[GradedAnswer]":
        future: Future[GradedAnswer] = Future()
        if isinstance(started, OpenComparison):
            self._jobs.put(_Job(comparison=started, future=future))
        else:
            future.set_result(started)
        return future

    def _appeal(
        self, decided: "Future[GradedAnswer]", item: GradingItem, judge: Judge
    ) -> "Future[GradedAnswer]":
        """Return the future verdict with the judge's say, where it has one.

        Cancelled before the judge has its turn, it is not asked.
        """
        appealed: Future[GradedAnswer] = Future()

        def settle(graded: GradedAnswer) -> None:
            if not appealed.set_running_or_notify_cancel():
                return
            try:
                appealed.set_result(ask_judge(graded, gold=item.gold, judge=judge))
            except BaseException as error:  # whoever waits for the verdict hears of it
                appealed.set_exception(error)

        def hear(done: "Future[GradedAnswer]") -> None:
            error = done.exception()
            if error is None and is_open_to_judge(done.result(), kind=item.kind):
                self._askers.submit(settle, done.result())
            elif appealed.set_running_or_notify_cancel():
                if error is None:
                    appealed.set_result(done.result())
                else:
                    appealed.set_exception(error)

        decided.add_done_callback(hear)
        return appealed

    async def grade(self, item: GradingItem) -> GradedAnswer:
        """Grade one text without blocking the event loop while algebra runs."""
        return await asyncio.wrap_future(self.submit(item))

    def grade_all(
        self, items: Iterable[GradingItem], *, max_pending: int
    ) -> Iterator[GradedAnswer]:
        """Yield verdicts in the order of the items, with so many of them undecided at most.

        An item that runs into its deadline holds back the verdicts after it, not their grading.
        Where one fails, those that have not begun are given up.
        """
        slots = threading.Semaphore(max_pending)
        pending: deque[Future[GradedAnswer]] = deque()
        try:
            for item in items:
                slots.acquire()
                future = self.submit(item)
                future.add_done_callback(lambda _: slots.release())
                pending.append(future)
                while pending and pending[0].done():
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

    def close(self) -> None:
        """Finish what was submitted and end the processes."""
        self._is_closed = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._askers.shutdown()

    def _feed(self) -> None:
        """Hand jobs to one process, started for the first of them, until there are no more."""
        process = None
        try:
            while (job := self._jobs.get()) is not None:
                if not job.future.set_running_or_notify_cancel():
                    continue
                try:
                    process = process or _GraderProcess(self._config.pool)
                except RuntimeError as error:
                    job.future.set_exception(error)
                    continue
                job.future.set_result(process.compare(job.comparison))
                if not process.is_alive:
                    process = None
                    # Up again before the next job is taken, so that another process takes it if
                    # it can. A start that fails is tried again, and reported, with that job.
                    with suppress(RuntimeError):
                        process = _GraderProcess(self._config.pool)
        finally:
            if process is not None:
                process.kill()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    comparison: OpenComparison
    future: "Future[GradedAnswer]"


class _GraderProcess:
    """One process and the socket to it."""

    def __init__(self, config: GraderProcessesConfig) -> None:
        self._wall_seconds = config.wall_seconds
        try:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                self._process = _start_process(config, socket_number=theirs.fileno())
                self._connection = Connection(ours.detach())
        except OSError as error:
            raise RuntimeError(
                f"a grading process could not be started: {error}. Lower grading.pool.num_workers, "
                "or free memory, processes or file handles."
            ) from error
        self.is_alive = True
        if not self._wait(config.startup_seconds) or self._receive() != READY:
            self.kill()
            raise RuntimeError(
                f"a grading process was not ready within {config.startup_seconds} s. See its error "
                "above, check that math-verify can be imported, or raise "
                "grading.pool.startup_seconds."
            )

    def compare(self, comparison: OpenComparison) -> GradedAnswer:
        """Return the verdict: TIMEOUT at the deadline, UNSCORED where the process died."""
        extracted = comparison.extracted
        try:
            self._connection.send([(pair.gold, pair.answer) for pair in comparison.pairs])
            is_late = not self._wait(self._wall_seconds)
            reply = b"" if is_late else self._receive()
        except OSError:
            is_late, reply = False, b""
        if not reply:
            # A process that its own deadline ended keeps that as its exit status.
            self.kill()
            is_late = is_late or self._process.returncode in _DEADLINE_SIGNALS
            verdict = Verdict.TIMEOUT if is_late else Verdict.UNSCORED
            return GradedAnswer(verdict=verdict, extracted=extracted, layer=None)
        return finish_grading(comparison, outcome=Outcome(reply.decode()))

    def kill(self) -> None:
        self.is_alive = False
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def _wait(self, seconds: float) -> bool:
        return self._connection.poll(seconds)

    def _receive(self) -> bytes:
        """Return a message; empty where the process is gone."""
        try:
            return self._connection.recv_bytes()
        except (EOFError, OSError):
            return b""


def _start_process(config: GraderProcessesConfig, *, socket_number: int) -> subprocess.Popen[bytes]:
    arguments = [
        str(socket_number),
        str(config.deadline_seconds),
        str(config.wall_seconds),
        str(int(config.max_memory_gib * 2**30)),
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "s1ray.grading.worker", *arguments],
        pass_fds=[socket_number],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env=_read_environment(),
    )


def _read_environment() -> dict[str, str]:
    """Return what a grading process needs, and no secret of the caller's."""
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    root = str(Path(__file__).parents[2])
    known = os.environ.get("PYTHONPATH")
    return environment | {
        "PYTHONPATH": root if known is None else os.pathsep.join((root, known)),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
