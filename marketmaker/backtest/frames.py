"""Raw recorded WebSocket frames: one line per message, `<local receive time, Unix ns> <JSON as received>`.

Understood are Binance USD-M and COIN-M frames, inside a combined-stream envelope or bare: `bookTicker` becomes a
Quote, `trade` and `aggTrade` become Trades. Local times order the feed; a line that goes back is moved up to the
line before it. Venue times are left as recorded: the recorder's clock may run behind the venue's.

Every line is counted once, under its kind, and `describe` tells: what was used, what was passed over and why.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from marketmaker.backtest.recording import Steps, bad_file, bad_row, read_lines
from marketmaker.errors import ConfigError
from marketmaker.model.instrument import Instrument, Ticks
from marketmaker.model.market import Quote, Trade
from marketmaker.model.order import Side

PEEKED_LINES = 2_000
NS_PER_MS = 1_000_000
QUOTES = "bookTicker"
TRADES = ("trade", "aggTrade")
MOST_KINDS = 64
"""Kinds counted by name; further ones are counted together."""

Frame = dict[str, Any]


class FrameFeed:
    """A `MarketFeed` over recorded frames.

    `symbols` are those of the wanted symbols that appear in the first 2,000 lines; frames of others are counted and
    passed over. `counts` and `moved_lines` tell of the last `events` as far as it was read.

    Raises ConfigError when none of the wanted symbols appears, or none of their frames is a quote or a trade.
    """

    def __init__(self, path: Path, symbols: tuple[str, ...]) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self.moved_lines = 0
        seen: set[str] = set()
        for _, _, _, frame in islice(_read_frames(path), PEEKED_LINES):
            if isinstance(symbol := frame.get("s"), str):
                seen.add(symbol)
        self.symbols = tuple(symbol for symbol in dict.fromkeys(symbols) if symbol in seen)
        if not self.symbols:
            held = ", ".join(sorted(seen)) or "no symbol"
            raise bad_file(
                path, f"holds {held}, not {', '.join(symbols)}; configure one of those it holds"
            )
        self.start_ns = self._first_ns()

    def describe(self) -> str:
        total = sum(self.counts.values())
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.counts.most_common())
        moved = f"; {self.moved_lines} lines went back in time" if self.moved_lines else ""
        return (
            f"{self.path.name}: frames of {', '.join(self.symbols)}; {total} lines: {kinds}{moved}"
        )

    def _first_ns(self) -> int:
        latest_ns = 0
        for _, local_ns, kind, frame in _read_frames(self.path):
            latest_ns = max(latest_ns, local_ns)
            market = kind == QUOTES or (kind in TRADES and frame.get("X", "MARKET") == "MARKET")
            if market and frame.get("s") in self.symbols:
                return latest_ns
        raise bad_file(
            self.path,
            f"holds no bookTicker, trade or aggTrade of {self.symbols[0]}; record one of those",
        )

    def events(self, instruments: dict[str, Instrument]) -> Iterator[tuple[str, Trade | Quote]]:
        """See `MarketFeed`. Passed over: trades outside the market (insurance fund), crossed quotes, and the second
        of the two trade streams where both were recorded."""
        counts = self.counts = Counter()
        self.moved_lines = 0
        parsers = {symbol: _Parser(Steps(instruments[symbol])) for symbol in self.symbols}
        last_ns = 0
        for row, recorded_ns, kind, frame in _read_frames(self.path):
            local_ns = max(recorded_ns, last_ns)
            self.moved_lines += local_ns > recorded_ns
            last_ns = local_ns
            event: Quote | Trade | None = None
            symbol = str(frame.get("s", ""))
            parser = parsers.get(symbol)
            try:
                if parser is None:
                    label = f"{kind} of {symbol[:40]}" if symbol else kind
                elif kind == QUOTES:
                    event = parser.parse_quote(frame, local_ns)
                    label = kind if event else "crossed or one-sided bookTicker"
                elif kind in TRADES:
                    event = parser.parse_trade(kind, frame, local_ns)
                    label = kind if event else f"passed-over {kind}"
                else:
                    label = kind
            except KeyError as error:
                raise bad_row(self.path, row, f"{kind} frame has no field {error}") from None
            except (TypeError, ValueError, OverflowError) as error:
                raise bad_row(self.path, row, f"{kind} frame: {error}") from None
            counts[label if label in counts or len(counts) < MOST_KINDS else "other"] += 1
            if event is not None:
                yield symbol, event


def _read_frames(path: Path) -> Iterator[tuple[int, int, str, Frame]]:
    """(row, local time, kind, payload); kind as the frame names it, "snapshot" for a REST book, "other" without any."""
    for row, line in enumerate(read_lines(path), 1):
        stamp, _, body = line.partition(" ")
        try:
            local_ns = int(stamp)
            message = json.loads(body)
        except (ValueError, RecursionError):
            raise _not_a_frame(path, row, line) from None
        if not isinstance(message, dict) or local_ns <= 0:
            raise _not_a_frame(path, row, line)
        frame = message.get("data", message)
        if not isinstance(frame, dict):
            frame = {}
        kind = frame.get("e")
        if kind is None:
            kind = "snapshot" if "lastUpdateId" in frame else _stream_kind(message)
        yield row, local_ns, str(kind)[:40], frame


def _stream_kind(message: Frame) -> str:
    """Spot bookTicker frames name their kind in the stream only: `btcusdt@bookTicker`."""
    _, _, kind = str(message.get("stream", "")).partition("@")
    return kind or "other"


def _not_a_frame(path: Path, row: int, line: str) -> ConfigError:
    return bad_row(
        path,
        row,
        f"{line[:60]!r} is not '<receive time, ns> <JSON>'; remove the line or record again",
    )


class _Parser:
    """One symbol's frames into our values. Raises KeyError, TypeError, ValueError or OverflowError for a malformed frame."""

    def __init__(self, steps: Steps) -> None:
        self._price = steps.price
        self._qty = steps.qty
        self._bid: Ticks | None = None
        self._ask: Ticks | None = None
        self._trade_stream = ""

    def parse_quote(self, frame: Frame, local_ns: int) -> Quote | None:
        """`{"e":"bookTicker","s":"BTCUSDT","b":"61800.20","B":"2.507","a":"61800.30","A":"2.510","T":..,"E":..}`

        A side without orders keeps its last price with quantity 0. None: no price known yet, or bid >= ask.
        """
        bid_lots = self._qty(frame["B"])
        ask_lots = self._qty(frame["A"])
        bid = self._price(frame["b"]) if bid_lots else self._bid
        ask = self._price(frame["a"]) if ask_lots else self._ask
        if bid is None or ask is None or (bid >= ask and bid_lots and ask_lots):
            return None
        self._bid, self._ask = bid, ask
        return Quote(
            bid_ticks=bid,
            bid_lots=bid_lots,
            ask_ticks=ask,
            ask_lots=ask_lots,
            ts_venue_ns=_venue_ns(frame, local_ns),
            ts_local_ns=local_ns,
        )

    def parse_trade(self, kind: str, frame: Frame, local_ns: int) -> Trade | None:
        """`{"e":"trade","s":"BTCUSDT","t":52,"p":"61800.30","q":"0.006","X":"MARKET","m":false,"T":..,"E":..}`

        `m`: the buyer was the maker, so the aggressor sold.
        """
        if frame.get("X", "MARKET") != "MARKET" or kind != (self._trade_stream or kind):
            return None
        self._trade_stream = kind
        qty = self._qty(frame["q"])
        if qty == 0:
            raise ValueError("quantity is 0")
        maker_bought = frame["m"]
        if not isinstance(maker_bought, bool):
            raise TypeError(f"m is {maker_bought!r}, must be true or false")
        return Trade(
            price_ticks=self._price(frame["p"]),
            qty_lots=qty,
            aggressor=Side.SELL if maker_bought else Side.BUY,
            ts_venue_ns=_venue_ns(frame, local_ns),
            ts_local_ns=local_ns,
        )


def _venue_ns(frame: Frame, local_ns: int) -> int:
    """T (matching time) or else E (sent), both ms; spot bookTicker has neither."""
    venue_ms = frame.get("T") or frame.get("E")
    return int(venue_ms) * NS_PER_MS if venue_ms else local_ns
