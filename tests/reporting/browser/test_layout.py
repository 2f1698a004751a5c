"""The page at both widths and in both themes: it fits, is legible, and the keyboard reaches all."""

import json
from pathlib import Path

import pytest
import yaml

from s1ray.config.evaluation import ComparatorsConfig
from s1ray.orchestration.report import write_page
from tests.reporting.devtools import NEEDS_BROWSER, Page, click, read_texts
from tests.reporting.fake_experiments import write_experiment
from tests.reporting.fake_runs import write_curation, write_json
from tests.reporting.pages import CONF, load_report_config

pytestmark = NEEDS_BROWSER


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


def test_one_figure_is_visible_at_each_width(browser: Page, report: Path) -> None:
    seen = "[...document.querySelectorAll('#results svg')].map((e) => e.checkVisibility())"

    browser.open(report, width=1280)
    wide = browser.evaluate(seen)
    browser.open(report, width=390)

    assert wide == [True, False]
    assert browser.evaluate(seen) == [False, True]


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
