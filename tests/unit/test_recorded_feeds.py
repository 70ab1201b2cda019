"""Recorded files as feeds: every format, exact numbers, and one line about whatever is wrong with a file."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from marketmaker.backtest.columns import Table
from marketmaker.backtest.data import open_feed
from marketmaker.backtest.frames import FrameFeed
from marketmaker.backtest.recording import Steps
from marketmaker.backtest.tables import CandleTable, TradeTable
from marketmaker.errors import ConfigError
from marketmaker.model.market import Quote, Trade
from marketmaker.model.order import Side
from tests.support.recordings import (
    AGG_TRADES_HEADER,
    START_MS,
    START_NS,
    agg_trade,
    book_ticker,
    candle_columns,
    csv_text,
    depth,
    frame_lines,
    instrument,
    rest_snapshot,
    trade,
    trade_columns,
    write,
    write_parquet,
)

ETH = "ETHUSDT"
INSTRUMENTS = {name: instrument(name) for name in (ETH, "BTCUSDT", "SOLUSDT")}


def read(path: Path, *symbols: str) -> list[tuple[str, Trade | Quote]]:
    return list(open_feed(str(path), symbols or (ETH,), 0).events(INSTRUMENTS))


def read_trades(path: Path, *symbols: str) -> list[Trade]:
    return [event for _, event in read(path, *symbols) if isinstance(event, Trade)]


def refusal(path: Path, *symbols: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(path, *symbols)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


# raw WebSocket frames


@pytest.mark.parametrize("name", ["frames.txt", "frames.gz", "frames.zip"])
def test_frames_become_quotes_and_trades_in_ticks_and_lots(tmp_path: Path, name: str) -> None:
    frames = [
        depth(ETH),
        book_ticker(ETH, "2681.62", "2681.63", "1.165"),
        rest_snapshot(),
        trade(ETH, "2681.63", "0.006", T=START_MS + 5),
        trade(ETH, "2681.6200", "2.50", m=True),
    ]
    path = write(tmp_path / name, frame_lines(frames))
    feed = open_feed(str(path), (ETH,), 0)
    assert isinstance(feed, FrameFeed)
    assert feed.start_ns == START_NS + 1_000
    assert list(feed.events(INSTRUMENTS)) == [
        (
            ETH,
            Quote(
                bid_ticks=268_162,
                bid_lots=1_165,
                ask_ticks=268_163,
                ask_lots=1_165,
                ts_venue_ns=START_NS,
                ts_local_ns=START_NS + 1_000,
            ),
        ),
        (
            ETH,
            Trade(
                price_ticks=268_163,
                qty_lots=6,
                aggressor=Side.BUY,
                ts_venue_ns=START_NS + 5_000_000,
                ts_local_ns=START_NS + 3_000,
            ),
        ),
        (
            ETH,
            Trade(
                price_ticks=268_162,
                qty_lots=2_500,
                aggressor=Side.SELL,
                ts_venue_ns=START_NS,
                ts_local_ns=START_NS + 4_000,
            ),
        ),
    ]


def test_every_line_is_counted_once_by_what_it_was(tmp_path: Path) -> None:
    frames: list[dict[str, Any]] = [
        book_ticker(ETH, "100.00", "100.01"),
        book_ticker(ETH, "100.01", "100.01"),
        trade(ETH, "100.00"),
        trade(ETH, "0", "0", X="NA"),
        agg_trade(ETH, "100.00"),
        trade("DOGEUSDT", "0.1"),
        depth(ETH),
        rest_snapshot(),
        {"result": None, "id": 1},
        {"stream": "!contractInfo", "data": {"e": "contractInfo", "s": ETH}},
        {"stream": "ethusdt@markPrice", "data": ["odd"]},
    ]
    feed = open_feed(str(write(tmp_path / "frames.txt", frame_lines(frames))), (ETH,), 0)
    assert isinstance(feed, FrameFeed)
    for _ in range(2):
        assert len(list(feed.events(INSTRUMENTS))) == 2
        assert feed.counts == {
            "bookTicker": 1,
            "crossed or one-sided bookTicker": 1,
            "trade": 1,
            "passed-over trade": 1,
            "passed-over aggTrade": 1,
            "trade of DOGEUSDT": 1,
            "depthUpdate": 1,
            "snapshot": 1,
            "other": 1,
            "contractInfo": 1,
            "markPrice": 1,
        }
        assert feed.counts.total() == len(frames)
    assert feed.describe().startswith("frames.txt: frames of ETHUSDT; 11 lines: 1 bookTicker, ")
    assert "1 contractInfo" in feed.describe()


def test_kinds_without_end_are_counted_together(tmp_path: Path) -> None:
    odd = [{"stream": "x", "data": {"e": f"kind{place}", "s": ETH}} for place in range(100)]
    lines = frame_lines([trade(ETH, "100.00"), *odd])
    feed = open_feed(str(write(tmp_path / "frames.txt", lines)), (ETH,), 0)
    assert isinstance(feed, FrameFeed)
    assert len(list(feed.events(INSTRUMENTS))) == 1
    assert feed.counts.total() == 101
    assert len(feed.counts) <= 65


def test_agg_trades_are_trades_where_there_are_no_others(tmp_path: Path) -> None:
    lines = frame_lines([agg_trade(ETH, "100.00", m=True), agg_trade(ETH, "99.99")])
    trades = read_trades(write(tmp_path / "frames.txt", lines))
    assert [(t.price_ticks, t.aggressor) for t in trades] == [
        (10_000, Side.SELL),
        (9_999, Side.BUY),
    ]


def test_bare_frames_and_spot_book_tickers_without_times_are_understood(tmp_path: Path) -> None:
    spot = {"u": 1, "s": ETH, "b": "99.99", "B": "1", "a": "100.00", "A": "2"}
    lines = frame_lines(
        [trade(ETH, "100.00")["data"], {"stream": "ethusdt@bookTicker", "data": spot}]
    )
    (_, first), (_, second) = read(write(tmp_path / "frames.txt", lines))
    assert isinstance(first, Trade)
    assert isinstance(second, Quote)
    assert second.ts_venue_ns == second.ts_local_ns == START_NS + 1_000


def test_a_side_without_orders_keeps_its_last_price(tmp_path: Path) -> None:
    lines = frame_lines(
        [
            book_ticker(ETH, "0", "100.01", B="0"),
            book_ticker(ETH, "100.00", "100.01"),
            book_ticker(ETH, "0.00", "100.03", B="0.000"),
        ]
    )
    quotes = [event for _, event in read(write(tmp_path / "frames.txt", lines))]
    assert [(q.bid_ticks, q.bid_lots, q.ask_ticks) for q in quotes if isinstance(q, Quote)] == [
        (10_000, 1_000, 10_001),
        (10_000, 0, 10_003),
    ]


def test_a_line_that_goes_back_in_time_is_moved_up_and_counted(tmp_path: Path) -> None:
    frames = [trade(ETH, "100.00"), depth(ETH), trade(ETH, "101.00")]
    first, second, third = frame_lines(frames).splitlines()
    path = write(tmp_path / "frames.txt", f"{second}\n{first}\n{third}\n")
    feed = open_feed(str(path), (ETH,), 0)
    assert isinstance(feed, FrameFeed)
    times = [event.ts_local_ns - START_NS for _, event in feed.events(INSTRUMENTS)]
    assert feed.start_ns == START_NS + 1_000
    assert times == [1_000, 2_000]
    assert feed.moved_lines == 1
    assert "1 lines went back in time" in feed.describe()


def test_frames_of_symbols_that_are_not_wanted_are_passed_over(tmp_path: Path) -> None:
    frames = [trade("BTCUSDT", "60000"), trade(ETH, "100"), trade("SOLUSDT", "150")]
    path = write(tmp_path / "frames.txt", frame_lines(frames))
    feed = open_feed(str(path), ("SOLUSDT", "XRPUSDT", ETH), 0)
    assert feed.symbols == ("SOLUSDT", ETH)
    assert feed.start_ns == START_NS + 1_000
    assert [symbol for symbol, _ in feed.events(INSTRUMENTS)] == [ETH, "SOLUSDT"]


def test_a_file_of_other_symbols_is_refused_by_what_it_holds(tmp_path: Path) -> None:
    path = write(
        tmp_path / "frames.txt", frame_lines([trade("BTCUSDT", "1"), trade("SOLUSDT", "1")])
    )
    assert "holds BTCUSDT, SOLUSDT, not ETHUSDT; configure one of those" in refusal(path)


def test_only_the_first_2000_lines_are_searched_for_symbols(tmp_path: Path) -> None:
    frames = [trade("BTCUSDT", "1")] * 2_000 + [trade(ETH, "1")]
    path = write(tmp_path / "frames.gz", frame_lines(frames))
    assert "holds BTCUSDT, not ETHUSDT" in refusal(path)
    assert len(read(path, ETH, "BTCUSDT")) == 2_000


def test_frames_without_quotes_or_trades_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "frames.txt", frame_lines([depth(ETH), trade(ETH, "0", X="NA")]))
    assert "no bookTicker, trade or aggTrade of ETHUSDT" in refusal(path)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (trade(ETH, "0"), "row 2: trade frame: price is 0, must be positive"),
        (trade(ETH, "-1"), "price is -1, must not be negative"),
        (trade(ETH, "NaN"), "price is NaN, must be a finite number"),
        (trade(ETH, "1e400"), "beyond anything traded"),
        (trade(ETH, "abc"), "price 'abc' is not a number"),
        (trade(ETH, "100.005"), "off the tick_size 0.01 of ETHUSDT; configure the tick_size"),
        (trade(ETH, "100.00", "0.0005"), "quantity 0.0005 is off the lot_size 0.001"),
        (trade(ETH, "100.00", "0"), "quantity is 0"),
        (trade(ETH, "100.00", m="false"), "m is 'false', must be true or false"),
        (trade(ETH, "100.00", T="soon"), "trade frame: invalid literal"),
        (trade(ETH, "100.00", T=float("inf")), "trade frame: cannot convert float infinity"),
        (trade(ETH, "100.00", p=["1"]), "trade frame: unhashable"),
        ({"data": {"e": "trade", "s": ETH, "q": "1"}}, "trade frame has no field 'm'"),
        ({"data": {"e": "bookTicker", "s": ETH}}, "bookTicker frame has no field 'B'"),
    ],
)
def test_a_frame_that_breaks_its_form_is_named_by_row(
    tmp_path: Path, frame: dict[str, Any], says: str
) -> None:
    path = write(tmp_path / "frames.txt", frame_lines([trade(ETH, "1"), frame]))
    message = refusal(path)
    assert f"{path} row 2: " in message
    assert says in message


@pytest.mark.parametrize(
    "line", ["{}", "x {}", "-5 {}", "0 {}", "12 [1]", "12 {", "12", "9 " + "[" * 99_999]
)
def test_a_line_that_is_no_frame_is_named_by_row(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "frames.txt", frame_lines([trade(ETH, "1")]) + line + "\n")
    message = refusal(path)
    assert f"{path} row 2: " in message
    assert "is not '<receive time, ns> <JSON>'; remove the line" in message


# trades


@pytest.mark.parametrize("name", ["trades.csv", "trades.csv.gz", "ethusdt-aggTrades.zip"])
def test_binance_agg_trades_are_read_from_csv_gzip_and_zip(tmp_path: Path, name: str) -> None:
    rows = f"1,2681.62,19.0,5,6,{START_MS},false\n2,2681.6,0.250,7,7,{START_MS + 7},true\n"
    path = write(tmp_path / name, f"{AGG_TRADES_HEADER}\n{rows}")
    feed = open_feed(str(path), (ETH,), 0)
    assert isinstance(feed, TradeTable)
    assert feed.start_ns == START_NS
    assert list(feed.events(INSTRUMENTS)) == [
        (
            ETH,
            Trade(
                price_ticks=268_162,
                qty_lots=19_000,
                aggressor=Side.BUY,
                ts_venue_ns=START_NS,
                ts_local_ns=START_NS,
            ),
        ),
        (
            ETH,
            Trade(
                price_ticks=268_160,
                qty_lots=250,
                aggressor=Side.SELL,
                ts_venue_ns=START_NS + 7_000_000,
                ts_local_ns=START_NS + 7_000_000,
            ),
        ),
    ]
    assert feed.describe() == f"{name}: trades of ETHUSDT; 2 rows"


def test_trades_are_read_from_parquet_across_row_groups(tmp_path: Path) -> None:
    columns = trade_columns(
        [100.0, 100.01, 0.29, 57.57, 1_234_567.89],
        qty=[0.001, 0.1, 1, 2.5, 1e9],
        buyer_is_maker=[True, False, True, False, True],
    )
    columns = dict(reversed(columns.items()))
    feed = open_feed(str(write_parquet(tmp_path / "trades.parquet", columns)), (ETH,), 0)
    trades = [event for _, event in feed.events(INSTRUMENTS) if isinstance(event, Trade)]
    assert [t.price_ticks for t in trades] == [10_000, 10_001, 29, 5_757, 123_456_789]
    assert [t.qty_lots for t in trades] == [1, 100, 1_000, 2_500, 10**12]
    assert [t.aggressor for t in trades] == [-1, 1, -1, 1, -1]
    assert [t.ts_local_ns - START_NS for t in trades] == [n * 10**9 for n in range(5)]
    assert feed.start_ns == START_NS


def test_dumps_without_a_header_are_known_by_their_width(tmp_path: Path) -> None:
    perp = write(tmp_path / "a.csv", f"1,100.5,2,5,6,{START_MS},True\n")
    spot = write(tmp_path / "b.csv", f"1,100.5,2,5,6,{START_MS}000,False,True\n")
    klines = write(
        tmp_path / "c.csv", f"{START_MS},100,101,99,100.5,8,{START_MS + 59_999},0,1,0,0,0\n"
    )
    assert [t.price_ticks for t in read_trades(perp)] == [10_050]
    assert [(t.ts_venue_ns, t.aggressor) for t in read_trades(spot)] == [(START_NS, Side.BUY)]
    assert [t.price_ticks for t in read_trades(klines)] == [10_000, 9_900, 10_100, 10_050]
    bare = write(tmp_path / "d.csv", "1,2,3\n")
    assert "has no header and 3 columns; add a header line" in refusal(bare)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("ts_ms", START_MS),
        ("ts_ns", START_NS),
        ("ts_us", START_MS * 1_000),
        ("time", START_MS),
        ("Timestamp", START_MS // 1_000),
        (" time", START_NS),
    ],
)
def test_the_unit_of_time_is_told_by_the_columns_name_or_the_first_value(
    tmp_path: Path, column: str, value: int
) -> None:
    path = write(tmp_path / "t.csv", f"{column},price,size,is_buyer_maker\n{value},1,1,0\n")
    assert [t.ts_local_ns for t in read_trades(path)] == [START_NS]


def test_a_unit_in_the_columns_name_holds_for_any_time(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "ts_ms,price,size,is_buyer_maker\n17,1,1,0\n")
    assert [t.ts_local_ns for t in read_trades(path)] == [17_000_000]


def test_a_bom_blank_lines_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    columns = {"price": ["1", "2"], **trade_columns(["1", "2"])}
    text = "\ufeff" + csv_text(columns).replace("\n", "\r\n") + "\r\n\r\n"
    assert len(read(write(tmp_path / "t.csv", text))) == 2


def test_a_table_is_read_as_it_is_consumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening looks at one row; nothing is kept of rows gone by."""
    handed_out = 0
    rows = Table.rows

    def counted(table: Table, batch_rows: int = 65_536) -> Iterator[tuple[Any, ...]]:
        nonlocal handed_out
        for row in rows(table, batch_rows):
            handed_out += 1
            yield row

    monkeypatch.setattr(Table, "rows", counted)
    path = write(tmp_path / "t.csv", csv_text(trade_columns([1.0] * 5_000)))
    feed = open_feed(str(path), (ETH,), 0)
    assert handed_out == 1
    assert len(list(islice(feed.events(INSTRUMENTS), 10))) == 10
    assert handed_out == 11


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"price": [1.0, 0.0, 1.0]}, "row 2: price is 0.0, must be positive"),
        ({"price": [1.0, 1.0, -1.0]}, "row 3: price is -1.0, must not be negative"),
        ({"price": [1.0, 1.0, float("nan")]}, "row 3: price is nan, must be a finite number"),
        ({"price": [1.0, 1.001, 1.0]}, "row 2: price 1.001 is off the tick_size 0.01 of ETHUSDT"),
        ({"price": [1.0, 1.00001, 1.0]}, "row 2: price 1.00001 is off the tick_size"),
        ({"qty": [1.0, 1.0, 0.0]}, "row 3: quantity is 0"),
        ({"qty": [1.0, 0.0004, 1.0]}, "row 2: quantity 0.0004 is off the lot_size 0.001"),
        ({"qty": [1e300, 1.0, 1.0]}, "row 1: quantity 1e+300 is beyond anything traded"),
        (
            {"ts_ms": [START_MS, START_MS + 1, START_MS]},
            "row 3: time goes back; sort the file by time",
        ),
        ({"ts_ms": [0, 1, 2]}, "row 1: time is 0, must be after 1970"),
        ({"buyer_is_maker": ["x", "y", "z"]}, "row 1: buyer_is_maker is 'x', must be true or"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, form: str, changes: dict[str, Any], says: str) -> None:
    columns = {**trade_columns([1.0, 1.0, 1.0]), **changes}
    path = tmp_path / f"t.{form}"
    if form == "csv":
        write(path, csv_text(columns))
    else:
        write_parquet(path, columns)
    assert f"{path} {says}" in refusal(path)


