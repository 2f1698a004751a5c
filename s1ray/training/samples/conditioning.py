"""Which lengths of thinking the training text asks for, so that prompts can ask for them later.

It chooses how traces are rewritten; how a limit is worded and steps are counted down is known to
``generation.conditioning``, which writes the prompts too.
"""

from collections.abc import Sequence

from s1ray.chat_format import Delimiters, Tokenizer, encode
from s1ray.config.training import Conditioning
from s1ray.generation.conditioning import condition_on_steps, condition_on_tokens
from s1ray.records import ReasoningTrace


def condition_traces(
    traces: Sequence[ReasoningTrace],
    *,
    conditioning: Conditioning,
    tokenizer: Tokenizer,
    delimiters: Delimiters,
) -> list[ReasoningTrace]:
    """Return the traces as they are trained on.

    Args:
        traces: As curated.
        conditioning: On what their questions set a limit.
        tokenizer: Of the trained model; it counts the tokens of thinking.
        delimiters: Of the format; steps need one that counts them.

    Raises:
        ValueError: Steps are asked for and the format does not count them.

    Source: arXiv 2501.19393 section 3.1 and figure 10.
    """
    if conditioning is Conditioning.TOKENS:
        return [
            condition_on_tokens(trace, num_thinking_tokens=len(encode(tokenizer, trace.thinking)))
            for trace in traces
        ]
    if conditioning is Conditioning.STEPS:
        return [condition_on_steps(trace, delimiters=delimiters) for trace in traces]
    return list(traces)


def check_conditioning(conditioning: Conditioning, delimiters: Delimiters) -> None:
    """Refuse a format that cannot carry what the training text asks for.

    Raises:
        ValueError: Steps are asked for and the format does not count them, or the reverse.
    """
    is_counted = bool(delimiters.step_start)
    if is_counted != (conditioning is Conditioning.STEPS):
        raise ValueError(
            f"training.conditioning={conditioning} does not go with model.delimiters: a format "
            "that counts steps (s1_steps) needs conditioning=steps, and steps need it."
        )
