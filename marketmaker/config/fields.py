"""How one value is read from the YAML tree.

A reader takes a node and answers the value, or raises `Refused` saying what is wrong and what would pass. Numbers
come from the text of the scalar through Decimal; a float is only made of a number already checked.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol

from marketmaker.config.yaml_source import Items, Node, Scalar, shown

MAX_DECIMALS = 18
HUGE = "1000000000000"
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,6})?", re.ASCII)
WHOLE_NUMBER = re.compile(r"[+-]?\d+", re.ASCII)
LEADING_ZERO = re.compile(r"[+-]?0\d", re.ASCII)
NOT_FINITE = re.compile(r"[+-]?\.?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
BOOLEAN_WORDS = frozenset({"true", "false", "yes", "no", "on", "off"})
SYMBOL_NAME = re.compile(r"[A-Z0-9]{2,20}([-/:_][A-Z0-9]{1,20})*", re.ASCII)


class Refused(Exception):
    """Text: what is wrong; what would pass."""


class Reader(Protocol):
    def __call__(self, node: Node) -> Any: ...


def plain(number: Decimal) -> str:
    """Exact text without exponent and without trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """Reads a number within bounds; `above` and `below` exclude the bound. `unit` is a plural noun or ""."""

    make: Callable[[Decimal], Any]
    whole: bool = False
    above: str | None = None
    at_least: str | None = None
    below: str | None = None
    at_most: str | None = None
    unit: str = ""

    @property
    def expects(self) -> str:
        noun = "a whole number" if self.whole else "a number"
        if self.unit:
            noun += f" of {self.unit}"
        if self.at_least is not None and self.at_most is not None:
            return f"{noun} from {self.at_least} to {self.at_most}"
        words = (
            ("above", self.above),
            ("at least", self.at_least),
            ("below", self.below),
            ("at most", self.at_most),
        )
        bounds = [f"{word} {bound}" for word, bound in words if bound not in {None, HUGE}]
        return " ".join((noun, " and ".join(bounds)))

    def __call__(self, node: Node) -> Any:
        if not isinstance(node, Scalar):
            raise Refused(f"is {shown(node)}, not a number; write {self.expects}")
        text = node.text
        if not node.plain:
            raise Refused(f"{shown(node)} is not a number; write {self.expects}, without quotes")
        if NOT_FINITE.fullmatch(text):
            raise Refused(f"{shown(node)} is not a finite number; write {self.expects}")
        if not NUMBER.fullmatch(text):
            raise Refused(f"{shown(node)} is not a number; write {self.expects}")
        if LEADING_ZERO.match(text):
            raise Refused(
                f"{shown(node)} begins with 0; write {self.expects}, without leading zero"
            )
        if self.whole and not WHOLE_NUMBER.fullmatch(text):
            raise Refused(f"{shown(node)} is not a whole number; write {self.expects}")
        number = Decimal(text)
        if not self.holds(number):
            limit = " (and at most 10^12)" if self.at_most == HUGE and number > 0 else ""
            raise Refused(f"{shown(node)} is out of range; write {self.expects}{limit}")
        exponent = number.as_tuple().exponent
        if isinstance(exponent, int) and exponent < -MAX_DECIMALS:
            raise Refused(
                f"{shown(node)} has more than {MAX_DECIMALS} decimals; write {self.expects} with fewer"
            )
        return self.make(number)

    def holds(self, number: Decimal) -> bool:
        return not (
            (self.above is not None and number <= Decimal(self.above))
            or (self.at_least is not None and number < Decimal(self.at_least))
            or (self.below is not None and number >= Decimal(self.below))
            or number > Decimal(self.at_most or HUGE)
        )


def decimal(
    *,
    above: str | None = None,
    at_least: str | None = None,
    below: str | None = None,
    at_most: str | None = None,
) -> Number:
    """An exact number; never more than 10**12."""
    if below is None and at_most is None:
        at_most = HUGE
    return Number(make=Decimal, above=above, at_least=at_least, below=below, at_most=at_most)


