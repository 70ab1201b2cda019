"""Compile the decisions, the matching and the backtest's drivers with mypyc: the same source, only faster.

    python scripts/compile_core.py [--into build/compiled]

What is built lies in a directory of its own, never beside the source, with a manifest that names every source file it
was made from and its hash. `marketmaker.compiled` takes it only when it is asked to and only while all of that still
holds, so a stale build cannot stand in for newer code.

The package is copied and the chosen modules are made ready for the compiler in the copy. That changes how values are
built, not one rule: mypyc leaves the `__init__` of a dataclass to the interpreter, which is most of what a small
message costs, so each dataclass gets the `__init__` that `@dataclass` would write for it, written out. Everything else
that the decorator does (fields, frozen, comparison, repr) it goes on doing. And each of
the backtest's rooms is told to be `acyclic`: none of these messages and records can lead back to itself, so Python's
collector need not know of them; one freed instance of each is kept for the next to take.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from marketmaker.compiled import COMPILED, MANIFEST, hashes, modules_to_compile
from scripts import line_writers

ROOT = Path(__file__).resolve().parent.parent

SETUP = """
from mypyc.build import mypycify
from setuptools import setup

groups = {groups!r}
files = [file for group in groups for file in group[0]]
options = ["--no-warn-unused-ignores", "--no-warn-unreachable"]
modules = mypycify([*options, *files], opt_level="3", debug_level="0", separate=groups)
for module in modules:
    if module.name.startswith("live"):
        module.extra_compile_args = [word.replace("-O3", "-O1") for word in module.extra_compile_args]
setup(name="marketmaker", packages=[], ext_modules=modules)
"""
"""Two libraries. `core` is what loops: as quick as the compiler can make it. `live` is what runs once for a frame, between
waits in which others have the processor's caches: there small code is quick code (-O1: 10 % less time than -O2)."""

CORE = ("model", "core", "sim", "backtest")
"""Rooms without futures and callbacks: they are also told to be acyclic."""

MADE_WRITERS = "marketmaker/runtime/made_writers.py"

IMPORTS = [
    "from typing import TYPE_CHECKING",
    "if TYPE_CHECKING:",
    "    from mypy_extensions import mypyc_attr",
]
HOW_KEPT = "@mypyc_attr(acyclic=True, free_list_len=1)"

COMPILER = {
    "CFLAGS": "-fno-semantic-interposition -fno-plt",
    "LDFLAGS": "-Wl,-Bsymbolic-functions",
}
"""One library whose functions nobody replaces: they may be built into their callers."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--into", type=Path, default=ROOT / "build" / "compiled")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    into = args.into.resolve()
    work = into.with_name(into.name + ".work")
    for place in (into, work):
        shutil.rmtree(place, ignore_errors=True)
    modules = modules_to_compile()
    manifest = {
        "python": sysconfig.get_config_var("EXT_SUFFIX"),
        "sources": hashes(),
    }
    shutil.copytree(
        ROOT / "marketmaker", work / "marketmaker", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "pyproject.toml", work)
    for source in modules.values():
        copy = work / source.relative_to(ROOT)
        acyclic = source.parent.name in CORE
        ready = made_ready(source.read_text(encoding="utf-8"), acyclic=acyclic)
        copy.write_text(ready, encoding="utf-8")
    (work / MADE_WRITERS).write_text(line_writers.source(), encoding="utf-8")
    core, live = [], [MADE_WRITERS]
    for name, source in modules.items():
        group = core if name.split(".")[1] in CORE else live
        group.append(str(source.relative_to(ROOT)))
    groups = [(core, "core"), (live, "live")]
    (work / "setup.py").write_text(SETUP.format(groups=groups), encoding="utf-8")
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--build-lib", str(into)]
    done = subprocess.run(command, cwd=work, env=os.environ | COMPILER, check=False)
    if done.returncode:
        return done.returncode
    (into / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    if not args.verbose:
        shutil.rmtree(work)
    print(f"compiled {len(modules)} modules of {', '.join(COMPILED)} into {into}")
    return 0


def made_ready(source: str, *, acyclic: bool = True) -> str:
    """The module with every dataclass's `__init__` written out. `acyclic`: none of them can lead back to itself."""
    tree = ast.parse(source)
    lines = source.splitlines()
    edits: list[tuple[int, int, list[str]]] = []
    for node in tree.body:
        if acyclic and isinstance(node, ast.ImportFrom) and node.module == "__future__":
            edits.append((node.lineno, node.lineno, IMPORTS))
        if isinstance(node, ast.ClassDef):
            decorator = next(filter(is_dataclass, node.decorator_list), None)
            if decorator is not None:
                edits += edits_of(node, decorator, [HOW_KEPT] if acyclic else [])
    for first, last, new in sorted(edits, reverse=True):
        lines[first:last] = new
    return "\n".join(lines) + "\n"


