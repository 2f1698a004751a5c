import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from s1ray.grading.grader import grade_answer
from s1ray.grading.pool import GraderPool, GradingItem
from s1ray.grading.worker import READY
from s1ray.records import AnswerKind, GradedAnswer, Verdict
from tests.grading.items import POISON, root_plus
from tests.grading.settings import ROOT, read_grading
from tests.orchestration.processes import running
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def pool() -> Iterator[GraderPool]:
    with GraderPool(read_grading("layered", num_workers=1, deadline_seconds=20.0)) as opened:
        yield opened


def test_pool_gives_the_verdicts_of_the_plain_function_in_order(pool: GraderPool) -> None:
    texts = [r"\boxed{x+1}", "Answer: 7", "Answer: B", "nothing\nat all", r"\boxed{1+x+y}", "#"]
    kinds = [AnswerKind.MATH] * 2 + [AnswerKind.LETTER] + [AnswerKind.MATH] * 3
    golds = ["1+x", "7", "B", "7", "1+x", ""]
    items = [
        GradingItem(text=text, gold=gold, kind=kind)
        for text, gold, kind in zip(texts, golds, kinds, strict=True)
    ]
    config = read_grading("layered")
    expected = [
        grade_answer(item.text, gold=item.gold, kind=item.kind, config=config, judge=None)
        for item in items
    ]
    assert list(pool.grade_all(items, max_pending=2)) == expected
    assert {graded.verdict for graded in expected} == {
        Verdict.CORRECT,
        Verdict.INCORRECT,
        Verdict.NO_ANSWER,
        Verdict.GOLD_ERROR,
    }


def test_pool_grades_from_asyncio_without_blocking_the_loop(pool: GraderPool) -> None:
    async def run() -> list[GradedAnswer]:
        items = [root_plus(number) for number in range(10)]
        return await asyncio.gather(*(pool.grade(item) for item in items))

    assert {graded.verdict for graded in asyncio.run(run())} == {Verdict.CORRECT}


def test_pool_grades_from_a_thread_other_than_the_main_one(pool: GraderPool) -> None:
    found: list[GradedAnswer] = []
    thread = threading.Thread(target=lambda: found.append(pool.submit(root_plus(3)).result()))
    thread.start()
    thread.join()
    assert [graded.verdict for graded in found] == [Verdict.CORRECT]


def test_poisoned_item_times_out_and_delays_nobody() -> None:
    drawn = []

    def draw() -> Iterator[GradingItem]:
        for number in range(60):
            drawn.append(number)
            yield root_plus(number) if number else POISON

    with GraderPool(read_grading("layered", num_workers=2, deadline_seconds=4.0)) as pool:
        verdicts = pool.grade_all(draw(), max_pending=4)
        first = next(verdicts)
        num_drawn = len(drawn)
        rest = [graded.verdict for graded in verdicts]
    assert first == GradedAnswer(verdict=Verdict.TIMEOUT, extracted="9^{9^9}", layer=None)
    assert num_drawn == 60
    assert rest == [Verdict.CORRECT] * 59


def test_killed_process_leaves_its_item_unscored_and_is_replaced() -> None:
    others = find_children(os.getpid())
    with GraderPool(read_grading("layered", num_workers=1, deadline_seconds=20.0)) as pool:
        pool.submit(root_plus(0)).result()
        future = pool.submit(POISON)
        (child,) = find_children(os.getpid()) - others
        os.kill(child, signal.SIGKILL)
        assert future.result(timeout=90).verdict is Verdict.UNSCORED
        assert pool.submit(root_plus(1)).result().verdict is Verdict.CORRECT


def test_comparison_ends_by_the_clock_where_it_hardly_runs() -> None:
    config = read_grading("layered", num_workers=1, deadline_seconds=300.0, wall_seconds=1.0)
    with GraderPool(config) as pool:
        assert pool.submit(POISON).result().verdict is Verdict.TIMEOUT


