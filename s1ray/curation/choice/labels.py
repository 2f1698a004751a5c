"""Domains of questions from a file of labels."""

from pathlib import Path

from s1ray.curation.pool.files import RawRow, read_file


def read_labels(path: Path) -> dict[str, str]:
    """Return the domain of each question id, from rows of {"id", "domain"}.

    Raises:
        ValueError: There is no such file, a row is anything else, or two rows label one id
            differently.
    """
    if not path.is_file():
        raise ValueError(
            f"diversity.path={path} is no file. Give a JSONL file of {{id, domain}} rows."
        )
    labels: dict[str, str] = {}
    for row in read_file(path, root=path.parent):
        identifier, domain = _read_label(row)
        if labels.setdefault(identifier, domain) != domain:
            raise ValueError(
                f"{row.file}: row {row.number} labels {identifier!r} as {domain!r}, and a row "
                f"before it as {labels[identifier]!r}. Remove one of them."
            )
    return labels


def _read_label(row: RawRow) -> tuple[str, str]:
    content = row.content or {}
    identifier, domain = content.get("id"), content.get("domain")
    if not isinstance(identifier, str) or not isinstance(domain, str):
        found = f" ({row.error})" if row.error else ""
        raise ValueError(
            f"{row.file}: row {row.number} is no label{found}: it needs the texts id and domain. "
            "Correct or remove the row."
        )
    return identifier, domain
