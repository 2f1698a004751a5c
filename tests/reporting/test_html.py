"""The page as a document: whole, the same every time, nothing from the network, text stays text."""

import json
import re
from pathlib import Path

import pytest

from tests.reporting.fake_evaluations import write_evaluation
from tests.reporting.fake_experiments import write_experiment
from tests.reporting.fake_runs import DIFF, write_json, write_run
from tests.reporting.pages import PageParser, build

HOSTILE = (
    "</script><script>alert('x')</script><img src=x onerror=alert(1)> \u2028 ${`} &amp; \ud800"
)


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


def test_page_says_when_it_holds_only_some_of_the_samples(whole: Path, tmp_path: Path) -> None:
    page = build(whole, output=tmp_path / "report.html", max_items=2)

    assert "48 graded answers of 144" in page


def test_every_colour_of_the_page_has_a_name(page: str) -> None:
    used = set(re.findall(r"var\(--([\w-]+)\)", page))
    defined = set(re.findall(r"--([\w-]+):", page))
    assert used <= defined
