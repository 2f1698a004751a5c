"""The recipe's benchmarks as questions: what is evaluated, and what curation protects."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from s1ray.config.grading import GeneratedBenchmarkConfig, GymBenchmarkConfig
from s1ray.config.recipe import Recipe
from s1ray.curation.pool.running_sums import generate_running_sums
from s1ray.evaluation.gym import draw_gym_questions
from s1ray.grading.benchmarks import load_questions, present_questions
from s1ray.records import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkNote:
    """What a reader of results must know of a benchmark."""

    name: str
    num_questions: int
    licence: str
    is_private: bool

    def describe(self) -> str:
        """Return it as one line."""
        private = "; its questions stay out of logs, W&B and reports" if self.is_private else ""
        return f"{self.name}: {self.num_questions} questions ({self.licence}{private})"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSet:
    """Questions by benchmark, and which benchmarks are private."""

    questions: Mapping[str, Sequence[Question]]
    private: frozenset[str]
    notes: tuple[BenchmarkNote, ...]
    """Of those that are benchmarks."""

    def digest(self) -> str:
        """Return a hash over every question and gold answer."""
        content = {
            name: [[item.id, item.text, item.answer, item.answer_kind] for item in items]
            for name, items in self.questions.items()
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_questions(recipe: Recipe) -> QuestionSet:
    """Return every benchmark's questions as the recipe declares them.

    Raises:
        ValueError: A benchmark's file is not there or is malformed.
    """
    questions: dict[str, Sequence[Question]] = {}
    for name, benchmark in recipe.benchmark.items():
        if isinstance(benchmark, GeneratedBenchmarkConfig):
            traces = generate_running_sums(
                num_questions=benchmark.num_questions,
                seed=benchmark.seed,
                min_terms=benchmark.params.min_terms,
                max_terms=benchmark.params.max_terms,
                max_number=benchmark.params.max_number,
                operations=benchmark.params.operations,
                phrasings=benchmark.params.phrasings,
            )
            generated = [trace.question for trace in traces]
            questions[name] = present_questions(name, benchmark, questions=generated)
        elif isinstance(benchmark, GymBenchmarkConfig):
            questions[name] = draw_gym_questions(name, benchmark)
        else:
            questions[name] = load_questions(name, benchmark)
    private = frozenset(name for name, item in recipe.benchmark.items() if item.is_private)
    notes = tuple(
        BenchmarkNote(
            name=name,
            num_questions=len(questions[name]),
            licence=benchmark.licence,
            is_private=benchmark.is_private,
        )
        for name, benchmark in recipe.benchmark.items()
    )
    return QuestionSet(questions=questions, private=private, notes=notes)
