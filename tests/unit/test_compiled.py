"""The compiled core never stands in for other sources. `run` takes one that fits and says which core it has; everything
else runs plain Python unless it is asked."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest
from mypy_extensions import mypyc_attr

from marketmaker import compiled
from marketmaker.errors import ConfigError
from scripts.compile_core import made_ready

ROOT = Path(__file__).resolve().parents[2]
HERE = compiled.hashes()


def build(folder: Path, **changes: object) -> Path:
    """A directory that looks like what `make compile` leaves behind."""
    manifest = {"python": sysconfig.get_config_var("EXT_SUFFIX"), "sources": HERE, **changes}
    (folder / compiled.MANIFEST).write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(("name", "path"), compiled.modules_to_compile().items())
def test_nothing_that_is_compiled_waits_inside_a_finally(name: str, path: Path) -> None:
    """Compiled, it would forget the exception that was on its way: a cancellation would end in silence."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for step in node.finalbody if isinstance(node, ast.Try) else ():
            waits = (ast.Await, ast.AsyncWith, ast.AsyncFor)
            found = [each for each in ast.walk(step) if isinstance(each, waits)]
            assert found == [], f"{name}:{found[0].lineno}"


def test_a_build_of_exactly_these_sources_is_taken(tmp_path: Path) -> None:
    compiled.check_build(build(tmp_path))


@pytest.mark.parametrize(
    "sources",
    [
        {**HERE, "marketmaker.core.books": "0" * 64},
        {name: value for name, value in HERE.items() if name != "marketmaker.core.grid"},
        {**HERE, "marketmaker.core.gone": "0" * 64},
    ],
    ids=["changed", "added since", "removed since"],
)
def test_a_build_of_other_sources_is_refused(tmp_path: Path, sources: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="made from other sources; run `make compile` again"):
        compiled.check_build(build(tmp_path, sources=sources))


def test_a_build_for_another_python_or_none_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no compiled core; run `make compile`"):
        compiled.check_build(tmp_path)
    with pytest.raises(ConfigError, match="for another Python"):
        compiled.check_build(build(tmp_path, python=".cpython-27.so"))


def asked(value: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {compiled.VARIABLE: value},
    )


def test_asking_for_a_build_that_is_not_there_ends_with_one_line_and_code_2(tmp_path: Path) -> None:
    done = asked(str(tmp_path), "-m", "marketmaker", "--version")
    assert done.returncode == 2
    assert (
        done.stderr
        == f"marketmaker: MARKETMAKER_COMPILED={tmp_path}: {tmp_path}: no compiled core; run `make compile`\n"
    )


def test_run_takes_a_build_only_where_one_fits_and_nothing_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[:])
    monkeypatch.setattr(compiled, "BUILD", tmp_path)
    monkeypatch.delenv(compiled.VARIABLE, raising=False)
    compiled.use_if_built()
    assert compiled.which() == f"plain Python: {tmp_path}: no compiled core; run `make compile`"
    build(tmp_path, sources={**HERE, "marketmaker.core.books": "0" * 64})
    compiled.use_if_built()
    assert "made from other sources" in compiled.which()
    build(tmp_path)
    monkeypatch.setenv(compiled.VARIABLE, "0")
    compiled.use_if_built()
    assert compiled.which() == "plain Python: MARKETMAKER_COMPILED=0"
    monkeypatch.delenv(compiled.VARIABLE)
    assert compiled.which() == "plain Python"
    compiled.use_if_built()
    assert compiled.which() == "compiled"


@pytest.mark.parametrize("value", ["0", None])
def test_run_says_in_its_log_which_core_it_has(value: str | None) -> None:
    """Without a build that fits, plain Python; which one it is here depends on what was built here."""
    env = {key: text for key, text in os.environ.items() if key != compiled.VARIABLE}
    command = [sys.executable, "-m", "marketmaker", "run", "config.example.yaml"]
    done = subprocess.run(
        [*command, "--feed", "synthetic:1", "--speed", "max", "--duration", "5"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=env if value is None else {**env, compiled.VARIABLE: value},
    )
    said = [json.loads(line) for line in done.stdout.splitlines() if "core.chosen" in line]
    assert len(said) == 1, done.stdout + done.stderr
    if value == "0":
        assert said[0]["core"] == "plain Python: MARKETMAKER_COMPILED=0"
    else:
        assert said[0]["core"] == "compiled" or said[0]["core"].startswith("plain Python: ")


@pytest.mark.parametrize("value", ["", "0"])
def test_plain_python_runs_unless_it_is_asked_for(value: str) -> None:
    done = asked(value, "-c", "import marketmaker.core.books as m; print(m.__file__)")
    assert done.stdout.strip().endswith("books.py"), done.stderr


SOURCE = '''
from __future__ import annotations
from dataclasses import dataclass, field

@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """Doc."""

    one: int
    two: str = "b"
    """About two."""
    many: set[str] = field(default_factory=set)
    sums: dict[str, int] = field(default_factory=lambda: {"a": 1})
    made: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "made", self.one * 2)


@dataclass(slots=True)
class Loose:
    one: int
    two: int = 5
'''


def as_module(source: str, name: str) -> ModuleType:
    module = ModuleType(name)
    module.__dict__["mypyc_attr"] = mypyc_attr
    sys.modules[name] = module
    exec(compile(ast.parse(source), name, "exec"), module.__dict__)
    return module


def test_what_is_written_out_for_the_compiler_builds_the_same_values() -> None:
    """Each `__init__` is the one that the decorator would write; a frozen one is set by the compiler's own code, which
    here stands in for it."""
    ready = made_ready(SOURCE).replace("frozen=True", "frozen=False")
    plain, made = as_module(SOURCE, "plain_values"), as_module(ready, "made_values")
    for arguments in ({"one": 1}, {"one": 2, "two": "c", "many": {"x"}, "sums": {}}):
        assert repr(made.Value(**arguments)) == repr(plain.Value(**arguments))
    assert made.Value(one=1).many is not made.Value(one=1).many
    assert made.Loose(1) == made.Loose(1, 5) != made.Loose(1, 6)
    assert [each.name for each in dataclasses.fields(made.Value)] == [
        each.name for each in dataclasses.fields(plain.Value)
    ]
    for wrong in ({}, {"one": 1, "three": 3}):
        with pytest.raises(TypeError):
            made.Value(**wrong)
    with pytest.raises(TypeError):
        made.Value(1)


@pytest.mark.parametrize("path", compiled.modules_to_compile().values(), ids=lambda path: path.stem)
def test_every_module_of_the_compiled_core_can_be_made_ready(path: Path) -> None:
    """No dataclass uses anything that is not understood: what comes out is Python with one `__init__` for each."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(made_ready(source))
    for node in tree.body:
        decorated = isinstance(node, ast.ClassDef) and any(
            "dataclass" in ast.unparse(each) for each in node.decorator_list
        )
        if decorated:
            assert sum(getattr(each, "name", "") == "__init__" for each in node.body) == 1
