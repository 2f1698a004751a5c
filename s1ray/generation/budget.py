"""Which thinking budgets a run compares: the grid of the configuration, spelled out.

It knows the numbers of a policy and their names; it does not know how a policy is carried out
(``forcing``), nor any tokenizer or engine.
"""

from dataclasses import dataclass

from s1ray.config.generation import Accounting, BudgetConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPolicy:
    """How one sample's thinking is bounded and extended."""

    name: str
    """Stable and unique within a grid: ``cap_32``, ``natural``, ``wait_2``."""
    max_thinking_tokens: int | None
    """None leaves the end to the model, within the context window."""
    num_waits: int
    wait_strings: tuple[str, ...]
    """The k-th wait uses the k-th string, starting over after the last."""
    min_thinking_tokens: int
    answer_prefix: str
    max_answer_tokens: int
    accounting: Accounting

    def __post_init__(self) -> None:
        cap = self.max_thinking_tokens
        if cap is not None and cap < 0:
            raise ValueError(
                f"max_thinking_tokens={cap}; legal: 0 (no thinking), a positive number of tokens, "
                "or null for the model's own end."
            )
        if self.num_waits < 0 or (self.num_waits and not self.wait_strings):
            raise ValueError(
                f"num_waits={self.num_waits} with wait_strings={list(self.wait_strings)}; legal: "
                "0, or a positive number with at least one string ('' adds nothing)."
            )
        if self.min_thinking_tokens < 0 or (cap is not None and self.min_thinking_tokens > cap):
            raise ValueError(
                f"min_thinking_tokens={self.min_thinking_tokens} with max_thinking_tokens={cap}; "
                "legal: from 0 to the cap."
            )
        if self.max_answer_tokens < 1:
            raise ValueError(
                f"max_answer_tokens={self.max_answer_tokens}; legal: 1 or more, for the answer "
                "always comes."
            )


def expand_policies(config: BudgetConfig) -> tuple[BudgetPolicy, ...]:
    """Return the policies of a grid: the caps in their order, then the waits in theirs."""
    grid = [(_cap_name(cap), cap, 0) for cap in config.max_thinking_tokens]
    grid += [
        (f"wait_{waits}", config.waits_max_thinking_tokens, waits) for waits in config.num_waits
    ]
    return tuple(
        BudgetPolicy(
            name=name,
            max_thinking_tokens=cap,
            num_waits=waits,
            wait_strings=config.wait_strings,
            min_thinking_tokens=config.min_thinking_tokens,
            answer_prefix=config.answer_prefix,
            max_answer_tokens=config.max_answer_tokens,
            accounting=config.accounting,
        )
        for name, cap, waits in grid
    )


def _cap_name(cap: int | None) -> str:
    return "natural" if cap is None else f"cap_{cap}"
