"""From what a client asks for and what the server allows to one policy.

It knows numbers; it does not know prompts, engines or HTTP beyond the refusals.
"""

from dataclasses import replace

from s1ray.config.generation import Accounting
from s1ray.config.server import ServerConfig
from s1ray.generation.budget import BudgetPolicy
from s1ray.serving.chat_request import BudgetBody, ChatBody
from s1ray.serving.refusal import RefusalError


def resolve_policy(body: ChatBody, *, config: ServerConfig, context_tokens: int) -> BudgetPolicy:
    """Return the policy that a request's ``budget`` asks for.

    A request without a cap has the server's default, or else its limit.

    Raises:
        RefusalError: A number is outside the server's limits, or two do not go together.
    """
    asked, default = body.budget or BudgetBody(), config.budget
    cap = _or(asked.max_thinking_tokens, config.cap)
    answer = _or(asked.max_answer_tokens, default.max_answer_tokens)
    assert answer is not None
    _check(asked, cap=cap, config=config, context_tokens=context_tokens)
    waits = default.num_waits if asked.num_waits is None else asked.num_waits
    minimum = _or(asked.min_thinking_tokens, default.min_thinking_tokens)
    prefix = default.answer_prefix if asked.answer_prefix is None else asked.answer_prefix
    assert minimum is not None
    try:
        return BudgetPolicy(
            name="request",
            max_thinking_tokens=cap,
            num_waits=waits,
            wait_strings=tuple(asked.wait_strings or default.wait_strings),
            min_thinking_tokens=minimum,
            answer_prefix=prefix,
            max_answer_tokens=answer,
            accounting=Accounting.TOTAL,
        )
    except ValueError as error:
        raise RefusalError(400, str(error), param="budget", code="invalid_budget") from error


def _or(asked: int | None, default: int | None) -> int | None:
    return default if asked is None else asked


def _check(
    asked: BudgetBody, *, cap: int | None, config: ServerConfig, context_tokens: int
) -> None:
    """Hold every number that the client gave against its bounds."""
    limits = config.limits
    largest = min(context_tokens, limits.max_thinking_tokens or context_tokens)
    bounds = {
        "max_thinking_tokens": (asked.max_thinking_tokens, limits.smallest_cap, largest),
        "num_waits": (asked.num_waits, 0, limits.num_waits),
        "min_thinking_tokens": (asked.min_thinking_tokens, 0, largest if cap is None else cap),
        "max_answer_tokens": (asked.max_answer_tokens, 1, limits.max_answer_tokens),
    }
    for name, (value, low, high) in bounds.items():
        if value is not None and not low <= value <= high:
            raise RefusalError(
                400,
                f"budget.{name}={value}; legal on this server: {low} to {high} (the context "
                f"window has {context_tokens} tokens).",
                param=f"budget.{name}",
                code="budget_out_of_range",
            )


def limit_total(
    policy: BudgetPolicy,
    *,
    total: int,
    field: str,
    is_cap_asked: bool,
    num_prefix_tokens: int,
    answer_share: float,
) -> BudgetPolicy:
    """Return a policy whose thinking and answer fit ``max_completion_tokens`` together.

    The answer keeps what a cap of the request leaves, or else its share, and thinking is capped at
    the rest, or at the server's cap where that is less. A forced prefix counts.

    Args:
        policy: As the request's thinking asks for it.
        total: What ``field`` (max_completion_tokens or max_tokens) says.
        field: The one that the client gave.
        is_cap_asked: Whether the policy's cap is the request's own, not the server's.
        num_prefix_tokens: Of the answer prefix that is injected.
        answer_share: Of the total, where no cap says more; 0..1.

    Raises:
        RefusalError: There is no room for an answer.
    """
    cap, room = policy.max_thinking_tokens, total - num_prefix_tokens
    least = cap if is_cap_asked and cap is not None else policy.min_thinking_tokens
    if room - least < 1:
        raise RefusalError(
            400,
            f"{field}={total} leaves no room for an answer beside {least} tokens of thinking that "
            f"the request or the server asks for and {num_prefix_tokens} tokens of a forced "
            "answer's beginning; raise it, or lower those.",
            param=field,
            code="budget_out_of_range",
        )
    thinking = least
    if not is_cap_asked:
        answer = min(policy.max_answer_tokens, room - least, max(1, int(room * answer_share)))
        thinking = room - answer if cap is None else min(room - answer, cap)
    return replace(
        policy,
        max_thinking_tokens=thinking,
        max_answer_tokens=min(policy.max_answer_tokens, room - thinking),
    )
