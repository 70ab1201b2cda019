"""A line that keeps itself up to date on a terminal; nothing at all elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

WIDTH = 30


class Progress:
    """Called with the number of the last thing done, counted from 0; `note` is shown behind the bar."""

    def __init__(self, out: TextIO, total: int, unit: str) -> None:
        self._out = out
        self._total = max(total, 1)
        self._unit = unit
        self._shown = ""

    @classmethod
    @contextmanager
    def on(cls, out: TextIO, total: int, unit: str) -> Iterator[Callable[[int], None] | None]:
        """None where nobody looks. The line is erased at the end, however it comes."""
        if not out.isatty():
            yield None
            return
        bar = cls(out, total, unit)
        try:
            yield bar
        finally:
            bar.erase()

    def __call__(self, place: int, note: str = "") -> None:
        done = min(place + 1, self._total)
        bar = "=" * (WIDTH * done // self._total)
        percent = 100 * done // self._total
        line = (
            f"[{bar:<{WIDTH}}] {percent:3d} % of {self._total:,} {self._unit}{note and '  ' + note}"
        )
        if line != self._shown:
            self._shown = line
            self._out.write(f"\r\x1b[K{line}")
            self._out.flush()

    def erase(self) -> None:
        self._out.write("\r\x1b[K")
        self._out.flush()
