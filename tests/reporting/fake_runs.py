"""Run directories as the jobs write them, made up but seeded: every file, no model."""

import json
import math
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

CAPS = (0, 4, 8, 16, 24, 32, 48, 64, None)
WAITS = (1, 2, 4)
DIFF = "diff --git a/s1ray/x.py b/s1ray/x.py\n+<script>alert('dirty')</script>\n"


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