def test_missing_values_in_parquet_are_named_by_row(tmp_path: Path) -> None:
    for place, (column, says) in enumerate(
        {
            "ts_ms": "time None",
            "price": "price None",
            "buyer_is_maker": "buyer_is_maker is None",
        }.items()
    ):
        columns = {name: list(values) for name, values in trade_columns([1.0] * 5).items()}
        columns[column][4] = None
        path = write_parquet(tmp_path / f"{place}.parquet", columns)
        assert f"row 5: {says}" in refusal(path)


@pytest.mark.parametrize("value", ["1.7e12", "soon", "", "-5", "1" * 5_000])
def test_a_time_that_is_no_whole_number_is_refused(tmp_path: Path, value: str) -> None:
    columns = trade_columns([1.0, 1.0], ts_ms=[START_MS, value])
    assert "row 2: time " in refusal(write(tmp_path / "t.csv", csv_text(columns)))


def test_a_parquet_time_that_is_not_an_integer_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "t.parquet", trade_columns([1.0], ts_ms=[float(START_MS)]))
    assert "is not a whole number; give Unix milliseconds" in refusal(path)


def test_a_time_in_no_known_unit_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "time,price,qty,is_buyer_maker\n17,1,1,0\n")
    assert "row 1: time 17 is no date since 2001" in refusal(path)


