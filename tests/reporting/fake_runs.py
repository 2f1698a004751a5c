"""Run directories as the jobs write them, made up but seeded: every file, no model.

    python -m tests.reporting.fake_runs TARGET NUM_ITEMS

writes an experiment of that many questions and its report, to be looked at.
"""

import hashlib
import json
import math
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from s1ray.config.report import ReportConfig
from s1ray.reporting.html import build_report
from s1ray.reporting.reading.records import Companions

NO_COMPANIONS = Companions(
    comparators=(), published=(), compare=lambda pair: (), predict=lambda run: ()
)
CONF = Path(__file__).parents[2] / "conf"
CAPS = (0, 4, 8, 16, 24, 32, 48, 64, None)
WAITS = (1, 2, 4)
DIFF = "diff --git a/s1ray/x.py b/s1ray/x.py\n+<script>alert('dirty')</script>\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class FakePolicy:
    name: str
    cap: int | None
    waits: int


POLICIES = (
    *(FakePolicy(name="natural" if c is None else f"cap_{c}", cap=c, waits=0) for c in CAPS),
    *(FakePolicy(name=f"wait_{k}", cap=None, waits=k) for k in WAITS),
)


def load_report_config(**changes: Any) -> ReportConfig:
    """Return the report's configuration as it stands in conf/, with changes."""
    content = yaml.safe_load((CONF / "report" / "page.yaml").read_text(encoding="utf-8"))
    bootstrap = yaml.safe_load((CONF / "bootstrap" / "paired.yaml").read_text(encoding="utf-8"))
    del content["defaults"]
    return ReportConfig.model_validate(content | {"bootstrap": bootstrap} | changes)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False), encoding="utf-8")


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_run(path: Path, *, identity: Mapping[str, Any], **changes: Any) -> Path:
    """Write what every run directory holds."""
    description = {
        "name": path.name,
        "stage": path.parent.name,
        "identity": dict(identity),
        "command": f"python -m jobs.{path.parent.name} experiment=demo",
        "git": {"sha": "1085bb7dc5c6b7df3b42305e99310b0af95d0f9d", "dirty": ""},
        "versions": {"s1ray": "0.1.0", "torch": "2.13.0", "ray": "2.60.0", "python": "3.11.7"},
        "machine": {
            "cores": 2,
            "memory_gib": 23.5,
            "processor": "AMD EPYC 7B13",
            "system": "Linux-6.1",
        },
        "started": "2026-11-23T18:35:35+0000",
        "resumed_from": None,
        "seconds": {},
        "steps": {},
    }
    write_json(path / "run.json", description | changes)
    budget = {"max_thinking_tokens": list(CAPS), "num_waits": list(WAITS)}
    budget |= {"wait_strings": ["Wait"], "answer_prefix": "Final Answer:"}
    config = {"name": "demo", "budget": budget, "training": {"learning_rate": 3e-4, "epochs": 1}}
    (path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def make_sum(rng: random.Random) -> tuple[str, list[str], int]:
    """Return a question, its running totals a line each, and the answer."""
    terms = [rng.randint(1, 9) for _ in range(rng.randint(3, 9))]
    signs = [rng.choice("+-") for _ in terms[1:]]
    total, lines, text = terms[0], [], str(terms[0])
    for sign, term in zip(signs, terms[1:], strict=True):
        after = total + term if sign == "+" else total - term
        lines.append(f"{total} {sign} {term} = {after}")
        text += f" {sign} {term}"
        total = after
    return f"What is {text}?", lines, total


def make_row(
    rng: random.Random, *, benchmark: str, index: int, model: str, policy: FakePolicy, skill: float
) -> dict[str, Any]:
    """Return one row of samples.jsonl: thinking in words as tokens, cut and prolonged."""
    question, lines, gold = make_sum(random.Random(f"{benchmark}/{index}"))
    words = (
        " \n ".join(lines).split(" ")
        if skill > 0.2
        else ["Sure,", "let", "me", "add."] * rng.randint(1, 9)
    )
    positions = []
    for _ in range(policy.waits):
        positions.append(len(words))
        words += ["Wait", ",", "again:", *lines[-1].split(" ")]
    is_cut = policy.cap is not None and len(words) > policy.cap
    words = words[: policy.cap] if is_cut else words
    seen = len(words) / max(len(" \n ".join(lines).split(" ")), 1)
    is_right = rng.random() < skill * min(1.0, 0.05 + seen)
    guess = gold if is_right else gold + rng.choice([-2, -1, 1, 3])
    is_silent = not is_right and rng.random() < 0.15
    answer = " I am not sure" if is_silent else f" {guess}"
    return {
        "benchmark": benchmark,
        "item": hashlib.sha256(f"{benchmark}/{index}".encode()).hexdigest()[:16],
        "sample": 0,
        "policy": policy.name,
        "model": hashlib.sha256(model.encode()).hexdigest()[:16],
        "seed": index,
        "question": question,
        "gold": str(gold),
        "thinking": " ".join(words),
        "answer": ("Final Answer:" if is_cut else "Answer:") + answer,
        "thinking_ids": list(range(len(words))),
        "answer_ids": [1, 2, 3],
        "wait_positions": positions,
        "num_waits_applied": len(positions),
        "num_generated_tokens": len(words) + 3,
        "thinking_end": "cap" if is_cut else "model",
        "is_answer_forced": is_cut,
        "is_answer_complete": True,
        "verdict": "no_answer" if is_silent else "correct" if is_right else "incorrect",
        "extracted": None if is_silent else str(guess),
        "layer": None if is_silent else "integer",
    }


def summarise(
    rows: Sequence[Mapping[str, Any]], *, model: str, policy: FakePolicy
) -> dict[str, Any]:
    """Return the point of some rows, counted plainly."""
    size = len(rows)
    accuracy = sum(row["verdict"] == "correct" for row in rows) / size
    tokens = [len(row["thinking_ids"]) for row in rows]
    within = [policy.cap is None or count <= policy.cap for count in tokens]
    return {
        "benchmark": rows[0]["benchmark"],
        "model": model,
        "policy": policy.name,
        "max_thinking_tokens": policy.cap,
        "min_thinking_tokens": None,
        "num_waits": policy.waits,
        "num_samples": size,
        "num_items": size,
        "accuracy": accuracy,
        "stderr": math.sqrt(accuracy * (1 - accuracy) / (size - 1)),
        "thinking_tokens": sum(tokens) / size,
        "answered": sum(row["extracted"] is not None for row in rows) / size,
        "forced": sum(row["is_answer_forced"] for row in rows) / size,
        "control": None if policy.cap is None else sum(within) / size,
    }


def write_evaluation(
    path: Path, *, label: str, benchmarks: Sequence[str], num_items: int, skill: float
) -> list[dict[str, Any]]:
    """Write an evaluate run and return its points."""
    rng = random.Random(f"{path.name}/{label}")
    rows = [
        make_row(rng, benchmark=name, index=index, model=label, policy=policy, skill=skill)
        for name in benchmarks
        for index in range(num_items)
        for policy in POLICIES
    ]
    write_run(path, identity={"label": label}, seconds={"evaluate": 141.3})
    write_lines(path / "samples.jsonl", rows)
    points = [
        summarise(
            [row for row in rows if (row["benchmark"], row["policy"]) == (name, policy.name)],
            model=label,
            policy=policy,
        )
        for name in benchmarks
        for policy in POLICIES
    ]
    notes = note_benchmarks(benchmarks, num_items=num_items)
    results = {"points": points, "scaling": {}, "benchmarks": notes, "cost": {}}
    write_json(path / "results.json", results)
    return points


def note_benchmarks(names: Sequence[str], *, num_items: int) -> dict[str, dict[str, Any]]:
    """Return what an evaluation says of its benchmarks; the licence names the benchmark."""
    return {
        name: {
            "name": name,
            "num_questions": num_items,
            "licence": f"MIT, as {name} states",
            "is_private": False,
        }
        for name in names
    }


def write_training(path: Path, *, num_steps: int) -> Path:
    """Write a train run: a falling loss with noise, warm-up and cosine."""
    rng = random.Random(path.name)
    warm_up = max(num_steps // 20, 1)
    rows = [
        {
            "global_step": step,
            "time": 1.7e9 + step,
            "train/loss_nats_per_token": 0.15
            + 2.2 * math.exp(-4 * step / num_steps)
            + rng.gauss(0, 0.05),
            "train/learning_rate": 3e-4
            * min(step / warm_up, 0.5 + 0.5 * math.cos(math.pi * step / num_steps)),
        }
        for step in range(1, num_steps + 1)
    ]
    write_run(path, identity={}, seconds={"train": 204.8})
    write_lines(path / "events.jsonl", rows)
    return path


def write_curation(path: Path, *, num_traces: int) -> Path:
    """Write a curate run."""
    rng = random.Random(path.name)
    rows = []
    for _ in range(num_traces):
        question, lines, total = make_sum(rng)
        domain = f"{len(lines) + 1} terms"
        asked = {"id": "0" * 16, "text": question, "answer": str(total), "source": "running_sums"}
        asked |= {"answer_kind": "integer", "domain": domain, "solution": None}
        trace = {"question": asked, "thinking": "\n".join(lines), "answer": f"Answer: {total}"}
        rows.append(trace | {"teacher": "running_sums", "is_correct": True})
    write_run(path, identity={}, seconds={"curate": 21.9})
    write_lines(path / "selected.jsonl", rows)
    steps = [
        {"name": "quality", "in": 4000, "out": 3991, "reasons": {"empty": 9}, "stand_in": None},
        {
            "name": "decontamination",
            "in": 3991,
            "out": 3940,
            "reasons": {"shared_ngram": 44, "equal_question": 7},
            "stand_in": None,
        },
        {
            "name": "difficulty",
            "in": 3940,
            "out": 2811,
            "reasons": {"solved_by_base": 1129},
            "stand_in": "one small model judges in place of s1's two",
        },
        {
            "name": "diversity",
            "in": 2811,
            "out": num_traces,
            "reasons": {"not_drawn": 2811 - num_traces},
            "stand_in": None,
        },
    ]
    write_json(path / "funnel.json", {"steps": steps})
    source = {"name": "running_sums", "origin": "generated", "licence": "Apache-2.0"}
    write_json(path / "card.json", {"sources": [source | {"num_questions": num_traces}]})
    return path


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
