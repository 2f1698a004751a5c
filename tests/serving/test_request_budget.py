"""From what a client asks for and what the server allows to one policy."""

import pytest
from pydantic import ValidationError

from s1ray.config.server import ServerConfig
from s1ray.generation.budget import BudgetPolicy
from s1ray.serving.chat_request import BudgetBody, ChatBody, Message
from s1ray.serving.refusal import RefusalError
from s1ray.serving.request_budget import limit_total, resolve_policy
from tests.serving.endpoints import CONTEXT_TOKENS, read_server_config


def resolve(config: ServerConfig, *, cap: int | None = None) -> BudgetPolicy:
    budget = None if cap is None else BudgetBody(max_thinking_tokens=cap)
    body = ChatBody(model="m", messages=[Message(role="user", content="a")], budget=budget)
    return resolve_policy(body, config=config, context_tokens=CONTEXT_TOKENS)


def share(policy: BudgetPolicy, *, total: int, is_cap_asked: bool) -> tuple[int | None, int]:
    """Return the tokens of thinking and answer, with 2 of a forced prefix."""
    shared = limit_total(
        policy,
        total=total,
        field="max_completion_tokens",
        is_cap_asked=is_cap_asked,
        num_prefix_tokens=2,
        answer_share=0.25,
    )
    return shared.max_thinking_tokens, shared.max_answer_tokens


@pytest.mark.parametrize(
    ("default", "limit", "asked", "cap"),
    [(None, None, None, None), (None, 90, None, 90), (40, 90, None, 40), (40, 90, 60, 60)],
)
def test_cap_is_the_requests_or_the_default_or_the_limit(
    default: int | None, limit: int | None, asked: int | None, cap: int | None
) -> None:
    config = read_server_config(
        budget={"max_thinking_tokens": default}, limits={"max_thinking_tokens": limit}
    )
    assert resolve(config, cap=asked).max_thinking_tokens == cap


@pytest.mark.parametrize(
    ("default", "total", "shared"),
    [(None, 42, (30, 10)), (1000, 42, (30, 10)), (20, 42, (20, 16)), (1000, 162, (144, 16))],
)
def test_total_is_shared_under_the_servers_own_cap(
    default: int | None, total: int, shared: tuple[int, int]
) -> None:
    policy = resolve(read_server_config(budget={"max_thinking_tokens": default}))
    assert share(policy, total=total, is_cap_asked=False) == shared


def test_total_below_a_cap_of_the_request_is_refused() -> None:
    policy = resolve(read_server_config(), cap=30)
    assert share(policy, total=42, is_cap_asked=True) == (30, 10)
    with pytest.raises(RefusalError, match="max_completion_tokens=32 leaves no room"):
        share(policy, total=32, is_cap_asked=True)


def test_least_thinking_beyond_the_limit_is_refused_with_the_configuration() -> None:
    with pytest.raises(ValidationError, match=r"exceeds server.limits in min_thinking_tokens"):
        read_server_config(budget={"min_thinking_tokens": 9}, limits={"max_thinking_tokens": 8})
