"""What tests of the chat engines ask, of whom, and a reply."""

from typing import Any

from s1ray.config.generation import Accounting, EndpointConfig
from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.chat.chat_engine import ChatReply

POLICY = BudgetPolicy(
    name="cap_50",
    max_thinking_tokens=50,
    num_waits=2,
    wait_strings=("Wait",),
    min_thinking_tokens=0,
    answer_prefix="",
    max_answer_tokens=8,
    accounting=Accounting.TOTAL,
)
REPLY = ChatReply(
    thinking="a \ud800 b",
    answer="2",
    is_complete=True,
    num_prompt_tokens=3,
    num_completion_tokens=4,
    num_thinking_tokens=None,
    unenforced=("top_k",),
    num_tries=1,
    cost_usd=0.25,
    seconds=0.5,
)
CONFIG = {
    "base_url": "http://localhost:1/v1",
    "model": "m",
    "api_key_variable": None,
    "limit_field": "max_tokens",
    "max_completion_tokens": 99,
    "budget_field": None,
    "waits_field": None,
    "sends_sampling": True,
    "extra": {},
    "max_concurrency": 8,
    "requests_per_minute": None,
    "max_tries": 4,
    "backoff_seconds": 0.01,
    "max_backoff_seconds": 0.02,
    "timeout_seconds": 5.0,
    "usd_per_million_prompt_tokens": 2.0,
    "usd_per_million_completion_tokens": 10.0,
    "max_cost_usd": None,
}


def configure_endpoint(**changes: Any) -> EndpointConfig:
    return EndpointConfig.model_validate({**CONFIG, **changes})
