"""What a period amounted to: exact against an independent recomputation from the trades, however it is cut."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmaker.__main__ import main
from marketmaker.cli.report import as_csv, as_html, as_json, as_text, begin_ns, end_ns, iso
from marketmaker.ledger.lots import disposals
from marketmaker.ledger.pnl import Figures
from marketmaker.ledger.report import DAY_NS, Report, make_report
from marketmaker.ledger.rows import (
    Book,
    Booking,
    EquityRow,
    Gap,
    LedgerOrder,
    LedgerTrade,
    Payment,
    PositionRow,
    QuotingRow,
    Records,
    TradedInstrument,
)

BOOK = Book(id=1, venue="fake", account="", bot_tag="mm1")
ETH = TradedInstrument(book_id=1, instrument="ETHUSDT", base="ETH", quote="USDT")
START = 1_767_225_600 * 1_000_000_000
HOUR_NS = DAY_NS // 24


def trade(number: int, side: int, price: str, qty: str, **changes: Any) -> LedgerTrade:
    values = {
        "book_id": 1,
        "instrument": "ETHUSDT",
        "trade_id": f"t{number}",
        "number": number,
        "slot": 0,
        "side": side,
        "sequence": number,
        "price": Decimal(price),
        "qty": Decimal(qty),
        "fee": Decimal(0),
        "is_maker": True,
        "ts_venue_ns": START + number,
    }
    return LedgerTrade(**{**values, **changes})


def booking(of: LedgerTrade, realised: str, **changes: Any) -> Booking:
    values = {
        "book_id": of.book_id,
        "instrument": of.instrument,
        "slot": of.slot,
        "side": of.side,
        "sequence": of.sequence,
        "trade_id": of.trade_id,
        "qty": of.qty,
        "realised": Decimal(realised),
        "ts_venue_ns": of.ts_venue_ns,
    }
    return Booking(**{**values, **changes})


def reading(number: int, position: str, mark: str, ts_ns: int) -> PositionRow:
    return PositionRow(
        book_id=1,
        ts_ns=ts_ns,
        instrument="ETHUSDT",
        number=number,
        position=Decimal(position),
        inventory=Decimal(position),
        mark_price=Decimal(mark),
    )


def records(**rows: Any) -> Records:
    return Records(books=(BOOK,), instruments=(ETH,), **rows)


def figures(report: Report) -> Figures:
    (row,) = report.totals
    return row.figures


ROUND_TRIP = (trade(1, 1, "100", "2", fee=Decimal("0.1")), trade(2, -1, "103", "2"))


def test_a_round_trip_is_grid_profit_less_fees() -> None:
    bought, sold = ROUND_TRIP
    found = figures(
        make_report(records(trades=ROUND_TRIP, bookings=(booking(bought, "0"), booking(sold, "6"))))
    )
    assert (found.grid, found.inventory, found.fees, found.total) == (
        6,
        0,
        Decimal("0.1"),
        Decimal("5.9"),
    )
    assert (found.trades, found.buys, found.sells, found.round_trips, found.volume) == (
        2,
        1,
        1,
        1,
        406,
    )


def test_what_is_held_is_inventory_at_the_newest_mark() -> None:
    bought = trade(5, 1, "100", "2")
    marks = (reading(1, "0", "99", START), reading(9, "2", "95", START + 9))
    found = figures(make_report(records(trades=(bought,), positions=marks)))
    assert (found.grid, found.inventory) == (0, -10)


def test_a_position_from_before_the_first_reading_enters_at_its_mark() -> None:
    marks = (reading(1, "3", "99", START), reading(9, "1", "101", START + 9))
    sold = trade(5, -1, "100", "2")
    report = make_report(records(trades=(sold,), positions=marks))
    assert figures(report).inventory == 2 * 1 + 1 * 2
    assert "was there before" in report.remarks[0]


def test_a_position_that_the_trades_do_not_make_is_remarked() -> None:
    marks = (reading(1, "0", "99", START), reading(9, "5", "101", START + 9))
    report = make_report(records(trades=(trade(5, 1, "100", "2"),), positions=marks))
    assert "make a position of 2, the venue said 5" in report.remarks[0]


def test_a_trade_first_heard_of_as_a_quantity_counts_what_both_bookings_made() -> None:
    sold = trade(2, -1, "103", "2")
    parts = (booking(sold, "5", trade_id="~7"), booking(sold, "1", qty=Decimal(0)))
    assert figures(make_report(records(trades=(sold,), bookings=parts))).grid == 6


def test_a_quantity_whose_trade_was_booked_as_a_whole_after_a_crash_does_not_count_twice() -> None:
    sold = trade(2, -1, "103", "2")
    twice = (booking(sold, "5", trade_id="~7"), booking(sold, "6"))
    assert figures(make_report(records(trades=(sold,), bookings=twice))).grid == 6


def test_rows_that_could_not_be_kept_are_remarked() -> None:
    report = make_report(records(gaps=(Gap(book_id=1, rows_lost=17),)))
    assert report.remarks == ("fake/mm1: 17 rows could not be kept",)


def test_one_instrument_in_two_books_is_two_rows_and_one_total() -> None:
    other = Book(id=2, venue="fake", account="", bot_tag="mm2")
    found = make_report(
        Records(
            books=(BOOK, other),
            instruments=(
                ETH,
                TradedInstrument(book_id=2, instrument="ETHUSDT", base="E", quote="USDT"),
            ),
            trades=(trade(1, 1, "100", "1"), trade(1, 1, "100", "1", book_id=2)),
        )
    )
    assert [row.key for row in found.rows] == ["ETHUSDT (fake/mm1)", "ETHUSDT (fake/mm2)"]
    assert figures(found).trades == 2


def test_quoting_says_how_long_both_sides_were_there_and_why_not_otherwise() -> None:
    second = 1_000_000_000

    def interval(first: int, last: int, *, bids: bool, asks: bool, why: str = "") -> QuotingRow:
        return QuotingRow(
            book_id=1,
            instrument="ETHUSDT",
            ts_from_ns=START + first * second,
            ts_to_ns=START + last * second,
            bids=bids,
            asks=asks,
            why=why,
        )

    rows = (
        interval(0, 10, bids=True, asks=False),
        interval(10, 40, bids=True, asks=True),
        interval(40, 45, bids=False, asks=True, why="risk: all 5 symbols panic"),
        interval(45, 50, bids=False, asks=True, why="risk: something else"),
    )
    (found,) = make_report(records(quoting=rows), from_ns=START + 5 * second).quoting
    assert found.watched_ns == 45 * second and found.both_ns == 30 * second
    assert found.entries_blocked_ns == 10 * second
    assert found.reasons_ns == {"nothing to sell": 5 * second, "risk": 10 * second}


def test_equity_of_the_period_and_its_largest_residual() -> None:
    rows = tuple(
        EquityRow(
            book_id=1, ts_ns=START + n, equity=Decimal(100 + n), available=Decimal(0), residual=r
        )
        for n, r in enumerate(map(Decimal, ("0", "-3", "2", "1")))
    )
    (change,) = make_report(records(equity=rows), to_ns=START + 3).equity
    assert (change.first, change.last, change.readings) == (100, 102, 3)
    assert (change.last_residual, change.largest_residual) == (2, -3)


# --- exact, whatever happened ---

money = st.integers(1, 10**9).map(lambda n: Decimal(n).scaleb(-5))
signed = st.integers(-(10**9), 10**9).map(lambda n: Decimal(n).scaleb(-7))


@st.composite
def histories(draw: st.DrawFn) -> Records:
    """Trades of two instruments over some days, with bookings, readings and funding between them."""
    count = draw(st.integers(0, 25))
    moments = sorted(draw(st.lists(st.integers(0, 4 * DAY_NS), min_size=count, max_size=count)))
    trades, bookings, positions, funding = [], [], [], []
    held: defaultdict[str, Decimal] = defaultdict(Decimal)
    for number, moment in enumerate(moments):
        name = draw(st.sampled_from(["ETHUSDT", "BTCUSDT"]))
        kind = draw(st.sampled_from(["trade", "trade", "trade", "reading", "funding"]))
        if kind == "trade":
            one = trade(
                number,
                draw(st.sampled_from([1, -1])),
                str(draw(money)),
                str(draw(money)),
                instrument=name,
                slot=draw(st.integers(-2, 2)),
                fee=draw(signed),
                is_maker=draw(st.booleans()),
                ts_venue_ns=START + moment,
            )
            held[name] += one.side * one.qty
            trades.append(one)
            bookings.append(booking(one, str(draw(signed))))
        elif kind == "reading":
            row = reading(number, str(held[name]), str(draw(money)), START + moment)
            positions.append(PositionRow(**{**row_values(row), "instrument": name}))
        else:
            funding.append(
                Payment(
                    book_id=1,
                    instrument=name,
                    payment_id=str(number),
                    amount=draw(signed),
                    ts_ns=START + moment,
                )
            )
    btc = TradedInstrument(book_id=1, instrument="BTCUSDT", base="BTC", quote="USDT")
    return Records(
        books=(BOOK,),
        instruments=(ETH, btc),
        trades=tuple(trades),
        bookings=tuple(bookings),
        positions=tuple(positions),
        funding=tuple(funding),
    )


def row_values(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__slots__}


def recomputed(found: Records) -> dict[str, Fraction]:
    """Totals of the whole, one trade after the other, in fractions."""
    total: defaultdict[str, Fraction] = defaultdict(Fraction)
    worth: dict[str, tuple[Fraction, Fraction]] = {}
    for name in ("ETHUSDT", "BTCUSDT"):
        held = cash = price = Fraction(0)
        events: list[Any] = [t for t in found.trades if t.instrument == name]
        events += [p for p in found.positions if p.instrument == name]
        marked = False
        for row in sorted(events, key=lambda row: row.number):
            if isinstance(row, LedgerTrade):
                held += row.side * Fraction(row.qty)
                cash -= row.side * Fraction(row.qty) * Fraction(row.price)
                price = price if marked else Fraction(row.price)
                total["fees"] += Fraction(row.fee)
                total["volume"] += Fraction(row.qty) * Fraction(row.price)
            else:
                marked, price = True, Fraction(row.mark_price)
        worth[name] = held, cash
        total["trading"] += cash + held * price
    total["grid"] = sum((Fraction(row.realised) for row in found.bookings), Fraction(0))
    total["funding"] = sum((Fraction(row.amount) for row in found.funding), Fraction(0))
    return total


@given(histories())
def test_totals_equal_a_recomputation_from_the_trades(found: Records) -> None:
    rows = make_report(found).totals
    if not rows:
        return
    (row,), expected = rows, recomputed(found)
    got = row.figures
    assert Fraction(got.fees) == expected["fees"]
    assert Fraction(got.volume) == expected["volume"]
    assert Fraction(got.funding) == expected["funding"]
    assert Fraction(got.grid) == expected["grid"]
    assert Fraction(got.grid) + Fraction(got.inventory) == expected["trading"]
    assert Fraction(got.total) == expected["trading"] - expected["fees"] + expected["funding"]


def added(rows: Any) -> dict[str, Any]:
    sums: defaultdict[str, Any] = defaultdict(lambda: Fraction(0))
    for row in rows:
        for name in Figures.__slots__:
            sums[name] += Fraction(getattr(row.figures, name))
    return {name: value for name, value in sums.items() if value}


@given(histories(), st.integers(0, 4 * DAY_NS))
def test_parts_of_a_period_add_up_to_the_whole(found: Records, cut_ns: int) -> None:
    first, last = START, START + 5 * DAY_NS
    whole = make_report(found, from_ns=first, to_ns=last)
    halves = [
        make_report(found, from_ns=begin, to_ns=end).totals
        for begin, end in ((first, START + cut_ns), (START + cut_ns, last))
    ]
    days = make_report(found, from_ns=first, to_ns=last, by="day")
    expected = added(whole.totals)
    assert added(whole.rows) == expected
    assert added([row for half in halves for row in half]) == expected
    assert added(days.rows) == expected
    assert not found.trades or len({row.key for row in days.rows}) == 5


UNIT = Decimal("0.5")
lot_trades = st.lists(
    st.tuples(st.sampled_from([1, -1]), st.integers(1, 6), money, signed), max_size=25
).map(
    lambda rows: [
        trade(number, side, str(price), str(units * UNIT), fee=fee)
        for number, (side, units, price, fee) in enumerate(rows, start=1)
    ]
)


@given(lot_trades)
def test_fifo_pairs_unit_by_unit_the_oldest_with_the_newest(trades: list[LedgerTrade]) -> None:
    """Every trade is cut into units and each unit is walked by hand."""
    queue: list[tuple[int, LedgerTrade]] = []
    pairs: defaultdict[tuple[str, str], Fraction] = defaultdict(Fraction)
    gain = Fraction(0)
    for one in trades:
        for _ in range(int(one.qty / UNIT)):
            if queue and queue[0][0] != one.side:
                side, opened = queue.pop(0)
                pairs[opened.trade_id, one.trade_id] += Fraction(UNIT)
                gain += side * Fraction(UNIT) * (Fraction(one.price) - Fraction(opened.price))
            else:
                queue.append((one.side, one))
    found = list(disposals(trades, "fifo"))
    got: defaultdict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for piece in found:
        got[piece.opened_by, piece.closed_by] += Fraction(piece.qty)
    assert got == pairs
    assert sum((Fraction(p.proceeds) - Fraction(p.cost) for p in found), Fraction(0)) == gain


@given(lot_trades, st.sampled_from(["fifo", "average"]))
def test_lots_of_a_position_that_was_closed_hold_all_its_money_and_fees(
    trades: list[LedgerTrade], method: str
) -> None:
    held = sum((one.side * one.qty for one in trades), Decimal(0))
    if held:
        side = -1 if held > 0 else 1
        trades = [*trades, trade(99, side, "7.77", str(abs(held)), fee=Decimal("0.1"))]
    found = list(disposals(trades, method))
    cash = sum(
        (-Fraction(t.side) * Fraction(t.price) * Fraction(t.qty) for t in trades), Fraction(0)
    )
    fees = sum((Fraction(t.fee) for t in trades), Fraction(0))
    assert sum((Fraction(p.gain) for p in found), Fraction(0)) == cash - fees
    assert sum((Fraction(p.fees) for p in found), Fraction(0)) == fees


def test_average_cost_is_the_mean_of_what_is_held() -> None:
    trades = [trade(1, 1, "100", "1"), trade(2, 1, "104", "3"), trade(3, -1, "110", "2")]
    (piece,) = disposals(trades, "average")
    assert (piece.cost, piece.proceeds, piece.opened_by) == (206, 220, "average")


def test_a_short_position_has_its_sale_as_proceeds() -> None:
    (piece,) = disposals([trade(1, -1, "100", "2"), trade(2, 1, "90", "2")], "fifo")
    assert (piece.side, piece.cost, piece.proceeds, piece.gain) == (-1, 180, 200, 20)


def test_disposals_before_the_period_are_not_listed_but_use_up_their_lots() -> None:
    trades = (
        trade(1, 1, "100", "1"),
        trade(2, 1, "200", "1"),
        trade(3, -1, "300", "1"),
        trade(4, -1, "300", "1"),
    )
    report = make_report(records(trades=trades), from_ns=START + 4, lots="fifo")
    assert [row.disposal.opened_by for row in report.lots] == ["t2"]


# --- forms ---


def a_report(**options: Any) -> Report:
    bought, sold = ROUND_TRIP
    order = LedgerOrder(
        book_id=1,
        instrument="ETHUSDT",
        slot=0,
        side=1,
        sequence=1,
        qty=Decimal(2),
        filled=Decimal(2),
        ended="filled",
        ts_sent_ns=START,
    )
    return make_report(
        Records(
            books=(Book(id=1, venue="<b>", account="", bot_tag="mm1"),),
            instruments=(ETH,),
            trades=ROUND_TRIP,
            bookings=(booking(bought, "0"), booking(sold, "6")),
            orders=(order,) * 5,
            equity=(
                EquityRow(
                    book_id=1,
                    ts_ns=START,
                    equity=Decimal("1E+3"),
                    available=Decimal(0),
                    residual=Decimal("1E-9"),
                ),
            ),
        ),
        **options,
    )


def test_json_holds_exact_text_and_says_what_it_covers() -> None:
    found = json.loads(as_json(a_report(lots="fifo")))
    (row,) = found["rows"]
    assert row["symbol"] == "ETHUSDT" and row["currency"] == "USDT"
    assert (row["grid"], row["fees"], row["total"]) == ("6", "0.1", "5.9")
    assert (row["maker_share"], row["orders_per_trade"]) == ("1.0000", "2.5000")
    assert found["equity"][0]["last"] == "1000" and found["equity"][0]["residual"] == "0.000000001"
    assert found["from"] == "2026-01-01T00:00:00Z" and found["lots"][0]["gain"] == "5.9"


def test_csv_has_one_line_per_row_or_per_lot() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(a_report(by="day")))))
    assert [(row["day"], row["total"]) for row in rows] == [("2026-01-01", "5.9")]
    (lot,) = csv.DictReader(io.StringIO(as_csv(a_report(lots="average"))))
    assert (lot["qty"], lot["cost"], lot["proceeds"]) == ("2", "200", "206")


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [name for name, _ in attrs if name in ("src", "href")]
        if tag in ("script", "link", "img", "iframe"):
            self.links.append(tag)

    def handle_data(self, data: str) -> None:
        self.cells.append(data)


def test_the_page_asks_nobody_and_escapes_what_it_shows() -> None:
    text = as_html(a_report())
    page = Page()
    page.feed(text)
    assert page.links == [] and "url(" not in text and "@import" not in text
    assert {"5.9", "<b>/mm1"} <= set(page.cells) and "<b>" not in text


def test_the_table_ends_with_the_total() -> None:
    lines = as_text(a_report()).splitlines()
    assert next(line for line in lines if line.startswith("total")).split()[1] == "USDT"


def test_a_day_counts_as_a_whole_and_a_time_as_itself() -> None:
    assert iso(begin_ns("2026-01-31")) == "2026-01-31T00:00:00Z"
    assert iso(end_ns("2026-01-31")) == "2026-02-01T00:00:00Z"
    assert iso(end_ns("2026-01-31T08:00+02:00")) == "2026-01-31T06:00:00Z"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "name a CONFIG"),
        (("--ledger", "sqlite:///nowhere/l.db"), "no such file"),
        (("--ledger", "mysql://u:hunter2@h/d"), "not the address of a ledger"),
        (("--ledger", "sqlite:///x.db", "--from", "2026-02-01", "--to", "2026-01-01"), "--from"),
    ],
)
def test_a_report_of_nothing_is_refused_in_one_line(
    arguments: tuple[str, ...],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("sqlalchemy")
    monkeypatch.chdir(tmp_path)
    assert main(["report", *arguments]) == 2
    error = capsys.readouterr().err
    assert says in error and len(error.splitlines()) == 1 and "hunter2" not in error


CONFIG = """
mode: paper
ledger: sqlite:///{ledger}
symbols:
  - name: ETHUSDT
    grid:
      price_interval: 2
      order_amount: 60
