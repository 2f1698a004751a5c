"""Evaluations as the job writes them, made up but seeded: samples of every budget, and points."""

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.reporting.fake_runs import CAPS, WAITS, make_sum, write_json, write_lines, write_run


@dataclass(frozen=True, slots=True, kw_only=True)
class FakePolicy:
    name: str
    cap: int | None
    waits: int


POLICIES = (
    *(FakePolicy(name="natural" if c is None else f"cap_{c}", cap=c, waits=0) for c in CAPS),
    *(FakePolicy(name=f"wait_{k}", cap=None, waits=k) for k in WAITS),
)


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
