"""Whether two runs may be compared."""

import pytest

from s1ray.evaluation.protocol import ProtocolDifference, check_differences, find_differences

A = {
    "model": {"digest": "aa", "revision": "1"},
    "benchmark": ["aime24"],
    "budget": {"accounting": "total", "wait_strings": ["Wait"]},
    "engine": {"dtype": "bfloat16"},
    "system_prompt": None,
}


def test_equal_protocols_do_not_differ_whatever_their_order() -> None:
    assert find_differences(A, dict(reversed(A.items()))) == ()


def test_differences_are_named_by_path_with_both_values() -> None:
    b = A | {"budget": {"accounting": "s1_harness", "wait_strings": ["Wait"]}, "extra": {}}
    del b["system_prompt"]

    assert find_differences(A, b) == (
        ProtocolDifference(path="budget.accounting", a='"total"', b='"s1_harness"'),
        ProtocolDifference(path="extra", a="absent", b="{}"),
        ProtocolDifference(path="system_prompt", a="null", b="absent"),
    )


def test_difference_of_the_subject_is_what_a_comparison_is_about() -> None:
    differences = find_differences(A, A | {"model": {"digest": "bb", "revision": "2"}})

    assert check_differences(differences, subject=["model"], allow=[]) == differences


def test_difference_nobody_named_is_refused_with_the_way_to_name_it() -> None:
    differences = find_differences(
        A, A | {"model": {"digest": "bb", "revision": "1"}, "engine": {"dtype": "float32"}}
    )

    with pytest.raises(ValueError, match="differ in their protocol") as refusal:
        check_differences(differences, subject=["model"], allow=[])

    assert 'engine.dtype: "bfloat16" against "float32"' in str(refusal.value)
    assert "allow=[engine.dtype]" in str(refusal.value)
    assert "model.digest" not in str(refusal.value)


def test_difference_is_admitted_by_its_path_or_a_section_above_it_only() -> None:
    differences = find_differences(A, A | {"engine": {"dtype": "float32"}})

    assert check_differences(differences, subject=[], allow=["engine.dtype"]) == differences
    assert check_differences(differences, subject=[], allow=["engine"]) == differences
    with pytest.raises(ValueError, match="differ in their protocol"):
        check_differences(differences, subject=[], allow=["engine.d"])