def test_a_row_with_too_few_columns_is_refused(tmp_path: Path) -> None:
    text = csv_text(trade_columns([1.0, 1.0]))
    path = write(tmp_path / "t.csv", text[: text.rindex(",")])
    assert "row 2: too few columns; the file is cut off or mixed" in refusal(path)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_missing_columns_are_named_with_those_needed_and_found(tmp_path: Path, form: str) -> None:
    columns = {"ts_ms": [START_MS], "price": [1.0], "colour": ["red"]}
    path = tmp_path / f"t.{form}"
    if form == "csv":
        write(path, csv_text(columns))
    else:
        write_parquet(path, columns)
    message = refusal(path)
    assert "lacks qty, buyer_is_maker: needs columns ts_ms, price, qty, buyer_is_maker" in message
    assert "or open_time_ms, open, high, low, close, volume (candles)" in message
    assert "found ts_ms, price, colour" in message


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    text = f"ts_ms,price,Price,qty,buyer_is_maker\n{START_MS},1,2,1,0\n"
    assert "has the column price twice" in refusal(write(tmp_path / "t.csv", text))


# whose table it is


def test_a_tables_symbol_starts_its_name_or_is_the_only_one(tmp_path: Path) -> None:
    text = csv_text(trade_columns([1.0]))
    for name, symbols, expected in (
        ("ethusdt-trades.csv", ("BTCUSDT", ETH), ETH),
        ("ETHUSDT.csv", ("BTCUSDT", ETH), ETH),
        ("BTCUSDT_2024.csv", ("BTCUSD", "BTCUSDT"), "BTCUSDT"),
        ("btcusd_perp-2024.csv", ("BTCUSD", "BTCUSD_PERP"), "BTCUSD_PERP"),
        ("anything.csv", (ETH,), ETH),
    ):
        feed = open_feed(str(write(tmp_path / name, text)), symbols, 0)
        assert feed.symbols == (expected,)


