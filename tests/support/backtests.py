"""Small backtests for tests: a market from a list of prices, and both drivers side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from marketmaker.backtest.arrays import MarketData, from_trades
from marketmaker.backtest.drive import Bench, FillLog, Journal, drive
from marketmaker.backtest.skip import skip_ahead
from marketmaker.core import readings
from marketmaker.model.action import Action
from marketmaker.model.event import Event
from marketmaker.model.instrument import Instrument
from marketmaker.model.settings import GridSettings, PaperSettings, PostOnlyPolicy, WindowFrom
from marketmaker.model.status import GridTotals
from marketmaker.runtime.retry import refusal_of
from marketmaker.runtime.wire_format import to_json, to_text

START_NS = 1_700_000_000 * 1_000_000_000
SECOND_NS = 1_000_000_000

XRP = Instrument(
    venue="paper",
    name="XRPUSDT",
    base="XRP",
    quote="USDT",
    tick_size=Decimal("0.0001"),
    lot_size=Decimal("0.1"),
    min_notional=Decimal(5),
    maker_fee=Decimal("0.0002"),
    taker_fee=Decimal("0.0005"),
)


def job_grid(spacing_ticks: int = 10, window: int = 10, **changes: Any) -> GridSettings:
    """The oracle's grid: buys at the `window` levels below the price, every held level offered one level higher."""
    chosen: dict[str, Any] = {
        "price_interval": XRP.tick_size * spacing_ticks,
        "order_amount": Decimal(50),
        "min_order_value": Decimal(1),
        "buy_window": window,
        "sell_window": 1_000_000,
        "max_open_orders": 10_000_000,
        "place_distance": Decimal(0),
        "window_from": WindowFrom.BELOW,
        "post_only": PostOnlyPolicy.OFF,
        **changes,
    }
    return GridSettings(**chosen)


def job_paper(fill: str = "touch", **changes: Any) -> PaperSettings:
    """No funding, and money enough that margin never matters."""
    chosen: dict[str, Any] = {
        "fill": fill,
        "balance": Decimal(10**8),
        "funding_rate": Decimal(0),
        "funding_interval_s": 1e9,
        **changes,
    }
    return PaperSettings(**chosen)


def trades(prices: Sequence[int], step_ns: int = SECOND_NS, qty: int = 10**9) -> MarketData:
    """One trade every `step_ns`."""
    times = [START_NS + place * step_ns for place in range(len(prices))]
    return from_trades("XRPUSDT", times, prices, [qty] * len(prices))


class Lines:
    """A journal in memory, in the words of the real one."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def heard(self, symbol_index: int, event: Event) -> None:
        self.lines.append(f'{{"s":{symbol_index},"e":{to_text(to_json(event))}}}')

    def decided(self, symbol_index: int, actions: Iterable[Action]) -> None:
        items = [to_json(action) for action in actions]
        if items:
            self.lines.append(f'{{"s":{symbol_index},"a":{to_text(items)}}}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything that two drivers have to agree on."""

    fills: FillLog
    totals: GridTotals
    lines: list[str]
    wallet: Decimal
    equity: Decimal
    counts: dict[str, int]
    payments: list[tuple[int, float]]
    alerts: dict[str, int]


def make_bench(
    data: MarketData,
    grid: GridSettings | None = None,
    paper: PaperSettings | None = None,
    *,
    instrument: Instrument = XRP,
    journal: Journal | None = None,
    latency_ns: int = 0,
    **changes: Any,
) -> Bench:
    return Bench(
        data,
        instrument=instrument,
        grid=grid or job_grid(),
        paper=paper or job_paper(),
        refusal_of=refusal_of,
        latency_ns=latency_ns,
        journal=journal,
        **changes,
    )


def outcome(bench: Bench, lines: Lines) -> Outcome:
    account = bench.exchange.account
    return Outcome(
        fills=bench.fills,
        totals=readings.totals(bench.manager),
        lines=lines.lines,
        wallet=account.wallet,
        equity=account.equity(),
        counts=bench.exchange.counts,
        payments=bench.payments,
        alerts=bench.alerts,
    )


def both(
    data: MarketData,
    grid: GridSettings | None = None,
    paper: PaperSettings | None = None,
    *,
    doubting: bool = True,
    on_benches: Callable[[Bench, Bench], None] | None = None,
    **changes: Any,
) -> tuple[Outcome, Outcome]:
    """(the reference's, skip-ahead's)."""
    first_lines, second_lines = Lines(), Lines()
    first = make_bench(data, grid, paper, journal=first_lines, **changes)
    second = make_bench(data, grid, paper, journal=second_lines, **changes)
    drive(first, doubting=doubting)
    skip_ahead(second, data.index())
    if on_benches is not None:
        on_benches(first, second)
    return outcome(first, first_lines), outcome(second, second_lines)


def assert_same(reference: Outcome, skipped: Outcome) -> None:
    """Line by line first: the first difference says more than the totals."""
    for place, (one, other) in enumerate(zip(reference.lines, skipped.lines, strict=False)):
        assert one == other, f"journal line {place}"
    assert len(reference.lines) == len(skipped.lines)
    assert reference == skipped
