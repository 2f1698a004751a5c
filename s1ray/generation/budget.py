"""Which thinking budgets a run compares: the grid of the configuration, spelled out.

It knows the numbers of a policy and their names; it does not know how a policy is carried out
(``forcing``), nor any tokenizer or engine.
"""

from dataclasses import dataclass, replace

from s1ray.config.generation import Accounting, BudgetConfig, ConditionsConfig
from s1ray.generation.conditioning import STEP_TOKENS, ask_for_class, ask_for_steps, ask_for_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPolicy:
    """How one sample's thinking is bounded and extended."""

    name: str
    """Stable and unique within a grid: ``cap_32``, ``natural``, ``wait_2``, ``token_1024``,
    ``step_16_forced``, ``class_short``, ``reject_4000``."""
    max_thinking_tokens: int | None
    """None leaves the end to the model, within the context window."""
    num_waits: int
    wait_strings: tuple[str, ...]
    """The k-th wait uses the k-th string, starting over after the last."""
    min_thinking_tokens: int
    answer_prefix: str
    max_answer_tokens: int
    accounting: Accounting
    instruction: str = ""
    """Appended to the question; empty for none."""
    asked_thinking_tokens: int | None = None
    """What the instruction amounts to in thinking tokens; None where it names no number."""
    is_step_limited: bool = False
    """Whether thinking ends where the model has counted its steps down to 0."""
    max_tries: int = 1
    """Chains drawn until one ends by itself within the cap; the last is kept whatever it is."""

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
        if self.max_tries < 1 or (self.max_tries > 1 and cap is None):
            raise ValueError(
                f"max_tries={self.max_tries} with max_thinking_tokens={cap}; legal: 1, or more "
                "together with a cap to fit."
            )


def check_draws(policy: BudgetPolicy, *, temperature: float) -> None:
    """Check that a policy that draws several chains would draw different ones.

    Raises:
        ValueError: At temperature 0 each would be the same.
    """
    if policy.max_tries > 1 and temperature == 0:
        raise ValueError(
            f"the policy {policy.name} draws up to {policy.max_tries} chains, and at temperature "
            "0 each would be the same; set sampling=temperature_1."
        )


def expand_policies(config: BudgetConfig) -> tuple[BudgetPolicy, ...]:
    """Return the policies of a grid: caps, waits, conditions, rejection, each in its order."""
    natural = BudgetPolicy(
        name="natural",
        max_thinking_tokens=None,
        num_waits=0,
        wait_strings=config.wait_strings,
        min_thinking_tokens=config.min_thinking_tokens,
        answer_prefix=config.answer_prefix,
        max_answer_tokens=config.max_answer_tokens,
        accounting=config.accounting,
    )
    policies = [
        natural if cap is None else replace(natural, name=f"cap_{cap}", max_thinking_tokens=cap)
        for cap in config.max_thinking_tokens
    ]
    waiting = replace(natural, max_thinking_tokens=config.waits_max_thinking_tokens)
    policies += [
        replace(waiting, name=f"wait_{number}", num_waits=number) for number in config.num_waits
    ]
    if config.conditions:
        policies += _expand_conditions(natural, config.conditions)
    if config.rejection:
        num_tries = config.rejection.max_tries
        policies += [
            replace(natural, name=f"reject_{cap}", max_thinking_tokens=cap, max_tries=num_tries)
            for cap in config.rejection.max_thinking_tokens
        ]
    return tuple(policies)


def expand_one(config: BudgetConfig, *, key: str) -> BudgetPolicy:
    """Return the policy of a budget by which a model is asked once.

    Args:
        config: The budget.
        key: Where the configuration has it.

    Raises:
        ValueError: It is a grid of several policies, or of none.
    """
    policies = expand_policies(config)
    if len(policies) != 1:
        raise ValueError(
            f"{key} is a grid of {len(policies)} policies "
            f"({', '.join(policy.name for policy in policies)}), and here a model is asked by one. "
            f"Give one, such as budget@{key}=natural."
        )
    return policies[0]


def _expand_conditions(natural: BudgetPolicy, config: ConditionsConfig) -> list[BudgetPolicy]:
    suffix = "_forced" if config.is_forced else ""
    policies = [
        replace(
            natural,
            name=f"token_{limit}{suffix}",
            instruction=ask_for_tokens(limit),
            asked_thinking_tokens=limit,
            max_thinking_tokens=limit if config.is_forced else None,
        )
        for limit in config.token_limits
    ]
    policies += [
        replace(
            natural,
            name=f"step_{limit}{suffix}",
            instruction=ask_for_steps(limit),
            asked_thinking_tokens=STEP_TOKENS * limit,
            is_step_limited=config.is_forced,
        )
        for limit in config.step_limits
    ]
    policies += [
        replace(natural, name=f"class_{name}", instruction=ask_for_class(text))
        for name, text in config.classes.items()
    ]
    return policies