def test_a_table_named_after_another_market_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "xrpusdt-trades.csv", csv_text(trade_columns([1.0])))
    assert "is named after XRPUSDT, not ETHUSDT; configure XRPUSDT or rename" in refusal(path)
    assert "is named after XRPUSDT, not XRPUSD, ETHUSDT" in refusal(path, "XRPUSD", ETH)


def test_a_table_that_may_be_any_of_several_symbols_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "trades.csv", csv_text(trade_columns([1.0])))
    says = refusal(path, ETH, "BTCUSDT")
    assert "Start the file name with one of ETHUSDT, BTCUSDT" in says


def test_a_symbol_column_says_whose_table_it_is(tmp_path: Path) -> None:
    def path_of(*names: str) -> Path:
        columns = trade_columns([1.0] * len(names), symbol=names)
        return write(tmp_path / f"{'-'.join(names)}.csv", csv_text(columns))

    assert [symbol for symbol, _ in read(path_of(ETH, ETH), "BTCUSDT", ETH)] == [ETH, ETH]
    assert "holds XRPUSDT, not ETHUSDT; configure XRPUSDT" in refusal(path_of("XRPUSDT"))
    mixed = refusal(path_of(ETH, "BTCUSDT"), ETH, "BTCUSDT")
    assert "row 2: symbol is BTCUSDT, was ETHUSDT before; split the file by symbol" in mixed


