"""Who judges a pool's questions by solving them, and what of that names a run; it asks nobody."""

from collections.abc import Mapping
from typing import Any

from s1ray.config.curation import (
    DifficultyConfig,
    EndpointJudgeConfig,
    EngineJudgeConfig,
    ModelsDifficultyConfig,
)
from s1ray.config.generation import EndpointConfig
from s1ray.config.recipe import Recipe
from s1ray.generation.budget import expand_one
from s1ray.orchestration.answering.evaluation import describe_answering, describe_grading
from s1ray.orchestration.answering.judge import check_judge
from s1ray.orchestration.models import PreparedModel, prepare_model
from s1ray.orchestration.training_data.endpoints import check_endpoint, identify_endpoint

PreparedJudges = Mapping[str, PreparedModel | EndpointConfig]


def prepare_judges(recipe: Recipe) -> PreparedJudges:
    """Fetch the judges' models and check their endpoints; empty where no model judges.

    Raises:
        ValueError: One cannot be had, cannot be asked as often as is wanted, or by several
            budgets; or nobody judges and the selection ranks by judges' thinking.
    """
    config = recipe.difficulty
    if not isinstance(config, ModelsDifficultyConfig) or not recipe.selection.after_difficulty:
        _refuse_missing(recipe)
        return {}
    expand_one(config.budget, key="difficulty.budget")
    _check_num_samples(config)
    check_judge(config.grading)
    prepared: dict[str, PreparedModel | EndpointConfig] = {}
    for name, judge in config.judges.items():
        if isinstance(judge, EndpointJudgeConfig):
            _check_judge(name, judge.endpoint, num_samples=config.num_samples)
            prepared[name] = judge.endpoint
        else:
            model = judge.model if isinstance(judge, EngineJudgeConfig) else recipe.model
            prepared[name] = prepare_model(model, recipe.paths)
    return prepared


def _refuse_missing(recipe: Recipe) -> None:
    if recipe.selection.length == "judges_thinking_tokens":
        raise ValueError(
            "selection.length=judges_thinking_tokens needs models that judge difficulty. Set "
            "difficulty=base_model or another choice with judges, and "
            "selection.after_difficulty=true."
        )


def _check_num_samples(config: ModelsDifficultyConfig) -> None:
    if config.num_samples > 1 and config.sampling.temperature == 0:
        raise ValueError(
            f"difficulty.num_samples={config.num_samples} with difficulty.sampling.temperature=0: "
            "every sample of a question would be the same. Set difficulty.num_samples=1, or "
            "sampling@difficulty.sampling=temperature_1."
        )


def _check_judge(name: str, endpoint: EndpointConfig, *, num_samples: int) -> None:
    check_endpoint(endpoint)
    if num_samples > 1 and not endpoint.sends_sampling:
        raise ValueError(
            f"difficulty.num_samples={num_samples}, and the endpoint of judge {name} takes no "
            f"seed, so that every sample would be the same. Set difficulty.num_samples=1, or "
            f"difficulty.judges.{name}.endpoint.sends_sampling=true where it takes one."
        )


def describe_difficulty(config: DifficultyConfig) -> dict[str, Any]:
    """Return how difficulty is judged, but not by whom, for a run's identity."""
    if not isinstance(config, ModelsDifficultyConfig):
        return config.model_dump(mode="json")
    asked = config.model_dump(mode="json", exclude={"judges", "grading"})
    return {**asked, "grading": describe_grading(config.grading)}


def describe_judges(recipe: Recipe, judges: PreparedJudges) -> dict[str, Any]:
    """Return what of the judges changes their verdicts, for a run's identity."""
    config = recipe.difficulty
    if not isinstance(config, ModelsDifficultyConfig):
        return {}
    return {
        name: judge.describe() | describe_answering(compose_judge(recipe, config, name))
        if isinstance(judge, PreparedModel)
        else identify_endpoint(judge)
        for name, judge in judges.items()
    }


def compose_judge(recipe: Recipe, config: ModelsDifficultyConfig, name: str) -> Recipe:
    """Return the recipe by which a model that runs here judges.

    Args:
        recipe: The curation's.
        config: Its difficulty.
        name: The judge's.
    """
    runtime = {"num_samples": config.num_samples, "seed": config.seed}
    changes: dict[str, Any] = {
        "evaluation": recipe.evaluation.model_copy(update=runtime),
        "sampling": config.sampling,
        "grading": config.grading,
    }
    judge = config.judges[name]
    if isinstance(judge, EngineJudgeConfig):
        changes |= {"model": judge.model, "engine": judge.engine}
    return recipe.model_copy(update=changes)
