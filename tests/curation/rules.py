"""Rules of curation: a plain set, changed where a test says so."""

from collections.abc import Mapping

from pydantic import TypeAdapter

from s1ray.config.curation import (
    DecontaminationConfig,
    DifficultyConfig,
    QualityConfig,
    SelectionConfig,
    SourceDiversityConfig,
)
from s1ray.curation.screening.screening import CurationRules


def make_rules(
    *, kind: str = "random", difficulty: Mapping[str, object] | None = None
) -> CurationRules:
    selection = {
        "kind": kind,
        "num_questions": 50,
        "seed": 1,
        "length": "thinking_words",
        "after_difficulty": True,
    }
    return CurationRules(
        max_duplicate_fraction=0.1,
        diversity=SourceDiversityConfig(kind="source"),
        decontamination=TypeAdapter(DecontaminationConfig).validate_python(
            {
                "mode": "overlap",
                "ngram_size": 8,
                "min_overlap": 0.5,
                "max_ngram_questions": 20,
                "near_duplicates": None,
            }
        ),
        quality=QualityConfig(
            filters=("missing_trace", "bold_number"), asymptote_sources=(), max_part=999
        ),
        difficulty=TypeAdapter(DifficultyConfig).validate_python(difficulty or {"kind": "none"}),
        selection=TypeAdapter(SelectionConfig).validate_python(selection),
    )