# candles


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_rising_bar_dips_first_and_a_falling_bar_peaks_first(tmp_path: Path, form: str) -> None:
    columns = candle_columns([(100, 103, 98, 101), (101, 102, 97, 99), (99, 100, 98, 99)])
    path = tmp_path / f"bars.{form}"
    if form == "csv":
        write(path, csv_text(columns))
    else:
        write_parquet(path, columns)
    feed = open_feed(str(path), (ETH,), 0)
    assert isinstance(feed, CandleTable)
    trades = [event for _, event in feed.events(INSTRUMENTS) if isinstance(event, Trade)]
    assert [t.price_ticks // 100 for t in trades] == [
        *(100, 98, 103, 101),
        *(101, 102, 97, 99),
        *(99, 98, 100, 99),
    ]
    assert [int(t.aggressor) for t in trades] == [1, -1, 1, -1, -1, 1, -1, 1, 1, -1, 1, -1]
    assert [t.ts_local_ns - START_NS for t in trades] == [n * 15 * 10**9 for n in range(12)]
    assert {t.qty_lots for t in trades} == {2_000}
    assert feed.start_ns == START_NS
    assert feed.describe() == f"bars.{form}: candles of ETHUSDT, 60 s; 3 rows"


def test_a_quarter_of_a_bars_volume_is_at_least_a_lot_and_a_bar_without_volume_is_silent(
    tmp_path: Path,
) -> None:
    columns = candle_columns([(100, 101, 99, 100)] * 4, volume=[0.0, 0.0027, 0.0119, 0.00099])
    trades = read_trades(write(tmp_path / "bars.csv", csv_text(columns)))
    assert [t.qty_lots for t in trades] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert trades[0].ts_local_ns == START_NS + 60 * 10**9


