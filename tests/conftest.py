"""What tests of several packages share: one Ray a session, composed recipes, drawn examples."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
from hypothesis import settings

from s1ray.config.recipe import Recipe
from s1ray.orchestration.cluster.session import ROOT
from tests.recipes import compose_tiny

# No example has a limit of its own: beside other test files even a quick one may take long. All
# else stays as Hypothesis chooses it, which under CI draws the same examples every time.
settings.register_profile("s1ray", deadline=None, print_blob=True)
settings.load_profile("s1ray")


@pytest.fixture(scope="session")
def ray_head() -> Iterator[Path]:
    """One Ray of two CPUs for every test that needs one; its value is where it keeps its logs."""
    context = ray.init(
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
    yield Path(context.address_info["session_dir"])
    ray.shutdown()


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Recipe]:
    """Return the tiny recipe with overrides, its runs and models below the test's directory."""

    def compose_here(*overrides: str, storage: Path = tmp_path / "runs") -> Recipe:
        return compose_tiny(storage, *overrides)

    return compose_here
