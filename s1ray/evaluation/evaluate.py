"""Groups of samples in, graded samples out as they come; only what the store lacks is done.

It knows in what order things happen: solve, grade, store, hand on. It does not know what solves
(an engine here, a replica elsewhere) nor what grades; both are awaitables it is given.
"""

import asyncio
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import islice

from s1ray.config.evaluation import EvaluationRuntimeConfig
from s1ray.evaluation.samples import EvaluatedSample, FailedSample, SampleGroup
from s1ray.evaluation.store import SampleStore
from s1ray.records import Completion, GradedAnswer, Verdict

Solve = Callable[[SampleGroup], AsyncIterator[tuple[str, Completion]]]
"""Yields (policy name, completion) for each policy of the group, in any order."""

Grade = Callable[[SampleGroup, Completion], Awaitable[GradedAnswer]]
"""Holds a completion's answer against the group's gold answer."""

UNGRADED = GradedAnswer(verdict=Verdict.UNSCORED, extracted=None, layer=None)

logger = logging.getLogger(__name__)


async def evaluate(
    groups: Sequence[SampleGroup],
    *,
    solve: Solve,
    grade: Grade,
    store: SampleStore,
    aside: SampleStore,
    runtime: EvaluationRuntimeConfig,
    max_in_flight: int,
) -> AsyncGenerator[EvaluatedSample | FailedSample, None]:
    """Do what neither store has; each sample is in the store before it is yielded.

    Args:
        groups: Everything the evaluation consists of, as ``plan_groups`` returns it.
        solve: Generates. A group it fails at is asked for again with the same seed, without the
            policies already received; a ValueError is final, since it would come again.
        grade: Grades. A sample it fails at is put aside, since its generation is good.
        store: Takes the samples.
        aside: Takes those that could not be graded, as ``UNGRADED``; ``regrade`` is for them.
        runtime: What a failure leads to.
        max_in_flight: Groups solved at once.

    Yields:
        Samples in the store's order, none that is put aside. A ``FailedSample`` is in neither.

    Raises:
        RuntimeError: Too many groups failed one after the other.
        OSError: A store cannot write.
    """
    run = _Run(
        todo=iter(aside.missing(store.missing(groups))),
        solve=solve,
        grade=grade,
        store=store,
        aside=aside,
        runtime=runtime,
        max_in_flight=max_in_flight,
    )
    try:
        async with aclosing(run.follow()) as outcomes:
            async for outcome in outcomes:
                yield outcome
    finally:
        store.sync()
        aside.sync()


