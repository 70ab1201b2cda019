"""What a run amounted to, and whether the books agree with the venue to the last digit.

Equity identity, over the whole account, in quote currency:

    equity_end - equity_start = sum over symbols of realised + unrealised - fees + funding      (residual: 0)

`unrealised` is counted from the start of the run: a position that was there before enters at its mark then. A residual
other than 0 means that something moved the account that is not in our books (a manual trade, a transfer, a fee paid
elsewhere).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

from marketmaker.model.account import Position
from marketmaker.model.instrument import Instrument
from marketmaker.model.status import GridTotals

EXACT_DIGITS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolReading:
    """`start` and `end` are the venue's; `totals` are ours."""

    name: str
    instrument: Instrument
    totals: GridTotals
    start: Position
    end: Position
    ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    equity: Decimal
    open_orders: int
    symbols: tuple[SymbolReading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """`reading` is None when the venue did not answer at the end."""

    reading: Reading | None
    equity_start: Decimal
    exit_reason: str
    exit_code: int
    unconfirmed: tuple[str, ...]
    first_order_s: float | None
    peak_rss_mb: float


def unrealised(row: SymbolReading) -> Decimal:
    """Inventory at the venue's mark against its cost, less what a position held at the start had already gained."""
    instrument, totals = row.instrument, row.totals
    now = instrument.base_qty(totals.inventory_lots) * row.end.mark_price
    then = instrument.base_qty(row.start.qty_lots) * row.start.mark_price
    brought = then - instrument.money(totals.adopted_cost)
    return now - instrument.money(totals.inventory_cost) - brought


def summary(report: RunReport) -> dict[str, Any]:
    """The summary file as plain JSON values. Exact: computed with 60 digits, written as the shortest number."""
    with localcontext() as context:
        context.prec = EXACT_DIGITS
        return dict(lines(report))


def lines(report: RunReport) -> Iterator[tuple[str, Any]]:
    reading = report.reading
    rows = () if reading is None else reading.symbols
    residual = None
    if reading is not None:
        explained = sum(
            (
                row.instrument.money(row.totals.realised)
                + unrealised(row)
                - row.totals.fees
                + row.totals.funding
                for row in rows
            ),
            Decimal(0),
        )
        residual = reading.equity - report.equity_start - explained
    yield (
        "symbols",
        [symbol_summary(row, report.equity_start, reading, residual) for row in rows],
    )
    yield "equity_start", number(report.equity_start)
    yield "equity_end", None if reading is None else number(reading.equity)
    yield "equity_residual", None if residual is None else number(residual)
    yield "open_orders_left", None if reading is None else reading.open_orders
    yield "exit_reason", report.exit_reason
    yield "exit_code", report.exit_code
    yield "unconfirmed", list(report.unconfirmed)
    yield (
        "first_order_seconds",
        None if report.first_order_s is None else round(report.first_order_s, 3),
    )
    yield "peak_rss_mb", round(report.peak_rss_mb, 1)


def symbol_summary(
    row: SymbolReading, equity_start: Decimal, reading: Reading | None, residual: Decimal | None
) -> dict[str, Any]:
    """Equity figures are the account's: a venue does not divide them by symbol."""
    instrument, totals = row.instrument, row.totals
    return {
        "symbol": row.name,
        "ticks": row.ticks,
        "price": None
        if totals.price_ticks is None
        else number(instrument.price(totals.price_ticks)),
        "orders_placed": totals.orders_placed,
        "orders_cancelled": totals.orders_cancelled,
        "orders_rejected": totals.orders_rejected,
        "fills": totals.fills,
        "buys": totals.buys,
        "sells": totals.sells,
        "maker_fills": totals.maker_fills,
        "position": number(instrument.base_qty(row.end.qty_lots)),
        "inventory_in_slots": number(instrument.base_qty(totals.inventory_lots)),
        "realised_pnl": number(instrument.money(totals.realised)),
        "unrealised_pnl": number(unrealised(row)),
        "fees": number(totals.fees),
        "funding": number(totals.funding),
        "equity_start": number(equity_start),
        "equity_end": None if reading is None else number(reading.equity),
        "equity_residual": None if residual is None else number(residual),
    }


def number(value: Decimal) -> int | float:
    """A JSON number; whole values as integers, so that 0 reads 0."""
    return int(value) if value == value.to_integral_value() else float(value)


def write_summary(path: str, content: dict[str, Any]) -> None:
    """Raises OSError."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")


def table(content: dict[str, Any]) -> str:
    """The same for a person."""
    rows = [
        f"{row['symbol']}: price {row['price']}, {row['fills']} fills ({row['buys']} buys, {row['sells']} sells), "
        f"position {row['position']}, realised {row['realised_pnl']:.4f}, unrealised "
        f"{row['unrealised_pnl']:.4f}, fees {row['fees']:.4f}, funding {row['funding']:.4f}"
        for row in content["symbols"]
    ]
    rows.append(
        f"equity {content['equity_start']} -> {content['equity_end']}, residual {content['equity_residual']}; "
        f"open orders left: {content['open_orders_left']}; stopped: {content['exit_reason']}"
    )
    rows += [f"NOT CONFIRMED: {what}" for what in content["unconfirmed"]]
    return "\n".join(rows)
