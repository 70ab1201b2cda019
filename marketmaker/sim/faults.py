"""What may go wrong between the daemon and a venue, and how much of it one seed gets.

Swarm style: each seed draws which kinds exist at all and how often they strike, because a run in which everything
goes wrong all the time never gets far enough for the rare meeting of two troubles. Every kind draws from a generator of
its own, so that switching one off leaves the others nearly as they were: that is how a failing seed is made smaller.

    rate      strikes a request or a report now and then; a probability
    episode   begins, lasts and ends; everything inside it is affected
    moment    happens once, at a time

All of them end at `end_s`, so that what must be whole again afterwards can be asked for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from random import Random


class Fault(Enum):
    """The value is the name on the command line."""

    ANSWER_LOST = "answer-lost"
    REQUEST_LOST = "request-lost"
    OUTCOME_UNKNOWN = "outcome-unknown"
    LATE_ANSWER = "late-answer"
    SLOW_REQUEST = "slow-request"
    NOT_SENT = "not-sent"
    RATE_LIMIT = "rate-limit"
    OVERLOADED = "overloaded"
    CLOCK_REFUSED = "clock-refused"
    QUIET_CANCEL = "quiet-cancel"
    REDUCE_ONLY_REFUSED = "reduce-only-refused"
    NO_MARGIN = "no-margin"
    LATE_POST_ONLY = "late-post-only"
    QUERY_LAG = "query-lag"
    SNAPSHOT_ERROR = "snapshot-error"
    SNAPSHOT_STALE = "snapshot-stale"
    SNAPSHOT_EMPTY = "snapshot-empty"
    REPORT_REPEATED = "report-repeated"
    REPORT_REORDERED = "report-reordered"
    REPORT_DELAYED = "report-delayed"
    REPORT_MERGED = "report-merged"
    REPORT_DROPPED = "report-dropped"
    FILL_RACES_CANCEL = "fill-races-cancel"
    FALSE_REFUSAL = "false-refusal"
    THIN_BUDGET = "thin-budget"

    STREAM_DOWN = "stream-down"
    STREAM_SILENT = "stream-silent"
    PRICE_DOWN = "price-down"
    PRICE_SILENT = "price-silent"
    HALF_OPEN = "half-open"
    TOKEN_EXPIRED = "token-expired"
    BAN = "ban"
    MAINTENANCE = "maintenance"
    POST_ONLY_MODE = "post-only-mode"
    PRECISION_CHANGE = "precision-change"
    ENDPOINT_DOWN = "endpoint-down"
    DISK_FULL = "disk-full"
    DISK_SHORT = "disk-short"
    DISK_SLOW = "disk-slow"
    CLOCK_DRIFT = "clock-drift"

    PRICE_OUTLIER = "price-outlier"
    PRICE_LEAP = "price-leap"
    PARTIAL_FILL = "partial-fill"
    ENDED_BY_VENUE = "ended-by-venue"
    SELF_TRADE = "self-trade"
    CLOCK_JUMP = "clock-jump"
    STALL = "stall"
    MANUAL_CLOSE = "manual-close"
    MANUAL_ORDER = "manual-order"
    SECOND_BOT = "second-bot"
    RELOAD = "reload"
    CRASH = "crash"
    CRASH_DISK_LOST = "crash-disk-lost"
    CRASH_DISK_OLD = "crash-disk-old"
    STOP = "stop"


RATES = {
    Fault.ANSWER_LOST: 0.10,
    Fault.REQUEST_LOST: 0.10,
    Fault.OUTCOME_UNKNOWN: 0.15,
    Fault.LATE_ANSWER: 0.30,
    Fault.SLOW_REQUEST: 0.15,
    Fault.NOT_SENT: 0.10,
    Fault.RATE_LIMIT: 0.08,
    Fault.OVERLOADED: 0.15,
    Fault.CLOCK_REFUSED: 0.05,
    Fault.QUIET_CANCEL: 0.60,
    Fault.REDUCE_ONLY_REFUSED: 0.10,
    Fault.NO_MARGIN: 0.05,
    Fault.LATE_POST_ONLY: 0.80,
    Fault.QUERY_LAG: 0.50,
    Fault.SNAPSHOT_ERROR: 0.30,
    Fault.SNAPSHOT_STALE: 0.50,
    Fault.SNAPSHOT_EMPTY: 0.10,
    Fault.REPORT_REPEATED: 0.30,
    Fault.REPORT_REORDERED: 0.30,
    Fault.REPORT_DELAYED: 0.20,
    Fault.REPORT_MERGED: 0.50,
    Fault.REPORT_DROPPED: 0.15,
    Fault.FILL_RACES_CANCEL: 0.30,
    Fault.FALSE_REFUSAL: 0.20,
    Fault.THIN_BUDGET: 1.0,
}
"""The most a rate may be. That of a thin budget says how thin it is."""

EPISODES = {
    Fault.STREAM_DOWN: (3, 0.1, 20.0),
    Fault.STREAM_SILENT: (2, 1.0, 30.0),
    Fault.PRICE_DOWN: (2, 0.1, 20.0),
    Fault.PRICE_SILENT: (2, 3.0, 20.0),
    Fault.HALF_OPEN: (1, 2.0, 20.0),
    Fault.TOKEN_EXPIRED: (1, 2.0, 20.0),
    Fault.BAN: (1, 2.0, 15.0),
    Fault.MAINTENANCE: (1, 2.0, 20.0),
    Fault.POST_ONLY_MODE: (1, 5.0, 20.0),
    Fault.PRECISION_CHANGE: (1, 3.0, 20.0),
    Fault.ENDPOINT_DOWN: (2, 5.0, 40.0),
    Fault.DISK_FULL: (2, 2.0, 20.0),
    Fault.DISK_SHORT: (1, 5.0, 30.0),
    Fault.DISK_SLOW: (1, 3.0, 15.0),
    Fault.CLOCK_DRIFT: (1, 20.0, 60.0),
}
"""At most so many in 90 s; shortest and longest, in seconds."""

MOMENTS = {
    Fault.PRICE_OUTLIER: 3,
    Fault.PRICE_LEAP: 3,
    Fault.PARTIAL_FILL: 15,
    Fault.ENDED_BY_VENUE: 6,
    Fault.SELF_TRADE: 3,
    Fault.CLOCK_JUMP: 2,
    Fault.STALL: 3,
    Fault.MANUAL_CLOSE: 1,
    Fault.MANUAL_ORDER: 4,
    Fault.SECOND_BOT: 12,
    Fault.RELOAD: 2,
    Fault.CRASH: 2,
    Fault.CRASH_DISK_LOST: 1,
    Fault.CRASH_DISK_OLD: 1,
    Fault.STOP: 1,
}
"""At most so many in 90 s."""

PRESENT = 0.3
"""How likely a kind exists in a seed."""
UNIT_S = 90.0
FIRST_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """An episode, or a moment when `start_s` and `stop_s` are the same. Seconds from the start of the world."""

    fault: Fault
    start_s: float
    stop_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """What one seed has in store. `strikes` in order of time."""

    seed: int
    end_s: float
    rates: dict[Fault, float]
    strikes: tuple[Strike, ...]

    @property
    def kinds(self) -> tuple[Fault, ...]:
        struck = {strike.fault for strike in self.strikes}
        return tuple(fault for fault in Fault if fault in self.rates or fault in struck)

    def generator(self, fault: Fault) -> Random:
        """The kind's own source of chance while the world runs."""
        return Random(f"{self.seed}/{fault.value}/run")


