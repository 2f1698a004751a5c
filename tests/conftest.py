"""What tests of several packages share: one Ray for the whole session, and composed recipes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
from hydra import compose, initialize_config_dir

from s1ray.config.recipe import Recipe
from s1ray.orchestration.launch import CONF, parse_config
from s1ray.orchestration.session import ROOT


@pytest.fixture(scope="session")
def ray_head() -> Iterator[None]:
    """One Ray of two CPUs for every test that needs one."""
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=200 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={
            "env_vars": {
                "PYTHONPATH": str(ROOT),
                "OMP_NUM_THREADS": "1",
                "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
            }
        },
    )
    yield
    ray.shutdown()


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Recipe]:
    """Return the tiny recipe with overrides, its runs and models below the test's directory."""

    def compose_tiny(*overrides: str, storage: Path = tmp_path / "runs") -> Recipe:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            composed = compose(
                "recipe",
                overrides=["experiment=tiny", f"paths.storage={storage}", *overrides],
            )
        return parse_config(composed, Recipe)

    return compose_tiny
