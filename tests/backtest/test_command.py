"""`marketmaker backtest`: one line for wrong data, the same result from every format and driver, and what it warns of."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy")
pytest.importorskip("pyarrow")

import numpy as np

from marketmaker.__main__ import main
from marketmaker.backtest import arrays, cache
from marketmaker.backtest.data import open_feed
from tests.support.recordings import candle_columns, csv_text, trade_columns, write, write_parquet

GRID = """
mode: paper
symbols:
  - name: XRPUSDT
    grid: {{price_interval: {interval}, order_amount: 50, buy_window: 5}}
"""
PRICES = [1.4, 1.395, 1.38, 1.37, 1.385, 1.39, 1.4, 1.41, 1.36, 1.4]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "config.yaml"
    path.write_text(GRID.format(interval="0.005"))
    return path


@pytest.fixture
def everything_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Converted copies of small files, too."""
    monkeypatch.setattr(cache, "WORTH_KEEPING", 1)


def backtest(config: Path, *arguments: object) -> int:
    return main(["backtest", str(config), "--data", *map(str, arguments)])


def result(config: Path, capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert backtest(config, *arguments, "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def trades_csv(**changes: Any) -> str:
    return csv_text(trade_columns(PRICES, **changes))


WRONG = {
    "missing column": (csv_text({"ts_ms": [1], "price": [1]}), "lacks qty, buyer_is_maker"),
    "unsorted": (
        trades_csv(ts_ms=[1_700_000_000_000 - place for place in range(10)]),
        "row 2: time goes back; sort the file",
    ),
    "not a number": (
        csv_text(trade_columns([1.4, 1.4, "nan"])),
        "row 3: price is nan, must be a finite number; mend or remove the row",
    ),
    "not a time": (
        trades_csv(ts_ms=["2024-01-01T00:00:00", "yesterday"] * 5),
        "row 2: time 'yesterday' is not a whole number; give Unix milliseconds",
    ),
    "text": (csv_text(trade_columns([1.4, "much"])), "row 2: price 'much' is not a number"),
    "zero": (csv_text(trade_columns([1.4, 0])), "row 2: price is 0"),
    "negative": (
        csv_text(trade_columns([1.4, -1.4])),
        "row 2: price is -1.4, must not be negative",
    ),
    "off the tick": (
        csv_text(trade_columns([1.4, 1.40005])),
        "row 2: price 1.40005 is off the tick",
    ),
    "no quantity": (trades_csv(qty=[1.0] * 9 + [0.0]), "row 10: quantity is 0"),
    "mixed symbols": (
        trades_csv(symbol=["XRPUSDT"] * 4 + ["ETHUSDT"] * 6),
        "row 5: symbol is ETHUSDT, was XRPUSDT before; split the file",
    ),
    "another symbol": (trades_csv(symbol=["ETHUSDT"] * 10), "holds ETHUSDT, not XRPUSDT"),
    "no rows": ("ts_ms,price,qty,buyer_is_maker\n", "holds no rows"),
    "empty": ("", "is empty"),
    "bars that overlap": (
        csv_text(candle_columns([(1.4, 1.4, 1.4, 1.4)] * 2, open_time_ms=[1_700_000_000_000] * 2)),
        "row 2: bar begins before the last one ends",
    ),
    "bars inside out": (
        csv_text(candle_columns([(1.4, 1.3, 1.5, 1.4)])),
        "row 1: open and close must lie between low and high",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_data_is_one_line_and_exit_code_2(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    text, problem = WRONG[name]
    path = write(tmp_path / "xrpusdt.csv", text)
    assert backtest(config, path) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    assert str(path) in captured.err and problem in captured.err


def test_a_truncated_gzip_file_is_one_line_and_exit_code_2(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "xrpusdt.csv.gz"
    rows = csv_text(trade_columns([round(1.4 + place % 7 / 1_000, 3) for place in range(5_000)]))
    path.write_bytes(gzip.compress(rows.encode())[:-4_000])
    assert backtest(config, path) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and "damaged after line" in err


def test_every_format_gives_the_same_result(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    feather = pytest.importorskip("pyarrow.feather")
    arrow = pytest.importorskip("pyarrow")
    columns = trade_columns(PRICES)
    paths = [
        write(tmp_path / "xrpusdt.csv", csv_text(columns)),
        write(tmp_path / "xrpusdt.csv.gz", csv_text(columns)),
        write(tmp_path / "xrpusdt.zip", csv_text(columns)),
        write_parquet(tmp_path / "xrpusdt.parquet", columns),
        tmp_path / "xrpusdt.feather",
        tmp_path / "xrpusdt.npz",
    ]
    feather.write_feather(arrow.table({k: list(v) for k, v in columns.items()}), paths[4])
    np.savez(paths[5], **{name: np.array(values) for name, values in columns.items()})
    results = [result(config, capsys, path) for path in paths]
    assert results[0]["fills"] > 5 and results[0]["equity_residual"] == "0"
    assert all(found == results[0] for found in results)


def test_dates_are_read_as_text_and_as_timestamps(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Candles as pandas writes them, in every format, against the same ones with milliseconds."""
    arrow = pytest.importorskip("pyarrow")
    feather, parquet = (
        pytest.importorskip("pyarrow.feather"),
        pytest.importorskip("pyarrow.parquet"),
    )
    columns = candle_columns([(p, p + 0.004, p - 0.006, p + 0.001) for p in PRICES])
    times = columns.pop("open_time_ms")
    plain = write_parquet(tmp_path / "xrpusdt-plain.parquet", {"open_time_ms": times, **columns})
    dates = [datetime.fromtimestamp(ms / 1_000, UTC) for ms in times]
    table = arrow.table({"date": dates, **{k: list(v) for k, v in columns.items()}})
    text = {"date": [date.isoformat() for date in dates], **columns}
    paths = [
        tmp_path / "xrpusdt.feather",
        tmp_path / "xrpusdt.parquet",
        write(tmp_path / "xrpusdt.csv", csv_text(text)),
        tmp_path / "xrpusdt.npz",
    ]
    feather.write_feather(table, paths[0])
    parquet.write_table(table, paths[1])
    moments = np.array([date.replace(tzinfo=None) for date in dates], "datetime64[ms]")
    np.savez(paths[3], date=moments, **{k: np.array(v) for k, v in columns.items()})
    expected = result(config, capsys, plain)
    assert expected["fills"] > 5
    assert all(result(config, capsys, path) == expected for path in paths)
    feed = open_feed(str(paths[1]), ("XRPUSDT",), 0)
    assert feed.start_ns == times[0] * 1_000_000
    dates[3] = None  # type: ignore[call-overload]
    parquet.write_table(
        arrow.table({"date": dates, **{k: list(v) for k, v in columns.items()}}), paths[1]
    )
    assert backtest(config, paths[1]) == 2
    assert "row 4: time must be after 1970; mend or remove the row" in capsys.readouterr().err


@pytest.mark.usefixtures("everything_kept")
def test_every_event_and_the_copy_kept_give_the_same_result(
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_parquet(tmp_path / "xrpusdt.parquet", trade_columns(PRICES))
    first = result(config, capsys, path, "--fill", "touch")
    assert (tmp_path / "xrpusdt.parquet.mmcache").is_file()
    monkeypatch.setattr(arrays, "load", None)
    monkeypatch.setattr(arrays, "look_at", None)
    assert result(config, capsys, path, "--fill", "touch") == first
    slow = result(config, capsys, path, "--fill", "touch", "--every-event")
    assert slow.pop("events_played") >= first.pop("events_played")
    assert slow == first


@pytest.mark.usefixtures("everything_kept")
def test_a_copy_of_other_data_is_not_used(
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_parquet(tmp_path / "xrpusdt.parquet", trade_columns(PRICES))
    first = result(config, capsys, path)
    write_parquet(path, trade_columns([*PRICES, 1.3, 1.4]))
    assert result(config, capsys, path)["rows"] == first["rows"] + 2
    (tmp_path / "xrpusdt.parquet.mmcache").write_bytes(b"{}\n")
    assert result(config, capsys, path)["rows"] == first["rows"] + 2


@pytest.mark.usefixtures("everything_kept")
def test_a_copy_says_whose_data_it_is_only_to_who_looks_for_the_same(
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A file that names no symbol is told by what is configured: with two of them it is asked for."""
    path = write_parquet(tmp_path / "trades.parquet", trade_columns(PRICES))
    first = result(config, capsys, path)
    one = config.read_text()
    config.write_text(one + one[one.index("  - name") :].replace("XRPUSDT", "DOGEUSDT"))
    assert backtest(config, path) == 2
    assert "trades.parquet" in capsys.readouterr().err
    config.write_text(one.replace("0.005", "0.01"))
    assert result(config, capsys, path)["rows"] == first["rows"]


@pytest.mark.usefixtures("everything_kept")
def test_a_copy_read_another_way_is_made_again(
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_parquet(
        tmp_path / "xrpusdt.parquet",
        candle_columns([(p, p + 0.004, p - 0.006, p + 0.001) for p in PRICES]),
    )
    worst = result(config, capsys, path)
    assert result(config, capsys, path, "--bars", "path")["rows"] == 4 * worst["rows"]


def test_a_folder_without_write_permission_is_left_alone(tmp_path: Path, config: Path) -> None:
    """The copy goes to the user's cache directory, even for one who could write anywhere."""
    folder = tmp_path / "data"
    folder.mkdir()
    path = write_parquet(folder / "xrpusdt.parquet", trade_columns(PRICES))
    data = arrays.from_trades("XRPUSDT", range(1, 200_001), [14_000] * 200_000, [1] * 200_000)
    folder.chmod(0o555)
    try:
        place = cache.store(path, "as is", data, data.index())
    finally:
        folder.chmod(0o755)
    assert place is not None and place.parent == tmp_path / "cache" / "marketmaker"
    assert [each.name for each in folder.iterdir()] == [path.name]
    found = cache.load_cached(path, "as is")
    assert found is not None and (found[0].price == data.price).all()


def test_the_arrays_hold_what_the_feeds_tell(tmp_path: Path) -> None:
    """Read by columns or row by row, as trades or as the path of bars: the same events."""
    from tests.support.backtests import XRP

    bars = [(1.4, 1.41, 1.39, 1.405), (1.405, 1.42, 1.38, 1.385), (1.385, 1.385, 1.385, 1.385)]
    for columns in (trade_columns(PRICES), candle_columns(bars, volume=[8.0, 0.5, 0.05])):
        path = write_parquet(tmp_path / "xrpusdt.parquet", columns)
        loaded = arrays.load(arrays.look_at(path, ("XRPUSDT",)), XRP, "path")
        feed = open_feed(str(path), ("XRPUSDT",), 0)
        events = [event for _, event in feed.events({"XRPUSDT": XRP})]
        told = arrays.from_events("XRPUSDT", events)  # type: ignore[arg-type]
        for name in ("ts_ns", "price", "low", "high", "qty"):
            assert getattr(loaded, name).tolist() == getattr(told, name).tolist(), name


def test_the_journal_replays_without_a_difference(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_parquet(tmp_path / "xrpusdt.parquet", trade_columns(PRICES))
    journal = tmp_path / "journal.jsonl"
    found = result(config, capsys, path, "--journal", journal, "--out", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == found
    series = json.loads((tmp_path / "out" / "series.json").read_text())
    assert len(series["fills"]["ts_ns"]) == found["fills"]
    assert series["equity"]["equity"][-1] == pytest.approx(float(found["equity_end"]))
    assert main(["replay", str(journal)]) == 0
    assert "differences 0" in capsys.readouterr().out


def test_files_are_joined_and_cut_by_time(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = [1_700_000_000_000 + 1_000 * place for place in range(10)]
    whole = write_parquet(tmp_path / "xrpusdt.parquet", trade_columns(PRICES, ts_ms=times))
    early = write_parquet(
        tmp_path / "xrpusdt-1.parquet", trade_columns(PRICES[:4], ts_ms=times[:4])
    )
    late = write_parquet(tmp_path / "xrpusdt-2.parquet", trade_columns(PRICES[4:], ts_ms=times[4:]))
    assert result(config, capsys, late, early) == result(config, capsys, whole)
    cut = result(
        config, capsys, whole, "--from", "2023-11-14T22:13:22", "--to", "2023-11-14T22:13:25"
    )
    assert (cut["rows"], cut["start"]) == (3, "2023-11-14T22:13:22Z")
    assert backtest(config, whole, late) == 2
    assert "begins before" in capsys.readouterr().err


def test_columns_can_be_named(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = trade_columns(PRICES)
    renamed = {"last" if name == "price" else name: values for name, values in columns.items()}
    path = write(tmp_path / "xrpusdt.csv", csv_text(renamed))
    assert backtest(config, path) == 2
    assert result(config, capsys, path, "--columns", "price=last")["fills"] > 5


@pytest.mark.parametrize(
    ("interval", "warned"), [("0.0009", True), ("0.0013", True), ("0.005", False)]
)
def test_it_warns_where_the_fill_rule_decides(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str], interval: str, warned: bool
) -> None:
    """Under 10 ticks (0.0010) or under 10 bp (0.0014 at 1.4)."""
    config.write_text(GRID.format(interval=interval))
    path = write_parquet(tmp_path / "xrpusdt.parquet", trade_columns(PRICES))
    assert backtest(config, path) == 0
    assert ("hangs on the fill rule" in capsys.readouterr().err) is warned


def test_gaps_are_told_with_what_is_made_of_them(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = [
        1_700_000_000_000 + 1_000 * place + (7_200_000 if place > 4 else 0) for place in range(10)
    ]
    path = write_parquet(tmp_path / "xrpusdt.parquet", trade_columns(PRICES, ts_ms=times))
    assert result(config, capsys, path)["gaps"] == [
        {"start": "2023-11-14T22:13:24Z", "seconds": 7_201.0}
    ]
    assert backtest(config, path) == 0
    assert "1 gaps, 2.0 h together; longest: 7,201 s" in capsys.readouterr().err


def test_figures_are_exact(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Equity at the end is the balance and the four parts of the PnL, to the last digit."""
    path = write_parquet(tmp_path / "xrpusdt.parquet", trade_columns(PRICES))
    found = result(config, capsys, path)
    parts = [Decimal(found["pnl"][name]) for name in ("grid", "inventory", "fees", "funding")]
    assert sum(parts) == Decimal(found["pnl"]["total"])
    assert Decimal(found["equity_end"]) - Decimal(found["equity_start"]) == sum(parts)
