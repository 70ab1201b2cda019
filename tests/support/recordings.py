"""Small recordings made on the spot, in every format the feeds read."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from marketmaker.model.instrument import Instrument

START_MS = 1_700_000_000_000
START_NS = START_MS * 1_000_000
AGG_TRADES_HEADER = (
    "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
)


def instrument(name: str, tick: str = "0.01", lot: str = "0.001") -> Instrument:
    return Instrument(
        venue="paper",
        name=name,
        base=name.removesuffix("USDT"),
        quote="USDT",
        tick_size=Decimal(tick),
        lot_size=Decimal(lot),
        maker_fee=Decimal("0.0002"),
        taker_fee=Decimal("0.0005"),
    )


def book_ticker(symbol: str, bid: str, ask: str, qty: str = "1", **changes: Any) -> dict[str, Any]:
    data = {"e": "bookTicker", "u": 1, "s": symbol, "b": bid, "B": qty, "a": ask, "A": qty}
    times = {"T": START_MS, "E": START_MS + 1}
    return _enveloped(symbol, "bookTicker", {**data, **times, **changes})


def trade(symbol: str, price: str, qty: str = "1", **changes: Any) -> dict[str, Any]:
    data = {"e": "trade", "E": START_MS + 1, "T": START_MS, "s": symbol, "t": 1, "p": price}
    return _enveloped(symbol, "trade", {**data, "q": qty, "X": "MARKET", "m": False, **changes})


def agg_trade(symbol: str, price: str, qty: str = "1", **changes: Any) -> dict[str, Any]:
    data = {"e": "aggTrade", "E": START_MS + 1, "T": START_MS, "s": symbol, "a": 1, "p": price}
    return _enveloped(symbol, "aggTrade", {**data, "q": qty, "m": False, **changes})


def depth(symbol: str) -> dict[str, Any]:
    return _enveloped(symbol, "depth@0ms", {"e": "depthUpdate", "s": symbol, "b": [], "a": []})


def rest_snapshot() -> dict[str, Any]:
    return {"lastUpdateId": 1, "E": START_MS, "T": START_MS, "bids": [["1", "2"]], "asks": []}


def _enveloped(symbol: str, stream: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"stream": f"{symbol.lower()}@{stream}", "data": data}


def frame_lines(frames: Sequence[dict[str, Any]], step_ns: int = 1_000) -> str:
    """One line each, `step_ns` apart from `START_NS`."""
    return "".join(
        f"{START_NS + place * step_ns} {json.dumps(frame, separators=(',', ':'))}\n"
        for place, frame in enumerate(frames)
    )


def write(path: Path, text: str) -> Path:
    """As the name says: `.gz`, `.zip` (one csv inside) or plain."""
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{path.stem}.csv", text)
    else:
        path.write_text(text)
    return path


def write_parquet(path: Path, columns: Mapping[str, Sequence[Any]], group_rows: int = 3) -> Path:
    """Row groups are small, so that a few rows already span several."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({name: list(values) for name, values in columns.items()})
    parquet.write_table(table, path, row_group_size=group_rows)
    return path


def trade_columns(prices: Sequence[Any], **changes: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """Trades a second apart, of one unit, the buyer taking."""
    count = len(prices)
    return {
        "trade_id": list(range(count)),
        "ts_ms": [START_MS + 1_000 * place for place in range(count)],
        "price": prices,
        "qty": [1.0] * count,
        "buyer_is_maker": [False] * count,
        **changes,
    }


def candle_columns(
    bars: Sequence[tuple[float, float, float, float]], **changes: Sequence[Any]
) -> dict[str, Sequence[Any]]:
    """(open, high, low, close) a minute apart, with a volume of 8."""
    return {
        "open_time_ms": [START_MS + 60_000 * place for place in range(len(bars))],
        "open": [bar[0] for bar in bars],
        "high": [bar[1] for bar in bars],
        "low": [bar[2] for bar in bars],
        "close": [bar[3] for bar in bars],
        "volume": [8.0] * len(bars),
        **changes,
    }


def csv_text(columns: Mapping[str, Sequence[Any]]) -> str:
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    return "\n".join(lines) + "\n"
