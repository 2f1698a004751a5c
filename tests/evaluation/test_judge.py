"""The judge's last word: asked once at temperature 0, of two answers and nothing else."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from s1ray.config.grading import AnswerJudgeConfig
from s1ray.evaluation.judge import ChatJudge, read_reply
from s1ray.generation.chat.chat_engine import ChatReply, ChatRequest
from s1ray.grading.grader import JUDGE_REFUSED
from s1ray.grading.pool import GraderPool, GradingItem
from s1ray.records import AnswerKind, GradedAnswer, Verdict
from tests.grading.settings import ROOT, read_grading


class FakeEngine:
    """Replies "yes" where both answers begin alike; remembers what it was asked."""

    def __init__(
        self,
        *,
        fails: bool = False,
        refuses: Callable[[str], bool] = lambda _: False,
        fails_once_it_refused: bool = False,
    ) -> None:
        self.requests: list[ChatRequest] = []
        self._fails = fails
        self._refuses = refuses
        self._fails_once_it_refused = fails_once_it_refused

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.requests.append(request)
        if self._fails:
            raise RuntimeError("the endpoint is down")
        prompt = request.messages[0].content
        if self._refuses(prompt):
            self._fails = self._fails_once_it_refused
            raise ValueError("the endpoint refused the request: HTTP 400")
        lines = prompt.split("\n")
        gold, answer = (line.split(": ")[1] for line in lines[1:3])
        return ChatReply(
            thinking="", answer="Yes." if answer[0] == gold[0] else "no", is_complete=True,
            num_prompt_tokens=1, num_completion_tokens=1, num_thinking_tokens=None, unenforced=(),
            num_tries=1, cost_usd=None, seconds=0.0,
        )  # fmt: skip

    def counters(self) -> Mapping[str, float]:
        return {}

    async def close(self) -> None:
        """Nothing is open."""


def _config(cache: Path, **changes: object) -> AnswerJudgeConfig:
    judged = yaml.safe_load((ROOT / "conf/grading/judged.yaml").read_text(encoding="utf-8"))
    endpoint = yaml.safe_load((ROOT / "conf/endpoint/compatible.yaml").read_text(encoding="utf-8"))
    endpoint |= judged["judge"]["endpoint"] | changes
    return AnswerJudgeConfig.model_validate(
        judged["judge"] | {"endpoint": endpoint, "cache": str(cache)}
    )


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "judgements.jsonl"


def _grade(engine: FakeEngine, cache: Path, *items: GradingItem) -> list[GradedAnswer]:
    config = read_grading("layered")
    with ChatJudge(_config(cache), engine) as judge, GraderPool(config, judge=judge) as pool:
        return list(pool.grade_all(items, max_pending=4))


def _item(answer: str, gold: str, kind: AnswerKind = AnswerKind.TEXT, **more: bool) -> GradingItem:
    return GradingItem(text=f"Answer: {answer}", gold=gold, kind=kind, **more)


def test_judge_decides_what_no_layer_found_equal(cache: Path) -> None:
    graded = _grade(FakeEngine(), cache, _item("four", "4our"), _item("five", "fifth"))

    assert [(answer.verdict, answer.layer) for answer in graded] == [
        (Verdict.INCORRECT, "judge"),
        (Verdict.CORRECT, "judge"),
    ]


def test_judge_sees_two_answers_at_temperature_0_and_no_other_sample(cache: Path) -> None:
    engine = FakeEngine()

    _grade(engine, cache, _item("alpha", "omega"), _item("beta", "omega"))

    assert {request.sampling.temperature for request in engine.requests} == {0.0}
    texts = [str(request.messages) for request in engine.requests]
    assert len(texts) == 2
    assert not any("alpha" in text and "beta" in text for text in texts)


def test_judge_is_not_asked_about_right_letter_private_or_missing_answers(cache: Path) -> None:
    engine = FakeEngine()

    graded = _grade(
        engine, cache, _item("4", "4"), _item("B", "C", AnswerKind.LETTER),
        _item("x", "y", is_private=True),
        GradingItem(text="no label\nat all", gold="4", kind=AnswerKind.TEXT),
    )  # fmt: skip

    assert engine.requests == []
    assert [answer.verdict for answer in graded] == [
        Verdict.CORRECT,
        Verdict.INCORRECT,
        Verdict.INCORRECT,
        Verdict.NO_ANSWER,
    ]


def test_judge_asks_the_same_once_also_in_another_process(cache: Path) -> None:
    _grade(FakeEngine(), cache, _item("five", "fifth"))
    cache.write_bytes(cache.read_bytes() + b'{"key": "torn')

    engine = FakeEngine()
    graded = _grade(engine, cache, _item("five", "fifth"))

    assert engine.requests == []
    assert graded[0].verdict is Verdict.CORRECT


class _SlowEngine(FakeEngine):
    """Replies when a number of askers had the time to come."""

    async def reply(self, request: ChatRequest) -> ChatReply:
        await asyncio.sleep(0.2)
        return await super().reply(request)


def test_who_meets_a_pair_while_it_is_asked_about_waits_for_that_reply(cache: Path) -> None:
    engine = _SlowEngine()
    start = threading.Barrier(8)

    def ask(judge: ChatJudge) -> bool | None:
        start.wait()
        return judge(gold="no change", answer="nothing changes")

    with ChatJudge(_config(cache), engine) as judge, ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(ask, judge) for _ in range(8)]

    assert [one.result() for one in asked] == [True] * 8
    assert len(engine.requests) == 1
    assert len(cache.read_text(encoding="utf-8").splitlines()) == 1


def test_failing_judge_gives_no_verdict(cache: Path) -> None:
    with pytest.raises(RuntimeError, match="is down"):
        _grade(FakeEngine(fails=True), cache, _item("five", "fifth"))
    assert not cache.exists()


def test_pair_that_the_judge_refuses_stays_incorrect_and_is_asked_anew_by_another_job(
    cache: Path,
) -> None:
    filtered = FakeEngine(refuses=lambda prompt: "bomb" in prompt)

    graded = _grade(filtered, cache, _item("bomb", "boom"), _item("five", "fifth"))
    again = _grade(FakeEngine(), cache, _item("bomb", "boom"))

    assert [(answer.verdict, answer.layer) for answer in graded] == [
        (Verdict.INCORRECT, JUDGE_REFUSED),
        (Verdict.CORRECT, "judge"),
    ]
    assert [(answer.verdict, answer.layer) for answer in again] == [(Verdict.CORRECT, "judge")]


def test_judge_that_refuses_everything_gives_no_verdict(cache: Path) -> None:
    with pytest.raises(ValueError, match="HTTP 400"):
        _grade(FakeEngine(refuses=lambda _: True), cache, _item("five", "fifth"))


def test_refusal_that_nobody_can_tell_the_reach_of_gives_no_verdict(cache: Path) -> None:
    engine = FakeEngine(refuses=lambda prompt: "bomb" in prompt, fails_once_it_refused=True)

    with pytest.raises(RuntimeError, match="is down"):
        _grade(engine, cache, _item("bomb", "boom"))


def test_answers_whose_turn_has_not_come_are_not_brought_before_a_judge_that_failed() -> None:
    asked: list[str] = []
    are_all_in, is_over = threading.Event(), threading.Event()

    def judge(*, gold: str, answer: str) -> bool:
        asked.append(answer)
        if len(asked) == 1:
            are_all_in.wait(60)
            raise RuntimeError("the endpoint is down")
        return is_over.wait(60)

    def hand_in() -> Iterator[GradingItem]:
        yield from (_item(f"a{number}", "b") for number in range(20))
        are_all_in.set()

    with GraderPool(read_grading("layered"), judge=judge) as pool:
        with pytest.raises(RuntimeError, match="is down"):
            list(pool.grade_all(hand_in(), max_pending=20))
        is_over.set()

    assert len(asked) <= 2


@pytest.mark.parametrize("reply", ["yes", "Yes.", " **YES**", "yes, they are equal"])
def test_reply_yes(reply: str) -> None:
    assert read_reply(reply)


@pytest.mark.parametrize("reply", ["no", "No!", '"no"', "", "maybe", "yesterday"])
def test_reply_that_says_no_or_nothing_leaves_answers_unequal(reply: str) -> None:
    assert not read_reply(reply)


def test_judge_that_takes_no_temperature_is_refused(cache: Path) -> None:
    with pytest.raises(ValueError, match="temperature 0"):
        _config(cache, sends_sampling=False)


def test_cache_holds_no_key(cache: Path) -> None:
    _grade(FakeEngine(), cache, _item("five", "fifth"))

    [row] = [json.loads(line) for line in cache.read_text(encoding="utf-8").splitlines()]
    assert set(row) == {"key", "is_same", "gold", "answer"}
