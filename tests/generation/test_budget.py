import pytest
from pydantic import ValidationError

from s1ray.config.generation import Accounting, BudgetConfig
from s1ray.generation.budget import BudgetPolicy, expand_policies

GRID = {
    "max_thinking_tokens": [0, 8, None],
    "num_waits": [1, 2],
    "waits_max_thinking_tokens": 64,
    "wait_strings": ["Wait", "Hmm"],
    "min_thinking_tokens": 0,
    "answer_prefix": "Final Answer:",
    "max_answer_tokens": 16,
    "accounting": "total",
}
POLICY = {
    "name": "cap_8",
    "max_thinking_tokens": 8,
    "num_waits": 0,
    "wait_strings": ("Wait",),
    "min_thinking_tokens": 0,
    "answer_prefix": "",
    "max_answer_tokens": 4,
    "accounting": Accounting.TOTAL,
}


def test_grid_expands_to_named_policies_caps_first() -> None:
    policies = expand_policies(BudgetConfig.model_validate(GRID))
    assert [(p.name, p.max_thinking_tokens, p.num_waits) for p in policies] == [
        ("cap_0", 0, 0),
        ("cap_8", 8, 0),
        ("natural", None, 0),
        ("wait_1", 64, 1),
        ("wait_2", 64, 2),
    ]
    assert {p.wait_strings for p in policies} == {("Wait", "Hmm")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_thinking_tokens": [-1]}, "greater than or equal to 0"),
        ({"num_waits": [0]}, "greater than 0"),
        ({"max_thinking_tokens": [], "num_waits": []}, "the grid is empty"),
        ({"max_thinking_tokens": [8, 8]}, r"max_thinking_tokens=\[8, 8\] repeats"),
        ({"num_waits": [2, 2]}, r"num_waits=\[2, 2\] repeats"),
        ({"wait_strings": []}, "wait_strings is empty"),
        ({"min_thinking_tokens": 4}, "min_thinking_tokens=4 exceeds the cap 0"),
        ({"accounting": "each"}, "'total' or 's1_harness'"),
        ({"cap": 3}, "Extra inputs are not permitted"),
    ],
)
def test_grid_with_a_wrong_value_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        BudgetConfig.model_validate({**GRID, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_thinking_tokens": -1}, "max_thinking_tokens=-1; legal: 0"),
        ({"num_waits": -1}, "num_waits=-1 with"),
        ({"num_waits": 1, "wait_strings": ()}, "num_waits=1 with wait_strings"),
        ({"min_thinking_tokens": 9}, "min_thinking_tokens=9 with max_thinking_tokens=8"),
        ({"max_answer_tokens": 0}, "max_answer_tokens=0; legal"),
    ],
)
def test_policy_with_a_wrong_value_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BudgetPolicy(**{**POLICY, **changes})
