"""Reports built for tests, with nothing beside their runs, and what a browser would make of one."""

from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import yaml

from s1ray.config.report import ReportConfig
from s1ray.reporting.html import build_report
from s1ray.reporting.reading.records import Companions

NO_COMPANIONS = Companions(
    comparators=(), published=(), compare=lambda pair: (), predict=lambda run: ()
)
CONF = Path(__file__).parents[2] / "conf"
VOID = {"meta", "input", "br", "img", "link"}


def load_report_config(**changes: Any) -> ReportConfig:
    """Return the report's configuration as it stands in conf/, with changes."""
    content = yaml.safe_load((CONF / "report" / "page.yaml").read_text(encoding="utf-8"))
    bootstrap = yaml.safe_load((CONF / "bootstrap" / "paired.yaml").read_text(encoding="utf-8"))
    del content["defaults"]
    return ReportConfig.model_validate(content | {"bootstrap": bootstrap} | changes)


def build(
    *run_dirs: Path,
    output: Path,
    labels: Sequence[str] | None = None,
    companions: Companions = NO_COMPANIONS,
    **changes: Any,
) -> str:
    """Write the page of some runs, its figures coarse, and return it."""
    config = load_report_config(dots_per_inch=40, **changes)
    build_report(run_dirs, labels=labels, companions=companions, output=output, config=config)
    return output.read_text(encoding="utf-8")


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
