import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from s1ray.reporting.html import build_report
from s1ray.reporting.reading.records import Companions, Pair, PairedEffect, Prediction, Run
from tests.reporting.fake_runs import (
    DIFF,
    NO_COMPANIONS,
    POLICIES,
    load_report_config,
    write_curation,
    write_evaluation,
    write_experiment,
    write_json,
    write_run,
    write_sweep,
    write_training,
)

HOSTILE = (
    "</script><script>alert('x')</script><img src=x onerror=alert(1)> \u2028 ${`} &amp; \ud800"
)
VOID = {"meta", "input", "br", "img", "link"}


@dataclass(frozen=True)
class Published:
    system: str
    benchmark: str
    accuracy: float
    is_drawn: bool
    source: str


class PageParser(HTMLParser):
    """Collects what a browser would make of the page, and every tag left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open_tags: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open_tags or self.open_tags[-1] not in ("script", "style"):
            self.text += data


def build(
    *run_dirs: Path,
    output: Path,
    labels: Sequence[str] | None = None,
    companions: Companions = NO_COMPANIONS,
    **changes: Any,
) -> str:
    config = load_report_config(dots_per_inch=40, **changes)
    build_report(run_dirs, labels=labels, companions=companions, output=output, config=config)
    return output.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run and, beside its storage, its report."""
    storage = tmp_path_factory.mktemp("whole")
    run = write_experiment(storage, num_items=6)
    build(run, output=storage / "out" / "report.html")
    return run


@pytest.fixture
def page(whole: Path) -> str:
    return (whole.parents[1] / "out" / "report.html").read_text(encoding="utf-8")


def test_report_of_a_whole_experiment_lacks_nothing(whole: Path, page: str) -> None:
    parsed = PageParser(page)
    assert 'class="absent"' not in page.replace('<noscript><p class="absent">', "")
    for words in ("demo-1a2b3c4d", "2 cores", "cap_16", "Control %", "decontamination", "480"):
        assert words in parsed.text
    assert parsed.tags["svg"] == 4
    assert parsed.open_tags == []
    assert len(parsed.ids) == len(set(parsed.ids))
    out = whole.parents[1] / "out"
    names = {path.name for path in out.iterdir()}
    stems = ("scaling", "training")
    assert names == {"report.html"} | {f"{s}.{end}" for s in stems for end in ("png", "pdf", "csv")}
    assert (out / "scaling.png").read_bytes()[:4] == b"\x89PNG"
    assert (out / "scaling.pdf").read_bytes()[:4] == b"%PDF"


def test_report_of_a_sweep_shows_what_its_trials_did(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, num_items=3, sizes=[80, 160])

    page = build(sweep, output=tmp_path / "out" / "report.html")

    assert "No training curve" not in page
    data = page[page.index('id="data"') : page.index('id="samples"')]
    assert [data.count(f"<h3>{label}</h3>") for label in ("80 sums", "160 sums")] == [1, 1]
    losses = (tmp_path / "out" / "training.csv").read_text(encoding="utf-8").splitlines()
    assert [sum(row.startswith(label) for row in losses) for label in ("80 ", "160 ")] == [10, 20]
    assert "160 sums against 80 sums" in page
    assert "running_sums, 160 sums, cap_8" in page
    assert page.count("jobs.sweep experiment=demo search.axes.data.only=160") == 1 + len(POLICIES)


def test_licences_stand_with_the_benchmarks_and_with_the_data(tmp_path: Path) -> None:
    one = write_experiment(tmp_path, num_items=3, benchmarks=["aime24"], name="demo-aaaaaaaa")
    two = write_experiment(tmp_path, num_items=3, benchmarks=["aime24"], name="demo-bbbbbbbb")
    private = write_evaluation(
        tmp_path / "evaluate" / "gpqa", label="x", benchmarks=["gpqa"], num_items=2, skill=0.5
    )
    note = {"name": "gpqa", "num_questions": 2, "licence": "CC BY 4.0", "is_private": True}
    results = {"points": private, "benchmarks": {"gpqa": note}}
    write_json(tmp_path / "evaluate" / "gpqa" / "results.json", results)

    page = build(one, two, tmp_path / "evaluate" / "gpqa", output=tmp_path / "report.html")

    budgets = page[page.index('id="budgets"') : page.index('id="training"')]
    data = page[page.index('id="data"') : page.index('id="samples"')]
    assert budgets.count("MIT, as aime24 states") == 1
    assert "<td>CC BY 4.0</td><td>kept out of this page</td>" in budgets
    assert data.count("<td>Apache-2.0</td>") == 2


