import itertools

import pytest

from s1ray.config.curation import LevelDifficultyConfig, ModelsDifficultyConfig, NoDifficultyConfig
from s1ray.curation.choice.difficulty import judge_difficulty, name_difficulty_stand_in
from s1ray.records import Verdict
from tests.curation.made import ask_models, make_item

ITEM = make_item("q")
SCORED = {Verdict.CORRECT, Verdict.INCORRECT, Verdict.NO_ANSWER}


def _ask(judges: list[str], **changes: object) -> ModelsDifficultyConfig:
    return ModelsDifficultyConfig.model_validate(ask_models(judges, num_samples=4) | changes)


@pytest.mark.parametrize(
    ("verdicts", "max_pass_rate", "is_kept"),
    [
        ("CORRECT INCORRECT INCORRECT INCORRECT", 0.0, False),
        ("CORRECT INCORRECT INCORRECT INCORRECT", 0.25, True),
        ("CORRECT CORRECT INCORRECT INCORRECT", 0.25, False),
        # Unscored answers are no failures: one of two scored ones is right.
        ("CORRECT NO_ANSWER TIMEOUT UNSCORED", 0.25, False),
        ("INCORRECT NO_ANSWER TIMEOUT UNSCORED", 0.0, True),
    ],
)
def test_a_question_goes_when_a_judge_passes_more_often_than_is_allowed(
    *, verdicts: str, max_pass_rate: float, is_kept: bool
) -> None:
    config = _ask(["m"], max_pass_rate=max_pass_rate, keep_unscored=False)
    found = {ITEM.trace.question.id: {"m": [Verdict[name] for name in verdicts.split()]}}

    reason = judge_difficulty(found, config=config)(ITEM)

    assert (reason is None) == is_kept


@pytest.mark.parametrize("keep_unscored", [True, False])
@pytest.mark.parametrize("pair", list(itertools.product([*Verdict, None], repeat=2)))
def test_a_question_goes_when_any_model_solves_it(
    *, pair: tuple[Verdict | None, Verdict | None], keep_unscored: bool
) -> None:
    config = _ask(["small", "large"], keep_unscored=keep_unscored)
    verdicts = {
        name: [verdict] for name, verdict in zip(("small", "large"), pair, strict=True) if verdict
    }

    reason = judge_difficulty({ITEM.trace.question.id: verdicts}, config=config)(ITEM)

    is_scored = all(verdict in SCORED for verdict in pair)
    expected = (
        "solved" if Verdict.CORRECT in pair else None if keep_unscored or is_scored else "unscored"
    )
    assert (reason.name if reason else None) == expected


def test_levels_are_compared_on_each_sources_own_scale() -> None:
    config = LevelDifficultyConfig(
        kind="level", min_levels={"math": 5, "deep": 4}, keep_unlevelled=True
    )
    judge = judge_difficulty({}, config=config)

    kept = [
        judge(make_item("q", source=source, level=level)) is None
        for source, level in [("math", 4), ("math", 5), ("deep", 4), ("deep", None), ("other", 0)]
    ]

    assert kept == [False, True, True, True, True]


def test_questions_without_a_level_go_where_that_is_asked_for() -> None:
    config = LevelDifficultyConfig(kind="level", min_levels={"math": 5}, keep_unlevelled=False)

    reason = judge_difficulty({}, config=config)(make_item("q", source="other", level=9))

    assert reason is not None
    assert reason.name == "no_level"


def test_levels_are_named_as_a_stand_in_and_models_are_not() -> None:
    level = LevelDifficultyConfig(kind="level", min_levels={"math": 5}, keep_unlevelled=True)
    models = _ask(["m"])

    note = "the sources' own levels stand in for models' verdicts: math >= 5"
    kept = [make_item("q", source="math", level=5)]
    assert name_difficulty_stand_in(level, kept=kept) == note
    others = [*kept, make_item("q", source="math"), make_item("q", source="other", level=9)]
    assert name_difficulty_stand_in(level, kept=others) == (
        f"{note}; 2 of the 3 questions kept have no such level"
    )
    assert name_difficulty_stand_in(models, kept=kept) is None
    assert judge_difficulty({}, config=NoDifficultyConfig(kind="none"))(ITEM) is None
