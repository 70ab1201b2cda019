"""The live line at the bottom of a terminal: what every symbol is doing, once a second."""

from __future__ import annotations

import asyncio
import shutil
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TextIO

REFRESH_S = 1.0
START_OF_LINE = "\r"
ERASE_TO_END = "\x1b[K"
BETWEEN = " | "
ELLIPSIS = "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRow:
    """One symbol now. `price` None: none seen yet. `pnl` in `quote`, after fees. `why_paused` "" while quoting."""

    symbol: str
    price: Decimal | None
    quoted: int
    held: int
    fills: int
    pnl: Decimal
    quote: str
    why_paused: str


def render(rows: Sequence[StatusRow], width: int) -> str:
    """All symbols in one line of at most `width` columns, without control characters."""
    return cut(BETWEEN.join(map(describe, rows)), width)


def describe(row: StatusRow) -> str:
    price = "no price yet" if row.price is None else f"{row.price:,f}"
    text = (
        f"{row.symbol} {price}  quoted {row.quoted}  held {row.held}  fills {row.fills:,}"
        f"  PnL {row.pnl:+,.2f} {row.quote}"
    )
    return f"{text}  paused: {row.why_paused}" if row.why_paused else text


def cut(text: str, width: int) -> str:
    """`text` as one line of at most `width` terminal columns; an ellipsis stands for what had to go."""
    line = "".join(c if c.isprintable() else " " for c in text)
    if sum(map(columns, line)) <= width:
        return line
    kept, used = "", 0
    for character in line:
        used += columns(character)
        if used > width - 1:
            break
        kept += character
    return kept + ELLIPSIS if width > 0 else ""


def columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class StatusLine:
    """Redraws the line until cancelled, then takes it away; does nothing when `out` is not a terminal."""

    def __init__(
        self,
        out: TextIO,
        rows: Callable[[], Sequence[StatusRow]],
        *,
        width: Callable[[], int] = lambda: shutil.get_terminal_size().columns,
    ) -> None:
        self._out = out
        self._rows = rows
        self._width = width

    async def run(self) -> None:
        if not self._out.isatty():
            return
        try:
            while True:
                # One column stays free: a terminal that fills the last one may go to the next line.
                self._write(render(self._rows(), self._width() - 1))
                await asyncio.sleep(REFRESH_S)
        finally:
            self._write("")

    def _write(self, text: str) -> None:
        try:
            self._out.write(f"{START_OF_LINE}{text}{ERASE_TO_END}")
            self._out.flush()
        except (OSError, ValueError):
            pass  # the terminal has gone away; the daemon has not
