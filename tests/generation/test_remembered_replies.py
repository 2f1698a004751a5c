import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from s1ray.generation.chat.chat_engine import ChatEngine, ChatReply, ChatRequest, Message
from s1ray.generation.chat.remembered_replies import RememberedReplies, ReplyFile
from tests.generation.chat_requests import POLICY, REPLY
from tests.generation.scripted_engines import GREEDY


class _Counting:
    """Answers with the question itself."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def reply(self, request: ChatRequest) -> ChatReply:
        text = request.messages[-1].content
        self.asked.append(text)
        if text == "bad":
            raise RuntimeError("busy")
        await asyncio.sleep(0)
        return replace(REPLY, answer=text)

    def counters(self) -> Mapping[str, float]:
        return {"requests": len(self.asked)}

    async def close(self) -> None:
        pass


def _ask(text: str) -> ChatRequest:
    message = Message(role="user", content=text)
    return ChatRequest(messages=(message,), policy=POLICY, sampling=GREEDY)


def _converse(path: Path, *texts: str) -> tuple[list[str], list[str]]:
    engine = _Counting()

    async def run(file: ReplyFile) -> list[str]:
        remembered = RememberedReplies(
            engine, file=file, digest=lambda request: request.messages[-1].content
        )
        assert isinstance(remembered, ChatEngine)
        answers = [(await remembered.reply(_ask(text))).answer for text in texts]
        known = len(texts) - len(engine.asked)
        assert remembered.counters() == {"requests": len(engine.asked), "remembered": known}
        await remembered.close()
        return answers

    with ReplyFile(path) as file:
        return asyncio.run(run(file)), engine.asked


def test_what_was_answered_is_never_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "replies.jsonl"

    first = _converse(path, "a", "b", "a")
    second = _converse(path, "b", "c")

    assert first == (["a", "b", "a"], ["a", "b"])
    assert second == (["b", "c"], ["c"])


def test_equal_requests_under_way_are_asked_once_and_one_given_up_ends_no_other(
    tmp_path: Path,
) -> None:
    engine = _Counting()

    async def run(file: ReplyFile) -> list[str]:
        asked = RememberedReplies(engine, file=file, digest=lambda _: "same")
        tasks = [asyncio.create_task(asked.reply(_ask("a"))) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        return [(await task).answer for task in tasks[1:]]

    with ReplyFile(tmp_path / "replies.jsonl") as file:
        assert asyncio.run(run(file)) == ["a", "a"]
    assert engine.asked == ["a"]


def test_replies_survive_a_restart_whole_with_what_they_cost(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    with ReplyFile(path) as file:
        file.add("x", REPLY)
        file.add("y", replace(REPLY, cost_usd=None))

    with ReplyFile(path) as file:
        assert file.get("x") == REPLY
        assert file.get("z") is None
        assert (len(file), file.cost_usd) == (2, 0.25)


@pytest.mark.parametrize("kept", [1, 40])
def test_a_torn_last_line_is_cut_off_and_its_question_asked_again(
    tmp_path: Path, kept: int
) -> None:
    path = tmp_path / "replies.jsonl"
    _converse(path, "a")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:kept])

    answers = _converse(path, "a", "b")

    assert answers == (["a", "b"], ["b"])
    assert path.read_bytes().startswith(whole)
    assert path.read_bytes().count(b"\n") == 2


def test_an_error_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    for _ in range(2):
        with pytest.raises(RuntimeError, match="busy"):
            _converse(path, "bad")

    assert path.read_bytes() == b""


def test_a_damaged_line_is_refused_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    _converse(path, "a")
    path.write_bytes(path.read_bytes() + b'{"request": 1}\n')

    with pytest.raises(ValueError, match=r"replies\.jsonl:2 is no reply"):
        ReplyFile(path)
