"""Exactly once: real processes, killed at random instants, until one of them gets to the end."""

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from s1ray.evaluation.store import SAMPLES, read_samples

ROOT = Path(__file__).parents[2]
ITEMS = 50
POLICIES = ("cap_8", "natural", "wait_1")
IN_FLIGHT = 4
MOST_MORE = 30
MOST_BEHIND = 10
"""What a child may make behind the completion that its killer waits for."""
NUM_KILLS = 3
assert ITEMS * len(POLICIES) > NUM_KILLS * (MOST_MORE + MOST_BEHIND)  # it cannot end before

# Solves slowly enough to be killed in the middle, and notes every completion it makes. Of these it
# makes only so many, and then waits for its kill: a parent that comes late finds it alive.
CHILD = """
import asyncio, os, random, sys, time
from pathlib import Path
from s1ray.evaluation.evaluate import evaluate
from s1ray.evaluation.store import SampleStore
from s1ray.records import GradedAnswer, Verdict
from tests.evaluation.builders import make_completion, make_group, make_runtime

async def solve(group):
    for policy in group.policies:
        await asyncio.sleep(random.uniform(0.0, 0.012))
        if next(allowed, None) is None:
            await asyncio.Event().wait()
        os.write(made, f"{group.question.id} {policy}\\n".encode())
        ids = tuple(range(int(group.question.id) * 40 + len(policy)))
        yield policy, make_completion(thinking_ids=ids)

async def grade(group, completion):
    return GradedAnswer(verdict=Verdict.CORRECT, extracted=completion.answer, layer=None)

async def main():
    groups = [make_group(f"{item:02}", policies=%(policies)r) for item in range(%(items)d)]
    path = Path(sys.argv[1])
    stores = [
        SampleStore(place, sync_rows=8, sync_seconds=0.05, clock=time.monotonic)
        for place in (path, path.with_name("ungraded.jsonl"))
    ]
    with stores[0] as store, stores[1] as aside:
        async for _ in evaluate(groups, solve=solve, grade=grade, store=store, aside=aside,
                                runtime=make_runtime(), max_in_flight=%(in_flight)d):
            pass

made = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
allowed = iter(range(int(sys.argv[3])))
asyncio.run(main())
"""


def run_until_killed(command: list[str], made: Path, *, num_more: int, seconds: float) -> int:
    """Kill a child some time after it made so many more completions.

    Returns:
        Its exit code: 0 where it got to the end before that.
    """
    made.touch()
    aim = made.read_bytes().count(b"\n") + num_more
    allowed = str(num_more + MOST_BEHIND)
    with subprocess.Popen([*command, allowed], cwd=ROOT) as child:
        while child.poll() is None and made.read_bytes().count(b"\n") < aim:
            time.sleep(0.001)
        time.sleep(seconds)
        child.kill()
        return child.wait()


def test_evaluation_killed_at_random_instants_does_every_sample_once(tmp_path: Path) -> None:
    path, made = tmp_path / SAMPLES, tmp_path / "made"
    code = CHILD % {"policies": POLICIES, "items": ITEMS, "in_flight": IN_FLIGHT}
    command = [sys.executable, "-c", code, str(path), str(made)]
    generator = random.Random(20250131)
    num_kills = 0
    while run_until_killed(
        command,
        made,
        num_more=generator.randint(1, MOST_MORE),
        seconds=generator.uniform(0.0, 0.02),
    ):
        num_kills += 1
        assert num_kills < 100

    done = Counter((sample.task.item, sample.task.policy) for sample in read_samples(path))
    asked = {(f"{item:02}", policy) for item in range(ITEMS) for policy in POLICIES}
    assert num_kills >= NUM_KILLS
    assert set(done) == asked
    assert set(done.values()) == {1}
    assert all(
        sample.completion.num_thinking_tokens
        == int(sample.task.item) * 40 + len(sample.task.policy)
        for sample in read_samples(path)
    )
    # Done again is at most what was in flight at a kill: made, but not yet in the file.
    num_made = made.read_bytes().count(b"\n")
    assert num_made - len(asked) <= num_kills * IN_FLIGHT
