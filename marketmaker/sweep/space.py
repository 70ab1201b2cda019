"""SPACE.yaml: which keys of the grid are searched, and where.

    grid:
      price_interval: {low: 0.001, high: 0.01, step: 0.0005}
      buy_window: {low: 5, high: 40}                # whole numbers need no step
      order_amount: {low: 20, high: 200, log: true} # continuous, each power of ten as often
      side: [long, neutral]                         # one of these

A value is kept as the text that the configuration would have, so that what was tried is what can be run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from marketmaker.config.fields import Refused
from marketmaker.config.load import read_file
from marketmaker.config.rules import check_grid
from marketmaker.config.schema import GRID
from marketmaker.config.sections import Report, Value, read_value
from marketmaker.config.yaml_source import (
    Items,
    Node,
    Scalar,
    Section,
    decode,
    parse_yaml,
    shown,
    shown_name,
)
from marketmaker.errors import ConfigError
from marketmaker.model.settings import GridSettings

INTERVALS = {"price_interval": "interval_pct", "interval_pct": "price_interval"}
FORM = "write a list of values, [1, 2, 5], or {low: 1, high: 9} with step: or log: true"
KEYS = ("low", "high", "step", "log")
MOST_STEPS = 1_000_000
DIGITS = 4
"""Significant digits of a value from a continuous range."""

Params = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of `values`."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """`low + n * step`, n from 0 to `count` - 1; with `log` small n as often as large ones, by ratio."""

    low: Decimal
    step: Decimal
    count: int
    log: bool

    def value(self, number: int) -> str:
        return plain(self.low + number * self.step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Anything between, to four significant digits."""

    low: float
    high: float
    log: bool

    def value(self, number: float) -> str:
        return plain(Decimal(f"{number:.{DIGITS}g}"))


Dimension = Choice | Steps | Range
Space = dict[str, Dimension]


def plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def combinations(space: Space) -> int | None:
    """How many there are; None when a range is continuous."""
    count = 1
    for dimension in space.values():
        if isinstance(dimension, Range):
            return None
        count *= len(dimension.values) if isinstance(dimension, Choice) else dimension.count
    return count


def read_space(path: str) -> tuple[Space, str]:
    """The space and its text. Raises ConfigError, each line `FILE:LINE: KEY: what is wrong; what would pass`."""
    text = decode(read_file(path), path)
    tree, report = parse_yaml(text, path), Report(name=path)
    for entry in tree.entries:
        report.lines[entry.key] = entry.line
        if entry.key != "grid":
            report.refuse(entry.key, "unknown; a space has one section, grid", line=entry.line)
    grid = next((entry.node for entry in tree.entries if entry.key == "grid"), None)
    space: Space = {}
    if isinstance(grid, Section) and grid.entries:
        for entry in grid.entries:
            key = f"grid.{entry.key}"
            report.lines[key] = entry.line
            try:
                if entry.key in space:
                    raise Refused("is there twice; keep one")
                space[entry.key] = read_dimension(entry.key, entry.node)
            except Refused as refused:
                report.refuse(key, str(refused), line=entry.line)
    elif not report.problems:
        raise ConfigError(
            f"{shown_name(path)}:1: grid: missing; name the keys to search below it, such as "
            "price_interval: [0.001, 0.002]"
        )
    if report.problems:
        raise report.error()
    return space, text


def read_dimension(key: str, node: Node) -> Dimension:
    """Raises Refused."""
    if key not in GRID or not isinstance(GRID[key], Value):
        raise Refused("is no key of grid; config.example.yaml lists them")
    if isinstance(node, Items):
        values = tuple(scalar(child) for child in node.nodes)
        if not values:
            raise Refused(f"is empty; {FORM}")
        for value in values:
            typed(key, value)
        return Choice(values=values)
    if not isinstance(node, Section):
        raise Refused(f"is {shown(node)}; {FORM}")
    given = {entry.key: scalar(entry.node) for entry in node.entries}
    if strange := [name for name in given if name not in KEYS]:
        raise Refused(f"has {strange[0]}; {FORM}")
    if not {"low", "high"} <= given.keys():
        raise Refused(f"needs low and high; {FORM}")
    low, high = number("low", given["low"]), number("high", given["high"])
    if low >= high:
        raise Refused(f"low {low} is not below high {high}; swap or change them")
    log = given.get("log", "false")
    if log not in {"true", "false"}:
        raise Refused(f"log is {log}; write true or false")
    if log == "true" and low <= 0:
        raise Refused(f"log: true needs low above 0, got {low}")
    for end in (low, high):
        typed(key, plain(end))
    step = number("step", given["step"]) if "step" in given else None
    if step is None and isinstance(typed(key, plain(low)), int):
        step = Decimal(1)
    if step is None:
        return Range(low=float(low), high=float(high), log=log == "true")
    if step <= 0:
        raise Refused(f"step is {step}; write a number above 0")
    count = int((high - low) / step) + 1
    if count > MOST_STEPS:
        raise Refused(f"has {count} values; widen the step")
    if log == "true" and "step" in given:
        raise Refused("takes step or log: true, not both; remove one")
    typed(key, plain(low + step))
    return Steps(low=low, step=step, count=count, log=log == "true")


def scalar(node: Node) -> str:
    if not isinstance(node, Scalar):
        raise Refused(f"is {shown(node)} where one value belongs; {FORM}")
    return node.text


def number(name: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite():
        raise Refused(f"{name} is {text}, not a number; {FORM}")
    return value


def typed(key: str, text: str) -> Any:
    """The setting that `text` stands for in a configuration. Raises Refused as the configuration would."""
    described = GRID[key]
    assert isinstance(described, Value)
    return read_value(Scalar(text=text, plain=True, line=0), described)


def with_params(grid: GridSettings, params: Mapping[str, str]) -> GridSettings:
    """The grid with these keys instead of its own. An interval of one kind replaces one of the other."""
    values = {attribute(key): typed(key, text) for key, text in params.items()}
    for mine, other in INTERVALS.items():
        if mine in values and other not in values:
            values[other] = None
    return replace(grid, **values)


def attribute(key: str) -> str:
    described = GRID[key]
    assert isinstance(described, Value)
    return described.attribute


def problem_with(grid: GridSettings, symbol: str) -> str:
    """Why the keys do not go together, "" when they do."""
    report = Report(name="space")
    check_grid(grid, symbol, report)
    return report.problems[0][1] if report.problems else ""
