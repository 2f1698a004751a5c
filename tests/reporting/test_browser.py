"""The page in a real browser: no error, filters that work, both themes and widths legible."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from s1ray.config.evaluation import ComparatorsConfig
from s1ray.orchestration.report import write_page
from s1ray.reporting.html import build_report
from tests.reporting.devtools import Page, find_browser, open_browser
from tests.reporting.fake_runs import (
    CONF,
    NO_COMPANIONS,
    load_report_config,
    write_curation,
    write_evaluation,
    write_experiment,
    write_json,
)

BROWSER = find_browser()
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    assert BROWSER is not None
    with open_browser(BROWSER, tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 30 questions, two models and twelve budgets, on two benchmarks."""
    storage = tmp_path_factory.mktemp("runs")
    run = write_experiment(storage, num_items=30, benchmarks=["gsm8k", "running_sums"])
    config = load_report_config(dots_per_inch=40)
    return build_report(
        [run],
        labels=None,
        companions=NO_COMPANIONS,
        output=storage / "report.html",
        config=config,
    )


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two data sizes with votes, beside what was published."""
    storage = tmp_path_factory.mktemp("several")
    runs = []
    for size in (40, 1200):
        run = write_experiment(storage, num_items=4, benchmarks=["aime24"], name=f"size-{size:08d}")
        write_curation(storage / "curate" / run.name, num_traces=size)
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
        vote = {"policy": "natural", "size": 4, "majority": 0.5, "majority_stderr": 0.1}
        vote |= {"shortest_majority": 0.5, "shortest_majority_stderr": 0.1}
        write_json(run / "results.json", results | {"votes": {"aime24/trained": [vote]}})
        runs.append(run)
    published = yaml.safe_load((CONF / "comparators" / "published.yaml").read_text("utf-8"))
    return write_page(
        runs,
        labels=None,
        comparators=ComparatorsConfig.model_validate(published),
        output=storage / "report.html",
        config=load_report_config(dots_per_inch=40),
    )


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_several_runs_fit_each_width_and_theme(
    browser: Page, several: Path, width: int, theme: str
) -> None:
    browser.open(several, width=width, theme=theme)

    assert browser.problems == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(CONTRAST) == []
    figures = read_texts(browser, "#results figcaption")
    assert [text.split(".")[0] for text in figures] == [
        "Accuracy against thinking tokens",
        "Sequential against parallel: thinking tokens of all samples of a question",
    ]
    legend = " ".join(read_texts(browser, "#results svg"))
    assert "40 traces" in legend
    assert "1,200 traces" in legend


def test_every_number_has_a_command_that_opens_when_asked_for(browser: Page, several: Path) -> None:
    browser.open(several, width=390)
    visible = "document.querySelector('.commands code').checkVisibility()"
    before = browser.evaluate(visible)

    browser.evaluate("document.querySelector('.commands').parentElement.open = true")

    assert (before, browser.evaluate(visible)) == (False, True)
    commands = read_texts(browser, ".commands code")
    # Twelve budgets of four models, three of them against the first, and the page itself.
    assert len(commands) == 4 * 12 + 3 + 1
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.fixture
def page(browser: Page, report: Path) -> Page:
    browser.open(report, width=1280)
    return browser


def choose(page: Page, name: str, label: str) -> None:
    """Choose an option by what it reads, as a person does."""
    page.evaluate(
        f"(() => {{ const select = document.querySelector('[name={name}]');"
        f"const at = [...select.options].findIndex((o) => o.text === {json.dumps(label)});"
        "select.selectedIndex = at; document.getElementById('status').textContent = '';"
        "select.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    page.settle()


def click(page: Page, selector: str) -> None:
    page.evaluate(
        "document.getElementById('status').textContent = '';"
        f"document.querySelector({json.dumps(selector)}).click()"
    )
    page.settle()


def read_texts(page: Page, selector: str) -> list[str]:
    texts: list[str] = page.evaluate(
        f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent)"
    )
    return texts


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_shows_five_answers_without_a_problem(
    browser: Page, report: Path, width: int, theme: str
) -> None:
    browser.open(report, width=width, theme=theme)

    assert browser.problems == []
    assert len(read_texts(browser, "article")) == 5
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_one_figure_is_visible_at_each_width(browser: Page, report: Path) -> None:
    seen = "[...document.querySelectorAll('#results svg')].map((e) => e.checkVisibility())"

    browser.open(report, width=1280)
    wide = browser.evaluate(seen)
    browser.open(report, width=390)

    assert wide == [True, False]
    assert browser.evaluate(seen) == [False, True]


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


def test_theme_button_overrides_the_system(page: Page) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)

    themes = []
    for _ in range(3):
        page.evaluate("document.getElementById('theme').click()")
        themes.append(page.evaluate(f"[document.documentElement.dataset.theme, {background}]"))

    assert [theme for theme, _ in themes] == ["light", "dark", "auto"]
    assert themes[0][1] == themes[2][1] == light != themes[1][1]


CONTRAST = """
(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const read = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b]
    .map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = read(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const holds = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!holds || !element.checkVisibility() || element.closest("script, style")) continue;
    const style = getComputedStyle(element);
    const ink = element.closest("svg") ? style.fill : style.color;
    const [a, b] = [light(read(ink)), light(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push(`${element.tagName} ${element.textContent.slice(0, 30)} ${ratio}`);
  }
  return faint;
})()
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_stands_out_from_its_background(browser: Page, report: Path, theme: str) -> None:
    # 4.5 to 1 for text of normal size: WCAG 2.2, criterion 1.4.3.
    browser.open(report, width=1280, theme=theme)
    click(browser, "#more")

    assert browser.evaluate(CONTRAST) == []


def test_every_control_has_a_name_and_the_keyboard_reaches_it(page: Page) -> None:
    unnamed = page.evaluate(
        "[...document.querySelectorAll('select, input')].filter((e) => !e.labels.length).length"
    )
    reachable = page.evaluate(
        "[...document.querySelectorAll('button, select, input, a, summary')]"
        ".filter((e) => e.checkVisibility()).every((e) => { e.focus();"
        " return document.activeElement === e; })"
    )

    assert unnamed == 0
    assert reachable is True


def test_hostile_answer_is_shown_as_text(browser: Page, tmp_path: Path) -> None:
    path = tmp_path / "evaluate" / "e"
    write_evaluation(path, label="trained", benchmarks=["s"], num_items=2, skill=0.9)
    hostile = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'>"
    file = path / "samples.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]
    keys = ("question", "thinking", "answer", "gold", "extracted", "policy", "verdict", "item")
    lines = [json.dumps(row | dict.fromkeys(keys, hostile)) for row in rows]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    config = load_report_config(dots_per_inch=40)
    output = build_report(
        [path],
        labels=None,
        companions=NO_COMPANIONS,
        output=tmp_path / "r.html",
        config=config,
    )

    browser.open(output, width=1280)

    assert browser.evaluate("window.broken") is None
    assert browser.problems == []
    assert any(hostile in text for text in read_texts(browser, "article"))


def test_twelve_thousand_answers_open_quickly(browser: Page, tmp_path: Path) -> None:
    path = tmp_path / "evaluate" / "e"
    write_evaluation(path, label="trained", benchmarks=["s"], num_items=1000, skill=0.8)
    config = load_report_config(dots_per_inch=40)
    output = build_report(
        [path],
        labels=None,
        companions=NO_COMPANIONS,
        output=tmp_path / "r.html",
        config=config,
    )

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
