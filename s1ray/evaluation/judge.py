"""A model's last word on an answer that no layer found equal: asked once, at temperature 0, cached.

The judge sees one gold answer and one given answer, never a question, never another sample. It
knows a chat engine; it does not know which answers are brought before it.
"""

import asyncio
import hashlib
import json
import logging
import threading
from pathlib import Path

from s1ray.closing import ClosedAtEnd
from s1ray.config.generation import Accounting
from s1ray.config.grading import AnswerJudgeConfig
from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.chat.chat_engine import ChatEngine, ChatRequest, Message
from s1ray.generation.engine import Sampling
from s1ray.line_file import read_whole_lines

_REPLIES = {"yes": True, "no": False}
_HARMLESS = "4"
"""Held against itself, a pair that an endpoint refuses only where it refuses everything."""

logger = logging.getLogger(__name__)


class ChatJudge(ClosedAtEnd):
    """Asks a chat engine, from any number of threads; what it was told before it does not ask."""

    def __init__(self, config: AnswerJudgeConfig, engine: ChatEngine) -> None:
        """Read what was judged before and begin to take questions.

        Args:
            config: The prompt and the cache.
            engine: On the configured endpoint; closed with the judge.
        """
        self._config, self._engine = config, engine
        self._cache = Path(config.cache).expanduser()
        self._known = _read_cache(self._cache)
        self._refused = set[str]()
        # Whoever asks, it is this loop's thread alone that decides, and writes.
        self._loop = asyncio.new_event_loop()
        self._asking: dict[str, asyncio.Task[bool | None]] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, name="judge", daemon=True)
        self._thread.start()

    def __call__(self, *, gold: str, answer: str) -> bool | None:
        """Say whether the two answers mean the same; None where the endpoint refuses these two.

        That is remembered while the judge is open, not in the cache: a filter may change.

        Raises:
            ValueError: The endpoint refuses whatever it is asked, as with a wrong key or model.
            RuntimeError: It failed too often.
        """
        return asyncio.run_coroutine_threadsafe(self._decide(gold, answer), self._loop).result()

    async def _decide(self, gold: str, answer: str) -> bool | None:
        """Return what is known of the two, else what is being asked about them by then."""
        prompt = self._config.prompt.format(gold=gold, answer=answer)
        key = self._key(prompt)
        if key in self._known or key in self._refused:
            return self._known.get(key)
        if key not in self._asking:
            asking = self._loop.create_task(self._judge(key, prompt, gold=gold, answer=answer))
            asking.add_done_callback(lambda _: self._asking.pop(key))
            self._asking[key] = asking
        return await self._asking[key]

    async def _judge(self, key: str, prompt: str, *, gold: str, answer: str) -> bool | None:
        try:
            reply = await self._ask(prompt)
        except ValueError as error:
            await self._ask_harmless(refusal=error)
            self._refused.add(key)
            logger.warning(
                "the judge refuses to compare an answer with the right one, and it stays "
                "incorrect: %s",
                error,
            )
            return None
        is_same = read_reply(reply)
        self._remember(key, is_same=is_same, gold=gold, answer=answer)
        return is_same

    async def _ask_harmless(self, *, refusal: ValueError) -> None:
        """Find out whom a refusal is about: the pair, where the endpoint takes another at once.

        Statuses do not tell. 400 is what filters send, and what a wrong setting leads to; 403 is a
        key's, and a filter's elsewhere.

        Raises:
            ValueError: The refusal, where it is about everything.
            RuntimeError: The endpoint failed too often, so that nobody knows.
        """
        try:
            await self._ask(self._config.prompt.format(gold=_HARMLESS, answer=_HARMLESS))
        except ValueError:
            raise refusal from None

    def _key(self, prompt: str) -> str:
        asked = [self._config.endpoint.base_url, self._config.endpoint.model, prompt]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    async def _ask(self, prompt: str) -> str:
        limit = self._config.endpoint.max_completion_tokens
        reply = await self._engine.reply(
            ChatRequest(
                messages=(Message(role="user", content=prompt),),
                policy=BudgetPolicy(
                    name="judge",
                    max_thinking_tokens=None,
                    num_waits=0,
                    wait_strings=(),
                    min_thinking_tokens=0,
                    answer_prefix="",
                    max_answer_tokens=limit,
                    accounting=Accounting.TOTAL,
                ),
                sampling=Sampling(temperature=0.0, top_p=1.0, top_k=0, seed=0),
            )
        )
        return reply.answer

    def _remember(self, key: str, *, is_same: bool, gold: str, answer: str) -> None:
        row = {"key": key, "is_same": is_same, "gold": gold, "answer": answer}
        line = json.dumps(row) + "\n"
        self._cache.parent.mkdir(parents=True, exist_ok=True)
        # Not a LineFile: several jobs share the cache, and one must not cut another's line.
        with self._cache.open("a", encoding="utf-8") as file:
            file.write(line)
        self._known[key] = is_same

    def close(self) -> None:
        """Ask nothing more."""
        asyncio.run_coroutine_threadsafe(self._engine.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def read_reply(reply: str) -> bool:
    """Return whether a reply says yes; its first word counts.

    Rules found the answers unequal before, so a reply that is neither yes nor no leaves it at that:
    asked again at temperature 0, the judge would say the same.
    """
    words = reply.strip().lower().strip("*\"'").split()
    word = words[0].strip(".,:;!*\"'") if words else ""
    if word not in _REPLIES:
        logger.warning(
            "the judge replied %r, neither yes nor no, which counts as no. Use another model or "
            "prompt (grading.judge).",
            reply,
        )
    return _REPLIES.get(word, False)


def _read_cache(path: Path) -> dict[str, bool]:
    """Return what stands in the cache; a line that a kill tore is asked again."""
    known: dict[str, bool] = {}
    if path.exists():
        for line in read_whole_lines(path):
            try:
                row = json.loads(line.content)
                known[row["key"]] = row["is_same"]
            except (ValueError, KeyError, TypeError):
                continue
    return known
