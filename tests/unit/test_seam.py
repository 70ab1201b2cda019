"""What could make two runs of one seed differ although no clock and no chance is used: the order of a set.

A set of strings has another order in every process, so in the rooms that a seed must be able to repeat none is gone
through: it may be asked whether it holds something, counted, sorted, or summed up. (Clocks, unseeded chance and uuids
are kept out by `test_import_arrows`.) Directories come in the file system's order and are sorted, too; `hash` and
`id` differ from process to process.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "marketmaker"
SEAM = sorted(
    path
    for part in (
        "core",
        "model",
        "runtime",
        "sim",
        "app.py",
        "shutdown.py",
        "simulation.py",
        "symbol.py",
    )
    for path in (
        [PACKAGE / part] if part.endswith(".py") else sorted((PACKAGE / part).rglob("*.py"))
    )
)
ORDER_DOES_NOT_MATTER = {
    "all", "any", "bool", "frozenset", "isinstance", "len", "max", "min", "set", "sorted", "sum",
}  # fmt: skip
METHODS_THAT_ASK = {
    "difference_update", "discard", "isdisjoint", "issubset", "issuperset", "intersection", "update", "union",
    "difference", "symmetric_difference", "intersection_update", "append",
}  # fmt: skip
EXCEPTIONS = {
    "marketmaker/core/position_manager.py: mark": "numbers of slots, which are sorted before they are settled",
    "marketmaker/core/repair.py: forget_what_is_over": "asks what is in it",
    "marketmaker/core/settings_change.py: id": "names what a copy shares with the original, for one call",
}
"""file: called function → why the order does no harm there."""
WAITS_FOR_ALL = {"wait"}
"""`asyncio.wait` gives no order to what it was given."""
FILES_IN_NO_ORDER = {"glob", "rglob", "iterdir", "listdir", "scandir"}


def annotation_is_set(node: ast.expr | None) -> bool:
    text = "" if node is None else ast.unparse(node).split(" | ")[0]
    return text.split("[")[0] in {"set", "frozenset", "Set", "AbstractSet", "MutableSet"}


def attributes_that_are_sets(trees: list[ast.Module]) -> set[str]:
    """By name, wherever they are declared: `self.x: set[int]`, `x: set[str] = field(...)`, `self.x = set()`."""
    found: set[str] = set()
    for tree in trees:
        for node in ast.walk(tree):
            match node:
                case ast.AnnAssign(target=ast.Attribute(attr=name), annotation=kind):
                    if annotation_is_set(kind):
                        found.add(name)
                case ast.Assign(targets=[ast.Attribute(attr=name)], value=value):
                    if makes_set(value, set(), set()):
                        found.add(name)
                case ast.ClassDef(body=body):
                    found |= {
                        line.target.id
                        for line in body
                        if isinstance(line, ast.AnnAssign)
                        and isinstance(line.target, ast.Name)
                        and annotation_is_set(line.annotation)
                    }
    return found


def makes_set(node: ast.expr, local: set[str], attributes: set[str]) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Call(
            func=ast.Attribute(value=value, attr="union" | "intersection" | "difference")
        ):
            return makes_set(value, local, attributes)
        case ast.Name(id=name):
            return name in local
        case ast.Attribute(attr=name):
            return name in attributes
        case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub(), right=right):
            return makes_set(left, local, attributes) or makes_set(right, local, attributes)
        case ast.IfExp(body=body, orelse=orelse):
            return makes_set(body, local, attributes) or makes_set(orelse, local, attributes)
    return False


def statements(scope: ast.AST) -> Iterator[ast.AST]:
    """What stands in the scope itself, not in a function inside it."""
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += ast.iter_child_nodes(node)


def local_sets(scope: ast.AST, attributes: set[str]) -> set[str]:
    found: set[str] = set()
    arguments = getattr(scope, "args", None)
    if isinstance(arguments, ast.arguments):
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        found |= {each.arg for each in every if annotation_is_set(each.annotation)}
    for node in statements(scope):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind):
                if annotation_is_set(kind):
                    found.add(name)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                if makes_set(value, found, attributes):
                    found.add(name)
    return found


def called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def harmless(tree: ast.Module) -> dict[ast.AST, None]:
    """Arguments, and what comprehensions among them go through, of calls to which order does not matter."""
    found: dict[ast.AST, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) in ORDER_DOES_NOT_MATTER | METHODS_THAT_ASK:
            for argument in node.args:
                found[argument] = None
                if isinstance(argument, ast.GeneratorExp | ast.ListComp | ast.SetComp):
                    found |= dict.fromkeys(each.iter for each in argument.generators)
    return found


def uses_of_order(tree: ast.Module, attributes: set[str], file: str) -> Iterator[str]:
    allowed = harmless(tree)
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    for scope in [*functions, tree]:
        local = local_sets(scope, attributes)
        for node in statements(scope):
            where = f"{file}:{getattr(node, 'lineno', 0)}"
            match node:
                case ast.For(iter=what) | ast.comprehension(iter=what) | ast.Starred(value=what):
                    if makes_set(what, local, attributes) and what not in allowed:
                        yield f"{file}:{what.lineno}: goes through the set {ast.unparse(what)}"
                case ast.Call(args=arguments):
                    name = called(node)
                    if f"{file}: {name}" in EXCEPTIONS:
                        continue
                    if name in {"hash", "id"} and isinstance(node.func, ast.Name):
                        yield f"{where}: {name}() differs from process to process"
                    if name in FILES_IN_NO_ORDER and node not in allowed:
                        yield f"{where}: {name}() without sorted()"
                    if name in ORDER_DOES_NOT_MATTER | METHODS_THAT_ASK | WAITS_FOR_ALL:
                        continue
                    for argument in arguments:
                        if makes_set(argument, local, attributes):
                            yield f"{where}: gives the set {ast.unparse(argument)} to {name}()"


def parsed() -> dict[str, ast.Module]:
    return {
        str(path.relative_to(PACKAGE.parent)): ast.parse(path.read_text(encoding="utf-8"))
        for path in SEAM
    }


def test_nothing_in_the_seam_depends_on_the_order_of_a_set() -> None:
    trees = parsed()
    attributes = attributes_that_are_sets(list(trees.values()))
    assert {"trade_ids", "waiting_for_price"} <= attributes
    found = [line for file, tree in trees.items() for line in uses_of_order(tree, attributes, file)]
    assert not found, "\n".join(dict.fromkeys(found))


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    seen = set()\n    for each in seen: print(each)",
        "def f(names: set[str]):\n    return [n for n in names]",
        "def f(names: frozenset[str]):\n    return list(names)",
        "class A:\n    def f(self):\n        self.x: set[str] = set()\n        return ','.join(self.x)",
        "def f(a: set[str], b):\n    return tuple(a - b)",
        "def f(a: set[str]):\n    g(*a)",
        "def f():\n    return {n: 1 for n in {'a', 'b'}}",
        "def f(orders):\n    return sorted(orders, key=lambda o: hash(o))",
        "def f(path):\n    return list(path.glob('*'))",
    ],
)
def test_a_use_of_the_order_of_a_set_is_found(source: str) -> None:
    tree = ast.parse(source)
    assert list(uses_of_order(tree, attributes_that_are_sets([tree]), "x.py"))


@pytest.mark.parametrize(
    "source",
    [
        "def f(a: set[str], b):\n    return b in a and len(a) == 1 and sorted(a)",
        "def f(a: dict[str, int]):\n    return list(a)",
        "def f(a: set[str]):\n    a.add('x')\n    return a.isdisjoint({'y'})",
        "def f(path):\n    return sorted(path.glob('*'))",
    ],
)
def test_a_question_to_a_set_is_let_through(source: str) -> None:
    tree = ast.parse(source)
    assert not list(uses_of_order(tree, attributes_that_are_sets([tree]), "x.py"))
