"""The text of a journal line, written by a function made for each class: the same bytes as `wire_format` by way of
dicts (`to_text(to_json(value))`), for a tenth of the time.

The functions are made from source text when a class is first met, as `dataclasses` makes its own; every name in that
text is a field's or one of ours. A build of the compiled core has those of events and actions ready, compiled from the
same source (`scripts/line_writers.py` puts it into `made_writers`). Members end in commas where any may be left out, and
the last comma is cut off.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import cache
from json.encoder import encode_basestring_ascii
from types import NoneType
from typing import Any, NewType, get_args, get_origin, get_type_hints

from marketmaker.runtime.wire_format import TAG, encode_float, is_optional, to_text

Write = Callable[[Any], str]

try:
    from marketmaker.runtime.made_writers import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
        MADE,
    )
except ImportError:
    MADE: dict[type, Write] = {}  # type: ignore[no-redef]
"""Those that were compiled, by class."""


def line_text(value: object) -> str:
    """A dataclass of `model` as one JSON object that names its class."""
    kind: Any = type(value)
    made = MADE.get(kind)
    return tagged_writer(kind)(value) if made is None else made(value)


@cache
def tagged_writer(kind: Any) -> Write:
    return make_writer(kind, tag_of(kind))


@cache
def plain_writer(kind: Any) -> Write:
    return make_writer(kind, "")


def tag_of(kind: Any) -> str:
    return f'"{TAG}":{json.dumps(kind.__name__)},'


def make_writer(kind: Any, head: str) -> Write:
    names: dict[str, Any] = {}
    body = writer_body(kind, head, names)
    exec(f"def write(v):\n{body}", names)
    write: Write = names["write"]
    write.__annotations__["v"] = kind
    return write


def writer_body(kind: Any, head: str, names: dict[str, Any]) -> str:
    """Source of what a writer does with `v`. What it calls is put into `names`."""
    hints = get_type_hints(kind)
    members: list[tuple[str, str, bool]] = []
    for field in fields(kind):
        if not field.init:
            continue
        hint, item = hints[field.name], f"v.{field.name}"
        name = f'"{field.name}":'
        may_lack = is_optional(hint) and field.default in (MISSING, None)
        if may_lack:
            hint = next(part for part in get_args(hint) if part is not NoneType)
        members.append((name, expression(hint, item, names), may_lack))
    parts, text = [], "{" + head
    open_end = not members or members[-1][2]
    for at, (name, made, may_lack) in enumerate(members):
        if may_lack:
            item = f"v.{name[1:-2]}"
            parts += [literal(text), f"('' if {item} is None else {literal(name)}+{made}+',')"]
            text = ""
        else:
            parts += [literal(text + name), made]
            text = "," if at + 1 < len(members) else ""
    parts = [part for part in parts if part != "''"]
    if open_end:
        if text:
            parts.append(literal(text))
        return (
            f"    text = ''.join(({','.join(parts)},))\n    return text.removesuffix(',') + '}}'\n"
        )
    parts.append(literal(text + "}"))
    return f"    return ''.join(({','.join(parts)},))\n"


def literal(text: str) -> str:
    return repr(text)


def expression(hint: Any, item: str, names: dict[str, Any]) -> str:
    """Source of the JSON text of `item`, whose type `hint` says. What it calls is put into `names`."""

    def known(value: object) -> str:
        name = f"n{len(names)}"
        names[name] = value
        return name

    if isinstance(hint, NewType):
        return expression(hint.__supertype__, item, names)
    if is_optional(hint):
        inner = next(part for part in get_args(hint) if part is not NoneType)
        return f"('null' if {item} is None else {expression(inner, item, names)})"
    if hint is int:
        return f"str({item})"
    if hint is bool:
        return f"('true' if {item} else 'false')"
    if hint is str:
        return f"{known(encode_basestring_ascii)}({item})"
    if hint is Decimal:
        return f"'\"'+str({item})+'\"'"
    if hint is float:
        return f"{known(float_text)}({item})"
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        if parts[-1] is Ellipsis:
            each = expression(parts[0], "i", names)
            return f"('['+','.join([{each} for i in {item}])+']')"
        return sequence(parts, item, names)
    if issubclass(hint, Enum):
        table = {member.value: json.dumps(member.value) for member in hint}
        return f"{known(table)}[{item}._value_]"
    if isinstance(hint, type) and is_dataclass(hint):
        return f"{known(plain_writer(hint))}({item})"
    if issubclass(hint, tuple) and hasattr(hint, "_fields"):
        field_hints = get_type_hints(hint)
        return sequence([field_hints[name] for name in hint._fields], item, names)
    raise TypeError(f"{hint!r} has no wire format")


def sequence(hints: Any, item: str, names: dict[str, Any]) -> str:
    parts = [expression(hint, f"{item}[{at}]", names) for at, hint in enumerate(hints)]
    return "('['+" + "+','+".join(parts) + "+']')"


def float_text(value: float) -> str:
    return to_text(encode_float(value))