def real(*, above: str | None = None, at_least: str | None = None, at_most: str) -> Number:
    """A number for statistics and rates, where a float will do."""
    return Number(make=float, above=above, at_least=at_least, at_most=at_most)


def duration(*, at_least: str, at_most: str, unit: str = "seconds") -> Number:
    return Number(make=float, at_least=at_least, at_most=at_most, unit=unit)


def whole(*, at_least: str, at_most: str, unit: str = "") -> Number:
    return Number(make=int, whole=True, at_least=at_least, at_most=at_most, unit=unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Reads one of the listed words; answers what stands beside it."""

    options: dict[str, Any]

    @property
    def expects(self) -> str:
        return f"one of {', '.join(self.options)}"

    def __call__(self, node: Node) -> Any:
        if not isinstance(node, Scalar):
            raise Refused(f"is {shown(node)}; write {self.expects}")
        if node.text not in self.options:
            raise Refused(f"{shown(node)} is not known here; write {self.expects}")
        return self.options[node.text]


def choice(*words: str) -> Choice:
    return Choice(options={word: word for word in words})


def member(enum: type[Enum]) -> Choice:
    return Choice(options={entry.value: entry for entry in enum})


def number_choice(*numbers: int) -> Choice:
    return Choice(options={str(number): number for number in numbers})


def boolean(node: Node) -> bool:
    if isinstance(node, Scalar) and node.plain and node.text in {"true", "false"}:
        return node.text == "true"
    raise Refused(f"{shown(node)} is not a yes-or-no value; write true or false")


def text(node: Node, *, expects: str) -> str:
    """A non-empty text without ${...}, which stands for a secret and works only where secrets are written."""
    if not isinstance(node, Scalar):
        raise Refused(f"is {shown(node)}; write {expects}")
    if not node.text or (node.plain and node.text.lower() in BOOLEAN_WORDS):
        raise Refused(f"{shown(node)} is not {expects}; write {expects}")
    if "${" in node.text:
        raise Refused(
            f"${{...}} works only under credentials and for addresses of alerts; write {expects}"
        )
    if not node.text.isprintable():
        raise Refused(f"{shown(node)} holds a control character; write {expects} without it")
    return node.text


def path(node: Node) -> str:
    """A path, `~` expanded; "" (in quotes) for none."""
    if isinstance(node, Scalar) and not node.plain and not node.text:
        return ""
    return os.path.expanduser(text(node, expects="a path"))


def symbol_name(node: Node) -> str:
    name = text(node, expects="an instrument's name such as ETHUSDT")
    if not SYMBOL_NAME.fullmatch(name):
        raise Refused(
            f"{shown(node)} is not an instrument's name; "
            "write 2 to 20 capital letters or digits such as ETHUSDT"
        )
    return name


def symbol_names(node: Node) -> tuple[str, ...]:
    if not isinstance(node, Items):
        raise Refused(f"{shown(node)} is not a list; write names in brackets, [BTCUSDT, ETHUSDT]")
    names = tuple(symbol_name(entry) for entry in node.nodes)
    for name in names:
        if names.count(name) > 1:
            raise Refused(f"{name} is listed twice; list each name once")
    return names


def price_range(node: Node) -> tuple[Decimal, Decimal]:
    expects = "[LOW, HIGH], two prices above 0"
    if not isinstance(node, Items) or len(node.nodes) != 2:
        count = f"a list of {len(node.nodes)}" if isinstance(node, Items) else shown(node)
        raise Refused(f"{count} is not a range of prices; write {expects}")
    price = decimal(above="0")
    low, high = (price(entry) for entry in node.nodes)
    if low >= high:
        raise Refused(
            f"low {plain(low)} is not below high {plain(high)}; write [{plain(high)}, {plain(low)}]"
            if low > high
            else f"low and high are both {plain(low)}; write {expects}, low below high"
        )
    return low, high
