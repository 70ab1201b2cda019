"""Decides which prices of one symbol may be believed, and shuts the FEED gate while none can.

Three troubles, each of which keeps the gate shut: the stream is down; the price is stale (nothing fresh for
`stale_after` while the stream claims to be up); the price jumped (further than `max_jump` from the last one).

A jump is not passed on. It becomes the *suspect* until one of these settles it:
- a confirming price near the suspect: the suspect was right, it is passed on;
- a confirming price near the last price: the suspect is dropped. If jumps then go on all the same (a lagging second
  source), the gate is not opened a second time before an ordinary price near the last one comes: no flapping;
- on a venue without confirming prices, three more prices in a row near the suspect: it was right;
- three prices in a row near the last one: it was a lone outlier. These prices are passed on meanwhile.

"Near" is within `max_jump` of the older price, and one tick is always near. The usual tick costs two comparisons: it
lies inside the *calm band* around the last price, any two prices of which are near each other. The band is empty
while anything is unsettled, which sends every price through `_judge`.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Final, NamedTuple

import structlog

from marketmaker.model.event import Gate, GateOpened, GateShut
from marketmaker.model.instrument import Ticks
from marketmaker.model.settings import PriceMonitorSettings
from marketmaker.runtime import log_events
from marketmaker.runtime.clock import Clock
from marketmaker.runtime.event_queue import EventQueue

VOTES: Final = 3
NS: Final = 1_000_000_000


class Trouble(Enum):
    DOWN = "down"
    JUMP = "jump"
    STALE = "stale"


class Tick(NamedTuple):
    price_ticks: Ticks
    ts_venue_ns: int
    ts_local_ns: int


class PriceMonitor:
    """Implements `adapters.protocol.PriceListener` for the symbol called `name`.

    `confirming`: whether the venue sends confirming prices. `ticks` counts prices heard, `last_price_ticks` is the
    last one believed and `last_price_ns` our clock then (0: none yet); `priced` is set with the first.
    """

    def __init__(
        self,
        settings: PriceMonitorSettings,
        queue: EventQueue,
        clock: Clock,
        *,
        name: str,
        confirming: bool,
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._confirming = confirming
        self._stale_after_ns = round(settings.stale_after_s * NS)
        self._send_interval_ns = settings.send_interval_ms * 1_000_000
        self._jump_parts, self._jump_whole = settings.max_jump.as_integer_ratio()
        self._offer = self._throttle if self._send_interval_ns else queue.offer_price
        self._calm_low, self._calm_high = 1, 0
        self._up = False
        self._fresh_ns = 0
        self._suspect: Tick | None = None
        self._seconded = 0
        self._returned = 0
        self._denied = False
        self._troubles: dict[Trouble, str] = {}
        self._held: Tick | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sent_ns: int | None = None
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
            service="price_monitor", instrument=name
        )
        self.priced = asyncio.Event()
        self.ticks = 0
        self.disconnects = 0
        self.last_price_ticks: Ticks | None = None
        self.last_price_ns = 0

    @property
    def why_shut(self) -> str:
        """The troubles in words, "" while the feed is trusted."""
        return "; ".join(self._troubles.values())

    @property
    def fresh_ns(self) -> int:
        """Our clock when the last price was believed or confirmed, or the stream came up; 0 before that."""
        return self._fresh_ns

    @property
    def stale_after_s(self) -> float:
        return self._stale_after_ns / NS

    def adopt(self, settings: PriceMonitorSettings) -> None:
        """Another patience and another jump from the next price on. The send interval stays."""
        self._stale_after_ns = round(settings.stale_after_s * NS)
        self._jump_parts, self._jump_whole = settings.max_jump.as_integer_ratio()
        self._calm_low, self._calm_high = 1, 0

    async def run(self) -> None:
        try:
            while True:
                await asyncio.sleep(self._stale_after_ns / NS / 4)
                self.check()
        finally:
            self._flush()

    def check(self) -> None:
        """Find staleness. A service's timer calls this; it is public so that others may ask sooner."""
        age_ns = self._clock.now_ns() - self._fresh_ns
        if not self._up or age_ns <= self._stale_after_ns:
            return
        what = "no price" if self.last_price_ticks is None else "price is"
        tail = "since the stream came up" if self.last_price_ticks is None else "old"
        self._fear(Trouble.STALE, f"{what} {age_ns / NS:.1f} s {tail}")

    def on_price(self, price_ticks: Ticks, ts_venue_ns: int, ts_local_ns: int) -> None:
        self.ticks += 1
        if self._calm_low <= price_ticks <= self._calm_high:
            self.last_price_ticks = price_ticks
            self.last_price_ns = self._fresh_ns = ts_local_ns
            self._offer(price_ticks, ts_venue_ns, ts_local_ns)
        else:
            self._judge(Tick(price_ticks, ts_venue_ns, ts_local_ns))

    def on_confirming_price(self, price_ticks: Ticks, ts_venue_ns: int, ts_local_ns: int) -> None:
        if self._calm_low <= price_ticks <= self._calm_high:
            self._fresh_ns = ts_local_ns
            return
        last, suspect = self.last_price_ticks, self._suspect
        if last is None:
            return
        if suspect is not None and self._near(price_ticks, suspect.price_ticks):
            self._log.info(
                log_events.PRICE_CONFIRMED, price_ticks=suspect.price_ticks, by_ticks=price_ticks
            )
            self._pass_on(suspect)
            self._trust(ts_local_ns)
        elif self._near(price_ticks, last):
            self._fresh_ns = ts_local_ns
            if suspect is not None:
                self._deny(suspect)
            self._relax(Trouble.STALE)

    def stream_up(self) -> None:
        self._up = True
        self._fresh_ns = self._clock.now_ns()

    def stream_down(self, reason: str) -> None:
        self._up = False
        self.disconnects += 1
        self._suspect = None
        self._troubles.pop(Trouble.JUMP, None)
        self._fear(Trouble.DOWN, f"price stream is down: {reason}")

    def _judge(self, tick: Tick) -> None:
        last, suspect = self.last_price_ticks, self._suspect
        if tick.price_ticks <= 0:
            self._log.warning(log_events.PRICE_MALFORMED, price_ticks=tick.price_ticks)
        elif last is None or self._near(tick.price_ticks, last):
            self._pass_on(tick)
            self._seconded = 0
            self._returned += 1
            if suspect is None or self._returned >= VOTES:
                self._trust(tick.ts_local_ns)
        else:
            near_suspect = suspect is not None and self._near(tick.price_ticks, suspect.price_ticks)
            self._seconded = self._seconded + 1 if near_suspect else 0
            self._returned = 0
            self._suspect = tick
            if self._seconded >= VOTES and not self._confirming:
                self._log.info(log_events.PRICE_CONFIRMED, price_ticks=tick.price_ticks)
                self._pass_on(tick)
                self._trust(tick.ts_local_ns)
            else:
                self._log.debug(
                    log_events.PRICE_SUSPECTED, price_ticks=tick.price_ticks, last_ticks=last
                )
                change = (tick.price_ticks - last) / last
                self._fear(
                    Trouble.JUMP, f"price jumped {change:+.1%}, waiting until it is confirmed"
                )

    def _near(self, price: int, reference: int) -> bool:
        distance = abs(price - reference) * self._jump_whole
        return distance <= max(self._jump_parts * reference, self._jump_whole)

    def _deny(self, suspect: Tick) -> None:
        self._log.warning(log_events.PRICE_DENIED, price_ticks=suspect.price_ticks)
        self._suspect = None
        self._seconded = self._returned = 0
        if not self._denied:
            self._denied = True
            self._relax(Trouble.JUMP)

    def _pass_on(self, tick: Tick) -> None:
        self.priced.set()
        self.last_price_ticks = tick.price_ticks
        self.last_price_ns = self._fresh_ns = tick.ts_local_ns
        self._offer(*tick)

    def _trust(self, fresh_ns: int) -> None:
        """The last price is believed: everything that it answers is over, and ticks near it are calm."""
        self._fresh_ns = fresh_ns
        self._suspect = None
        self._denied = False
        self._seconded = self._returned = 0
        gone = (Trouble.JUMP, Trouble.STALE, *((Trouble.DOWN,) if self._up else ()))
        self._relax(*gone)

    def _fear(self, trouble: Trouble, reason: str) -> None:
        if trouble in self._troubles:
            return
        self._troubles[trouble] = reason
        self._calm_low, self._calm_high = 1, 0
        self._log.warning(log_events.FEED_TROUBLED, trouble=trouble.value, reason=reason)
        self._flush()
        self._post_shut()

    def _relax(self, *troubles: Trouble) -> None:
        removed = [self._troubles.pop(trouble, None) for trouble in troubles]
        if any(removed):
            self._flush()
            if self._troubles:
                self._post_shut()
            else:
                self._log.info(log_events.FEED_TRUSTED)
                self._queue.put(GateOpened(gate=Gate.FEED, ts_ns=self._clock.now_ns()))
        last = self.last_price_ticks
        if last is not None and not (self._troubles or self._denied or self._suspect):
            # Half a band of a third of the jump: even its two ends are near each other.
            reach = min(self._jump_parts * last // (3 * self._jump_whole), last // 3)
            self._calm_low, self._calm_high = last - reach, last + reach

    def _post_shut(self) -> None:
        self._queue.put(GateShut(gate=Gate.FEED, reason=self.why_shut, ts_ns=self._clock.now_ns()))

    def _throttle(self, price_ticks: Ticks, ts_venue_ns: int, ts_local_ns: int) -> None:
        if self._timer is None:
            sent_ns = self._sent_ns
            wait_ns = 0 if sent_ns is None else sent_ns + self._send_interval_ns - ts_local_ns
            if wait_ns <= 0:
                self._sent_ns = ts_local_ns
                self._queue.offer_price(price_ticks, ts_venue_ns, ts_local_ns)
                return
            wait_s = min(wait_ns, self._send_interval_ns) / NS
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._flush)
        self._held = Tick(price_ticks, ts_venue_ns, ts_local_ns)

    def _flush(self) -> None:
        """Send what the throttle holds: the gate never changes ahead of a price that came before."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._held is not None:
            held, self._held = self._held, None
            self._sent_ns = self._clock.now_ns()
            self._queue.offer_price(*held)