"""


@pytest.mark.e2e
def test_a_paper_run_and_its_report_tell_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The daemon's own books, the venue's trades and the venue's equity, to the last digit."""
    pytest.importorskip("sqlalchemy")
    from tests.support.daemon import run_command

    config, summary = tmp_path / "config.yaml", tmp_path / "summary.json"
    config.write_text(CONFIG.format(ledger=tmp_path / "ledger.db"))
    ended = run_command(
        "run",
        str(config),
        *("--feed", "synthetic:7", "--speed", "max", "--duration", "1800"),
        *("--summary", str(summary)),
    )
    assert ended.returncode == 0, ended.stderr
    (ran,) = json.loads(summary.read_text())["symbols"]
    assert main(["report", str(config), "--json", "--lots", "fifo"]) == 0
    told = json.loads(capsys.readouterr().out)
    (row,), (equity,), (quoting,) = told["rows"], told["equity"], told["quoting"]
    assert ran["fills"] > 50 and told["remarks"] == []
    for mine, theirs in (
        ("trades", "fills"),
        ("buys", "buys"),
        ("sells", "sells"),
        ("orders", "orders_placed"),
    ):
        assert row[mine] == ran[theirs]
    for mine, theirs in (
        ("grid", "realised_pnl"),
        ("inventory", "unrealised_pnl"),
        ("fees", "fees"),
        ("funding", "funding"),
    ):
        assert float(row[mine]) == ran[theirs]
    assert Decimal(row["total"]) == Decimal(equity["change"])
    assert (equity["first"], equity["residual"]) == ("10000", "0")
    assert quoting["watched_s"] == pytest.approx(1800, abs=3)
