"""What runs where: core and engines import without Ray, and without any package for GPUs."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OPTIONAL = ("liger_kernel", "flash_attn", "vllm", "pynvml", "bitsandbytes", "triton")
EDGE = ("ray", "wandb", "hydra", "omegaconf")


@pytest.mark.parametrize("package", ["training", "generation"])
def test_the_core_imports_without_ray_and_without_packages_for_gpus(package: str) -> None:
    folder = ROOT / "s1ray" / package
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in folder.rglob("*.py")
    ]
    script = (
        "import sys, importlib\n"
        f"sys.modules.update(dict.fromkeys({OPTIONAL + EDGE!r}))\n"
        f"for name in {sorted(modules)!r}:\n"
        "    importlib.import_module(name.removesuffix('.__init__'))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_no_code_of_others_is_ever_run() -> None:
    """Neither remote code nor anybody else's pickle is asked for anywhere in the house."""
    banned = ("trust_remote_code=True", "weights_only=False", "pickle.load", "allow_pickle=True")
    found = [
        f"{word} in {path.relative_to(ROOT)}"
        for folder in ("s1ray", "jobs")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for word in banned
        if word in path.read_text(encoding="utf-8")
    ]

    # An unnamed temporary file that the same process has written.
    assert found == ["pickle.load in s1ray/curation/pool/item_file.py"]


def test_every_package_that_is_imported_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    words = [*project["dependencies"], *(word for extra in extras.values() for word in extra)]
    declared = {_spell(re.split(r"[^\w.-]", word)[0]) for word in words}
    installed = packages_distributions()
    files = [path for folder in ("s1ray", "jobs") for path in (ROOT / folder).rglob("*.py")]

    undeclared = {
        module
        for path in files
        for module in _list_imports(path)
        # Of an extra that is not installed the module's name is the package's.
        if not declared & {_spell(name) for name in installed.get(module, [module])}
    }

    assert undeclared == set()


def _spell(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _list_imports(path: Path) -> Iterator[str]:
    """Yield the top-level packages of others that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        modules = {name.partition(".")[0] for name in names}
        yield from modules - sys.stdlib_module_names - {"s1ray", "jobs"}
