"""A judge of answers in distillation and in opinions of difficulty, asked as often as it allows."""

import json
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from s1ray.config.recipe import Recipe
from s1ray.orchestration.training_data.curate import prepare_curate, run_curate
from s1ray.orchestration.training_data.distill import prepare_distill, run_distill
from tests.teacher_server import Teacher, reply, teach

LIMIT = 3
WAIT_SECONDS = 10
TEACHER = (
    "endpoint=openrouter", "endpoint.api_key_variable=null", "endpoint.model=wise",
    "endpoint.max_concurrency=8",
)  # fmt: skip
OPINION = (
    "difficulty=endpoint", "grading@difficulty.grading=judged", "difficulty.num_samples=1",
    "selection.after_difficulty=true", "selection.num_questions=3",
)  # fmt: skip
Compose = Callable[..., Recipe]


class Crowd:
    """Holds whoever asks until as many as the limit are there, or it has waited once in vain."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._lock = threading.Lock()
        self._is_open = threading.Event()
        self._num_present = 0
        self.most_present = 0

    def answer(self, prompt: str, attempt: int) -> Any:
        with self._lock:
            self._num_present += 1
            self.most_present = max(self.most_present, self._num_present)
            if self._num_present == LIMIT:
                self._is_open.set()
        self._is_open.wait(WAIT_SECONDS)
        self._is_open.set()
        with self._lock:
            self._num_present -= 1
        return reply(self._word)


def _answer_wrongly(question: str, _: int) -> Any:
    wrong = 10**6 + zlib.crc32(question.encode())
    return reply(f"Final Answer: {wrong}", reasoning_content="hm")


def _judged_by(judge: Teacher, cache: Path, *, of: str) -> tuple[str, ...]:
    endpoint = f"{of}.judge.endpoint"
    return (
        f"{endpoint}.base_url={judge.url}", f"{endpoint}.api_key_variable=null",
        f"{endpoint}.max_concurrency={LIMIT}", f"{endpoint}.max_tries=1",
        f"{of}.judge.cache={cache}",
    )  # fmt: skip


@contextmanager
def _serve_model_and_judge(
    judge_answer: Callable[[str, int], Any], cache: Path, *, model: str, of: str
) -> Iterator[tuple[Teacher, Teacher, tuple[str, ...]]]:
    """Yield a model that is wrong, its judge, and the overrides that name both.

    Args:
        judge_answer: As ``teach`` takes it.
        cache: Where the judge's verdicts are kept.
        model: The model's endpoint, dotted.
        of: The grading's section, dotted.
    """
    with teach(_answer_wrongly) as teacher, teach(judge_answer) as judge:
        judged = _judged_by(judge, cache, of=of)
        yield teacher, judge, (f"{model}.base_url={teacher.url}", *judged)


def test_distillation_asks_a_judge_as_much_at_once_as_its_endpoint_allows(
    tiny: Compose, tmp_path: Path
) -> None:
    crowd = Crowd("yes")
    served = _serve_model_and_judge(
        crowd.answer, tmp_path / "cache.jsonl", model="endpoint", of="grading"
    )
    with served as (_, _, where):
        path = run_distill(prepare_distill(tiny(*TEACHER, "grading=judged", *where)))

    costs = json.loads((path / "costs.json").read_text(encoding="utf-8"))
    assert costs["correct"] == 10
    assert crowd.most_present == LIMIT


def test_opinions_ask_a_judge_as_much_at_once_as_its_endpoint_allows(
    tiny: Compose, tmp_path: Path
) -> None:
    crowd = Crowd("no")
    served = _serve_model_and_judge(
        crowd.answer,
        tmp_path / "cache.jsonl",
        model="difficulty.judges.served.endpoint",
        of="difficulty.grading",
    )
    with served as (_, judge, where):
        run_curate(prepare_curate(tiny(*OPINION, *where)))

    assert judge.asked.total() == 24
    assert crowd.most_present == LIMIT


@pytest.mark.parametrize(
    ("prepare", "chosen", "section"),
    [
        (prepare_distill, (*TEACHER, "grading=judged"), "grading"),
        (prepare_curate, OPINION, "difficulty.grading"),
    ],
)
def test_judge_without_its_key_is_refused_before_anything_is_asked(
    tiny: Compose, prepare: Callable[[Recipe], object], chosen: tuple[str, ...], section: str
) -> None:
    key = f"{section}.judge.endpoint.api_key_variable=S1RAY_NO_SUCH_KEY"

    with pytest.raises(ValueError, match="S1RAY_NO_SUCH_KEY is not set"):
        prepare(tiny(*chosen, key))


@pytest.mark.parametrize(
    ("change", "num_names"),
    [("cache=elsewhere.jsonl", 1), ("endpoint.timeout_seconds=1", 1), ("endpoint.model=other", 2)],
)
def test_distillation_is_named_by_its_judge_and_not_by_how_it_is_reached(
    tiny: Compose, change: str, num_names: int
) -> None:
    chosen = (*TEACHER, "grading=judged", "grading.judge.endpoint.api_key_variable=null")
    name = prepare_distill(tiny(*chosen)).run.name

    changed = prepare_distill(tiny(*chosen, f"grading.judge.{change}")).run.name

    assert len({name, changed}) == num_names


def test_what_the_teacher_said_is_kept_where_its_judge_fails(tiny: Compose, tmp_path: Path) -> None:
    is_up = threading.Event()

    def judge_answer(prompt: str, attempt: int) -> Any:
        return reply("yes") if is_up.is_set() else (503, {})

    served = _serve_model_and_judge(
        judge_answer, tmp_path / "cache.jsonl", model="endpoint", of="grading"
    )
    with served as (teacher, _, where):
        recipe = tiny(*TEACHER, "grading=judged", *where)
        with pytest.raises(RuntimeError, match="503"):
            run_distill(prepare_distill(recipe))
        is_up.set()
        path = run_distill(prepare_distill(recipe))

    costs = json.loads((path / "costs.json").read_text(encoding="utf-8"))
    assert (costs["asked_now"], costs["remembered"], costs["correct"]) == (0, 10, 10)
    assert teacher.asked.total() == 10
