"""What a policy writes and watches for, as ids of one tokenizer.

It knows delimiters as ids and how tokenizers join text across them. It does not know how they are
used (``forcing``).
"""

from dataclasses import dataclass

from s1ray.chat_format import ThinkingTokens, Tokenizer, decode, encode
from s1ray.generation.budget import BudgetPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A policy's words as ids."""

    stops: tuple[tuple[int, ...], ...]
    """All that end thinking, the following two kinds included."""
    turn_ends: tuple[tuple[int, ...], ...]
    steps_over: tuple[tuple[int, ...], ...]
    """Where the policy limits steps: what announces that none is left."""
    newline: tuple[int, ...]
    opener: tuple[int, ...]
    """What stands between thinking and answer."""
    prefix: tuple[int, ...]
    """What a forced answer begins with; empty where the policy has none."""
    waits: tuple[tuple[int, ...], ...]


def spell(policy: BudgetPolicy, *, tokens: ThinkingTokens, tokenizer: Tokenizer) -> Words:
    r"""Return a policy's words as ids.

    Where the tags are plain text, the end's last token can swallow the separator: Qwen2.5 writes
    ``</think>\n\n`` as ``</``, ``think``, ``>\n\n``. Training text holds that spelling, so the
    context and the stops do as well.

    Raises:
        ValueError: The policy limits steps and the format does not count them.
    """
    if policy.is_step_limited and not tokens.steps_over:
        raise ValueError(
            f"the policy {policy.name} limits steps, which this format does not count; set "
            "model.delimiters=s1_steps and a model trained in it."
        )
    end, separator = decode(tokenizer, tokens.end), decode(tokenizer, tokens.separator)
    joined = encode(tokenizer, end + separator)
    opener = tokens.end if joined[: len(tokens.end)] == tokens.end else joined
    forced = encode(tokenizer, end + separator + policy.answer_prefix)
    prefix = forced[len(opener) :]
    if forced[: len(opener)] != opener:
        prefix = encode(tokenizer, policy.answer_prefix)
    thinking_stops = (tokens.stop,) if opener == tokens.end else (tokens.stop, opener)
    turn_ends = tuple((token,) for token in tokens.turn_end)
    steps_over = (tokens.steps_over,) if policy.is_step_limited else ()
    return Words(
        stops=(*thinking_stops, *steps_over, *turn_ends),
        turn_ends=turn_ends,
        steps_over=steps_over,
        newline=tokens.newline,
        opener=opener,
        prefix=prefix if policy.answer_prefix else (),
        waits=tuple(encode(tokenizer, text) for text in policy.wait_strings),
    )
