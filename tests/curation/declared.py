"""Source declarations for tests: a plain one, changed key by key."""

from s1ray.config.pool import PoolConfig, RowsSourceConfig

SUMS = {
    "min_terms": 2,
    "max_terms": 3,
    "max_number": 9,
    "operations": ("+",),
    "phrasings": ("What is {sum}?",),
}


def declare(*, columns: dict[str, object] | None = None, **changes: object) -> RowsSourceConfig:
    """Return a source that reads the columns q, a, s and d."""
    mapping = {
        "question": "{q}",
        "answer": "{a}",
        "solution": None,
        "domain": None,
        "level": None,
        "cuts": {},
        "options": None,
        "images": (),
        **(columns or {}),
    }
    source = {
        "kind": "rows",
        "origin": "a test",
        "licence": "none",
        "files": ("*.jsonl",),
        "hub": None,
        "keep": (),
        "sample": None,
        "columns": mapping,
        "trace": None,
        "answer_kind": "text",
        "is_answer_required": True,
        **changes,
    }
    return RowsSourceConfig.model_validate(source)


def declare_pool(root: str | None, **changes: object) -> PoolConfig:
    """Return a pool of one source, below a directory."""
    pool = {
        "root": root,
        "sources": {"mine": declare()},
        "max_question_characters": 100,
        "image_markers": ("![",),
        "max_bad_fraction": 0.0,
        "max_duplicate_fraction": 0.0,
        **changes,
    }
    return PoolConfig.model_validate(pool)
