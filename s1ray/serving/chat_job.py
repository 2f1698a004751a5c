"""A chat request that was found right: its engine, its prompt, and a chain for every choice.

It knows chat format, policies and limits. It does not know how many requests there are, nor HTTP.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from s1ray.chat_format import ThinkingTokens, Tokenizer, encode, render_conversation
from s1ray.config.generation import SamplingConfig
from s1ray.config.server import ServerConfig
from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.engine import Engine, Sampling
from s1ray.generation.forcing import Chain, WindowError, force_budget
from s1ray.generation.sampling import derive_seed
from s1ray.generation.spelling import spell
from s1ray.serving.answers import Envelope
from s1ray.serving.chat_request import ChatBody, Message
from s1ray.serving.refusal import RefusalError
from s1ray.serving.request_budget import limit_total, resolve_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatJob:
    """What one request asks an engine to do."""

    engine: Engine
    envelope: Envelope
    num_prompt_tokens: int
    chains: tuple[Chain, ...]
    """One for every choice, not begun."""
    has_usage: bool
    """Whether a stream ends with the count of tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatModel:
    """The engines of a model and how its turns are written."""

    engines: Mapping[str, Engine]
    """By the model name that selects them: the model alone, and under each adapter."""
    tokenizer: Tokenizer
    tokens: ThinkingTokens
    system_prompt: str | None
    sampling: SamplingConfig
    """Of a request that does not say."""
    config: ServerConfig

    def prepare(self, body: ChatBody) -> ChatJob:
        """Check a request and get its chains ready.

        Raises:
            RefusalError: Something is wrong that the client can change.
        """
        engine = self._find_engine(body.model)
        policy = self._choose_policy(body, context_tokens=engine.context_tokens)
        num_choices, limit = body.n or 1, self.config.limits.num_choices
        if num_choices > limit:
            raise RefusalError(400, f"n={num_choices}; legal on this server: 1 to {limit}.")
        prompt_ids = encode(self.tokenizer, self._render(body.messages))
        seed = uuid.uuid4().int if body.seed is None else body.seed
        # The first is there to be tried alone.
        tried, *chains = [
            self._begin(
                engine,
                prompt_ids,
                policy,
                self._choose_sampling(body, seed=derive_seed(seed, index)),
            )
            for index in (0, *range(num_choices))
        ]
        _check_beginning(tried)
        return ChatJob(
            engine=engine,
            envelope=Envelope(
                id=f"chatcmpl-{uuid.uuid4().hex}", created=int(time.time()), model=body.model
            ),
            num_prompt_tokens=len(prompt_ids),
            chains=tuple(chains),
            has_usage=bool(body.stream_options and body.stream_options.include_usage),
        )

    def _choose_policy(self, body: ChatBody, *, context_tokens: int) -> BudgetPolicy:
        policy = resolve_policy(body, config=self.config, context_tokens=context_tokens)
        if body.total_tokens is None:
            return policy
        return limit_total(
            policy,
            total=body.total_tokens,
            field=body.total_field,
            is_cap_asked=body.budget is not None and body.budget.max_thinking_tokens is not None,
            num_prefix_tokens=len(
                spell(policy, tokens=self.tokens, tokenizer=self.tokenizer).prefix
            ),
            answer_share=self.config.budget.answer_share,
        )

    def _find_engine(self, name: str) -> Engine:
        engine = self.engines.get(name)
        if engine is None:
            raise RefusalError(
                404,
                f"there is no model {name!r}; this server has "
                f"{', '.join(map(repr, self.engines))}.",
                param="model",
                code="model_not_found",
            )
        return engine

    def _render(self, messages: Sequence[Message]) -> str:
        turns = [
            {"role": "system" if turn.role == "developer" else turn.role, "content": turn.text}
            for turn in messages
        ]
        try:
            return render_conversation(self.tokenizer, turns, system_prompt=self.system_prompt)
        except Exception as error:  # templates raise what they like; all of it is about the turns
            raise RefusalError(
                400,
                f"the model's chat template refuses these messages: {error}",
                param="messages",
            ) from error

    def _choose_sampling(self, body: ChatBody, *, seed: int) -> Sampling:
        default = self.sampling
        return Sampling(
            temperature=default.temperature if body.temperature is None else body.temperature,
            top_p=default.top_p if body.top_p is None else body.top_p,
            top_k=default.top_k if body.top_k is None else body.top_k,
            seed=seed,
        )

    def _begin(
        self,
        engine: Engine,
        prompt_ids: tuple[int, ...],
        policy: BudgetPolicy,
        sampling: Sampling,
    ) -> Chain:
        return force_budget(
            prompt_ids,
            policy=policy,
            tokens=self.tokens,
            tokenizer=self.tokenizer,
            context_tokens=engine.context_tokens,
            vocabulary_size=engine.vocabulary_size,
            sampling=sampling,
        )


def _check_beginning(chain: Chain) -> None:
    """Refuse a prompt or policy that a chain's first step would raise at; the chain is dropped."""
    try:
        next(chain)
    except WindowError as error:
        raise RefusalError(
            400, str(error), param="messages", code="context_length_exceeded"
        ) from error
    except ValueError as error:
        raise RefusalError(400, str(error)) from error
    finally:
        chain.close()
