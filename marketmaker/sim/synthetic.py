"""A seeded market without end: the default feed of the embedded exchange.

One *weather* for all symbols and one random walk per symbol. The weather is a chain of stretches of a few minutes
(quiet, rising, falling, ranging) and now and then a crash that takes every symbol down at once on many times its
usual volume, followed by a recovery. Outside a crash a symbol follows the weather or picks a regime of its own, so
symbols are related without being copies. Each walk is drawn weakly to its start price, so it neither dies nor
runs away however long it is watched.

The same seed gives the same events on every machine: a symbol's numbers come from generators seeded by text (not by
`hash`), they do not depend on which other symbols are asked for, and nothing but `+ - * /` and `sqrt` (exact under
IEEE 754) touches them. Normal and log-normal draws are therefore made of counted random bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from heapq import heapify, heapreplace
from math import sqrt
from random import Random

from marketmaker.errors import ConfigError
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.market import Quote, Trade
from marketmaker.model.order import Side

START_PRICES = {
    "BTC": Decimal(60_000),
    "ETH": Decimal(3_000),
    "SOL": Decimal(150),
    "XRP": Decimal("1.4"),
    "DOGE": Decimal("0.15"),
    "APE": Decimal(1),
    "FIL": Decimal(4),
}
"""By base currency, in the quote currency; a base that is not here starts at 100."""

NS_PER_S = 1_000_000_000
EVENTS_PER_S = 3.6
"""Of a symbol with activity 1; crashes make it 4 over a day."""
OPENING_NS = 1_000_000
HOME_PULL_PER_S = 1 / 43_200
OPENING_CENTRE = 0.998
"""A market opens a little above what it then ranges about, so that a grid begun with it soon buys."""
FLOOR_TICKS = 10.0
FEWEST_START_TICKS = 100
TRADE_NOTIONAL = Decimal(300)
QUOTE_NOTIONAL = Decimal(3_000)
MOST_LOTS = 10**15
LADDER = tuple(float(Decimal("1.6") ** (step - 8)) for step in range(17))
"""Size factors: a binomial index into a geometric ladder is log-normal in all but name (sigma 0.94)."""
BITS_DEVIATION = sqrt(8)
"""Standard deviation of the number of ones among 32 random bits; its mean is 16."""


class Regime(Enum):
    QUIET = "quiet"
    UP = "up"
    DOWN = "down"
    RANGING = "ranging"
    CRASH = "crash"
    RECOVERY = "recovery"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manner:
    """How a walk moves: fractions of the price per second and per square root of a second.

    `pull_per_s` draws it to where it stood when the regime began. `activity` scales the rate of events, `size`
    their quantities.
    """

    drift_per_s: float = 0.0
    volatility: float
    pull_per_s: float = 0.0
    activity: float = 1.0
    size: float = 1.0


MANNERS = {
    Regime.QUIET: _Manner(volatility=0.0002, activity=0.8, size=0.8),
    Regime.UP: _Manner(volatility=0.0003, drift_per_s=0.00003),
    Regime.DOWN: _Manner(volatility=0.0003, drift_per_s=-0.00003),
    Regime.RANGING: _Manner(volatility=0.0005, pull_per_s=1 / 40, activity=1.2),
    Regime.CRASH: _Manner(volatility=0.0006, activity=4.0, size=4.0),
    Regime.RECOVERY: _Manner(volatility=0.0004),
}
EVERYDAY = (Regime.QUIET, Regime.UP, Regime.DOWN, Regime.RANGING, Regime.RANGING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """The weather until `end_ns`. `drift_per_s` is what a crash or recovery adds to every walk, else 0."""

    regime: Regime
    end_ns: int
    drift_per_s: float = 0.0


def weather(seed: int, start_ns: int) -> Iterator[Stretch]:
    """Stretches without end, the first one ranging; a crash comes every 20 to 80 minutes."""
    rng = Random(f"{seed}/weather")
    end_ns = start_ns + 180 * NS_PER_S
    yield Stretch(regime=Regime.RANGING, end_ns=end_ns)
    while True:
        for _ in range(7 + int(rng.random() * 12)):
            end_ns += _seconds(rng, 150, 270)
            yield Stretch(regime=EVERYDAY[int(rng.random() * len(EVERYDAY))], end_ns=end_ns)
        depth = 0.04 + 0.03 * rng.random()
        for regime, move, length_ns in (
            (Regime.CRASH, -depth, _seconds(rng, 90, 150)),
            (Regime.RECOVERY, depth * (0.8 + 0.4 * rng.random()), _seconds(rng, 240, 420)),
        ):
            end_ns += length_ns
            drift_per_s = move * NS_PER_S / length_ns
            yield Stretch(regime=regime, end_ns=end_ns, drift_per_s=drift_per_s)


def _seconds(rng: Random, least: int, most: int) -> int:
    return int((least + (most - least) * rng.random()) * NS_PER_S)


class _Walk:
    """One symbol's price, in fractional ticks, and the quote last shown."""

    def __init__(self, seed: int, symbol: str, instrument: Instrument, start: Decimal) -> None:
        self._rng = Random(f"{seed}/symbol/{symbol}")
        start_ticks = max(start / instrument.tick_size, Decimal(FEWEST_START_TICKS))
        self._home = float(start_ticks)
        self._price = self._home
        self._beta = 0.8 + 0.4 * self._rng.random()
        lot_value = start_ticks * instrument.quantum
        self._trade_lots = float(TRADE_NOTIONAL / lot_value)
        self._quote_lots = float(QUOTE_NOTIONAL / lot_value)
        self._bid = self._ask = 0
        self._moved_ns: int | None = None

    def enter(self, stretch: Stretch) -> None:
        """Take up the weather or, outside a crash and after the opening, perhaps a regime of one's own."""
        opening = self._moved_ns is None
        regime = stretch.regime
        own = EVERYDAY[int(self._rng.random() * len(EVERYDAY))]
        if regime in EVERYDAY and not opening and self._rng.random() < 0.4:
            regime = own
        manner = MANNERS[regime]
        self._drift_per_s = manner.drift_per_s + stretch.drift_per_s * self._beta
        self._volatility = manner.volatility / BITS_DEVIATION
        self._pull_per_s = manner.pull_per_s
        self._size = manner.size
        self._centre = self._price * OPENING_CENTRE if opening else self._price
        self._gap_ns = 4 * NS_PER_S / (EVENTS_PER_S * manner.activity)

    def next_ns(self, ts_ns: int) -> int:
        """Time of the next event. Two uniforms multiplied (mean 1/4) come in bursts, much as an exponential does."""
        random = self._rng.random
        return ts_ns + 1 + int(self._gap_ns * random() * random())

    def step(self, ts_ns: int) -> Quote | Trade:
        bits = self._rng.getrandbits(52)
        if bits & 1 and self._bid:
            return self._trade(ts_ns, bits)
        return self._quote(ts_ns, bits)

    def _quote(self, ts_ns: int, bits: int) -> Quote:
        price = self._price
        if self._moved_ns is not None:
            seconds = (ts_ns - self._moved_ns) / NS_PER_S
            drift = self._drift_per_s + (self._home / price - 1.0) * HOME_PULL_PER_S
            noise = (((bits >> 20) & 0xFFFFFFFF).bit_count() - 16) * self._volatility
            price += price * (drift * seconds + noise * sqrt(seconds))
            price += (self._centre - price) * self._pull_per_s * seconds
            self._price = price = max(price, FLOOR_TICKS)
        self._moved_ns = ts_ns
        spread = 1 + (bits & 6).bit_count()
        self._bid = bid = int(price - spread / 2)
        self._ask = bid + spread
        unit = self._quote_lots
        sizes = self._rng.getrandbits(32)
        return Quote(
            bid_ticks=Ticks(bid),
            bid_lots=_lots(unit * LADDER[(sizes & 0xFFFF).bit_count()]),
            ask_ticks=Ticks(self._ask),
            ask_lots=_lots(unit * LADDER[(sizes >> 16).bit_count()]),
            ts_venue_ns=ts_ns,
            ts_local_ns=ts_ns,
        )

    def _trade(self, ts_ns: int, bits: int) -> Trade:
        buys = bits & 2
        random_size = 0.5 + self._rng.random()
        return Trade(
            price_ticks=Ticks(self._ask if buys else self._bid),
            qty_lots=_lots(
                self._trade_lots
                * self._size
                * random_size
                * LADDER[((bits >> 4) & 0xFFFF).bit_count()]
            ),
            aggressor=Side.BUY if buys else Side.SELL,
            ts_venue_ns=ts_ns,
            ts_local_ns=ts_ns,
        )

    def opening_trade(self, ts_ns: int) -> Trade:
        return self._trade(ts_ns, self._rng.getrandbits(52))


