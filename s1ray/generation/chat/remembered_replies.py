"""A chat engine that never asks the same twice: every reply is on disk before anybody sees it.

Replies are dear. They lie in one append-only file for each endpoint and model, under a digest of
what was posted, so that a killed job, a larger set of questions or another grader asks only what
was never answered. It does not know what is asked or who pays; one process writes at a time.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter

from s1ray.closing import ClosedAtEnd
from s1ray.generation.chat.chat_engine import ChatEngine, ChatReply, ChatRequest
from s1ray.line_file import LineFile, read_whole_lines

_ADAPTER = TypeAdapter(ChatReply)


class ReplyFile(ClosedAtEnd):
    """Replies by the digest of their request, one JSON object a line; texts stay on disk."""

    def __init__(self, path: Path) -> None:
        """Open a file, or begin it; what a kill left of a last line is cut off.

        Raises:
            ValueError: A line is unreadable.
        """
        self._path = path
        self._offsets: dict[str, int] = {}
        self.cost_usd = 0.0
        """Of all replies whose price is known."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._index()
        self._file = LineFile(path)

    def __len__(self) -> int:
        return len(self._offsets)

    def get(self, digest: str) -> ChatReply | None:
        """Return the reply to a request; None where it was never answered."""
        offset = self._offsets.get(digest)
        if offset is None:
            return None
        with self._path.open("rb") as file:
            file.seek(offset)
            row = json.loads(file.readline())
        return _ADAPTER.validate_python(row["reply"])

    def add(self, digest: str, reply: ChatReply) -> None:
        """Keep a reply, durably."""
        # Escaped to ASCII: an endpoint may answer half a surrogate pair, which has no UTF-8 form.
        line = json.dumps({"request": digest, "reply": asdict(reply)}, allow_nan=False)
        begin = self._file.size
        self._file.append(line.encode())
        self._file.sync()
        self._offsets[digest] = begin
        self.cost_usd += reply.cost_usd or 0.0

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _index(self) -> None:
        """Note where every whole line begins, and what all of them cost."""
        for number, line in enumerate(read_whole_lines(self._path), start=1):
            try:
                row = json.loads(line.content)
                self._offsets[row["request"]] = line.begin
                self.cost_usd += row["reply"]["cost_usd"] or 0.0
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{self._path}:{number} is no reply: {error!r}. Remove the line; its "
                    "question is then asked again."
                ) from error


class RememberedReplies:
    """A ``ChatEngine`` that asks another one only what the file does not hold."""

    def __init__(
        self, engine: ChatEngine, *, file: ReplyFile, digest: Callable[[ChatRequest], str]
    ) -> None:
        """Stand before an engine.

        Args:
            engine: Is asked what the file lacks.
            file: Holds what was answered.
            digest: Of everything in a request that changes its reply.
        """
        self._engine = engine
        self._file = file
        self._digest = digest
        self._num_remembered = 0
        self._running: dict[str, asyncio.Task[ChatReply]] = {}

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the reply of the file, or ask and keep it; raises as the engine does.

        Equal requests under way wait for one reply.
        """
        digest = self._digest(request)
        known = self._file.get(digest)
        if known is not None:
            self._num_remembered += 1
            return known
        if digest in self._running:
            self._num_remembered += 1
        else:
            self._running[digest] = asyncio.create_task(self._ask(request, digest=digest))
        # Shielded: one that is given up does not end what another waits for.
        return await asyncio.shield(self._running[digest])

    async def _ask(self, request: ChatRequest, *, digest: str) -> ChatReply:
        try:
            reply = await self._engine.reply(request)
            self._file.add(digest, reply)
        finally:
            del self._running[digest]
        return reply

    def counters(self) -> Mapping[str, float]:
        """Return the engine's work, and how many replies were remembered."""
        return {**self._engine.counters(), "remembered": self._num_remembered}

    async def close(self) -> None:
        """Give up what is under way and close the engine; the file is its owner's."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._engine.close()
