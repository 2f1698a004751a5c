r"""Budget forcing: one sample's thinking and answer as a generator over token ids.

It decides which context an engine continues next and when thinking is over. It knows no engine,
no model and no torch: ``force_budget`` yields a ``Request``, is sent a ``Generation`` and returns
a ``Completion``. Text is decoded once, at the end, from the ids that the model saw.

    think ---- stop or turn end, waits and budget left ----> drop it, add a wait string, think
      |------- stop or turn end ---------------------------> opener; the model writes the rest
      '------- cap, last step or context window full ------> newline, opener, separator, prefix
                                                             then the answer, exactly once

Source: arXiv 2501.19393 section 3.1; simplescaling/s1@77272c6
eval/lm-evaluation-harness/lm_eval/models/vllm_causallms.py.
"""

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace

from s1ray.chat_format import ThinkingTokens, Tokenizer, decode
from s1ray.config.generation import Accounting
from s1ray.generation.budget import BudgetPolicy, check_draws
from s1ray.generation.engine import Engine, Generation, Parts, Request, Sampling
from s1ray.generation.sampling import derive_seed
from s1ray.generation.spelling import Words, spell
from s1ray.records import Completion, ThinkingEnd

Chain = Generator[Request, Generation, Completion]
"""One sample on its way: asks for continuations and ends with what came out."""


class WindowError(ValueError):
    """A prompt leaves no room for its answer."""


async def complete(engine: Engine, chain: Chain) -> Completion:
    """Drive one chain to its end on an engine."""
    try:
        request = next(chain)
        while True:
            request = chain.send(await engine.generate(request))
    except StopIteration as end:
        completion: Completion = end.value
        return completion
    finally:
        chain.close()


def force_budget(
    prompt_ids: tuple[int, ...],
    *,
    policy: BudgetPolicy,
    tokens: ThinkingTokens,
    tokenizer: Tokenizer,
    context_tokens: int,
    vocabulary_size: int,
    sampling: Sampling,
) -> Chain:
    """Think within a budget, then answer.

    A wait replaces an end of thinking only where the wait string and one more token fit the budget
    and the context window; otherwise thinking ends there. No end can be drawn within
    ``min_thinking_tokens``, nor right after a wait (s1's harness forwards the first as min_tokens
    and sets the second to 1).

    Args:
        prompt_ids: Up to where the assistant's turn begins; the thinking opener is added here.
        policy: The budget.
        tokens: The delimiters of the model's format as ids.
        tokenizer: Spells the wait strings and the answer prefix, and decodes.
        context_tokens: The engine's window; room for closing and answer is kept free in it.
        vocabulary_size: Ids at or above it are refused wherever they come from.
        sampling: The seed is the sample's.

    Raises:
        ValueError: The prompt leaves no room for the answer, ids are out of vocabulary, the format
            has no counted steps to limit, or greedy decoding would repeat a rejected chain.
    """
    words = spell(policy, tokens=tokens, tokenizer=tokenizer)
    for ids in (prompt_ids, tokens.start, words.newline, words.opener, words.prefix, *words.waits):
        _check_vocabulary(ids, vocabulary_size)
    context = (*prompt_ids, *tokens.start)
    room = _count_thinking_room(context, policy, words, context_tokens)
    draw = _Draw(sampling, context_tokens, vocabulary_size)
    thinking, draw = yield from _try(context, policy=policy, words=words, room=room, draw=draw)
    limit = policy.max_answer_tokens
    return (yield from _answer(context, thinking, limit, words, draw, tokenizer))


def _answer(
    context: tuple[int, ...],
    thinking: "_Thinking",
    limit: int,
    words: Words,
    draw: "_Draw",
    tokenizer: Tokenizer,
) -> Chain:
    """Close the thinking, answer once, and tell what came out."""
    text = decode(tokenizer, thinking.ids)
    prefix = words.prefix if thinking.is_forced else ()
    newline = words.newline if thinking.is_forced and not text.endswith("\n") else ()
    opened = (*context, *thinking.ids, *newline, *words.opener)
    parts = Parts(
        thinking=slice(len(context), len(context) + len(thinking.ids)), answer_start=len(opened)
    )
    answer = yield draw.request((*opened, *prefix), 0, limit, words.turn_ends, parts)
    draw.check(answer)
    answer_ids = (*prefix, *_strip_stop(answer))
    return Completion(
        thinking=text,
        answer=decode(tokenizer, answer_ids),
        thinking_ids=tuple(thinking.ids),
        answer_ids=answer_ids,
        wait_positions=tuple(thinking.wait_positions),
        num_waits_applied=len(thinking.wait_positions),
        num_generated_tokens=thinking.num_generated_tokens + len(answer.token_ids),
        thinking_end=thinking.end,
        is_answer_forced=bool(prefix),
        is_answer_complete=answer.stop_sequence is not None,
    )


@dataclass(slots=True)
class _Draw:
    """Requests of one sample, and the check of what comes back."""

    sampling: Sampling
    context_tokens: int
    vocabulary_size: int

    def request(
        self,
        context: tuple[int, ...],
        min_tokens: int,
        max_tokens: int,
        stops: tuple[tuple[int, ...], ...],
        parts: Parts,
    ) -> Request:
        max_tokens = min(max_tokens, self.context_tokens - len(context))
        return Request(
            token_ids=context,
            min_tokens=min(min_tokens, max_tokens),
            max_tokens=max_tokens,
            stop_sequences=stops,
            sampling=self.sampling,
            parts=parts,
        )

    def check(self, generation: Generation) -> None:
        _check_vocabulary(generation.token_ids, self.vocabulary_size)


