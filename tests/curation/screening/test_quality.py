import re

import pytest

from s1ray.config.curation import QualityConfig
from s1ray.curation.screening.quality import judge_quality
from tests.curation.made import make_item

ALL = QualityConfig(
    filters=("missing_trace", "asymptote", "image_reference", "part_reference", "bold_number"),
    asymptote_sources=("aime",),
    max_part=999,
)

TEXTS = [
    "plain",
    "[asy] draw(); [/asy]",
    "see ![Image](x)",
    "see ![](x)",
    "step1. then p12. then",
    "p0. and p1000. stay",
    "p999. goes",
    "stop1.5",
    "it is **12** here",
    "it is **bold**",
    "it is **bold** in 1999",
    "**4.** Find",
    "**a]1**",
]


def _is_kept_by_the_notebook(text: str, source: str) -> bool:
    """s1's condition as its description states it, part by part."""
    has_part = any(f"p{number}." in text for number in range(1, 1000))
    bold = re.search(r"\*\*(?=.*\d)[^\s\]]*\*\*", text)
    is_figure = "[asy]" in text and "aime" not in source
    return not (is_figure or "![Image]" in text or has_part or bold)


@pytest.mark.parametrize("source", ["aime", "math"])
@pytest.mark.parametrize("text", TEXTS)
def test_quality_agrees_with_the_notebooks_condition(text: str, source: str) -> None:
    reason = judge_quality(ALL)(make_item(text, source=source))

    assert (reason is None) == _is_kept_by_the_notebook(text, source)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("[asy]", "asymptote"),
        ("![Image]", "image_reference"),
        ("p3.", "part_reference"),
        ("**3**", "bold_number"),
    ],
)
def test_quality_names_the_filter(text: str, name: str) -> None:
    reason = judge_quality(ALL)(make_item(text))

    assert reason is not None
    assert reason.name == name


def test_missing_trace_drops_rows_without_thinking_only_where_it_is_asked_for() -> None:
    item = make_item("plain", thinking="")
    without = ALL.model_copy(update={"filters": ("bold_number",)})

    reason = judge_quality(ALL)(item)

    assert reason is not None
    assert reason.name == "missing_trace"
    assert judge_quality(without)(item) is None
