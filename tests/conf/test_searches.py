"""Every experiment that sweeps: each point of its space is a legal recipe."""

import pytest
from hydra import compose, initialize_config_dir

from s1ray.chat_format import DELIMITERS
from s1ray.config.recipe import Recipe
from s1ray.orchestration.launch import CONF, parse_config
from s1ray.orchestration.sweeps.composing import compose_points
from s1ray.orchestration.sweeps.space import draw_points
from s1ray.training.samples.conditioning import check_conditioning

SEARCHES = sorted(path.stem for path in (CONF / "search").glob("*.yaml") if path.stem != "none")


def _points(search: str) -> list[Recipe]:
    has_experiment = (CONF / "experiment" / f"{search}.yaml").exists()
    words = [f"experiment={search}"] if has_experiment else ["experiment=tiny", f"search={search}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        recipe = parse_config(compose("recipe", overrides=words), Recipe)
    return [point for _, point in compose_points(words, draw_points(recipe.search))]


@pytest.mark.parametrize("search", SEARCHES)
def test_every_point_of_a_space_is_a_recipe_and_no_two_are_the_same(search: str) -> None:
    recipes = _points(search)

    assert len(recipes) > 1
    for recipe in recipes:
        check_conditioning(recipe.training.conditioning, DELIMITERS[recipe.model.delimiters])
    assert len({recipe.model_dump_json() for recipe in recipes}) == len(recipes)


def test_ready_experiments_are_there() -> None:
    experiments = {path.stem for path in (CONF / "experiment").glob("*.yaml")}
    assert {
        "data_size", "budget_lengths", "waits", "wait_strings", "methods", "sequence_length",
        "parallel", "lora_rank", "data_size_demo",
    } <= experiments  # fmt: skip
