"""Recipes that a job composes for itself, under paths of any characters."""

import pytest

from s1ray.orchestration.composing import compose_recipe, spell_paths


def test_paths_are_taken_as_they_are_written() -> None:
    storage, cache = r"/some where/it's, [a]=b", "/x:{y}"

    recipe = compose_recipe(["experiment=tiny", *spell_paths(storage=storage, cache=cache)])

    assert (recipe.paths.storage, recipe.paths.cache) == (storage, cache)
    without = compose_recipe(["experiment=tiny", *spell_paths(storage="runs", cache=None)])
    assert without.paths.cache is None


def test_override_that_names_no_key_is_refused_with_the_way_to_the_legal_ones() -> None:
    with pytest.raises(ValueError, match=r"nothing(.|\n)*--cfg job"):
        compose_recipe(["training.nothing=1"])
