"""What is said of a command line that cannot be composed."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from s1ray.orchestration.launch import CONF, explain_override


def _explain(primary: str, override: str) -> str:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        with pytest.raises(HydraException) as refused:
            compose(primary, overrides=[override])
        return explain_override(refused.value)


@pytest.mark.parametrize(
    ("primary", "override"),
    [("submit", "environment.FOO=bar"), ("recipe", "server.adapters.mine=a")],
)
def test_name_of_ones_own_without_a_plus_is_told_how(primary: str, override: str) -> None:
    explained = _explain(primary, override)

    assert override.partition("=")[0] in explained
    assert "+environment.NAME=value" in explained


def test_key_that_is_misspelt_is_not_proposed_with_a_plus() -> None:
    assert "+training" not in _explain("recipe", "training.num_epoch=3")
