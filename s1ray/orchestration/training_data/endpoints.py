"""Endpoints as jobs use them: one file of replies for each model, leased, never asked twice."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from s1ray.config.generation import EndpointConfig, SamplingConfig
from s1ray.config.recipe import Recipe
from s1ray.generation.chat.chat_engine import ChatRequest
from s1ray.generation.chat.openai_engine import OpenAIEngine, build_body, read_key
from s1ray.generation.chat.remembered_replies import RememberedReplies, ReplyFile
from s1ray.generation.engine import Sampling
from s1ray.orchestration.run_directory.lease import hold_lease
from s1ray.orchestration.stage import name_stage
from s1ray.orchestration.terminal import say

REPLIES = "replies.jsonl"
_UNNAMABLE = re.compile(r"[^a-z0-9_-]+")
_SLUG_CHARACTERS = 40
_ROUTING = {
    "api_key_variable",
    "max_concurrency",
    "requests_per_minute",
    "max_tries",
    "backoff_seconds",
    "max_backoff_seconds",
    "timeout_seconds",
    "usd_per_million_prompt_tokens",
    "usd_per_million_completion_tokens",
    "max_cost_usd",
}
"""Of an endpoint's configuration, what changes no reply."""


def check_endpoint(config: EndpointConfig) -> None:
    """Check what can be checked before anything is asked.

    Raises:
        ValueError: The environment variable of the key is not set.
    """
    read_key(config.api_key_variable)


def identify_endpoint(config: EndpointConfig) -> dict[str, object]:
    """Return what of an endpoint changes its replies, for a run's identity."""
    return config.model_dump(mode="json", exclude=_ROUTING)


def choose_sampling(config: SamplingConfig, *, seed: int) -> Sampling:
    """Return the recipe's sampling with a seed."""
    return Sampling(
        temperature=config.temperature, top_p=config.top_p, top_k=config.top_k, seed=seed
    )


@contextmanager
def remembered_endpoint(config: EndpointConfig, *, recipe: Recipe) -> Iterator[RememberedReplies]:
    """Open an endpoint whose replies are kept under the recipe's storage while the block runs.

    What earlier jobs spent on this model counts towards ``max_cost_usd``.

    Raises:
        RefusedError: Another job is asking this model.
        ValueError: The key is missing, or the file of replies is damaged.
    """
    slug = _UNNAMABLE.sub("-", config.model.lower()).strip("-_")[:_SLUG_CHARACTERS] or "model"
    identity = {"base_url": config.base_url, "model": config.model}
    run = name_stage(recipe, stage="replies", slug=slug, identity=identity)
    run.path.mkdir(parents=True, exist_ok=True)
    lease = recipe.lease
    with ExitStack() as stack:
        stack.enter_context(
            hold_lease(
                run.path,
                heartbeat_seconds=lease.heartbeat_seconds,
                stale_seconds=lease.stale_seconds,
            )
        )
        file = stack.enter_context(ReplyFile(run.path / REPLIES))
        if len(file):
            say(f"  {len(file)} replies of {config.model} are there already")
        engine = OpenAIEngine(config, spent_usd=file.cost_usd)

        def digest(request: ChatRequest) -> str:
            body = json.dumps(build_body(request, config=config), sort_keys=True)
            return hashlib.sha256(body.encode()).hexdigest()

        yield RememberedReplies(engine, file=file, digest=digest)
