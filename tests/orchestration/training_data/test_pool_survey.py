"""A pool on Ray Data gives what it gives in this process, byte for byte."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from s1ray.config.recipe import Recipe
from s1ray.orchestration.training_data.curate import prepare_curate, run_curate

FILES = ("selected.jsonl", "rejected.jsonl", "funnel.json", "card.json")
LETTERS = "abcdefghijklmnop"


def _write_pool(root: Path, *, seed: int) -> None:
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


def _curate(
    compose: Callable[..., Recipe], root: Path, storage: Path, *overrides: str
) -> dict[str, bytes]:
    recipe = compose(
        "pool=files",
        f"pool.root={root}",
        "pool.max_bad_fraction=0.2",
        "pool.max_duplicate_fraction=1.0",
        "benchmark=[gsm8k]",
        f"benchmark.gsm8k.path={root.parent / 'benchmark.jsonl'}",
        "benchmark.gsm8k.gold=verbatim",
        "quality=questions",
        "selection.length=solution_or_question_words",
        *overrides,
        storage=storage,
    )
    path = run_curate(prepare_curate(recipe))
    return {name: (path / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("mode", ["overlap", "s1"])
def test_ray_data_gives_the_bytes_of_judging_in_turn(
    ray_head: None, tiny: Callable[..., Recipe], tmp_path: Path, mode: str
) -> None:
    _write_pool(tmp_path / "pool", seed=1)
    common = (f"decontamination={mode}",)

    in_turn = _curate(tiny, tmp_path / "pool", tmp_path / "one", *common, "screening=in_turn")
    on_ray = _curate(
        tiny,
        tmp_path / "pool",
        tmp_path / "two",
        *common,
        "screening=ray_data",
        "screening.rows_per_batch=40",
    )

    assert on_ray == in_turn
    reasons = {json.loads(line)["step"] for line in in_turn["rejected.jsonl"].splitlines()}
    assert {"sources", "decontaminate", "selection"} <= reasons
