"""How a section of keys is read, and how what is wrong in it gets its line and its advice."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from marketmaker.config.fields import SYMBOL_NAME, Reader, Refused
from marketmaker.config.yaml_source import (
    Items,
    Node,
    Scalar,
    Section,
    printable,
    shown,
    shown_name,
)
from marketmaker.errors import ConfigError

MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One key with one value. `attribute`: its name in the settings. `null`: what null stands for, if it may."""

    attribute: str
    read: Reader
    required: str = ""
    """What to write, for a key that must be there; "" for one that need not."""
    nullable: bool = False
    null: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    """One key with a section of keys. `secret`: what is written there must not be quoted, not even a wrong key."""

    fields: Schema
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One key with a list of sections, each labelled by its `name`.

    `required`: what to write. `optional`: the list may be missing or empty. `secret`: as for `Nested`.
    """

    fields: Schema
    required: str
    optional: bool = False
    secret: bool = False


Schema = dict[str, Value | Nested | Listed]


@dataclass(slots=True, kw_only=True)
class Report:
    """What was read where, and everything wrong with it.

    `lines`: key path (`symbols.ETHUSDT.grid.side`) to line. `doubtful`: bare names of keys whose value is not to be
    relied on, so that nothing is said of what only follows from a mistake already named.
    """

    name: str
    lines: dict[str, int] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def line_of(self, key: str) -> int:
        """Line of the key, or of the nearest section above it that is written."""
        while key not in self.lines and "." in key:
            key = key.rpartition(".")[0]
        return self.lines.get(key, 1)

    def written(self, *keys: str) -> str:
        """The first of the keys that stands in the file, or the first of all."""
        return next((key for key in keys if key in self.lines), keys[0])

    def refuse(self, key: str, problem: str, *, line: int | None = None) -> None:
        self.doubtful.add(key.rpartition(".")[2])
        self.problems.append((self.line_of(key) if line is None else line, f"{key}: {problem}"))

    def trusts(self, keys: Sequence[str]) -> bool:
        return self.doubtful.isdisjoint(keys)

    def error(self) -> ConfigError:
        """The error that says it all, one line per problem in order of the file."""
        where = shown_name(self.name)
        found = sorted(self.problems, key=lambda entry: entry[0])
        told = [f"{where}:{line}: {problem}" for line, problem in found[:MAX_PROBLEMS]]
        if len(found) > MAX_PROBLEMS:
            told.append(f"{where}: and {len(found) - MAX_PROBLEMS} more problems; fix these first")
        return ConfigError("\n".join(told))


RENAMED = {
    "order_cleanup_threshold": "max_open_orders",
    "buy_window_size": "buy_window",
    "sell_window_size": "sell_window",
    "symbol": "symbols",
    "current_exchange": "exchange",
    "secret_key": "api_secret",
}


def read_section(
    section: Section, schema: Schema, report: Report, root: Schema, *, at: str, secret: bool
) -> dict[str, Any]:
    """Values by attribute; nested sections as dictionaries, lists as tuples of them. Problems go to `report`.

    `at`: key path of the section, "" for the file itself. `root`: the schema of the whole file, for advice.
    """
    values: dict[str, Any] = {}
    first_line: dict[str, int] = {}
    for entry in section.entries:
        key = entry.key
        key_path = f"{at}.{key}" if at else key
        described = schema.get(key)
        if described is None:
            refuse_unknown(key, entry.line, schema, report, root, at=at, secret=secret)
            continue
        if key in first_line:
            report.refuse(
                key_path,
                f"is already set at line {first_line[key]}; keep one of the two",
                line=entry.line,
            )
            continue
        first_line[key] = entry.line
        report.lines[key_path] = entry.line
        try:
            match described:
                case Value():
                    values[described.attribute] = read_value(entry.node, described)
                case Nested():
                    inner = as_section(entry.node, entry.line, secret=described.secret)
                    values[key] = read_section(
                        inner, described.fields, report, root, at=key_path, secret=described.secret
                    )
                case Listed():
                    values[key] = read_list(entry.node, described, report, root, at=key_path)
        except Refused as refused:
            report.refuse(key_path, str(refused))
    for key, described in schema.items():
        if isinstance(described, Nested) or not described.required:
            continue
        if isinstance(described, Listed) and described.optional:
            continue
        if key not in first_line and report.trusts((key,)):
            report.refuse(f"{at}.{key}" if at else key, f"missing; {described.required}")
    return values


def read_value(node: Node, described: Value) -> Any:
    if isinstance(node, Scalar) and node.is_null and described.nullable:
        return described.null
    if isinstance(node, Scalar) and (node.is_empty or node.is_null):
        what = "has no value" if node.is_empty else "may not be null"
        choices = getattr(described.read, "expects", "a value")
        alternative = ", null for none," if described.nullable else ""
        raise Refused(f"{what}; write {choices}{alternative} or remove the key")
    return described.read(node)


def as_section(node: Node, line: int, *, secret: bool) -> Section:
    if isinstance(node, Section):
        return node
    if isinstance(node, Scalar) and (node.is_empty or node.is_null):
        return Section(entries=(), line=line)
    what = "a value" if secret else shown(node)
    raise Refused(f"is {what}, not a section; write its keys below it, indented, as `key: value`")


def read_list(
    node: Node, described: Listed, report: Report, root: Schema, *, at: str
) -> tuple[dict[str, Any], ...]:
    empty = isinstance(node, Scalar) and (node.is_empty or node.is_null)
    if empty or (isinstance(node, Items) and not node.nodes):
        if described.optional:
            return ()
        raise Refused(f"is empty; {described.required}")
    if not isinstance(node, Items):
        what = "a value" if described.secret else shown(node)
        raise Refused(f"is {what}, not a list; {described.required}")
    values = []
    for number, child in enumerate(node.nodes, start=1):
        label = f"{at}.{item_label(child, number)}"
        report.lines.setdefault(label, child.line)
        if isinstance(child, Section):
            read = read_section(
                child, described.fields, report, root, at=label, secret=described.secret
            )
            values.append(read)
        else:
            what = "a value" if described.secret else shown(child)
            report.refuse(label, f"is {what}; {described.required}", line=child.line)
    return tuple(values)


def item_label(node: Node, number: int) -> str:
    """The item's `name` where it has a good one, else its number from 1."""
    if isinstance(node, Section):
        for entry in node.entries:
            if entry.key == "name" and isinstance(entry.node, Scalar):
                return entry.node.text if SYMBOL_NAME.fullmatch(entry.node.text) else str(number)
    return str(number)


