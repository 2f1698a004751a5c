"""Which interruptions are made of a run; the whole job is in the slow lane."""

from collections.abc import Callable

import pytest

from s1ray.config.recipe import Recipe
from s1ray.orchestration.fine_tune.verification import list_cases, prepare_verification
from s1ray.orchestration.run_directory.runs import RefusedError

Compose = Callable[..., Recipe]


def test_cases_are_a_boundary_a_middle_and_another_world_size(tiny: Compose) -> None:
    cases = list_cases(tiny(), num_steps=6)

    assert [case.killed_after for case in cases] == [3, 2, 2]
    assert [(case.num_workers_before, case.num_workers_after) for case in cases] == [
        (2, 2),
        (2, 2),
        (2, 1),
    ]


def test_run_of_steps_that_each_end_an_epoch_is_refused(tiny: Compose) -> None:
    with pytest.raises(RefusedError, match="global_batch_size"):
        list_cases(tiny(), num_steps=2)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.num_epochs=1", "num_epochs=1 has no boundary"),
        ("sharding.num_workers=1", "other_num_workers=1"),
        ("checkpoint.resume=must", "has no checkpoint"),
    ],
)
def test_recipe_that_cannot_be_interrupted_is_bad_input(
    tiny: Compose, override: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        prepare_verification(tiny(override))
