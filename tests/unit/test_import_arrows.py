"""The arrows between the rooms, read from the source: who may import whom, and who may look at a clock or at chance.

Imports count wherever they stand: inside functions, under TYPE_CHECKING, and by name through importlib.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "marketmaker"
ANYTHING = frozenset({"*"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """`ours`: rooms or modules of this package, itself always included. `outside`: packages beyond the
    standard library. `closed`: parts of the standard library it must do without."""

    ours: frozenset[str] = frozenset()
    outside: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


IMPURE = names(
    "asyncio time random logging datetime os io socket threading structlog uuid secrets subprocess"
    " multiprocessing concurrent select selectors signal pathlib shutil tempfile queue contextvars"
)
ROOMS = {
    "__init__": Room(ours=names("compiled")),
    "compiled": Room(ours=names("errors")),
    "errors": Room(),
    "model": Room(ours=names("errors")),
    "core": Room(ours=names("model errors"), closed=IMPURE),
    "adapters": Room(ours=names("model errors"), outside=ANYTHING),
    "runtime": Room(ours=names("model core errors adapters.protocol"), outside=names("structlog")),
    "sim": Room(ours=names("model core errors adapters.protocol"), outside=names("pyarrow")),
    "backtest": Room(ours=names("model core sim ledger errors"), outside=ANYTHING),
    # the venue that is asked for, by its id
    "loopback": Room(
        ours=names("model errors sim backtest.data"),
        outside=names("aiohttp cryptography") | {"a module named at run time"},
    ),
    "ledger": Room(ours=names("model errors"), outside=ANYTHING),
    "config": Room(
        ours=names(
            "model errors venues sim.instruments core.lattice core.sizing private_files vault"
        ),
        outside=names("yaml keyring"),
    ),
    "alerts": Room(
        ours=names("model errors runtime.log_events no_dumps give_way"),
        outside=names("apprise structlog"),
    ),
    "crash": Room(ours=names("logs")),
    "no_dumps": Room(ours=names("errors")),
    "give_way": Room(),
    "doctor": Room(ours=ANYTHING),
    "herald": Room(ours=ANYTHING),
    "private_files": Room(ours=names("errors")),
    "vault": Room(ours=names("errors private_files"), outside=names("cryptography")),
    "venues": Room(ours=names("model errors sim.instruments")),
    "logs": Room(ours=names("errors"), outside=names("structlog")),
    "web": Room(ours=names("model errors ledger no_dumps give_way"), outside=ANYTHING),
    "cli": Room(
        ours=names(
            "model errors ledger config venues runtime.journal runtime.wire_format private_files vault alerts logs token_file"
        ),
        outside=names("keyring"),
    ),
    "summary": Room(ours=names("model")),
    "desk": Room(ours=ANYTHING),
    "doorkeeper": Room(ours=ANYTHING, outside=names("structlog")),
    "control": Room(ours=ANYTHING, outside=names("structlog")),
    "reload": Room(ours=ANYTHING, outside=names("structlog")),
    "overview": Room(ours=ANYTHING),
    "news": Room(ours=names("model runtime")),
    "token_file": Room(ours=names("errors")),
    "symbol": Room(ours=ANYTHING),
    "shutdown": Room(ours=ANYTHING, outside=names("structlog")),
    "keeper": Room(ours=ANYTHING),
    "bookkeeper": Room(ours=ANYTHING, outside=names("structlog")),
    "disk_gate": Room(ours=ANYTHING, outside=names("structlog")),
    "services": Room(ours=ANYTHING, outside=names("structlog")),
    "watchdog": Room(ours=ANYTHING),
    "app": Room(ours=ANYTHING, outside=ANYTHING),
    "launch": Room(ours=ANYTHING, outside=ANYTHING),
    "benching": Room(ours=ANYTHING),
    "simulation": Room(ours=ANYTHING, outside=ANYTHING),
    "backtesting": Room(ours=ANYTHING),
    "backtest_journal": Room(ours=names("model errors backtest runtime.journal")),
    "online_check": Room(ours=ANYTHING),
    "recorder": Room(ours=ANYTHING),
    "parity": Room(
        ours=names("model errors core cli.replay backtest runtime.journal runtime.retry")
    ),
    "sweep": Room(
        ours=names("model errors config cli backtest backtesting runtime.wire_format"),
        outside=names("optuna numpy distributed"),
    ),
    "__main__": Room(ours=ANYTHING),
}

TIMELESS = names("core sim runtime")
"""Rooms that run in virtual time and from a seed, so that a run can be had again."""
MAY_READ_THE_CLOCK = {
    "marketmaker.runtime.clock": "it is the one that the others are given",
    "marketmaker.runtime.notify": "systemd asks for the time of day it knows, CLOCK_MONOTONIC",
}
CLOCKS_AND_CHANCE = names(
    "time.time time.time_ns time.monotonic time.monotonic_ns time.perf_counter"
    " time.perf_counter_ns time.sleep time.localtime time.gmtime"
    " datetime.datetime.now datetime.datetime.utcnow datetime.datetime.today datetime.date.today"
    " uuid.uuid1 uuid.uuid4 os.urandom"
)
SEEDED = "random.Random"


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """(line, dotted target) of every import; of `from a import b` it is `a.b` when that is a module of ours."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield node.lineno, alias.name
            case ast.ImportFrom():
                origin = node.module or ""
                if node.level:
                    here = module.split(".")
                    above = len(here) - node.level + is_package
                    origin = ".".join(here[:above] + ([origin] if origin else []))
                for alias in node.names:
                    whole = f"{origin}.{alias.name}"
                    yield node.lineno, whole if whole in MODULES else origin
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="import_module"),
                args=[first, *_],
            ):
                known = str(first.value) if isinstance(first, ast.Constant) else None
                yield node.lineno, known or "a module named at run time"


