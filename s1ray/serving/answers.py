"""What goes back to a client: chat completions whole and in chunks, as OpenAI writes them.

Thinking is ``reasoning_content``, beside ``content``; ``budget`` says of every choice what happened
to its thinking, and ``usage`` counts it. It knows records and JSON; it does not know HTTP.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from s1ray.generation.following import Part
from s1ray.records import Completion

FIELDS = {Part.THINKING: "reasoning_content", Part.ANSWER: "content"}
"""Of a message, by the part of a completion."""
DONE = "data: [DONE]\n\n"
"""The last event of every stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What every piece of one response carries."""

    id: str
    created: int
    model: str

    def write_completion(
        self, completions: Sequence[Completion], *, num_prompt_tokens: int
    ) -> dict[str, Any]:
        """Return a whole response."""
        choices = [
            {
                "index": index,
                "message": {
                    "role": "assistant",
                    "content": completion.answer,
                    "reasoning_content": completion.thinking,
                },
                **_describe_end(completion),
            }
            for index, completion in enumerate(completions)
        ]
        usage = count_usage(completions, num_prompt_tokens=num_prompt_tokens)
        return {**self._head("chat.completion"), "choices": choices, "usage": usage}

    def write_beginning(self, index: int) -> str:
        """Return the first event of a choice: whose turn it is."""
        return self._write_choice(index, {"role": "assistant", "content": ""})

    def write_text(self, index: int, part: Part, text: str) -> str:
        """Return the event of a piece of text."""
        return self._write_choice(index, {FIELDS[part]: text})

    def write_end(self, index: int, completion: Completion) -> str:
        """Return the last event of a choice: why it ended."""
        return self._write_choice(index, {}, **_describe_end(completion))

    def write_usage(self, completions: Sequence[Completion], *, num_prompt_tokens: int) -> str:
        """Return the event that counts tokens, of no choice."""
        usage = count_usage(completions, num_prompt_tokens=num_prompt_tokens)
        return write_event({**self._head("chat.completion.chunk"), "choices": [], "usage": usage})

    def _write_choice(self, index: int, delta: dict[str, str], **end: object) -> str:
        choice = {"index": index, "delta": delta, "finish_reason": None, **end}
        return write_event({**self._head("chat.completion.chunk"), "choices": [choice]})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def write_event(content: dict[str, Any]) -> str:
    """Return a server-sent event."""
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def count_usage(completions: Sequence[Completion], *, num_prompt_tokens: int) -> dict[str, Any]:
    """Return the tokens of prompt, thinking and answers; forced and injected ones included."""
    num_thinking = sum(completion.num_thinking_tokens for completion in completions)
    num_answer = sum(len(completion.answer_ids) for completion in completions)
    return {
        "prompt_tokens": num_prompt_tokens,
        "completion_tokens": num_thinking + num_answer,
        "total_tokens": num_prompt_tokens + num_thinking + num_answer,
        "completion_tokens_details": {"reasoning_tokens": num_thinking},
    }


def _describe_end(completion: Completion) -> dict[str, Any]:
    return {
        "finish_reason": "stop" if completion.is_answer_complete else "length",
        "budget": {
            "thinking_end": completion.thinking_end.value,
            "num_thinking_tokens": completion.num_thinking_tokens,
            "num_waits_applied": completion.num_waits_applied,
            "num_generated_tokens": completion.num_generated_tokens,
            "is_answer_forced": completion.is_answer_forced,
        },
    }
