"""What models say of a pool, over real HTTP and on real replicas."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s1ray.config.recipe import Recipe
from s1ray.orchestration.training_data.curate import prepare_curate, run_curate
from tests.orchestration.training_data.sums import add_terms
from tests.teacher_server import Teacher, reply, teach

JUDGE = (
    "difficulty=endpoint",
    "difficulty.judges.served.endpoint.backoff_seconds=0.001",
    "selection.after_difficulty=true",
    "selection.num_questions=3",
)
Compose = Callable[..., Recipe]


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _curate(tiny: Compose, teacher: Teacher, *overrides: str) -> Path:
    where = f"difficulty.judges.served.endpoint.base_url={teacher.url}"
    return run_curate(prepare_curate(tiny(*JUDGE, where, *overrides)))


def test_an_endpoint_judges_by_its_pass_rate_and_is_not_asked_again(tiny: Compose) -> None:
    def answer(question: str, attempt: int) -> Any:
        # Sums above 5 are solved in every second try, the others in none.
        is_right = int(add_terms(question)) > 5 and attempt % 2
        return reply(f"Final Answer: {add_terms(question) if is_right else 10**6}")

    with teach(answer) as teacher:
        path = _curate(tiny, teacher)
        asked = teacher.asked.copy()
        again = _curate(tiny, teacher, "selection.num_questions=2")

    rates = {row["id"]: row["pass_rates"]["served"] for row in _read(path / "difficulty.jsonl")}
    chosen = [row["question"] for row in _read(path / "selected.jsonl")]
    assert set(rates.values()) == {0.0, 0.5}
    assert all(int(question["answer"]) <= 5 for question in chosen)
    assert {rates[question["id"]] for question in chosen} == {0.0}
    assert set(asked.values()) == {4}
    assert teacher.asked == asked
    assert again != path


@pytest.mark.parametrize("name", ["difficulty.jsonl", "card.md"])
def test_a_selection_that_lacks_a_file_is_made_again(tiny: Compose, name: str) -> None:
    with teach(lambda *_: reply("Final Answer: 10000000")) as teacher:
        path = _curate(tiny, teacher)
        (path / name).unlink()
        _curate(tiny, teacher)

    assert (path / name).is_file()


def test_no_judge_is_asked_where_too_few_questions_are_left_anyway(tiny: Compose) -> None:
    with (
        teach(lambda *_: reply("Final Answer: 1")) as teacher,
        pytest.raises(ValueError, match=r"selection\.num_questions=10000, and only \d+ questions"),
    ):
        _curate(tiny, teacher, "selection.num_questions=10000")

    assert not teacher.asked


def test_what_judges_thought_can_rank_traces_in_place_of_a_teacher(tiny: Compose) -> None:
    def answer(question: str, _: int) -> Any:
        made = reply("Final Answer: 10000000")
        made["usage"]["completion_tokens"] = 50 + int(add_terms(question))
        return made

    with teach(answer) as teacher:
        path = _curate(
            tiny, teacher, "selection=longest", "selection.after_difficulty=true",
            "selection.length=judges_thinking_tokens", "selection.num_questions=5",
        )  # fmt: skip

    sums = [int(row["question"]["answer"]) for row in _read(path / "selected.jsonl")]
    everything = sorted((int(add_terms(question)) for question in teacher.asked), reverse=True)
    assert sums == everything[:5]
    (stand_in,) = [
        step["stand_in"]
        for step in json.loads((path / "funnel.json").read_text())["steps"]
        if step["name"] == "selection"
    ]
    assert "judged difficulty" in stand_in


def test_a_model_names_the_subjects_of_what_difficulty_kept(tiny: Compose) -> None:
    def answer(prompt: str, _: int) -> Any:
        number = int(re.findall(r"\d+", prompt.split("Question:")[1])[0])
        return reply("I see numbers, so 11" if number > 4 else "no idea")

    with teach(answer) as teacher:
        recipe = tiny(
            "diversity=msc", "diversity.endpoint.api_key_variable=null",
            f"diversity.endpoint.base_url={teacher.url}",
        )  # fmt: skip
        path = run_curate(prepare_curate(recipe))

    domains = {row["question"]["domain"] for row in _read(path / "selected.jsonl")}
    assert domains == {"Number theory", "no subject named"}
    assert teacher.asked.total() == 24


def test_an_endpoint_without_a_seed_cannot_be_asked_several_times(tiny: Compose) -> None:
    override = "difficulty.judges.served.endpoint.sends_sampling=false"

    with pytest.raises(ValueError, match="takes no seed"):
        prepare_curate(tiny(*JUDGE, override))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("difficulty.sampling.temperature=0",), "every sample of a question would be the same"),
        (
            ("difficulty.budget.max_thinking_tokens=[1,2]",),
            r"difficulty\.budget is a grid of 2 policies \(cap_1, cap_2\)",
        ),
        (
            ("difficulty=none", "selection.length=judges_thinking_tokens"),
            "needs models that judge difficulty",
        ),
        (
            ("diversity=msc", "diversity.endpoint.api_key_variable=null",
             "diversity.budget.max_thinking_tokens=[1,2]"),
            r"diversity\.budget is a grid of 2 policies",
        ),
    ],
)  # fmt: skip
def test_what_a_model_cannot_be_asked_is_refused_before_the_pool_is_read(
    tiny: Compose, overrides: tuple[str, ...], message: str
) -> None:
    # The pool has no files, which would be said if it were read first.
    pool = ("pool=files", "pool.root=nowhere")
    judged = () if "difficulty=none" in overrides else ("difficulty=endpoint",)

    with pytest.raises(ValueError, match=message):
        prepare_curate(tiny(*pool, "selection.after_difficulty=true", *judged, *overrides))


@pytest.mark.slow
def test_two_models_judge_on_replicas_and_either_may_drop_a_question(
    ray_head: Path, tiny: Compose
) -> None:
    judges = ("first", "second")
    recipe = tiny(
        "difficulty=base_model",
        "~difficulty.judges.base",
        *(f"+model@difficulty.judges.{name}.model=tiny" for name in judges),
        *(f"+engine@difficulty.judges.{name}.engine=transformers_float32" for name in judges),
        *(f"+difficulty.judges.{name}.kind=engine" for name in judges),
        "difficulty.judges.second.model.random.seed=7",
        "selection.after_difficulty=true",
        "difficulty.budget.max_answer_tokens=8",
    )

    path = run_curate(prepare_curate(recipe))

    rows = _read(path / "difficulty.jsonl")
    assert len(rows) == 24
    assert all(set(row["pass_rates"]) == set(judges) for row in rows)
    runs = list((path.parents[1] / "evaluate").iterdir())
    assert len(runs) == 2


def test_what_judges_are_asked_with_is_their_own_and_names_the_selection(tiny: Compose) -> None:
    judged = ("difficulty=base_model", "selection.after_difficulty=true")
    name = prepare_curate(tiny(*judged)).run.name

    evaluated_otherwise = tiny(*judged, "grading=s1", "sampling=temperature_1", "evaluation.seed=5")
    assert prepare_curate(evaluated_otherwise).run.name == name
    for change in ("seed=5", "sampling.temperature=0.7", "grading.compat=s1"):
        assert prepare_curate(tiny(*judged, f"difficulty.{change}")).run.name != name


def test_what_names_subjects_is_asked_with_its_own_and_names_the_selection(tiny: Compose) -> None:
    asked = ("diversity=msc", "diversity.endpoint.api_key_variable=null")
    name = prepare_curate(tiny(*asked)).run.name

    taught_otherwise = tiny(
        *asked, "sampling=temperature_1", "distillation.seed=7", "budget@teacher_budget=no_thinking"
    )
    assert prepare_curate(taught_otherwise).run.name == name
    for change in ("seed=5", "sampling.temperature=0.7", "budget.max_answer_tokens=8"):
        assert prepare_curate(tiny(*asked, f"diversity.{change}")).run.name != name
