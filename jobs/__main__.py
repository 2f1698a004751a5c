"""List the jobs with a line each: python -m jobs."""

import ast
import sys
from pathlib import Path


def list_jobs() -> dict[str, str]:
    """Return each job's name with the first line of its docstring, without importing it."""
    jobs = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        jobs[path.stem] = doc.split("\n", maxsplit=1)[0]
    return jobs


if __name__ == "__main__":
    lines = [f"  python -m jobs.{name:<14} {line}" for name, line in list_jobs().items()]
    sys.stdout.write("\n".join(["s1ray's jobs; each explains itself with --help:", *lines, ""]))
