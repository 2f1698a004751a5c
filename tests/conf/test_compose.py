"""Every experiment composes and parses; what does not belong is refused with its dotted path."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from s1ray.config.recipe import Recipe
from s1ray.model_source.heads import check_degree
from s1ray.orchestration.launch import CONF, parse_config
from tests.choices import read_choice

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def _compose(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("recipe", overrides=list(overrides))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_parses(experiment: str) -> None:
    recipe = parse_config(_compose(f"experiment={experiment}"), Recipe)

    assert recipe.name == experiment


HEADS = {
    "Qwen/Qwen2.5-32B-Instruct": (40, 8),
    "Qwen/Qwen2.5-7B-Instruct": (28, 4),
    "Qwen/Qwen2.5-1.5B-Instruct": (12, 2),
}
"""Query heads, and those of keys and values, from each model's config.json."""


@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if name.startswith("s1_")])
def test_large_experiments_fit_their_cluster(experiment: str) -> None:
    recipe = parse_config(_compose(f"experiment={experiment}"), Recipe)
    devices = recipe.cluster.num_nodes * recipe.cluster.devices_per_node
    heads, kv_heads = HEADS[recipe.model.source]

    check_degree(recipe.sharding.sequence_parallel, num_heads=heads, num_key_value_heads=kv_heads)
    assert recipe.sharding.num_workers <= devices
    assert recipe.serving.num_replicas * recipe.serving.num_gpus <= devices
    held = recipe.serving.num_replicas * recipe.serving.groups_per_replica
    assert recipe.count_in_flight() == held


def test_samples_under_way_are_those_the_replicas_hold_or_as_many_as_is_said() -> None:
    recipe = parse_config(_compose("experiment=tiny", "serving.num_replicas=3"), Recipe)
    told = parse_config(_compose("experiment=tiny", "evaluation.runtime.max_in_flight=7"), Recipe)

    assert recipe.count_in_flight() == 3 * recipe.serving.groups_per_replica
    assert told.count_in_flight() == 7


def test_replicas_without_the_gpus_of_their_engine_are_refused() -> None:
    with pytest.raises(ValueError, match=r"tensor_parallel_size=2.*num_gpus=1"):
        parse_config(_compose("experiment=tiny", "engine=vllm_2", "serving=h100_8"), Recipe)


def test_varlen_attention_in_float32_is_refused_by_both_names() -> None:
    overrides = ("experiment=tiny", "sharding=h100_1")
    with pytest.raises(ValueError, match=r"attention=varlen needs .*compute_dtype=b.* got float32"):
        parse_config(_compose(*overrides), Recipe)
    parse_config(_compose(*overrides, "training.compute_dtype=bfloat16"), Recipe)
    parse_config(_compose(*overrides, "sharding.attention=per_document"), Recipe)


def test_s1s_judges_of_difficulty_may_write_a_solution() -> None:
    recipe = parse_config(_compose("experiment=s1_32b", "difficulty=s1"), Recipe)
    assert recipe.difficulty.kind == "models"
    budget = recipe.difficulty.budget

    assert budget.max_thinking_tokens == (0,)
    assert budget.answer_prefix == ""
    assert budget.max_answer_tokens >= 4096


def test_experiments_are_there() -> None:
    assert {"demo", "tiny", "s1_32b"} <= set(EXPERIMENTS)


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("+typo=1", "typo"),
        ("+training.optimizer.lr=1", "training.optimizer.lr"),
        ("training.optimizer.learning_rate=fast", "training.optimizer.learning_rate"),
        ("training.num_epochs=0", "training.num_epochs"),
        ("training.max_steps=3", "training"),
        ("training.num_epochs=null", "training"),
        ("~budget.num_waits", "budget.num_waits"),
        ("selection.num_questions=x", "selection.num_questions"),
        ("decontamination.min_overlap=x", "decontamination.min_overlap"),
    ],
)
def test_wrong_value_or_key_is_refused_with_its_dotted_path(override: str, path: str) -> None:
    with pytest.raises(ValueError, match=f"^{path}[=:]"):
        parse_config(_compose("experiment=tiny", override), Recipe)


def test_what_is_wrong_between_keys_is_said_without_the_configuration() -> None:
    with pytest.raises(ValueError) as caught:
        parse_config(_compose("experiment=s1_32b", "engine=vllm"), Recipe)

    assert "tensor_parallel_size=1" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_experiment_changes_stand_above_the_groups() -> None:
    recipe = parse_config(_compose("experiment=demo"), Recipe)

    assert recipe.selection.kind == "diverse"
    assert recipe.model.context_tokens == 512


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "endpoint").glob("*.yaml")))
def test_an_endpoint_is_sent_its_own_fields_alone(name: str) -> None:
    own = {"openai": {"reasoning_effort"}, "gemini": {"extra_body"}}
    endpoint = read_choice("endpoint", name)

    assert set(endpoint["extra"]) == own.get(name, set())


def test_no_yaml_names_a_class_or_interpolates_the_environment() -> None:
    for path in CONF.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert "_target_" not in text, path
        assert "oc.env" not in text, path


def test_conf_holds_no_file_outside_a_group_but_the_primaries() -> None:
    primaries = {path.stem for path in CONF.glob("*.yaml")}

    assert {"recipe", "report"} <= primaries
    assert all(Path(CONF / f"{name}.yaml").read_text().startswith("#") for name in primaries)