def _lots(qty: float) -> Lots:
    return Lots(min(int(qty), MOST_LOTS) or 1)


class SyntheticFeed:
    """A `MarketFeed` that never ends and needs no file.

    Every symbol shows a quote at `start_ns` and a trade 1 ms later, then about 4 events a second: quotes with a
    spread of 1 to 3 ticks, and trades at the bid (aggressor sells) or the ask (aggressor buys). Venue and local
    time are the same. `start_prices` by symbol, in quote currency, instead of the built-in ones.

    Raises ConfigError for a start price that is not positive.
    """

    def __init__(
        self,
        seed: int,
        symbols: tuple[str, ...],
        start_ns: int,
        start_prices: dict[str, Decimal] | None = None,
    ) -> None:
        self.seed = seed
        self.symbols = tuple(dict.fromkeys(symbols))
        self.start_ns = start_ns
        self._start_prices = dict(start_prices or {})
        for symbol, price in self._start_prices.items():
            if not price.is_finite() or price <= 0:
                raise ConfigError(
                    f"synthetic feed: start price of {symbol} must be positive, got {price}"
                )

    def describe(self) -> str:
        return f"synthetic market, seed {self.seed}, {', '.join(self.symbols)}"

    def events(self, instruments: dict[str, Instrument]) -> Iterator[tuple[str, Trade | Quote]]:
        """See `MarketFeed`; each call begins the same market anew."""
        stretches = weather(self.seed, self.start_ns)
        stretch = next(stretches)
        walks = [self._walk(symbol, instruments[symbol]) for symbol in self.symbols]
        entered = [stretch] * len(walks)
        trades_ns = self.start_ns + OPENING_NS
        for symbol, walk in zip(self.symbols, walks, strict=True):
            walk.enter(stretch)
            yield symbol, walk.step(self.start_ns)
        for symbol, walk in zip(self.symbols, walks, strict=True):
            yield symbol, walk.opening_trade(trades_ns)
        due = [(walk.next_ns(trades_ns), place) for place, walk in enumerate(walks)]
        heapify(due)
        while due:
            ts_ns, place = due[0]
            while ts_ns >= stretch.end_ns:
                stretch = next(stretches)
            walk = walks[place]
            if entered[place] is not stretch:
                entered[place] = stretch
                walk.enter(stretch)
            yield self.symbols[place], walk.step(ts_ns)
            heapreplace(due, (walk.next_ns(ts_ns), place))

    def _walk(self, symbol: str, instrument: Instrument) -> _Walk:
        start = self._start_prices.get(symbol) or START_PRICES.get(instrument.base, Decimal(100))
        return _Walk(self.seed, symbol, instrument, start)
