"""A chat server's name: by what changes its answers, and nothing else; one server has it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from s1ray.config.recipe import Recipe
from s1ray.orchestration.chat_server.endpoint import run_server
from s1ray.orchestration.chat_server.plan import ServerPlan, prepare_server
from s1ray.orchestration.run_directory.lease import HeldError
from tests.orchestration.adapters import write_adapter
from tests.orchestration.processes import hold_elsewhere
from tests.ports import free_port

Tiny = Callable[..., Recipe]


@pytest.fixture
def plan(tiny: Tiny, tmp_path: Path) -> Callable[..., ServerPlan]:
    """Plan the tiny server with an adapter, and with overrides."""
    write_adapter(tmp_path / "adapter", value=1.0)

    def prepare(*overrides: str, adapter: Path = tmp_path / "adapter") -> ServerPlan:
        words = (f"server.port={free_port()}", f"+server.adapters.sums={adapter}", *overrides)
        return prepare_server(tiny(*words))

    return prepare


@pytest.mark.parametrize(
    "override",
    [
        "server.budget.num_waits=1",
        "server.limits.max_thinking_tokens=9",
        "sampling.temperature=0.5",
        "model.system_prompt=Think.",
        "model.delimiters=think_tags",
        "engine.dtype=bfloat16",
    ],
)
def test_server_of_other_answers_has_another_name(
    plan: Callable[..., ServerPlan], override: str
) -> None:
    assert plan(override).run.name != plan().run.name


def test_server_of_another_adapter_has_another_name(
    plan: Callable[..., ServerPlan], tmp_path: Path
) -> None:
    write_adapter(tmp_path / "other", value=2.0)

    assert plan(adapter=tmp_path / "other").run.name != plan().run.name


@pytest.mark.parametrize(
    "override", ["server.host=127.0.0.2", "server.max_replicas=3", "evaluation.seed=5"]
)
def test_server_elsewhere_or_of_more_replicas_keeps_its_name(
    plan: Callable[..., ServerPlan], tmp_path: Path, override: str
) -> None:
    moved = shutil.copytree(tmp_path / "adapter", tmp_path / "moved")

    assert plan(override, adapter=moved).run.name == plan().run.name


def test_second_server_of_a_name_is_refused_before_ray_is_started(
    plan: Callable[..., ServerPlan],
) -> None:
    prepared = plan()
    prepared.run.path.mkdir(parents=True)

    with hold_elsewhere(prepared.run.path), pytest.raises(HeldError, match="another name="):
        run_server(prepared)

    assert not (prepared.run.path / "config.yaml").exists()
