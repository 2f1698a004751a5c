"""The page's sample answers: no error, filters that work, many at once, and text stays text."""

import json
from pathlib import Path

import pytest

from tests.reporting.devtools import NEEDS_BROWSER, Page, choose, click, read_texts
from tests.reporting.fake_evaluations import write_evaluation
from tests.reporting.pages import build

pytestmark = NEEDS_BROWSER


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_shows_five_answers_without_a_problem(
    browser: Page, report: Path, width: int, theme: str
) -> None:
    browser.open(report, width=width, theme=theme)

    assert browser.problems == []
    assert len(read_texts(browser, "article")) == 5
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_filters_leave_what_was_asked_for(page: Page) -> None:
    choose(page, "benchmarks", "gsm8k")
    choose(page, "models", "base")
    choose(page, "policies", "cap_16")
    choose(page, "verdicts", "\u2717 wrong")

    headings = read_texts(page, "article h3")
    assert headings
    assert all("wrong" in h and "basecap_16gsm8k / " in h for h in headings)
    assert page.problems == []


def test_more_answers_come_when_asked_for_and_take_the_focus(page: Page) -> None:
    click(page, "#more")

    assert len(read_texts(page, "article")) == 25
    assert read_texts(page, "#status") == ["25 of 720 answers shown"]
    focused = "[...document.querySelectorAll('article')].indexOf(document.activeElement)"
    assert page.evaluate(focused) == 5


def test_reset_brings_the_first_answers_back(page: Page) -> None:
    first = read_texts(page, "article h3")
    choose(page, "policies", "wait_2")
    assert read_texts(page, "article h3") != first

    click(page, "#filters button[type=reset]")

    assert read_texts(page, "article h3") == first


def test_one_question_is_shown_at_every_budget(page: Page) -> None:
    click(page, "article button")

    assert read_texts(page, "#status") == ["5 of 12 answers shown"]
    click(page, "#more")
    assert len(read_texts(page, "article")) == 12
    assert read_texts(page, "#more:not([hidden])") == []


def test_cuts_waits_and_forced_answers_are_marked(page: Page) -> None:
    choose(page, "policies", "cap_4")
    forced = read_texts(page, "mark.forced:not(p > mark)")
    cuts = read_texts(page, ".end.cut")
    choose(page, "policies", "wait_2")

    assert forced == ["[forced] Final Answer:"] * 5
    assert cuts == ["Cut at the budget, 4 thinking tokens"] * 5
    assert read_texts(page, "mark.wait:not(p > mark)") == ["[injected] Wait"] * 10


def test_hostile_answer_is_shown_as_text(browser: Page, tmp_path: Path) -> None:
    path = tmp_path / "evaluate" / "e"
    write_evaluation(path, label="trained", benchmarks=["s"], num_items=2, skill=0.9)
    hostile = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'>"
    file = path / "samples.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]
    keys = ("question", "thinking", "answer", "gold", "extracted", "policy", "verdict", "item")
    lines = [json.dumps(row | dict.fromkeys(keys, hostile)) for row in rows]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    output = tmp_path / "r.html"
    build(path, output=output)

    browser.open(output, width=1280)

    assert browser.evaluate("window.broken") is None
    assert browser.problems == []
    assert any(hostile in text for text in read_texts(browser, "article"))


def test_twelve_thousand_answers_open_quickly(browser: Page, tmp_path: Path) -> None:
    path = tmp_path / "evaluate" / "e"
    write_evaluation(path, label="trained", benchmarks=["s"], num_items=1000, skill=0.8)
    output = tmp_path / "r.html"
    build(path, output=output)

    browser.open(output, width=390)
    loaded = browser.evaluate(
        "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
    )
    began = browser.evaluate("performance.now()")
    choose(browser, "verdicts", "\u2717 wrong")
    filtered = browser.evaluate("performance.now()") - began

    assert output.stat().st_size < 4 * 2**20
    # Milliseconds; a busy machine takes a tenth of these.
    assert loaded < 10_000
    assert filtered < 10_000
    assert len(read_texts(browser, "article")) == 5