@dataclass(slots=True, kw_only=True)
class _Run:
    """One evaluation under way."""

    todo: Iterator[SampleGroup]
    solve: Solve
    grade: Grade
    store: SampleStore
    aside: SampleStore
    runtime: EvaluationRuntimeConfig
    max_in_flight: int
    outcomes: asyncio.Queue[EvaluatedSample | FailedSample] = field(default_factory=asyncio.Queue)
    consecutive_failures: int = 0

    async def follow(self) -> AsyncGenerator[EvaluatedSample | FailedSample, None]:
        """Yield outcomes as they come, and sync the stores also where none comes."""
        runner = asyncio.create_task(self._work_off())
        getter = asyncio.create_task(self.outcomes.get())
        try:
            while not runner.done() or getter.done() or not self.outcomes.empty():
                await asyncio.wait(
                    {getter, runner},
                    timeout=self.store.sync_seconds,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                self.store.sync_if_due()
                self.aside.sync_if_due()
                if getter.done():
                    outcome = getter.result()
                    getter = asyncio.create_task(self.outcomes.get())
                    yield outcome
            await runner
        finally:
            runner.cancel()
            getter.cancel()
            await asyncio.gather(runner, getter, return_exceptions=True)

    async def _work_off(self) -> None:
        workers = [
            asyncio.create_task(self._work(first))
            for first in islice(self.todo, self.max_in_flight)
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, first: SampleGroup) -> None:
        await self._do(first)
        for group in self.todo:
            await self._do(group)

    async def _do(self, group: SampleGroup) -> None:
        attempt = 0
        while True:
            attempt += 1
            left, error = await self._attempt(group)
            if error is None:
                self.consecutive_failures = 0
                return
            group = replace(group, policies=left)
            if isinstance(error, ValueError) or attempt == self.runtime.max_attempts:
                self._give_up(group, error, num_attempts=attempt)
                return
            logger.info("%s: attempt %d failed.", group.task(left[0]), attempt)
            await asyncio.sleep(self.runtime.retry_seconds * 2 ** (attempt - 1))

    async def _attempt(self, group: SampleGroup) -> tuple[tuple[str, ...], Exception | None]:
        """Return the policies not received, and why; no error where none is left."""
        left = list(group.policies)
        stream = aiter(self.solve(group))
        try:
            while True:
                try:
                    policy, completion = await anext(stream)
                except StopAsyncIteration:
                    error: Exception = RuntimeError(f"solve ended without {', '.join(left)}.")
                    break
                # Whatever it is, it becomes the sample's error, and the other samples go on.
                except Exception as caught:
                    error = caught
                    break
                if policy not in left:
                    error = ValueError(f"solve yielded {policy!r}; asked for and due: {left}.")
                    break
                left.remove(policy)
                await self._record(group, policy, completion)
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()
        return tuple(left), error if left else None

    async def _record(self, group: SampleGroup, policy: str, completion: Completion) -> None:
        sample = EvaluatedSample(
            task=group.task(policy),
            question=None if group.is_private else group.question.text,
            gold=group.question.answer,
            completion=completion,
            graded=UNGRADED,
        )
        try:
            graded = await self.grade(group, completion)
        # A generation is dear: it is kept, whatever went wrong with its grading.
        except Exception as error:
            logger.warning("%s is put aside ungraded: %s", sample.task, _describe(group, error))
            self.aside.append(sample)
            return
        sample = replace(sample, graded=graded)
        # Nothing is awaited in between, so that outcomes come in the order of the rows.
        if self.store.append(sample):
            self.outcomes.put_nowait(sample)

    def _give_up(self, group: SampleGroup, error: Exception, *, num_attempts: int) -> None:
        what = _describe(group, error)
        for policy in group.policies:
            failed = FailedSample(task=group.task(policy), error=what, num_attempts=num_attempts)
            self.outcomes.put_nowait(failed)
        self.consecutive_failures += 1
        if self.consecutive_failures >= self.runtime.max_consecutive_failures:
            raise RuntimeError(
                f"{self.consecutive_failures} groups failed one after the other, the last one "
                f"({group.task(group.policies[0])}) with {what} What is done is stored: remove "
                "the cause and start again, and only the rest is done."
            ) from (None if group.is_private else error)


def _describe(group: SampleGroup, error: Exception) -> str:
    """Return an error as text; of a private benchmark only its kind, as it may quote a question."""
    kind = type(error).__name__
    return f"{kind}." if group.is_private else f"{kind}: {error}"


async def regrade(
    samples: Iterable[EvaluatedSample],
    groups: Iterable[SampleGroup],
    *,
    grade: Grade,
    runtime: EvaluationRuntimeConfig,
    max_in_flight: int,
) -> AsyncGenerator[EvaluatedSample | FailedSample, None]:
    """Grade stored samples anew, in their order; nothing is generated.

    Args:
        samples: As ``store.read_samples`` yields them.
        groups: The plan they come from, for the questions' answer kinds.
        grade: As in ``evaluate``; a sample it fails at is yielded as failed.
        runtime: After how many failures in a row it ends early: each of them may have cost the
            tries and pauses of an endpoint that is gone.
        max_in_flight: Samples graded at once.

    Raises:
        ValueError: A sample belongs to no group.
    """
    by_item = {(group.benchmark, group.question.id): group for group in groups}
    stream = iter(samples)
    num_failures = 0
    while batch := list(islice(stream, max_in_flight)):
        asked = [(_find_group(sample, by_item), sample) for sample in batch]
        for outcome in await asyncio.gather(*(_grade_anew(*each, grade=grade) for each in asked)):
            num_failures = num_failures + 1 if isinstance(outcome, FailedSample) else 0
            yield outcome
        if num_failures >= runtime.max_consecutive_failures:
            return


def _find_group(
    sample: EvaluatedSample, by_item: Mapping[tuple[str, str], SampleGroup]
) -> SampleGroup:
    group = by_item.get((sample.task.benchmark, sample.task.item))
    if group is None:
        raise ValueError(
            f"{sample.task} is none of the {len(by_item)} questions given. Regrade with the "
            "benchmarks that the samples were made from."
        )
    return group


async def _grade_anew(
    group: SampleGroup, sample: EvaluatedSample, *, grade: Grade
) -> EvaluatedSample | FailedSample:
    try:
        return replace(sample, graded=await grade(group, sample.completion))
    # Whatever it is, it becomes the sample's error, and the other samples are graded.
    except Exception as error:
        what = _describe(group, error)
        return FailedSample(task=sample.task, error=what, num_attempts=1)