def test_page_asks_nothing_of_the_network(page: str) -> None:
    parsed = PageParser(page)

    targets = [v for _, name, v in parsed.attributes if name in ("src", "href", "xlink:href")]
    assert all(target.startswith(("#", "data:")) for target in targets)
    assert parsed.tags["link"] == parsed.tags["iframe"] == 0
    assert not any(name.startswith("on") for _, name, _ in parsed.attributes)


def test_page_is_the_same_every_time(whole: Path, page: str, tmp_path: Path) -> None:
    assert build(whole, output=tmp_path / "again.html") == page


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "evaluate" / "e"
    points = write_evaluation(path, label="x", benchmarks=["sums"], num_items=2, skill=0.5)
    row = {"benchmark": HOSTILE, "item": HOSTILE, "sample": 0, "policy": HOSTILE, "model": "m"}
    row |= {"question": HOSTILE, "gold": HOSTILE, "thinking": HOSTILE, "answer": HOSTILE}
    row |= {"thinking_ids": [1], "wait_positions": [], "num_waits_applied": 0, "layer": HOSTILE}
    row |= {"thinking_end": HOSTILE, "is_answer_forced": True, "is_answer_complete": True}
    line = json.dumps(row | {"verdict": HOSTILE, "extracted": HOSTILE})
    (path / "samples.jsonl").write_text(line + "\n", encoding="ascii")
    clean = HOSTILE.replace("\ud800", "")
    points[0] |= {"benchmark": clean, "model": clean, "policy": clean}
    scaling = {clean: {"control": 1.0, "scaling": None, "performance": None}}
    write_json(
        path / "results.json", {"points": points, "scaling": scaling, "cost": {clean: clean}}
    )
    write_run(
        path, identity={}, command=clean, versions={clean: clean}, git={"sha": clean, "dirty": DIFF}
    )
    (path / "config.yaml").write_text("a: '</pre><script>alert(2)</script>'\n", encoding="utf-8")

    parsed = PageParser(build(path, output=tmp_path / "report.html"))

    # The index, one piece of samples and the page's own script; no image, no handler.
    assert parsed.tags["script"] == 3
    assert parsed.tags["img"] == 0
    assert not any(name.startswith("on") for _, name, _ in parsed.attributes)
    assert parsed.open_tags == []
    assert "<script>alert(2)</script>" in parsed.text


@pytest.mark.parametrize(
    ("stage", "present", "missing"),
    [
        ("train", "optimizer step", ("no point is scored", "jobs.curate", "holds samples.jsonl")),
        ("curate", "decontamination", ("no point is scored", "training loss. Run jobs.train")),
        ("evaluate", "cap_16", ("training loss. Run jobs.train", "Run jobs.curate")),
    ],
)
def test_report_of_one_stage_says_what_is_missing(
    tmp_path: Path, stage: str, present: str, missing: tuple[str, ...]
) -> None:
    path = tmp_path / stage / "alone"
    if stage == "train":
        write_training(path, num_steps=30)
    elif stage == "curate":
        write_curation(path, num_traces=20)
    else:
        write_evaluation(path, label="trained", benchmarks=["sums"], num_items=4, skill=0.8)

    text = PageParser(build(path, output=tmp_path / "report.html")).text

    assert present in text or present in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(words in text for words in missing)


def test_report_of_a_run_that_holds_nothing_yet_is_a_page(tmp_path: Path) -> None:
    path = write_run(tmp_path / "reproduce" / "r", identity={}, steps={"train": "train/gone"})

    text = PageParser(build(path, output=tmp_path / "report.html")).text

    assert "The step train of r has no run directory" in text


