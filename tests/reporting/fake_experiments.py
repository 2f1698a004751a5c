"""Experiments and sweeps, with the runs of all their steps, made up but seeded.

    python -m tests.reporting.fake_experiments TARGET NUM_ITEMS

writes an experiment of that many questions and its report, to be looked at.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from s1ray.reporting.html import build_report
from tests.reporting.fake_evaluations import note_benchmarks, write_evaluation
from tests.reporting.fake_runs import write_curation, write_json, write_run, write_training
from tests.reporting.pages import NO_COMPANIONS, load_report_config


def write_experiment(
    storage: Path,
    *,
    num_items: int,
    benchmarks: Sequence[str] = ("running_sums",),
    name: str = "demo-1a2b3c4d",
) -> Path:
    """Write a reproduce run and the runs of its steps; return its directory."""
    base = write_evaluation(
        storage / "evaluate" / f"base-{name}",
        label="base",
        benchmarks=benchmarks,
        num_items=num_items,
        skill=0.12,
    )
    trained = write_evaluation(
        storage / "evaluate" / f"trained-{name}",
        label="trained",
        benchmarks=benchmarks,
        num_items=num_items,
        skill=0.85,
    )
    write_curation(storage / "curate" / name, num_traces=480)
    write_training(storage / "train" / name, num_steps=60)
    path = write_run(
        storage / "reproduce" / name,
        identity={},
        seconds={"curate": 21.9, "evaluate_base": 141.3, "train": 204.8, "evaluate_trained": 160.2},
        steps={
            "curate": f"curate/{name}",
            "evaluate_base": f"evaluate/base-{name}",
            "train": f"train/{name}",
            "evaluate_trained": f"evaluate/trained-{name}",
        },
    )
    scaling = {"control": 1.0, "scaling": 17.3, "scaling_pairs": 45, "performance": 0.81}
    flips = [
        {
            "before": before,
            "after": after,
            "num_pairs": num_items,
            "right_to_wrong": num_items // 20,
            "wrong_to_right": num_items // 25,
        }
        for before, after in (("natural", "wait_1"), ("wait_1", "wait_2"), ("wait_2", "wait_4"))
    ]
    results = {
        "points": base + trained,
        "scaling": {f"{benchmark}/trained": scaling for benchmark in benchmarks}
        | {f"{benchmark}/base": scaling | {"scaling": None} for benchmark in benchmarks},
        "flips": {f"{benchmark}/trained": flips for benchmark in benchmarks},
        "benchmarks": note_benchmarks(benchmarks, num_items=num_items),
        "cost": {"seconds": 528.2, "dollars": None, "generated_tokens": 48211, "correct": 310},
    }
    write_json(path / "results.json", results)
    return path


def write_sweep(storage: Path, *, num_items: int, sizes: Sequence[int]) -> Path:
    """Write a sweep of data sizes, its trials and their steps; return its directory."""
    points, steps = [], {}
    for size in sizes:
        name, label = f"size_{size}-1a2b3c4d", f"{size} sums"
        made = write_evaluation(
            storage / "evaluate" / name,
            label="trained",
            benchmarks=["running_sums"],
            num_items=num_items,
            skill=size / 1000,
        )
        write_curation(storage / "curate" / name, num_traces=size)
        write_training(storage / "train" / name, num_steps=size // 8)
        parts = {"curate": "curate", "train": "train", "trained": "evaluate"}
        trial = write_run(
            storage / "trial" / name,
            identity={},
            command=f"python -m jobs.sweep experiment=demo search.axes.data.only={size}",
            steps={step: f"../../{stage}/{name}" for step, stage in parts.items()},
        )
        write_json(trial / "results.json", {"points": made})
        points += [{**point, "model": label} for point in made]
        steps[label] = f"../../trial/{name}"
    path = write_run(storage / "sweep" / "sizes-1a2b3c4d", identity={}, steps=steps)
    notes = note_benchmarks(["running_sums"], num_items=num_items)
    write_json(path / "results.json", {"points": points, "benchmarks": notes})
    return path


if __name__ == "__main__":
    target = Path(sys.argv[1])
    experiment = write_experiment(target, num_items=int(sys.argv[2]))
    build_report(
        [experiment],
        labels=None,
        companions=NO_COMPANIONS,
        output=target / "report.html",
        config=load_report_config(),
    )
