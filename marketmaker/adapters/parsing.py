"""Strict reading of what a venue wrote: JSON into structs, decimal text into whole steps, times, words of a table.

Everything here raises MalformedMessage for what breaks the contract, and nothing but that: a frame of a stranger can be
long, deep, in the wrong alphabet or `NaN`, and no caller has a second exception to think of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final, TypeVar

import msgspec

from marketmaker.errors import MalformedMessage
from marketmaker.model.instrument import Lots

NS_PER_US: Final = 1_000
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000

NOTHING: Final = msgspec.Raw(b"null")
"""Default of a field that is kept as it was written: the field was not there, or null."""
PLAIN: Final = re.compile(r"-?\d{1,20}(?:\.\d{1,20})?", re.ASCII)
DIGITS_MAX: Final = 32
REMEMBERED: Final = 1024
MS_MAX: Final = 1 << 43

S = TypeVar("S")
T = TypeVar("T")


def malformed(message: str) -> MalformedMessage:
    return MalformedMessage(message)


def reader(kind: type[S]) -> Callable[[bytes], S]:
    """A function from JSON text to a `kind`."""
    decode = msgspec.json.Decoder(kind).decode

    def read(text: bytes) -> S:
        try:
            return decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise malformed(f"not a {kind.__name__}: {error}") from None

    return read


class Steps:
    """Whole steps from and to the venue's decimal text, for one step size."""

    def __init__(self, step: Decimal) -> None:
        exponent = int(step.normalize().as_tuple().exponent)
        self.decimals = max(0, -exponent)
        self._units = int(step.scaleb(self.decimals))
        self._scale = 10**self.decimals
        self._known: dict[str, int] = {}

    def parse(self, text: str) -> int:
        """`"3010.21"` at a step of 0.01 is 301021. Refuses anything off the step or below zero.

        What was read lately is remembered: an order's price and quantities come back in its answer and its events.
        """
        steps = self._known.get(text)
        if steps is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            steps = self._known[text] = self._read(text)
        return steps

    def _read(self, text: str) -> int:
        whole, _, part = text.partition(".")
        if len(part) != self.decimals:
            part = part.rstrip("0").ljust(self.decimals, "0")
        digits = whole + part
        if (
            len(part) != self.decimals
            or len(digits) > DIGITS_MAX
            or not (whole and digits.isascii() and digits.isdigit())
        ):
            raise malformed(f"{text[:40]!r} is not a number on the step")
        units = int(digits)
        if self._units == 1:
            return units
        steps, rest = divmod(units, self._units)
        if rest:
            raise malformed(f"{text[:40]!r} is off the step")
        return steps

    def signed(self, text: str) -> int:
        """As `parse`, below zero too."""
        return -self.parse(text[1:]) if text.startswith("-") else self.parse(text)

    def near(self, text: str) -> int:
        """The nearest step to a number that need not be on one."""
        step = Decimal(self._units).scaleb(-self.decimals)
        return round(parse_decimal(text) / step)

    def format(self, steps: int) -> str:
        units = steps * self._units
        if not self.decimals:
            return str(units)
        whole, part = divmod(units, self._scale)
        return f"{whole}.{part:0{self.decimals}d}"


def parse_decimal(text: str) -> Decimal:
    """Refuses what is not a plain number (`NaN`, `1e999`, thousands of digits)."""
    if not PLAIN.fullmatch(text):
        raise malformed(f"{text[:40]!r} is not a number")
    return Decimal(text)


def is_number(text: str) -> bool:
    """Whether it can be the number of a request of ours: `int` refuses thousands of digits in its own way."""
    return text.isdecimal() and len(text) <= 18


def parse_average(text: str) -> Decimal:
    """An average, whose digits may go on for ever: to twenty behind the point."""
    whole, point, part = text.partition(".")
    return parse_decimal(f"{whole}{point}{part[:20]}")


def parse_figure(text: str) -> float:
    """For statistics only. Refuses less than nothing."""
    if text.startswith("-"):
        raise malformed(f"{text[:40]!r} is below zero")
    return float(parse_decimal(text))


def parse_ms(ms: int) -> int:
    """Unix ms to Unix ns."""
    if not 0 <= ms < MS_MAX:
        raise malformed(f"{ms} is not a time")
    return ms * NS_PER_MS


def parse_ms_text(text: str) -> int:
    """As `parse_ms`, for venues that write times as text."""
    if not (text.isascii() and text.isdigit() and len(text) <= 13):
        raise malformed(f"{text[:40]!r} is not a time")
    return int(text) * NS_PER_MS


def parse_us(us: int) -> int:
    """Unix microseconds to Unix ns."""
    if not 0 <= us < MS_MAX * 1_000:
        raise malformed(f"{us} is not a time")
    return us * NS_PER_US


def parse_seconds_text(text: str) -> int:
    """Unix seconds as decimal text (`"1767225605.123"`) to Unix ns."""
    seconds = parse_decimal(text)
    if not 0 <= seconds * 1_000 < MS_MAX:
        raise malformed(f"{text[:40]!r} is not a time")
    return int(seconds * NS_PER_S)


def parse_one_of(table: Mapping[str, T], text: str, what: str) -> T:
    try:
        return table[text]
    except KeyError:
        raise malformed(f"unknown {what} {text[:40]!r}") from None


def parse_signed_lots(text: str, steps: Steps) -> Lots:
    return Lots(steps.signed(text))
