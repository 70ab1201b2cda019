"""Writes the source of `marketmaker.runtime.made_writers` for the build of the compiled core: the functions that make the
lines of the journal, for every event and action and what they hold, from the same source that `wire_text` makes them of
while it runs.
"""

from __future__ import annotations

from json.encoder import encode_basestring_ascii
from typing import Any

from marketmaker.runtime.wire_format import ACTION_CLASSES, EVENT_CLASSES
from marketmaker.runtime.wire_text import float_text, tag_of, writer_body

HEAD = '''"""Made by scripts/line_writers.py."""

from collections.abc import Callable
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from marketmaker.runtime.wire_format import encode_float, to_text

def float_text(value: float) -> str:
    return to_text(encode_float(value))

'''


def source() -> str:
    tagged = [*EVENT_CLASSES.values(), *ACTION_CLASSES.values()]
    writers = Writers()
    for kind in tagged:
        writers.add(kind, tagged=True)
    made = ",\n".join(f"    {kind.__name__}: line_{kind.__name__}" for kind in tagged)
    imports = [f"from {kind.__module__} import {kind.__name__}\n" for kind in writers.kinds]
    return (
        HEAD
        + "".join(sorted(imports))
        + "\n".join(writers.functions)
        + f"\nMADE: dict[type, Callable[[Any], str]] = {{\n{made},\n}}\n"
    )


class Writers:
    def __init__(self) -> None:
        self.kinds: dict[Any, None] = {}
        self.functions: list[str] = []
        self._tables: dict[str, str] = {}

    def add(self, kind: Any, *, tagged: bool) -> None:
        """The function of one class, after those of what it holds."""
        names: dict[str, Any] = {}
        body = writer_body(kind, tag_of(kind) if tagged else "", names)
        self.kinds[kind] = None
        # From the last to the first, so that n1 is not taken for the beginning of n10.
        for name, value in reversed(names.items()):
            body = (
                body.replace(f"{name}(", f"{self._name_of(value)}(")
                if callable(value)
                else (body.replace(f"{name}[", f"{self._table(value)}["))
            )
        name = f"{'line' if tagged else 'text'}_{kind.__name__}"
        self.functions.append(f"def {name}(v: {kind.__name__}) -> str:\n{body}")

    def _name_of(self, function: Any) -> str:
        if function is encode_basestring_ascii or function is float_text:
            return str(function.__name__)
        kind = function.__annotations__["v"]
        if f"def text_{kind.__name__}(" not in "".join(self.functions):
            self.add(kind, tagged=False)
        return f"text_{kind.__name__}"

    def _table(self, table: dict[Any, str]) -> str:
        text = repr(table)
        if text not in self._tables:
            self._tables[text] = f"TABLE_{len(self._tables)}"
            self.functions.append(f"{self._tables[text]}: Final = {text}")
        return self._tables[text]
