"""Published scores, and what evaluation's settings refuse."""

import pytest
from pydantic import ValidationError

from s1ray.config.evaluation import ComparatorsConfig, EvaluationConfig
from s1ray.evaluation.comparators import (
    Comparator,
    list_comparators,
    list_published_points,
)
from s1ray.evaluation.scaling import scaling
from tests.choices import read_choice


def read_published() -> ComparatorsConfig:
    return ComparatorsConfig.model_validate(read_choice("comparators", "published"))


def test_published_scores_of_one_benchmark_carry_their_source() -> None:
    scores = {
        score.system: score
        for score in list_comparators(read_published())
        if score.benchmark == "aime25"
    }

    assert scores["s1-32B, 4 waits"] == Comparator(
        system="s1-32B, 4 waits",
        benchmark="aime25",
        accuracy=pytest.approx(0.367),
        is_drawn=False,
        source="arXiv 2501.19393v3, Table 5 (appendix on s1.1)",
    )
    assert "o1" not in scores


def test_published_scores_name_every_system_the_paper_stands_beside() -> None:
    scores = list_comparators(read_published())
    aime = {
        score.system: round(100 * score.accuracy, 1)
        for score in scores
        if score.benchmark == "aime24"
    }

    # arXiv 2501.19393, Table 1, first column.
    assert {
        "o1-preview": 44.6, "o1-mini": 70.0, "o1": 74.4, "Gemini 2.0 Flash Thinking": 60.0,
        "Qwen2.5-32B-Instruct": 26.7, "QwQ-32B-preview": 50.0, "R1": 79.8,
        "s1-32B without budget forcing": 50.0, "s1.1-32B, 2 waits": 56.7,
    }.items() <= aime.items()  # fmt: skip
    assert "Gemini 2.0 Flash Thinking" not in {
        score.system for score in scores if score.benchmark == "math500"
    }


def test_published_score_without_a_source_is_refused() -> None:
    system = {"name": "x", "source": "hearsay", "accuracy_percent": {"a": 1.0}}

    with pytest.raises(ValidationError, match="x names the source 'hearsay'; known are"):
        ComparatorsConfig.model_validate(
            {"sources": {"s": "t"}, "systems": [system], "curves": [], "drawn": []}
        )


def test_published_curves_give_the_papers_scaling_metric() -> None:
    points = [
        point
        for point in list_published_points(read_published())
        if (point.benchmark, point.method) == ("aime24", "token_forced")
    ]

    # arXiv 2501.19393, Table 3: token-conditional control with budget forcing scales by 13.
    assert round(scaling(points).points_per_doubling or 0) == 13


def test_drawn_system_without_scores_is_refused() -> None:
    with pytest.raises(ValidationError, match="drawn names \\['o9'\\], whose scores are not here"):
        ComparatorsConfig.model_validate(
            {"sources": {}, "systems": [], "curves": [], "drawn": ["o9"]}
        )


def test_published_system_that_stands_twice_is_refused() -> None:
    system = {"name": "x", "source": "s", "accuracy_percent": {"a": 1.0}}

    with pytest.raises(ValidationError, match="a system occurs twice"):
        ComparatorsConfig.model_validate(
            {"sources": {"s": "t"}, "systems": [system, system], "curves": [], "drawn": []}
        )


def test_evaluation_draw_beyond_its_samples_is_refused() -> None:
    content = read_choice("evaluation", "single") | {"pass_at": [1, 4]}

    with pytest.raises(ValidationError, match=r"pass_at=\[1, 4\] draws more than num_samples=1"):
        EvaluationConfig.model_validate(content)
