"""When funding is due in a backtest and at which rate: the configuration's, or a recorded file's.

A file is a table of times and rates as fractions per payment (0.0001 is 0.01 %), positive: long pays short. What it
does not cover is not paid. Where mark prices are not recorded, a payment is made at the last price.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Protocol

from marketmaker.backtest.columns import Clock, read_table
from marketmaker.backtest.recording import bad_row, read_head

NEVER = (1 << 62) - 1
LARGEST_RATE = Decimal("0.1")
NS_PER_S = 1_000_000_000


class Funding(Protocol):
    """`next_ns`: the first payment after `now_ns`, NEVER when there is none. `rate_at`: of the payment due then."""

    def next_ns(self, now_ns: int) -> int: ...
    def rate_at(self, due_ns: int) -> Decimal: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedFunding:
    """One rate at every multiple of the interval since 1970, as venues do."""

    interval_ns: int
    rate: Decimal

    def next_ns(self, now_ns: int) -> int:
        return (now_ns // self.interval_ns + 1) * self.interval_ns

    def rate_at(self, due_ns: int) -> Decimal:
        return self.rate


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFunding:
    """Payments as they were: `times_ns` strictly increasing, `rates` beside them."""

    times_ns: tuple[int, ...]
    rates: tuple[Decimal, ...]

    def next_ns(self, now_ns: int) -> int:
        place = bisect_right(self.times_ns, now_ns)
        return self.times_ns[place] if place < len(self.times_ns) else NEVER

    def rate_at(self, due_ns: int) -> Decimal:
        return self.rates[bisect_right(self.times_ns, due_ns) - 1]


def read_funding(path: Path) -> RecordedFunding:
    """Raises ConfigError naming file and row for the first value that cannot be."""
    table = read_table(path, read_head(path, 4) == b"PAR1", kind="funding")
    clock = Clock(table, next(table.rows(1), None))
    times: list[int] = []
    rates: list[Decimal] = []
    for row, (time, rate, *_) in enumerate(table.rows(), 1):
        try:
            ts_ns, value = clock.time_ns(time), _rate(rate)
        except ValueError as error:
            raise bad_row(path, row, str(error)) from None
        if times and ts_ns <= times[-1]:
            raise bad_row(path, row, "time does not go on; sort the file by time, each once")
        times.append(ts_ns)
        rates.append(value)
    return RecordedFunding(times_ns=tuple(times), rates=tuple(rates))


def _rate(value: object) -> Decimal:
    """Raises ValueError in words that follow a row number."""
    try:
        rate = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"rate {value!r} is not a number") from None
    if not rate.is_finite():
        raise ValueError(f"rate is {value}, must be a finite number; remove the row")
    if abs(rate) > LARGEST_RATE:
        raise ValueError(
            f"rate {value} is over {LARGEST_RATE} a payment; give fractions, 0.0001 for 0.01 %"
        )
    return rate