def may_import(room: str, target: str) -> bool:
    rule = ROOMS[room]
    top, _, inside = target.partition(".")
    if top == "marketmaker":
        allowed = rule.ours | {room, ""}
        return (
            "*" in allowed
            or inside in allowed
            or any(name and inside.startswith(name + ".") for name in allowed)
        )
    if top in sys.stdlib_module_names or top == "__future__":
        return top not in rule.closed
    return "*" in rule.outside or top in rule.outside


def dotted(node: ast.AST, origins: dict[str, str]) -> str | None:
    """`d.now` with `from datetime import datetime as d` is `datetime.datetime.now`; None for anything else."""
    match node:
        case ast.Name(id=name):
            return origins.get(name)
        case ast.Attribute(value=value, attr=attr):
            base = dotted(value, origins)
            return f"{base}.{attr}" if base else None
    return None


def clocks_and_chance(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every use of the wall clock or of unseeded chance, called or only mentioned."""
    origins: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    top = alias.name.split(".")[0]
                    origins[alias.asname or top] = alias.name if alias.asname else top
            case ast.ImportFrom(module=str(origin), level=0):
                for alias in node.names:
                    origins[alias.asname or alias.name] = f"{origin}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and (name := dotted(node, origins)):
            chance = name.startswith(("random.", "secrets.")) and not (
                name == SEEDED or name.startswith(SEEDED + ".")
            )
            if name in CLOCKS_AND_CHANCE or chance:
                yield node.lineno, name


def broken(module: str, source: str, is_package: bool = False) -> list[str]:
    """One line for each arrow that `source`, standing as `module`, breaks."""
    tree = ast.parse(source)
    room = room_of(module)
    if room not in ROOMS:
        return [f"{module}: a room without a row in ROOMS"]
    faults = [
        f"{module}:{line}: {room} must not import {target}"
        for line, target in imports(tree, module, is_package)
        if not may_import(room, target)
    ]
    if room in TIMELESS and module not in MAY_READ_THE_CLOCK:
        faults += [
            f"{module}:{line}: {room} must not use {name} (take a clock or a seeded random.Random)"
            for line, name in clocks_and_chance(tree)
        ]
    if room == "core":
        faults += [
            f"{module}:{node.lineno}: core must not call {node.func.id}()"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("open", "print", "input")
        ]
    return list(dict.fromkeys(faults))


@pytest.mark.parametrize("module", MODULES)
def test_every_import_follows_the_arrows(module: str) -> None:
    path = MODULES[module]
    faults = broken(module, path.read_text(encoding="utf-8"), path.name == "__init__.py")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("module", "source", "culprit"),
    [
        ("marketmaker.core.x", "import asyncio", "asyncio"),
        ("marketmaker.core.x", "def f():\n    from time import time", "time"),
        ("marketmaker.core.x", "import os.path", "os.path"),
        ("marketmaker.core.x", "import structlog", "structlog"),
        ("marketmaker.core.x", "import numpy as np", "numpy"),
        ("marketmaker.core.x", "from marketmaker.runtime import clock", "marketmaker.runtime"),
        ("marketmaker.core.x", "from ..sim.feed import MarketFeed", "marketmaker.sim.feed"),
        ("marketmaker.core.x", "from .. import adapters", "marketmaker.adapters"),
        ("marketmaker.core.x", "import marketmaker.app", "marketmaker.app"),
        ("marketmaker.core.x", "open('slots')", "open()"),
        (
            "marketmaker.model.x",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from marketmaker.core import grid",
            "marketmaker.core",
        ),
        ("marketmaker.adapters.x", "from marketmaker.core import grid", "marketmaker.core"),
        ("marketmaker.runtime.x", "import marketmaker.adapters.okx", "marketmaker.adapters.okx"),
        ("marketmaker.runtime.x", "from marketmaker.sim import venue", "marketmaker.sim"),
        ("marketmaker.runtime.x", "import aiohttp", "aiohttp"),
        ("marketmaker.runtime.x", "import importlib\nimportlib.import_module(n)", "at run time"),
        ("marketmaker.sim.x", "__import__('marketmaker.app')", "marketmaker.app"),
        ("marketmaker.sim.x", "import marketmaker.runtime.clock", "marketmaker.runtime.clock"),
        ("marketmaker.cli.x", "from marketmaker.core.grid import Grid", "marketmaker.core"),
        ("marketmaker.logs", "from marketmaker.model import order", "marketmaker.model.order"),
        ("marketmaker.errors", "import yaml", "yaml"),
        ("marketmaker.__main__", "import ccxt", "ccxt"),
        ("marketmaker.helpers.x", "", "without a row"),
        ("marketmaker.sim.x", "import time\nnow = time.time()", "time.time"),
        ("marketmaker.sim.x", "import time as t\nf(clock=t.monotonic)", "time.monotonic"),
        ("marketmaker.runtime.x", "from time import time_ns\ntime_ns()", "time.time_ns"),
        (
            "marketmaker.runtime.x",
            "from datetime import datetime as d, UTC\nd.now(UTC)",
            "datetime.datetime.now",
        ),
        ("marketmaker.runtime.x", "import uuid\nuuid.uuid4()", "uuid.uuid4"),
        ("marketmaker.sim.x", "import random\nrandom.shuffle(orders)", "random.shuffle"),
        ("marketmaker.sim.x", "from random import choice\nchoice(orders)", "random.choice"),
    ],
)
def test_a_broken_arrow_is_named(module: str, source: str, culprit: str) -> None:
    faults = broken(module, source)
    assert len(faults) == 1 and culprit in faults[0] and faults[0].startswith(module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("marketmaker.core.x", "from marketmaker.model.order import Side\nimport bisect"),
        ("marketmaker.runtime.x", "from marketmaker.adapters import protocol\nimport structlog"),
        ("marketmaker.runtime.clock", "import time\ntime.time_ns()"),
        ("marketmaker.sim.x", "import random\nrng = random.Random(7)\nrng.random()"),
        ("marketmaker.sim.x", "from random import Random\nRandom(7).choice('ab')"),
        ("marketmaker.app", "import uvloop\nfrom marketmaker.sim import feed"),
        ("marketmaker.cli.x", "from marketmaker import __version__"),
    ],
)
def test_an_allowed_import_is_let_through(module: str, source: str) -> None:
    assert broken(module, source) == []


def test_the_whole_package_is_read() -> None:
    assert {
        "marketmaker.errors",
        "marketmaker.model.order",
        "marketmaker.adapters.protocol",
    } <= set(MODULES)
