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
    "conditions": None,
    "rejection": None,
}
CONDITIONS = {
    "token_limits": [1024],
    "step_limits": [16],
    "classes": {"short": "Be brief."},
    "is_forced": False,
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


def test_conditions_become_policies_with_an_instruction() -> None:
    changes = {"max_thinking_tokens": [], "num_waits": [], "conditions": CONDITIONS}
    policies = expand_policies(BudgetConfig.model_validate({**GRID, **changes}))
    assert [(p.name, p.instruction, p.max_thinking_tokens) for p in policies] == [
        ("token_1024", "\n\nThink for up to 1024 tokens.", None),
        ("step_16", "\n\nThink for up to 16 steps.", None),
        ("class_short", "\n\nBe brief.", None),
    ]
    assert [p.asked_thinking_tokens for p in policies] == [1024, 1600, None]


def test_forced_conditions_enforce_the_limit_they_name() -> None:
    conditions = {**CONDITIONS, "classes": {}, "is_forced": True}
    config = BudgetConfig.model_validate({**GRID, "conditions": conditions})
    tokens, steps = expand_policies(config)[-2:]
    assert (tokens.name, tokens.max_thinking_tokens) == ("token_1024_forced", 1024)
    assert (steps.name, steps.is_step_limited) == ("step_16_forced", True)


def test_rejection_limits_become_policies_with_tries() -> None:
    rejection = {"max_thinking_tokens": [40, 80], "max_tries": 7}
    policies = expand_policies(BudgetConfig.model_validate({**GRID, "rejection": rejection}))
    assert [(p.name, p.max_thinking_tokens, p.max_tries) for p in policies[-2:]] == [
        ("reject_40", 40, 7),
        ("reject_80", 80, 7),
    ]


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
        (
            {"conditions": {**CONDITIONS, "is_forced": True}},
            r"classes=\['short'\] name no limit to force",
        ),
        (
            {"conditions": {**CONDITIONS, "token_limits": [], "step_limits": [], "classes": {}}},
            "no condition is given",
        ),
        ({"rejection": {"max_thinking_tokens": [9], "max_tries": 1}}, "greater than 1"),
        ({"rejection": {"max_thinking_tokens": [], "max_tries": 2}}, "at least 1 item"),
        (
            {
                "max_thinking_tokens": [None],
                "min_thinking_tokens": 9,
                "rejection": {"max_thinking_tokens": [8], "max_tries": 2},
            },
            "min_thinking_tokens=9 exceeds the cap 8",
        ),
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
        ({"max_tries": 0}, "max_tries=0 with"),
        ({"max_tries": 2, "max_thinking_tokens": None}, "max_tries=2 with max_thinking"),
    ],
)
def test_policy_with_a_wrong_value_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BudgetPolicy(**{**POLICY, **changes})