def test_a_float_volume_just_under_a_whole_lot_is_that_lot(tmp_path: Path) -> None:
    """0.1 + 0.7 is 0.7999999999999999 in binary."""
    steps = Steps(instrument(ETH, lot="0.1"))
    assert steps.floor_qty(0.1 + 0.7) == 8
    assert steps.floor_qty(0.79) == 7


def test_a_bars_length_is_the_smallest_step_so_that_gaps_do_not_stretch_it(tmp_path: Path) -> None:
    times = [START_MS, START_MS + 3_600_000, START_MS + 3_900_000]
    columns = candle_columns([(1, 1, 1, 1)] * 3, open_time_ms=times)
    trades = read_trades(write(tmp_path / "bars.csv", csv_text(columns)))
    assert [t.ts_local_ns - START_NS for t in trades[:4]] == [n * 75 * 10**9 for n in range(4)]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"open_time_ms": [START_MS, START_MS + 60_000, START_MS + 60_000]}, "row 3: bar begins"),
        ({"open_time_ms": [START_MS, START_MS + 60_000, START_MS]}, "row 3: bar begins before"),
        ({"high": [101.0, 99.0, 101.0]}, "row 2: open and close must lie between low and high"),
        ({"low": [101.0, 99.0, 99.0]}, "row 1: open and close must lie between low and high"),
        ({"low": [99.0, 0.0, 99.0]}, "row 2: price is 0.0, must be positive"),
        ({"close": [100.0, 100.0, 100.005]}, "row 3: price 100.005 is off the tick_size 0.01"),
        ({"volume": [1.0, 1.0, float("nan")]}, "row 3: volume is nan, must be a finite number"),
        ({"volume": [1.0, -1.0, 1.0]}, "row 2: volume is -1.0, must not be negative"),
        ({"open_time_ms": [START_MS, "soon", START_MS]}, "time 'soon' is not a whole number"),
    ],
)
def test_a_bad_bar_is_named(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    columns = candle_columns([(100.0, 101.0, 99.0, 100.0)] * 3, **changes)
    assert says in refusal(write(tmp_path / "bars.csv", csv_text(columns)))


def test_bars_that_overlap_after_a_thousand_others_are_refused(tmp_path: Path) -> None:
    times = [START_MS + 60_000 * place for place in range(1_001)]
    columns = candle_columns([(1, 1, 1, 1)] * 1_002, open_time_ms=[*times, times[-1] + 30_000])
    path = write(tmp_path / "bars.csv", csv_text(columns))
    assert "row 1002: bar begins before the last one ends" in refusal(path)


# files that are none


def truncated_gzip(path: Path) -> None:
    lines = frame_lines([trade(ETH, f"{place}.00", t=place * 7919) for place in range(1, 9_999)])
    whole = gzip.compress(lines.encode())
    path.write_bytes(whole[: len(whole) * 3 // 4])


def two_files(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "1")
        archive.writestr("b.csv", "2")


def damaged_zip(path: Path) -> None:
    write(path.with_suffix(".zip"), csv_text(trade_columns([1.0] * 500))).rename(path)
    whole = bytearray(path.read_bytes())
    whole[80:90] = bytes(10)
    path.write_bytes(whole)


def damaged_parquet(path: Path) -> None:
    write_parquet(path, trade_columns([1.0] * 500), group_rows=500)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "no such file; give a recording, or 'synthetic'"),
        (lambda path: path.mkdir(), "is a directory; name one recorded file in it"),
        (lambda path: path.touch(), "is empty; record or download it again"),
        (lambda path: path.write_bytes(gzip.compress(b"")), "holds nothing"),
        (lambda path: path.write_bytes(gzip.compress(b"x")[:9]), "damaged after line 0"),
        (truncated_gzip, "damaged after line "),
        (lambda path: path.write_bytes(b"PK\x03\x04 cut off"), "damaged after line 0"),
        (damaged_zip, "damaged after line "),
        (two_files, "holds 2 files, not one; unpack it"),
        (lambda path: path.write_bytes(b"PAR1"), "is not whole parquet"),
        (damaged_parquet, "is not whole parquet"),
        (lambda path: path.write_text("\n\n"), "begins with an empty line"),
        (lambda path: path.write_text("hello\n"), "is none of the known formats: raw WebSocket"),
        (lambda path: path.write_bytes(b"\x89PNG,\r\n"), "is none of the known formats"),
        (lambda path: path.write_text('{"topic":"x","ts":1}\n'), "is none of the known formats"),
        (lambda path: path.write_text("[1,2]\n"), "is none of the known formats"),
        (lambda path: path.write_text("ts_ms,price\n1,2\n"), "lacks qty, buyer_is_maker"),
        (lambda path: path.write_text(csv_text(trade_columns([]))), "holds no rows"),
        (lambda path: path.write_text(csv_text(candle_columns([]))), "holds no rows"),
        (lambda path: write_parquet(path, trade_columns([])), "holds no rows"),
        (lambda path: path.write_text("a," + "b" * 200_000), "not csv: field larger than"),
        (
            lambda path: path.write_text(csv_text(trade_columns([1.0])) + '"' + "\n" * 200_000),
            "row 2: not csv: field larger than",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(
    tmp_path: Path, make: Callable[[Path], object], says: str
) -> None:
    path = tmp_path / "recording"
    make(path)
    assert says in refusal(path)


@pytest.mark.parametrize(
    "text", ["", "  ", "~nobody-of-this-name/x", "a\0b", "line\nline", "x" * 5_000]
)
def test_a_text_that_can_be_no_path_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_feed(text, (ETH,), 0)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_a_regular_one_is_refused() -> None:
    assert "is not a regular file" in refusal(Path("/dev/null"))


def test_parquet_without_pyarrow_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_parquet(tmp_path / "t.parquet", trade_columns([1.0]))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "needs pyarrow: pip install 'marketmaker[parquet]'" in refusal(path)


def test_pyarrow_and_numpy_are_not_imported_unless_parquet_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", csv_text(trade_columns([1.0])))
    script = (
        "import sys; from marketmaker.backtest.data import open_feed;"
        f"open_feed({str(path)!r}, ('ETHUSDT',), 0);"
        "print({'pyarrow', 'numpy'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"


# the real recordings


@pytest.mark.parametrize(
    ("name", "symbol", "tick", "quotes", "trades", "depths"),
    [
        ("btcusdt-usdm-ws-20240808.gz", "BTCUSDT", "0.1", 66_089, 21_313, 6_551),
        ("ethusdt-usdm-ws-20240808.gz", "ETHUSDT", "0.01", 53_992, 14_076, 6_586),
    ],
)
def test_every_frame_of_the_real_recordings_is_accounted_for(
    data_dir: Path, name: str, symbol: str, tick: str, quotes: int, trades: int, depths: int
) -> None:
    feed = open_feed(str(data_dir / name), (symbol,), 0)
    assert isinstance(feed, FrameFeed)
    kinds: Counter[type] = Counter()
    last_ns = feed.start_ns
    for _, event in feed.events({symbol: instrument(symbol, tick)}):
        kinds[type(event)] += 1
        assert event.ts_local_ns >= last_ns
        last_ns = event.ts_local_ns
    assert kinds == {Quote: quotes, Trade: trades}
    assert feed.counts == {
        "bookTicker": quotes,
        "trade": trades,
        "depthUpdate": depths,
        "snapshot": 1,
    }
    assert feed.moved_lines == 0


def test_the_real_agg_trades_are_all_read(data_dir: Path) -> None:
    feed = open_feed(str(data_dir / "apeusdt-usdm-aggTrades-2024-10-18.zip"), ("APEUSDT",), 0)
    assert feed.start_ns == 1_729_209_603_958_000_000
    events = list(feed.events({"APEUSDT": instrument("APEUSDT", "0.0001", "1")}))
    assert len(events) == 45_342
    assert events[0][1] == Trade(
        price_ticks=7_097,
        qty_lots=19,
        aggressor=Side.BUY,
        ts_venue_ns=feed.start_ns,
        ts_local_ns=feed.start_ns,
    )


def test_the_real_xrp_trades_convert_exactly_over_their_whole_range(data_dir: Path) -> None:
    """All 2,572,265 of them, in a few seconds."""
    path = data_dir / "xrpusdt-spot-trades-20260317-20260322.parquet"
    feed = open_feed(str(path), ("XRPUSDT",), 0)
    count, lowest, highest = 0, 10**9, 0
    for _, event in feed.events({"XRPUSDT": instrument("XRPUSDT", "0.0001", "0.1")}):
        assert isinstance(event, Trade)
        count += 1
        lowest = min(lowest, event.price_ticks)
        highest = max(highest, event.price_ticks)
    assert (count, lowest, highest) == (2_572_265, 13_725, 15_408)


def test_the_real_klines_become_four_trades_a_bar(data_dir: Path) -> None:
    path = data_dir / "filusdt-perp-1m-202302-202606.parquet"
    feed = open_feed(str(path), ("FILUSDT",), 0)
    trades = list(islice(feed.events({"FILUSDT": instrument("FILUSDT", "0.001", "0.1")}), 40_000))
    assert [event.ts_local_ns - feed.start_ns for _, event in trades[:5]] == [
        n * 15 * 10**9 for n in range(5)
    ]
    prices = [event.price_ticks for _, event in trades[:4] if isinstance(event, Trade)]
    assert prices == [5_233, 5_229, 5_238, 5_233]
