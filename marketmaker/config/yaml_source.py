"""YAML text to a small tree in which every key and value knows its line.

Only the plain part of YAML is taken: sections, lists and scalars. Anchors, aliases and tags are refused, because a
few lines of them can stand for gigabytes or for Python objects. Scalars keep their text: the reader of a field knows
what it wants, so `1e400` never becomes a float, `off` never becomes False and `010` never becomes 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from marketmaker.errors import ConfigError

MAX_DEPTH = 12
MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """`text` is what stands in the file. `plain`: written without quotes."""

    text: str
    plain: bool
    line: int

    @property
    def is_null(self) -> bool:
        return self.plain and self.text == "null"

    @property
    def is_empty(self) -> bool:
        return self.plain and self.text == ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    nodes: tuple[Node, ...]
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    key: str
    node: Node
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Entries in the order of the file; a key may be there twice."""

    entries: tuple[Entry, ...]
    line: int


Node = Scalar | Items | Section


def printable(text: str, limit: int = 40) -> str:
    """Text fit for one line: control characters escaped, the end cut off beyond `limit`."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


def shown_name(name: str) -> str:
    """A file's name in front of a message."""
    return printable(name, limit=300)


class PlainLoader(yaml.SafeLoader):
    """Composes nodes, refusing what could explode. Never constructs a value."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise Refusal(
                line,
                "YAML aliases are not supported; write the value out, "
                "or put a text that begins with * or & in 'quotes'",
            )
        if getattr(event, "tag", None) is not None:
            raise Refusal(
                line, "YAML tags are not supported; put a text that begins with ! in 'quotes'"
            )
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Refusal(line, f"nested deeper than {MAX_DEPTH} levels; the example needs 4")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class Refusal(Exception):
    """A line we will not read, and why."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line
        self.text = text


def decode(data: bytes, name: str) -> str:
    """Text of a configuration file. Raises ConfigError when it is too large or not UTF-8."""
    where = shown_name(name)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{where}: larger than 1 MiB; give a YAML configuration file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{where}:{line}: not UTF-8 (byte 0x{data[error.start]:02x}); save the file as UTF-8"
        ) from None


def parse_yaml(text: str, name: str) -> Section:
    """The tree of one YAML document. Raises ConfigError with the line of what cannot be read."""
    where = shown_name(name)
    try:
        loader = PlainLoader(text)
        root = loader.get_single_node()
    except Refusal as refusal:
        raise ConfigError(f"{where}:{refusal.line}: {refusal.text}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{where}:{line}: a control character is in the text; remove it"
        ) from None
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{where}:{syntax_problem(error)}") from None
    if root is None:
        raise ConfigError(
            f"{where}:1: the file is empty; write one with `marketmaker init` or start from config.example.yaml"
        )
    try:
        tree = convert(root)
    except Refusal as refusal:
        raise ConfigError(f"{where}:{refusal.line}: {refusal.text}") from None
    if not isinstance(tree, Section):
        kind = "a list" if isinstance(tree, Items) else "plain text"
        raise ConfigError(
            f"{where}:{tree.line}: the file holds {kind}; write `key: value` lines, such as `mode: paper`"
        )
    return tree


SYNTAX_PROBLEMS = (
    ("\\t", "a tab stands where spaces belong; indent with spaces"),
    ("a tab", "a tab stands where spaces belong; indent with spaces"),
    ("cannot start any token", "a value begins with a special character; put it in 'quotes'"),
    ("escape", "an unknown escape in a double-quoted value; put it in 'single quotes'"),
    ("mapping values", "a `:` where none belongs; check the indentation and quote texts with `: `"),
    ("expected <block end>", "the indentation does not match; align keys of one section"),
    ("expected ',' or", "a [ or { is not closed properly; separate with commas and close it"),
    ("found '<stream end>'", "the file ends inside a [ or {; close it"),
    ("end of stream", "the file ends inside a quoted text; close the quote"),
    ("could not find expected ':'", "a key without `:`; write `key: value`"),
    ("tag handle", "a value begins with `!`; put it in 'quotes'"),
    ("alphabetic or numeric", "a value begins with `*`, `&` or `!`; put it in 'quotes'"),
)
"""What the parser says, in part, and what we say instead: it quotes the file, where a secret may be on the line."""


def syntax_problem(error: yaml.MarkedYAMLError) -> str:
    """`LINE: what; what would pass` for a syntax error, without quoting the file."""
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    problem = error.problem or ""
    if "but found another document" in problem:
        return f"{line}: a second document (---) begins here; keep one document per file"
    for part, words in SYNTAX_PROBLEMS:
        if part in problem:
            return f"{line}: not valid YAML: {words}"
    return f"{line}: not valid YAML: cannot be read from here; check indentation, colons and quotes"


def convert(node: yaml.Node) -> Node:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        plain = node.style is None
        text = "null" if plain and node.value in {"~", "Null", "NULL"} else node.value
        return Scalar(text=text, plain=plain, line=line)
    if isinstance(node, yaml.SequenceNode):
        return Items(nodes=tuple(convert(child) for child in node.value), line=line)
    entries = []
    for key, value in node.value:
        key_line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise Refusal(key_line, "a key may not be a list or a section; write a plain word")
        entries.append(Entry(key=key.value, node=convert(value), line=key_line))
    return Section(entries=tuple(entries), line=line)


def shown(node: Node) -> str:
    """A value as a message quotes it. Never call it on a credential."""
    match node:
        case Scalar(plain=True, text=""):
            return "nothing"
        case Scalar(plain=True):
            return printable(node.text)
        case Scalar():
            return f'the text "{printable(node.text)}"'
        case Items():
            return "a list"
        case Section():
            return "a section of keys"
