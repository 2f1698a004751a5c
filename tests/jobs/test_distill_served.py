"""``jobs.distill`` asks ``jobs.serve`` over HTTP: our own server as a teacher."""

import json
from collections.abc import Callable

import pytest

from s1ray.config.recipe import Recipe
from s1ray.curation.traces import read_traces
from s1ray.orchestration.training_data.distill import prepare_distill, run_distill
from tests.jobs.served import KEY, Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_our_own_server_teaches_within_its_thinking_budget(
    server: Server, tiny: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S1RAY_TEST_KEY", KEY)
    recipe = tiny(
        "endpoint=s1ray",
        f"endpoint.base_url={server.url}/v1",
        "endpoint.api_key_variable=S1RAY_TEST_KEY",
        "endpoint.max_completion_tokens=64",
        "teacher_budget.max_thinking_tokens=[16]",
        "distillation.keep_cut=true",
        "selection.num_questions=6",
    )

    path = run_distill(prepare_distill(recipe))

    costs = json.loads((path / "costs.json").read_text(encoding="utf-8"))
    traces = read_traces(path / "traces.jsonl")
    assert costs["answered"] == costs["asked_now"] == 6
    assert len(traces) + sum(costs["left_out"].values()) == 6
    # A byte is a token of the tiny model: thinking was capped, and stands apart from the answer.
    assert all(0 < len(trace.thinking.encode(errors="replace")) <= 16 * 3 for trace in traces)
    assert all(trace.teacher == "s1ray" and trace.answer for trace in traces)
