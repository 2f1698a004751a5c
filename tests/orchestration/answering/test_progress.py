"""Every graded answer is an event, once, and says how the evaluation stands."""

from pathlib import Path

from s1ray.orchestration.answering.progress import EvaluationProgress
from s1ray.orchestration.run_directory.events import EventLog, read_events
from tests.evaluation.builders import W, make_group, make_sample

GROUPS = [make_group("1", policies=("p", "q")), make_group("2", policies=("p", "q"))]
SAMPLES = [
    make_sample("1", policy="p"),
    make_sample("1", W, policy="q"),
    make_sample("2", W, policy="p"),
    make_sample("2", policy="q"),
]


def test_running_accuracy_and_questions_left_follow_every_answer(tmp_path: Path) -> None:
    with EventLog(tmp_path) as events:
        progress = EvaluationProgress(GROUPS, events=events)
        for sample in SAMPLES:
            progress.record(sample)

    rows = list(read_events(tmp_path))
    assert [row["global_step"] for row in rows] == [1, 2, 3, 4]
    assert [row["eval/questions_left"] for row in rows] == [2, 1, 1, 0]
    assert rows[2]["eval/bench/p/accuracy"] == 0.5
    assert rows[2]["eval/bench/p/stderr"] == 0.5
    assert all(row["eval/tokens_per_second"] > 0 for row in rows)


def test_answer_stored_before_a_kill_has_its_event_after_it(tmp_path: Path) -> None:
    with EventLog(tmp_path) as events:
        EvaluationProgress(GROUPS, events=events).record(SAMPLES[0])

    with EventLog(tmp_path) as events:
        progress = EvaluationProgress(GROUPS, events=events)
        for sample in SAMPLES[:3]:
            progress.restore(sample)
        progress.record(SAMPLES[3])

    rows = list(read_events(tmp_path))
    assert [row["global_step"] for row in rows] == [1, 2, 3, 4]
    assert ["eval/tokens_per_second" in row for row in rows] == [True, False, False, True]
    assert rows[3]["eval/bench/q/accuracy"] == 0.5