@dataclass(slots=True)
class _Thinking:
    """A sample's thinking so far."""

    ids: list[int] = field(default_factory=list)
    wait_positions: list[int] = field(default_factory=list)
    num_generated_tokens: int = 0
    end: ThinkingEnd = ThinkingEnd.CAP
    is_forced: bool = True
    """Whether a limit ended it, so that the answer is opened for the model."""


def _try(
    context: tuple[int, ...], *, policy: BudgetPolicy, words: Words, room: int, draw: _Draw
) -> Generator[Request, Generation, tuple[_Thinking, _Draw]]:
    """Think until it is not rejected; the last try is kept, the answer drawn as it was."""
    seed = draw.sampling.seed
    check_draws(policy, temperature=draw.sampling.temperature)
    num_generated_tokens = 0
    for attempt in range(policy.max_tries):
        if attempt > 0:
            draw = replace(draw, sampling=replace(draw.sampling, seed=derive_seed(seed, attempt)))
        thinking = yield from _think(context, policy=policy, words=words, room=room, draw=draw)
        num_generated_tokens += thinking.num_generated_tokens
        if not thinking.is_forced:
            break
    thinking.num_generated_tokens = num_generated_tokens
    return thinking, draw


def _think(
    context: tuple[int, ...], *, policy: BudgetPolicy, words: Words, room: int, draw: _Draw
) -> Generator[Request, Generation, _Thinking]:
    is_harness = policy.accounting is Accounting.S1_HARNESS
    cap = room if policy.max_thinking_tokens is None else policy.max_thinking_tokens
    thinking = _Thinking()
    while True:
        spent = len(thinking.ids)
        left = min(cap, room - spent) if is_harness else min(cap, room) - spent
        is_context = left < cap if is_harness else room < cap
        is_context = is_context or policy.max_thinking_tokens is None
        limit = ThinkingEnd.CONTEXT if is_context else ThinkingEnd.CAP
        if left == 0:
            thinking.end = limit
            break
        is_suppressed = bool(thinking.wait_positions) or (is_harness and policy.num_waits > 0)
        min_tokens = min(max(policy.min_thinking_tokens - spent, int(is_suppressed)), left)
        # A delimiter of several tokens may begin on the budget's last token: read on to its end.
        max_tokens = left + max(map(len, words.stops)) - 1
        parts = Parts(thinking=slice(len(context), len(context) + spent), answer_start=None)
        generation = yield draw.request(
            (*context, *thinking.ids), min_tokens, max_tokens, words.stops, parts
        )
        draw.check(generation)
        thinking.end = _take(thinking, generation, left=left, limit=limit, words=words)
        thinking.is_forced = thinking.end in (ThinkingEnd.CAP, ThinkingEnd.CONTEXT)
        if thinking.is_forced or not _wait(thinking, policy=policy, words=words, room=room):
            break
    if policy.max_thinking_tokens is not None:
        _cut(thinking, policy.max_thinking_tokens)
    return thinking


def _take(
    thinking: _Thinking, generation: Generation, *, left: int, limit: ThinkingEnd, words: Words
) -> ThinkingEnd:
    """Add a continuation to the thinking; return why it ended."""
    new = _strip_stop(generation)
    thinking.num_generated_tokens += len(generation.token_ids)
    thinking.ids.extend(new[:left])
    if generation.stop_sequence is None or len(new) >= left:
        return limit
    if generation.stop_sequence in words.steps_over:
        return ThinkingEnd.CAP
    if generation.stop_sequence in words.turn_ends:
        return ThinkingEnd.END_TOKEN
    return ThinkingEnd.MODEL


def _wait(thinking: _Thinking, *, policy: BudgetPolicy, words: Words, room: int) -> bool:
    """Replace an end of thinking by a wait string, where one is left and fits."""
    num_waits = len(thinking.wait_positions)
    if num_waits == policy.num_waits:
        return False
    wait = words.waits[num_waits % len(words.waits)]
    if policy.accounting is Accounting.TOTAL and policy.max_thinking_tokens is not None:
        room = min(room, policy.max_thinking_tokens)
    if len(thinking.ids) + len(wait) >= room:
        return False
    thinking.wait_positions.append(len(thinking.ids))
    thinking.ids.extend(wait)
    return True


def _cut(thinking: _Thinking, cap: int) -> None:
    """Cut what s1's harness let run over the cap; whether the answer is forced stays as it was."""
    if len(thinking.ids) > cap:
        del thinking.ids[cap:]
        thinking.wait_positions = [place for place in thinking.wait_positions if place < cap]
        thinking.end = ThinkingEnd.CAP


def _count_thinking_room(
    context: tuple[int, ...], policy: BudgetPolicy, words: Words, context_tokens: int
) -> int:
    closing = len(words.newline) + len(words.opener) + len(words.prefix)
    room = context_tokens - len(context) - closing - policy.max_answer_tokens
    if room < 0:
        raise WindowError(
            f"a prompt of {len(context)} tokens, {closing} of closing and max_answer_tokens="
            f"{policy.max_answer_tokens} exceed the context window of {context_tokens}. Shorten "
            "the prompt, lower max_answer_tokens, or raise model.context_tokens."
        )
    return room


def _strip_stop(generation: Generation) -> tuple[int, ...]:
    num_stop = len(generation.stop_sequence or ())
    return generation.token_ids[: len(generation.token_ids) - num_stop]


def _check_vocabulary(token_ids: Iterable[int], vocabulary_size: int) -> None:
    for token in token_ids:
        if not 0 <= token < vocabulary_size:
            raise ValueError(
                f"token id {token} is out of vocabulary; legal ids are 0 to "
                f"{vocabulary_size - 1}. The tokenizer and the model do not belong together."
            )
