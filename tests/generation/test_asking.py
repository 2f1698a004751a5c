import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from s1ray.generation.chat.asking import Asked, ask_all
from s1ray.generation.chat.chat_engine import ChatReply, ChatRequest, Message
from tests.generation.chat_requests import POLICY, REPLY
from tests.generation.scripted_engines import GREEDY


@dataclass
class _Uneven:
    """Fails at the keys that begin with an x, and notes how many are asked at once."""

    at_once: int = 0
    most_at_once: int = 0
    num_asked: int = 0

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.num_asked += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        for _ in range(1 + self.num_asked % 3):
            await asyncio.sleep(0)
        self.at_once -= 1
        if request.messages[0].content.startswith("x"):
            raise ValueError("refused")
        return REPLY

    def counters(self) -> Mapping[str, float]:
        return {}

    async def close(self) -> None:
        pass


def _ask(keys: list[str], *, engine: _Uneven, patience: int) -> list[Asked]:
    requests = {
        key: ChatRequest(
            messages=(Message(role="user", content=key),), policy=POLICY, sampling=GREEDY
        )
        for key in keys
    }
    seen: list[Asked] = []

    async def run() -> None:
        async for asked in ask_all(
            requests, engine=engine, max_in_flight=4, max_consecutive_failures=patience
        ):
            seen.append(asked)

    try:
        asyncio.run(run())
    except RuntimeError as error:
        seen.append(Asked(key="raised", reply=None, error=str(error)))
    return seen


def test_every_request_is_answered_once_and_only_so_many_are_under_way() -> None:
    engine = _Uneven()
    keys = [f"{number}" for number in range(50)]

    seen = _ask(keys, engine=engine, patience=1)

    assert sorted(asked.key for asked in seen) == sorted(keys)
    assert all(asked.reply == REPLY for asked in seen)
    assert engine.most_at_once == 4


def test_an_error_is_its_own_requests_and_the_others_go_on() -> None:
    keys = [f"{'x' if number % 2 else ''}{number}" for number in range(20)]

    seen = _ask(keys, engine=_Uneven(), patience=20)

    errors = {asked.key for asked in seen if asked.error}
    assert errors == {key for key in keys if key.startswith("x")}
    assert len(seen) == 20


@pytest.mark.parametrize("patience", [1, 5])
def test_too_many_errors_in_a_row_end_it_before_all_is_asked(patience: int) -> None:
    engine = _Uneven()

    seen = _ask([f"x{number}" for number in range(100)], engine=engine, patience=patience)

    assert seen[-1].key == "raised"
    assert "refused" in str(seen[-1].error)
    assert engine.num_asked < patience + 8
