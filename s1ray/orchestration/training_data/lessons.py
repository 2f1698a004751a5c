"""What came of a teacher's replies: traces, what was left out and why, tokens and dollars."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from s1ray.curation.teacher import LeftOut
from s1ray.generation.chat.chat_engine import ChatReply
from s1ray.orchestration.terminal import say
from s1ray.records import ReasoningTrace


@dataclass(slots=True, kw_only=True)
class Lessons:
    """What came of the questions so far."""

    traces: dict[str, ReasoningTrace] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    replies: Counter[str] = field(default_factory=Counter)
    cost_usd: float | None = 0.0
    """None from the first reply on whose price is not known."""

    @property
    def reasons(self) -> Counter[str]:
        """How many replies were left out, by why."""
        return Counter(item.reason for item in self.left_out)

    def add(self, key: str, outcome: ReasoningTrace | LeftOut, *, reply: ChatReply) -> None:
        """Take what came of an answered question.

        Args:
            key: Its id.
            outcome: What was made of the reply.
            reply: The teacher's.
        """
        self._count(reply)
        if isinstance(outcome, LeftOut):
            self.left_out.append(outcome)
        else:
            self.traces[key] = outcome

    def _count(self, reply: ChatReply) -> None:
        self.replies.update(
            answered=1,
            prompt_tokens=reply.num_prompt_tokens,
            completion_tokens=reply.num_completion_tokens,
            tries=reply.num_tries,
        )
        if reply.cost_usd is None or self.cost_usd is None:
            self.cost_usd = None
        else:
            self.cost_usd += reply.cost_usd

    def describe(self, *, model: str, counters: Mapping[str, float]) -> dict[str, Any]:
        """Return the content of ``costs.json``; tokens and dollars of all replies in use.

        Args:
            model: The teacher's name.
            counters: Of its endpoint.
        """
        kept = list(self.traces.values())
        usd_per_trace = self.cost_usd / len(kept) if kept and self.cost_usd is not None else None
        return {
            "teacher": model,
            "answered": self.replies["answered"],
            "asked_now": counters["requests"],
            "remembered": counters["remembered"],
            "not_answered": len(self.errors),
            "tries": self.replies["tries"],
            "prompt_tokens": self.replies["prompt_tokens"],
            "completion_tokens": self.replies["completion_tokens"],
            "cost_usd": self.cost_usd,
            "usd_per_trace": usd_per_trace,
            "traces": len(kept),
            "correct": sum(trace.is_correct is True for trace in kept),
            "incorrect": sum(trace.is_correct is False for trace in kept),
            "left_out": dict(self.reasons.most_common()),
        }


def show_costs(costs: Mapping[str, Any]) -> None:
    """Say what a distillation came to, as ``Lessons.describe`` returns it."""
    price = "price unknown" if costs["cost_usd"] is None else f"{costs['cost_usd']:.4f} USD"
    why = ", ".join(f"{name} {count}" for name, count in costs["left_out"].items())
    say(
        f"  {costs['teacher']}: {costs['answered']} answered ({costs['asked_now']:.0f} asked now, "
        f"{costs['remembered']:.0f} remembered), {costs['completion_tokens']} tokens, {price}"
    )
    say(
        f"  {costs['traces']} traces, {costs['correct']} correct, {costs['incorrect']} incorrect"
        + (f"; left out: {why}" if why else "")
    )
