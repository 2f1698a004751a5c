"""Every leaf of conf/ is read: the schema refuses what it does not know, the code reads it.

Names are compared, not what they belong to: a key passes where any object's attribute of that name
is read. So a key whose name nothing else has is held, a common one such as ``seed`` is not.
"""

import ast
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import s1ray.config
from s1ray.config.base import Section
from s1ray.orchestration.cluster.session import ROOT


def _sections() -> Iterator[type[Section]]:
    for module in pkgutil.walk_packages(s1ray.config.__path__, "s1ray.config."):
        for value in vars(importlib.import_module(module.name)).values():
            is_section = isinstance(value, type) and issubclass(value, Section)
            if is_section and value.__module__ == module.name:
                yield value


def _read_names() -> set[str]:
    """Return every attribute that is read outside the schema, whose own checks use nothing up.

    A string of a key's name is no reading of it: another mapping may have that key.
    """
    schema = ROOT / "s1ray" / "config"
    return {
        node.attr
        for package in ("s1ray", "jobs")
        for path in (ROOT / package).rglob("*.py")
        if schema not in path.parents
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


READ = _read_names()


@pytest.mark.parametrize(
    "section", sorted(set(_sections()), key=str), ids=lambda kind: kind.__name__
)
def test_every_key_of_a_section_is_read_by_something(section: type[Section]) -> None:
    unread = set(section.model_fields) - READ

    assert not unread
