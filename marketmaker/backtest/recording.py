"""A recorded file as lines of text, and its numbers as whole ticks and lots.

Everything wrong with a file is a `ConfigError` of one line: file, row, what is wrong, what to do.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal, InvalidOperation
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, cast

from marketmaker.errors import ConfigError
from marketmaker.model.instrument import Instrument, Lots, Ticks

Number = str | float | int | Decimal

CACHED_NUMBERS = 8_192
"""Prices and quantities repeat, so the exact conversion of each is remembered: about 1 MB."""
MOST_STEPS = 10**15
"""No price is so many ticks and no quantity so many lots; floats tell steps apart up to here."""
FLOAT_TOLERANCE = 1e-6
READ_ERRORS = (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError)
"""What reading a damaged gz or zip raises; RuntimeError is zip's for encryption and odd compression."""
LONGEST_LINE = 1 << 24
"""In characters; what is longer comes in pieces, so that no file can fill the memory."""


def bad_file(path: Path, problem: str) -> ConfigError:
    return ConfigError(_one_line(f"{path}: {problem}"))


def bad_row(path: Path, row: int, problem: str) -> ConfigError:
    """`row` counts from 1 and leaves a header out. What does not say what to do is told to be mended or removed."""
    if ";" not in problem:
        problem += "; mend or remove the row"
    return ConfigError(_one_line(f"{path} row {row}: {problem}"))


def _one_line(text: str) -> str:
    shown = " ".join(text.split())
    return shown if len(shown) <= 500 else f"{shown[:500]}..."


def read_head(path: Path, size: int) -> bytes:
    """The first bytes as they are on disk. Raises ConfigError for a path that is not a readable, filled file."""
    try:
        if path.is_dir():
            raise bad_file(path, "is a directory; name one recorded file in it")
        if path.exists() and not path.is_file():
            raise bad_file(path, "is not a regular file; save the recording to one first")
        with path.open("rb") as file:
            head = file.read(size)
    except FileNotFoundError:
        raise bad_file(
            path, "no such file; give a recording, or 'synthetic' for the built-in market"
        ) from None
    except (OSError, ValueError) as error:
        raise bad_file(path, f"cannot be read ({error}); check the path and its owner") from error
    if not head:
        raise bad_file(path, "is empty; record or download it again")
    return head


def read_lines(path: Path) -> Iterator[str]:
    """Lines of a plain, gzip or zip file (holding one file), decompressed as they are asked for."""
    count = 0
    try:
        with ExitStack() as stack:
            text = io.TextIOWrapper(
                open_bytes(path, stack), encoding="utf-8-sig", errors="replace", newline=""
            )
            stack.enter_context(text)
            for line in iter(partial(text.readline, LONGEST_LINE), ""):
                count += 1
                yield line
    except READ_ERRORS as error:
        raise bad_file(
            path, f"damaged after line {count} ({error}); copy or download it again"
        ) from error


def open_bytes(path: Path, stack: ExitStack) -> IO[bytes]:
    """The content of a plain, gzip or zip file; raises one of READ_ERRORS for a damaged one."""
    magic = read_head(path, 4)
    if magic.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], stack.enter_context(gzip.open(path)))
    if magic.startswith(b"PK"):
        archive = stack.enter_context(zipfile.ZipFile(path))
        members = [name for name in archive.namelist() if not name.endswith("/")]
        if len(members) != 1:
            raise bad_file(path, f"holds {len(members)} files, not one; unpack it and name one")
        return stack.enter_context(archive.open(members[0]))
    return stack.enter_context(path.open("rb"))


class Steps:
    """Exact conversion for one instrument. Each function raises ValueError in words that follow a row number.

    `price`: > 0, on the tick. `qty`: >= 0, on the lot. `floor_qty`: >= 0, rounded down to the lot.
    Text is read as decimal; a float must lie within a millionth of a step.
    """

    def __init__(self, instrument: Instrument) -> None:
        def price(value: Number) -> Ticks:
            ticks = _whole_steps(value, "price", tick_size, "tick_size", name)
            if ticks == 0:
                raise ValueError(f"price is {value}, must be positive")
            return Ticks(ticks)

        def qty(value: Number) -> Lots:
            return Lots(_whole_steps(value, "quantity", lot_size, "lot_size", name))

        name, tick_size, lot_size = instrument.name, instrument.tick_size, instrument.lot_size
        self.price: Callable[[Number], Ticks] = lru_cache(CACHED_NUMBERS)(price)
        self.qty: Callable[[Number], Lots] = lru_cache(CACHED_NUMBERS)(qty)
        self._lot_size = lot_size

    def floor_qty(self, value: Number) -> Lots:
        return Lots(int(_steps(value, self._lot_size, "volume") + Decimal(FLOAT_TOLERANCE)))


def _steps(value: Number, step: Decimal, label: str) -> Decimal:
    try:
        number = Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        raise ValueError(f"{label} {value!r} is not a number") from None
    if not number.is_finite():
        raise ValueError(f"{label} is {value}, must be a finite number")
    if number < 0:
        raise ValueError(f"{label} is {value}, must not be negative")
    if number > MOST_STEPS * step:
        raise ValueError(f"{label} {value} is beyond anything traded")
    return number / step


def _whole_steps(value: Number, label: str, step: Decimal, step_name: str, name: str) -> int:
    steps = _steps(value, step, label)
    whole = round(steps)
    near = isinstance(value, float) and abs(steps - whole) < FLOAT_TOLERANCE
    if not near and whole * step != Decimal(value):
        raise ValueError(
            f"{label} {value} is off the {step_name} {step:f} of {name}; "
            f"configure the {step_name} of this recording, or use another one"
        )
    return whole
