"""Public docstrings are complete: parameters, results, errors, shapes, units of what users set.

What ruff's rules check already (that there is a docstring, and its form) is not checked again.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from s1ray.orchestration.cluster.session import ROOT

Function = ast.FunctionDef | ast.AsyncFunctionDef
MAX_UNDESCRIBED = 3
"""Parameters that a one-line docstring may leave to their names and types."""
PLAIN = {"Path", "Tensor", "Any", "Mapping", "Sequence", "Iterator", "Iterable", "Literal"}
"""Result types that say nothing of what the result is; a record of ours says it by its name."""
MODULES = sorted(
    path for package in ("s1ray", "jobs") for path in (ROOT / package).rglob("[!_]*.py")
)


@dataclass(frozen=True)
class PublicFunction:
    """A function or method that other modules may call."""

    node: Function
    decorators: frozenset[str]

    @property
    def has_plain_result(self) -> bool:
        """Whether only words can say what comes back."""
        names = set(re.findall(r"\b[A-Z]\w*", ast.unparse(self.node.returns or ast.Constant(None))))
        quiet = {"property", "cached_property", "contextmanager", "asynccontextmanager"}
        return names <= PLAIN and not self.decorators & quiet

    @property
    def has_bare_tensor(self) -> bool:
        """Whether a parameter or the result is a tensor, not a collection of named ones."""
        arguments = self.node.args
        every = [one.annotation for one in (*arguments.args, *arguments.kwonlyargs)]
        texts = [ast.unparse(one) for one in (*every, self.node.returns) if one is not None]
        return any(text.split(" | ")[0] in ("Tensor", "torch.Tensor") for text in texts)

    @property
    def doc(self) -> str:
        return ast.get_docstring(self.node) or ""

    @property
    def parameters(self) -> list[str]:
        arguments = self.node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        return [one.arg for one in every if one.arg not in ("self", "cls")]


def list_public(tree: ast.Module) -> Iterator[PublicFunction]:
    """Yield a module's public functions and the public methods of its public classes."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from (found for found in map(read_function, node.body) if found)
        elif found := read_function(node):
            yield found


def read_function(node: ast.stmt) -> PublicFunction | None:
    if not isinstance(node, Function) or node.name.startswith("_"):
        return None
    names = {ast.unparse(decorator) for decorator in node.decorator_list}
    if "overload" in names:
        return None
    return PublicFunction(node=node, decorators=frozenset(names))


def list_raised(function: Function) -> set[str]:
    """Return the names of public exceptions that a function's own body raises."""
    raised = set()
    for node in walk_own(function):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = ast.unparse(node.exc.func).split(".")[-1]
            if name[0].isupper():
                raised.add(name)
    return raised


def walk_own(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a body, without those of functions defined inside."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, Function | ast.Lambda | ast.ClassDef):
            yield child
            yield from walk_own(child)


def find_gaps(function: PublicFunction) -> list[str]:
    """Return what a public docstring lacks."""
    doc, node = function.doc, function.node
    gaps = []
    described = re.search(r"^Args:\n((?:    .*\n?|\n)*)", doc, flags=re.M)
    if described is None and len(function.parameters) > MAX_UNDESCRIBED:
        gaps.append(f"Args of {len(function.parameters)} parameters")
    if described is not None:
        named = re.findall(r"^    (\w+)(?: \([^)]*\))?:", described[1], flags=re.M)
        gaps += [f"the parameter {name}" for name in function.parameters if name not in named]
        gaps += [f"no parameter {name}" for name in named if name not in function.parameters]
    if function.has_plain_result and not re.search(r"(?i)\b(returns?|yields?|whether)\b", doc):
        gaps.append("what it returns")
    if function.has_bare_tensor and not re.search(r"\[[\w ,*]+\]|shape|scalar", doc):
        gaps.append("the shape of a tensor")
    gaps += [f"Raises {name}" for name in list_raised(node) if f"    {name}:" not in doc]
    return gaps


def test_public_docstrings_are_complete() -> None:
    gaps = [
        f"{path.relative_to(ROOT)}:{function.node.lineno} {function.node.name} lacks {gap}"
        for path in MODULES
        for function in list_public(ast.parse(path.read_text(encoding="utf-8")))
        for gap in find_gaps(function)
    ]

    assert gaps == []


UNITS = re.compile(
    r"(^|_)(gib|gb|gbit|tokens|seconds|nats|bytes|inches|percent|characters|usd|tflops|microseconds"
    r"|dollars\w*|hour|watts|mhz|ratio|rate|share|fraction|cpus|gpus|minutes|mib|tolerance|second"
    r"|decay|norm|inch|minute|hours|shares|overlap|similarity|gflops)(_|$)|^(max|min|num)_"
)
DIMENSIONLESS = {
    *("beta1", "beta2", "confidence", "dropout", "efficiency_compiled", "efficiency_eager"),
    *("epsilon", "initializer_range", "rms_norm_eps", "rope_theta", "temperature", "top_p"),
}
"""Words of the field that have no unit."""


def test_every_real_number_that_users_set_has_a_unit_or_a_docstring() -> None:
    bare = []
    for path in MODULES:
        if path.parent.name != "config" and "config" not in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bare += [f"{path.name} {node.name}.{name}" for name in list_bare_numbers(node)]

    assert bare == []


def list_bare_numbers(section: ast.ClassDef) -> Iterator[str]:
    """Yield the float fields that neither name nor docstring gives a unit."""
    for at, node in enumerate(section.body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name, kind = node.target.id, ast.unparse(node.annotation)
            is_described = isinstance((section.body[at + 1 : at + 2] or [None])[0], ast.Expr)
            is_known = UNITS.search(name) or name in DIMENSIONLESS
            if re.search(r"[fF]loat\b", kind) and not is_described and not is_known:
                yield name