def refuse_unknown(
    key: str,
    line: int,
    schema: Schema,
    report: Report,
    root: Schema,
    *,
    at: str,
    secret: bool,
) -> None:
    """Refuse a key nobody knows, with what was probably meant."""
    known = ", ".join(schema)
    renamed = RENAMED.get(key, "")
    near = difflib.get_close_matches(key, schema, n=1, cutoff=0.7)
    home = section_of(key, root)
    if renamed in schema:
        report.doubtful.add(renamed)
        advice = f"{key} is called {renamed} here"
    elif near:
        report.doubtful.add(near[0])
        advice = f"did you mean {near[0]}?"
    elif home is not None:
        report.doubtful.add(key)
        advice = f"it belongs under {home}" if home else "it belongs at the top level"
    elif len(schema) <= 12:
        advice = f"known here: {known}"
    else:
        advice = "config.example.yaml lists every key"
    if secret and not near and not renamed:
        shown_key, advice = "(a key not shown)", f"known here: {known}"
    else:
        shown_key = printable(key) or '""'
    key_path = f"{at}.{shown_key}" if at else shown_key
    report.problems.append((line, f"{key_path}: unknown key; {advice}"))


def section_of(key: str, root: Schema) -> str | None:
    """Where a key that stands in the wrong place belongs: "" for the top level, None for nowhere."""
    if key in root:
        return ""
    for name, described in root.items():
        if isinstance(described, Nested) and not described.secret and key in described.fields:
            return name
    return None