def is_dataclass(node: ast.expr) -> bool:
    called = node.func if isinstance(node, ast.Call) else node
    return isinstance(called, ast.Name) and called.id == "dataclass"


def edits_of(
    node: ast.ClassDef, decorator: ast.expr, more: list[str]
) -> Iterator[tuple[int, int, list[str]]]:
    """(first line, line after the last, new lines), counted from 0. `more`: lines before the decorator."""
    options = {}
    if isinstance(decorator, ast.Call):
        options = {each.arg: ast.unparse(each.value) for each in decorator.keywords if each.arg}
    options.pop("slots", None)
    options["init"] = "False"
    told = ", ".join(f"{name}={value}" for name, value in options.items())
    yield decorator.lineno - 1, decorator.end_lineno or 0, [*more, f"@dataclass({told})"]
    fields = [
        each
        for each in node.body
        if isinstance(each, ast.AnnAssign)
        and isinstance(each.target, ast.Name)
        and not ast.unparse(each.annotation).startswith("ClassVar")
    ]
    names = {
        name for each in fields if isinstance(each.target, ast.Name) for name in [each.target.id]
    }
    has_post_init = any(
        isinstance(each, ast.FunctionDef) and each.name == "__post_init__" for each in node.body
    )
    end = node.end_lineno or 0
    yield end, end, init_of(fields, "kw_only" in options, has_post_init)
    hints = {name: hint for name, hint in hints_of(fields) if name in names}
    yield end, end, ["", f"getattr({node.name}, '__annotations__').update({hints!r})", ""]


def hints_of(fields: list[ast.AnnAssign]) -> Iterator[tuple[str, str]]:
    for each in fields:
        assert isinstance(each.target, ast.Name)
        yield each.target.id, ast.unparse(each.annotation)


def init_of(fields: list[ast.AnnAssign], kw_only: bool, has_post_init: bool) -> list[str]:
    parameters, body = ["self"], []
    if kw_only:
        parameters.append("*")
    for each in fields:
        assert isinstance(each.target, ast.Name)
        name, hint = each.target.id, ast.unparse(each.annotation)
        given, default = name, each.value
        if isinstance(default, ast.Call) and ast.unparse(default.func) == "field":
            said = {word.arg: word.value for word in default.keywords}
            if "init" in said:
                continue
            if "default_factory" in said:
                factory = said["default_factory"]
                made = (
                    ast.unparse(factory.body)
                    if isinstance(factory, ast.Lambda)
                    else f"{ast.unparse(factory)}()"
                )
                parameters.append(f"{name}: {hint} | None = None")
                body.append(f"        self.{name} = {made} if {name} is None else {name}")
                continue
            default = said.get("default")
        parameters.append(
            f"{name}: {hint}" + ("" if default is None else f" = {ast.unparse(default)}")
        )
        body.append(f"        self.{name} = {given}")
    if has_post_init:
        body.append("        self.__post_init__()")
    ignored = [line + "  # type: ignore" for line in body]
    return [
        "",
        f"    def __init__({', '.join(parameters)}) -> None:",
        *(ignored or ["        pass"]),
    ]


if __name__ == "__main__":
    sys.exit(main())