def draw_plan(
    seed: int,
    end_s: float,
    *,
    only: Collection[Fault] | None = None,
    without: Collection[Fault] = (),
) -> FaultPlan:
    """`only`: these kinds, every one of them, instead of a draw. `without`: never these."""
    rates: dict[Fault, float] = {}
    strikes: list[Strike] = []
    for fault in Fault:
        rng = Random(f"{seed}/{fault.value}/plan")
        present = rng.random() < PRESENT
        if fault in without or not (present if only is None else fault in only):
            continue
        if fault in RATES:
            rates[fault] = RATES[fault] * rng.random()
            continue
        if fault in EPISODES:
            most, shortest_s, longest_s = EPISODES[fault]
        else:
            most, shortest_s, longest_s = MOMENTS[fault], 0.0, 0.0
        for _ in range(rng.randint(1, max(1, round(most * end_s / UNIT_S)))):
            start_s = FIRST_S + rng.random() * max(end_s - FIRST_S, 0.0)
            length_s = shortest_s + (longest_s - shortest_s) * rng.random() ** 2
            strikes.append(
                Strike(
                    fault=fault,
                    start_s=start_s,
                    stop_s=max(start_s, min(start_s + length_s, end_s)),
                )
            )
    strikes.sort(key=lambda strike: (strike.start_s, strike.fault.value))
    return FaultPlan(seed=seed, end_s=end_s, rates=rates, strikes=tuple(strikes))


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Names separated by commas; "" or "none" is none of them. Raises ValueError naming what it does not know."""
    names = (name.strip() for name in text.split(","))
    return tuple(dict.fromkeys(Fault(name) for name in names if name not in ("", "none")))