def test_evaluation_without_scores_shows_tokens_and_no_figure(tmp_path: Path) -> None:
    path = tmp_path / "evaluate" / "e"
    points = write_evaluation(path, label="trained", benchmarks=["s"], num_items=4, skill=0.8)
    bare = [point | {"accuracy": None, "stderr": None, "answered": None} for point in points]
    write_json(path / "results.json", {"points": bare})

    page = build(path, output=tmp_path / "report.html")

    assert "no point is scored" in page
    assert "cap_16" in page
    assert not (tmp_path / "scaling.png").exists()


def test_models_of_several_experiments_are_told_apart(tmp_path: Path) -> None:
    one = write_experiment(tmp_path, num_items=3, name="demo-aaaaaaaa")
    two = write_experiment(tmp_path, num_items=3, name="demo-bbbbbbbb")

    text = PageParser(build(one, two, output=tmp_path / "report.html")).text

    assert "2 experiments" in text
    assert "trained, demo-aaaaaaaa" in text
    assert "base, demo-bbbbbbbb" in text
    losses = (tmp_path / "training.csv").read_text(encoding="utf-8")
    assert {"demo-aaaaaaaa", "demo-bbbbbbbb"} <= {row.split(",")[0] for row in losses.split("\n")}


def test_runs_may_be_given_labels(tmp_path: Path) -> None:
    one = write_experiment(tmp_path, num_items=3, name="demo-aaaaaaaa")
    two = write_experiment(tmp_path, num_items=3, name="demo-bbbbbbbb")

    text = PageParser(
        build(one, two, output=tmp_path / "report.html", labels=["seed 1", "seed 2"])
    ).text

    assert "trained, seed 2" in text
    with pytest.raises(ValueError, match="as many labels as runs"):
        build(one, two, output=tmp_path / "report.html", labels=["seed 1", "seed 1"])


def test_what_stands_beside_the_runs_is_shown(tmp_path: Path) -> None:
    run = write_experiment(tmp_path, num_items=3)
    pairs: list[Pair] = []

    def compare(pair: Pair) -> tuple[PairedEffect, ...]:
        pairs.append(pair)
        effect = PairedEffect(
            benchmark="running_sums",
            accuracy_reference=0.25,
            accuracy_variant=0.75,
            low=0.125,
            high=0.875,
            num_items=3,
            is_resolved=False,
        )
        return (effect,)

    def predict(run: Run) -> tuple[Prediction, ...]:
        row = Prediction(
            run=run.name, quantity="minutes", predicted=4.0, actual=5.0, basis="cluster=laptop"
        )
        return (row,)

    beside = replace(NO_COMPANIONS, compare=compare, predict=predict)
    text = PageParser(build(run, output=tmp_path / "report.html", companions=beside)).text

    assert [(pair.reference, pair.variant, pair.policy) for pair in pairs] == [
        ("base", "trained", "natural")
    ]
    assert "[+12.5, +87.5]" in text
    assert "cluster=laptop" in text
    assert "1.25" in text


def test_comparators_on_the_same_benchmark_are_quoted(tmp_path: Path) -> None:
    run = write_experiment(tmp_path, num_items=3, benchmarks=["aime24"])
    theirs = [
        Published("s1-32B", "aime24", 0.567, is_drawn=True, source="arXiv 2501.19393, Table 1")
    ]

    text = PageParser(
        build(
            run,
            output=tmp_path / "report.html",
            companions=replace(NO_COMPANIONS, comparators=tuple(theirs)),
        )
    ).text
    assert "arXiv 2501.19393, Table 1" in text
    assert "56.7" in text


def test_page_says_when_it_holds_only_some_of_the_samples(whole: Path, tmp_path: Path) -> None:
    page = build(whole, output=tmp_path / "report.html", max_items=2)

    assert "48 graded answers of 144" in page


def test_report_without_directories_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no run directory is named"):
        build(output=tmp_path / "report.html")


def test_every_colour_of_the_page_has_a_name(page: str) -> None:
    used = set(re.findall(r"var\(--([\w-]+)\)", page))
    defined = set(re.findall(r"--([\w-]+):", page))
    assert used <= defined
