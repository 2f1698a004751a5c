"""What tests of the page in a browser share: the browser, and reports to look at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reporting.devtools import Page, find_browser, open_browser
from tests.reporting.fake_experiments import write_experiment
from tests.reporting.pages import build


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    found = find_browser()
    assert found is not None
    with open_browser(found, tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 30 questions, two models and twelve budgets, on two benchmarks."""
    storage = tmp_path_factory.mktemp("runs")
    run = write_experiment(storage, num_items=30, benchmarks=["gsm8k", "running_sums"])
    build(run, output=storage / "report.html")
    return storage / "report.html"


@pytest.fixture
def page(browser: Page, report: Path) -> Page:
    browser.open(report, width=1280)
    return browser
