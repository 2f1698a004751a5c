"""What is evaluated and what comes of it: groups of samples to do, samples done, and their rows.

It knows the fields of ``samples.jsonl``; it does not know files, engines or graders.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s1ray.records import Completion, GradedAnswer, Question, ThinkingEnd, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleTask:
    """Names one sample, and so one row: nothing is done twice under the same name."""

    benchmark: str
    item: str
    """The question's id."""
    sample: int
    """0 for the item's first sample."""
    policy: str
    model: str
    """Digest of the weights."""
    seed: int

    def __str__(self) -> str:
        return f"{self.benchmark}/{self.item} sample {self.sample} under {self.policy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleGroup:
    """One sample of one question under all its policies, which may share one chain of thinking."""

    benchmark: str
    question: Question
    is_private: bool
    """Whether the question's text must not be stored, logged or shown."""
    sample: int
    seed: int
    """The same for all policies: a smaller budget is a prefix of a larger one."""
    model: str
    policies: tuple[str, ...]

    def task(self, policy: str) -> SampleTask:
        """Return the name of this group's sample under one policy."""
        return SampleTask(
            benchmark=self.benchmark,
            item=self.question.id,
            sample=self.sample,
            policy=policy,
            model=self.model,
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedSample:
    """A completion and its verdict: one row of ``samples.jsonl``."""

    task: SampleTask
    question: str | None
    """The question's text; None where the benchmark is private."""
    gold: str
    completion: Completion
    graded: GradedAnswer

    @property
    def score(self) -> "Score":
        """What metrics need of it, without its texts and token ids."""
        return Score(
            task=self.task,
            graded=self.graded,
            num_thinking_tokens=self.completion.num_thinking_tokens,
            num_generated_tokens=self.completion.num_generated_tokens,
            is_answer_forced=self.completion.is_answer_forced,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """An evaluated sample in numbers: a few hundred bytes where the sample may have megabytes."""

    task: SampleTask
    graded: GradedAnswer
    num_thinking_tokens: int
    num_generated_tokens: int
    is_answer_forced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedSample:
    """A sample that could not be generated, or not graded.

    It is unscored, not wrong, and is still to be done.
    """

    task: SampleTask
    error: str
    num_attempts: int


def derive_seed(seed: int, *, benchmark: str, item: str, sample: int) -> int:
    """Return a sample's own seed, in [0, 2**31): it depends on nothing but these four.

    Args:
        seed: Of the evaluation.
        benchmark: Its name.
        item: The question.
        sample: Its number among the samples of the question.
    """
    text = f"{seed}/{benchmark}/{item}/{sample}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def plan_groups(
    benchmarks: Mapping[str, Sequence[Question]],
    *,
    private: Collection[str],
    policies: Sequence[str],
    model: str,
    num_samples: int,
    seed: int,
) -> tuple[SampleGroup, ...]:
    """Return everything there is to do, in an order that reaches all items before any repeats.

    Args:
        benchmarks: Questions by benchmark name.
        private: Names of the benchmarks whose questions stay out of files and logs.
        policies: Names of the policies; each sample is done under all of them.
        model: Digest of the weights.
        num_samples: Per question.
        seed: Of the run; every sample's own seed derives from it.

    Raises:
        ValueError: There is nothing to do, or a name occurs twice.
    """
    if num_samples < 1:
        raise ValueError(f"evaluation.num_samples={num_samples}; it must be at least 1.")
    if not policies or len(set(policies)) != len(policies):
        raise ValueError(
            f"the policies are {list(policies)}; at least one is needed and each only once. "
            "Give every policy a name of its own."
        )
    for name, questions in benchmarks.items():
        _check_items(name, questions)
    return tuple(
        SampleGroup(
            benchmark=name,
            question=question,
            is_private=name in private,
            sample=sample,
            seed=derive_seed(seed, benchmark=name, item=question.id, sample=sample),
            model=model,
            policies=tuple(policies),
        )
        for sample in range(num_samples)
        for name, questions in benchmarks.items()
        for question in questions
    )


def _check_items(name: str, questions: Sequence[Question]) -> None:
    if not questions:
        raise ValueError(f"benchmark {name} has no questions. Check its source and its limit.")
    counts = Counter(question.id for question in questions)
    repeated = [item for item, count in counts.items() if count > 1]
    if repeated:
        raise ValueError(
            f"benchmark {name} has {len(repeated)} ids more than once, such as {repeated[0]!r}. "
            "Each question needs an id of its own; remove the repeated rows."
        )


def to_row(sample: EvaluatedSample) -> dict[str, Any]:
    """Return a sample as the JSON object of its row."""
    task, completion, graded = sample.task, sample.completion, sample.graded
    return {
        "benchmark": task.benchmark,
        "item": task.item,
        "sample": task.sample,
        "policy": task.policy,
        "model": task.model,
        "seed": task.seed,
        "question": sample.question,
        "gold": sample.gold,
        "thinking": completion.thinking,
        "answer": completion.answer,
        "thinking_ids": list(completion.thinking_ids),
        "answer_ids": list(completion.answer_ids),
        "wait_positions": list(completion.wait_positions),
        "num_waits_applied": completion.num_waits_applied,
        "num_generated_tokens": completion.num_generated_tokens,
        "thinking_end": completion.thinking_end.value,
        "is_answer_forced": completion.is_answer_forced,
        "is_answer_complete": completion.is_answer_complete,
        "verdict": graded.verdict.value,
        "extracted": graded.extracted,
        "layer": graded.layer,
    }


def read_task(row: Mapping[str, Any]) -> SampleTask:
    """Return the name of a row.

    Raises:
        KeyError: The row lacks a field.
    """
    return SampleTask(
        benchmark=row["benchmark"],
        item=row["item"],
        sample=row["sample"],
        policy=row["policy"],
        model=row["model"],
        seed=row["seed"],
    )


def from_row(row: Mapping[str, Any]) -> EvaluatedSample:
    """Return the sample of a row, as ``to_row`` wrote it; further fields are ignored.

    Raises:
        KeyError: The row lacks a field.
        ValueError: A verdict or an end of thinking is unknown.
    """
    return EvaluatedSample(
        task=read_task(row),
        question=row["question"],
        gold=row["gold"],
        completion=Completion(
            thinking=row["thinking"],
            answer=row["answer"],
            thinking_ids=tuple(row["thinking_ids"]),
            answer_ids=tuple(row["answer_ids"]),
            wait_positions=tuple(row["wait_positions"]),
            num_waits_applied=row["num_waits_applied"],
            num_generated_tokens=row["num_generated_tokens"],
            thinking_end=ThinkingEnd(row["thinking_end"]),
            is_answer_forced=row["is_answer_forced"],
            is_answer_complete=row["is_answer_complete"],
        ),
        graded=GradedAnswer(
            verdict=Verdict(row["verdict"]), extracted=row["extracted"], layer=row["layer"]
        ),
    )
