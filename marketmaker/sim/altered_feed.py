"""A market with something done to it: it leaps, or it comes to a stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import Random

from marketmaker.model.instrument import Instrument, Ticks
from marketmaker.model.market import Quote, Trade
from marketmaker.sim.feed import MarketFeed
from marketmaker.sim.loop import NS_PER_S

LEAP = 0.02
"""So far from where the market would be, at most, as a fraction of its first price."""


class CalmingFeed:
    """A market that stands still from `calm_s` after its start: the last quote again and again, no trades."""

    def __init__(self, feed: MarketFeed, calm_s: float) -> None:
        self._feed = feed
        self._calm_ns = feed.start_ns + round(calm_s * NS_PER_S)
        self.start_ns = feed.start_ns
        self.symbols = feed.symbols

    def events(self, instruments: dict[str, Instrument]) -> Iterator[tuple[str, Trade | Quote]]:
        last: Quote | None = None
        for symbol, event in self._feed.events(instruments):
            if event.ts_local_ns < self._calm_ns:
                last = event if isinstance(event, Quote) else last
                yield symbol, event
            elif isinstance(event, Quote) and last is not None:
                ts_ns = event.ts_local_ns
                yield symbol, replace(last, ts_venue_ns=ts_ns, ts_local_ns=ts_ns)


class LeapingFeed:
    """The market of one symbol; at each of `leaps_s`, seconds from its start in order, it goes on somewhere else."""

    def __init__(
        self, feed: MarketFeed, leaps_s: Sequence[float], rng: Random, leapt: Callable[[], None]
    ) -> None:
        self._feed = feed
        self._leaps_ns = [feed.start_ns + round(leap_s * NS_PER_S) for leap_s in leaps_s]
        self._rng = rng
        self._leapt = leapt
        self.start_ns = feed.start_ns
        self.symbols = feed.symbols

    def events(self, instruments: dict[str, Instrument]) -> Iterator[tuple[str, Trade | Quote]]:
        left = iter(self._leaps_ns)
        due_ns = next(left, None)
        first = shift = 0
        for symbol, event in self._feed.events(instruments):
            if isinstance(event, Quote):
                first = first or event.bid_ticks
                while due_ns is not None and event.ts_local_ns >= due_ns:
                    shift = round(first * LEAP * (2 * self._rng.random() - 1))
                    due_ns = next(left, None)
                    self._leapt()
            yield symbol, shifted(event, shift) if shift else event


def shifted(event: Trade | Quote, ticks: int) -> Trade | Quote:
    if isinstance(event, Trade):
        return replace(event, price_ticks=Ticks(event.price_ticks + ticks))
    bid, ask = Ticks(event.bid_ticks + ticks), Ticks(event.ask_ticks + ticks)
    return replace(event, bid_ticks=bid, ask_ticks=ask)
