"""A pool with whatever a survey has to find."""

import json
import random
from pathlib import Path

LETTERS = "abcdefghijklmnop"


def write_torn_pool(root: Path, *, seed: int) -> None:
    """Three files of questions with repeats, near-repeats and malformed rows."""
    rng = random.Random(seed)
    texts: list[str] = []
    root.mkdir()
    for name in ("a", "b", "c"):
        lines = []
        for number in range(150):
            words = rng.choice(texts).split() if texts and rng.random() < 0.4 else []
            words = words or [rng.choice(LETTERS) * 3 for _ in range(rng.randint(3, 25))]
            words[rng.randrange(len(words))] = rng.choice(LETTERS)
            texts.append(" ".join(words))
            row = {"question": texts[-1], "answer": str(number), "solution": "", "domain": name}
            lines.append(json.dumps(row) if rng.random() < 0.95 else '{"torn')
        (root / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    protected = [json.dumps({"question": text, "answer": "1"}) for text in rng.sample(texts, 20)]
    (root.parent / "benchmark.jsonl").write_text("\n".join(protected) + "\n", encoding="utf-8")