def test_cheap_layers_need_no_process() -> None:
    config = read_grading("layered", num_workers=1, startup_seconds=1e-6)
    with GraderPool(config) as pool:
        graded = pool.submit(GradingItem(text="Answer: 7", gold="7", kind=AnswerKind.INTEGER))
        assert graded.done()
        with pytest.raises(RuntimeError, match=r"not ready within 1e-06 s.*startup_seconds"):
            pool.submit(root_plus(1)).result()


def test_process_that_the_system_does_not_start_is_reported_and_tried_again() -> None:
    with GraderPool(read_grading("layered", num_workers=1, deadline_seconds=20.0)) as pool:
        with limited_file_handles():
            future = pool.submit(root_plus(1))
            with pytest.raises(RuntimeError, match=r"could not be started: .*num_workers"):
                future.result(timeout=30)
        assert pool.submit(root_plus(2)).result(timeout=90).verdict is Verdict.CORRECT


def test_judge_that_breaks_is_heard_of() -> None:
    def judge(*, gold: str, answer: str) -> bool:
        raise KeyError(answer)

    config = read_grading("layered", num_workers=1)
    with GraderPool(config, judge=judge) as pool, pytest.raises(KeyError):
        item = GradingItem(text="Answer: 4", gold="7", kind=AnswerKind.INTEGER)
        pool.submit(item).result(timeout=30)


def test_closed_pool_takes_nothing() -> None:
    pool = GraderPool(read_grading("layered", num_workers=1))
    pool.close()
    with pytest.raises(ValueError, match="grader pool is closed"):
        pool.submit(root_plus(1))


def test_process_is_replaced_after_a_time_out_and_a_cancelled_item_is_passed_over() -> None:
    with GraderPool(read_grading("layered", num_workers=1, deadline_seconds=2.0)) as pool:
        poisoned, waiting = pool.submit(POISON), pool.submit(root_plus(1))
        assert waiting.cancel()
        assert poisoned.result().verdict is Verdict.TIMEOUT
        assert pool.submit(root_plus(2)).result().verdict is Verdict.CORRECT


def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, time
            from s1ray.grading.pool import GraderPool
            from tests.grading.items import root_plus
            from tests.grading.settings import read_grading
            pool = GraderPool(read_grading("layered", num_workers=2, deadline_seconds=1.0))
            for future in [pool.submit(root_plus(number)) for number in range(2)]:
                future.result()
            print("torch" in sys.modules, flush=True)
            time.sleep(60)
            """
        )
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, str(script)]
    with running(words, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        has_torch = parent.stdout.readline()
        children = find_children(parent.pid)
    assert has_torch == b"False\n"
    assert len(children) == 2
    wait_until(lambda: not any(is_running(child) for child in children), seconds=60)


def test_lost_process_ends_at_its_deadline() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "s1ray.grading.worker",
                str(theirs.fileno()),
                "1",
                "60",
                str(2**32),
            ],
            pass_fds=[theirs.fileno()],
            cwd=ROOT,
        )
    connection = Connection(ours.detach())
    assert connection.recv_bytes() == READY
    connection.send([(r"8^{8^8}+1", "9^{9^9}")])
    connection.close()
    assert child.wait(timeout=90) == -signal.SIGPROF


def test_grading_process_sees_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    others = find_children(os.getpid())
    with GraderPool(read_grading("layered", num_workers=1)) as pool:
        pool.submit(root_plus(0)).result()
        (child,) = find_children(os.getpid()) - others
        assert b"WANDB" not in Path(f"/proc/{child}/environ").read_bytes()


@contextmanager
def limited_file_handles() -> Iterator[None]:
    """Let this process open no further file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def find_children(parent: int) -> set[int]:
    """The grading processes of a process."""
    found = set()
    for child in psutil.Process(parent).children():
        with suppress(psutil.NoSuchProcess):  # or it has ended and its parent has not asked
            if "s1ray.grading.worker" in child.cmdline():
                found.add(child.pid)
    return found


def is_running(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
