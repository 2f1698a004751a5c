"""Every choice of every group composes and parses, by the schema of the key that it is for."""

from typing import Any, get_type_hints

import pytest
from pydantic import TypeAdapter

from s1ray.config.compare import BootstrapConfig
from s1ray.config.planning import KuberayConfig
from s1ray.config.pool import SourceConfig
from s1ray.config.recipe import Recipe
from s1ray.config.running_sums import RunningSumsConfig
from s1ray.config.submit import OnPremConfig
from s1ray.orchestration.launch import CONF
from s1ray.suites.suite import load_suite
from tests.choices import read_choice

SCHEMAS: dict[str, Any] = {
    **get_type_hints(Recipe, include_extras=True),
    "bootstrap": BootstrapConfig,
    "kuberay": KuberayConfig,
    "on_prem": OnPremConfig,
    "pool/source": SourceConfig,
    "running_sums": RunningSumsConfig,
    "lengths": dict[str, float],  # a part of ThinkingLengthsConfig
    "shape": dict[str, int | bool],  # a part of config.json
}
ELSEWHERE = {
    "command_line",  # Hydra's own settings: every other test composes with them
    "experiment",  # test_compose.py
    "pool/limits",  # a part of every pool
}
CHOICES = [
    (path.parent.relative_to(CONF).as_posix(), path.stem)
    for path in sorted(CONF.rglob("*.yaml"))
    if path.parent != CONF
]


@pytest.mark.parametrize(
    ("group", "choice"), [(group, choice) for group, choice in CHOICES if group not in ELSEWHERE]
)
def test_every_choice_parses(group: str, choice: str) -> None:
    content = read_choice(group, choice)
    schema = load_suite(content["kind"]).SETTINGS if group == "suite" else SCHEMAS[group]

    TypeAdapter(schema).validate_python(content)
