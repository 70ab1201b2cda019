"""The observer: everything that must always hold, seen from the venue's side of the wire.

It shares nothing with the daemon's books. It knows what the daemon handed over, what reached the venue, what the venue
did, and what the daemon was told; and it is asked to compare books and account only when nothing is under way.

    placing      1  snapshot       nothing is placed before a snapshot asked for after the order stream came up
                 2  stream         nothing is placed while the daemon knows the order stream to be down
                 3  stopped        nothing is placed after the stop was asked for
                 4  stale          no entry on a price older than `stale_after`, or while the price stream is down
                 5  busy           no second order in a slot while the daemon cannot know the end of the first
                 6  fresh-id       an id names one order for ever, over all restarts
                 7  resend         the same id is sent again only after a refusal that allows it, and unchanged
                 8  level          every order lies on its slot's level; the levels outlive restarts
                 9  size           an entry is worth no more than `order_amount` and no less than the minimum
                10  reduce-only    no entry is reduce-only, every exit is while the whole position is ours
                11  degraded       an order may take only after so many post-only rejections in its slot
                12  count          never more than `max_open_orders`
                13  budget         never faster than the account's budget
                14  pause          nothing is sent while a rate limit or ban that was told is running
                15  patience       a refused slot waits before it tries again
                16  margin         no entry within `margin_lock` of a refusal for want of margin
                31  ended          the grid closes itself only after a price beyond `stop_loss`, and enters no more
                32  holds          no entry where the slot's last order left inventory that can be sold
                33  disk           no entry while the disk refuses what is written
                34  clock          a process that never saw its clock right places nothing
    cancelling  17  foreign        no order of somebody else is ever cancelled
                18  cancel-storm   no order is cancelled over and over
    the venue   19  one-live       one live order per slot
                20  exposure       position and open entries never exceed `max_position`
                21  reduces        a reduce-only order never makes the position larger
                22  maker          a post-only order never takes
    when quiet  23  position       inventory in slots equals the position
                24  trades         every trade is booked once: lots, cost and fees agree to the last digit
                25  equity         money in equals money out: the residual is exactly 0
                26  orders         the daemon knows every open order, and no other
                27  whole          once faults end the grid is whole again
                28  silent         a restart that changes nothing sends nothing
                35  repaired       slots follow the position only where somebody else traded or memory was lost
                36  written        what a process remembers is on its disk, as far as it says so
    the end     29  left           after a stop nothing of ours is open, or the daemon says what it could not confirm
                30  alive          the daemon never dies by itself

Rules that count seconds (4, 13, 14, 15, 16) are lenient, or silent, where the daemon's own clock was made to jump.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import inf

from marketmaker.errors import (
    ClockSkew,
    DuplicateClientOrderId,
    InsufficientMargin,
    NotSent,
    Overloaded,
    PostOnlyWouldCross,
    RateLimited,
    Rejected,
    VenueError,
)
from marketmaker.model.instrument import Instrument, Ticks
from marketmaker.model.order import (
    ClientOrderId,
    EndReason,
    Fill,
    NewOrder,
    OrderRef,
    OrderReport,
    OrderStatus,
    Side,
    TimeInForce,
)
from marketmaker.model.settings import (
    GridSettings,
    GridSide,
    PositionPolicy,
    PostOnlyPolicy,
    Settings,
)
from marketmaker.model.status import GridMemory, GridTotals, SlotStatus

NS = 1_000_000_000
SAVED_NS = 3 * NS
"""After this long what a process learnt is in its memory, or the disk refuses."""
STALE_SLACK = 1.25
"""The monitor looks every quarter of `stale_after`."""
DISK_TOLD_NS = NS // 2
"""So soon a process knows that the disk refuses."""
CLOCK_SLACK_S = 0.2
FIRST_READINGS = 2
"""A process begins with one of them."""
HALF_MORE = Decimal("1.5")
CANCELS_AT_MOST = 150
"""Of one order by one process."""
REMEMBERED_LINES = 400
MAY_BE_SENT_AGAIN = (RateLimited, NotSent, Overloaded, ClockSkew)
LIMITS_THAT_EXPLAIN = ("max_position reached", "max_open_orders reached", "post_only strict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """`ts_ns` since the world began."""

    rule: str
    what: str
    ts_ns: int


@dataclass(slots=True, kw_only=True)
class Told:
    """What one process can know of one order. `over`: its end was told."""

    order_id: ClientOrderId
    qty_lots: int
    order: NewOrder | None
    sent_ns: int
    over: bool = False
    may_send_again: bool = False
    filled_lots: int = 0
    trades: dict[str, int] = field(default_factory=dict)
    misses: int = 0
    last_miss_asked_ns: int = 0
    missed_twice_ns: int = 0
    unlisted: int = 0
    """By so many whole readings in a row, for an order that an earlier process left."""
    cancels: int = 0
    refused: bool = False
    seen_open: bool = False
    """A refusal told after that is not to be believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTrade:
    """A trade of ours at the venue; `process` is the number of the one that ran when it happened."""

    fill: Fill
    process: int
    ours_since: int


class Observer:
    """`loose_clock`: the daemon's clock is made to jump. `fail` is called with the first violation."""

    def __init__(
        self,
        settings: Settings,
        instrument: Instrument,
        *,
        began_ns: int,
        burst: int,
        orders_per_s: float,
        request_lifetime_s: float,
        loose_clock: bool,
        fail: Callable[[Violation], None],
    ) -> None:
        self.settings = settings
        self.grid: GridSettings = settings.symbols[0].grid
        self.instrument = instrument
        self.violation: Violation | None = None
        self.lines: deque[tuple[int, str]] = deque(maxlen=REMEMBERED_LINES)
        self.trades: list[OwnTrade] = []
        self.foreign_trades: list[tuple[int, Fill]] = []
        self.open: dict[ClientOrderId, OrderReport] = {}
        self.used: dict[ClientOrderId, int] = {}
        self.position_lots = 0
        self.placed = 0
        self.cancelled = 0
        self.process = 0
        self.anchor: int | None = None
        self._fail = fail
        self._began_ns = began_ns
        self._loose = loose_clock
        self._rate, self._burst = orders_per_s, burst
        self._lifetime_ns = round(request_lifetime_s * NS)
        assert self.grid.price_interval is not None
        self._interval = int(self.grid.price_interval / instrument.tick_size)
        self._amount = int(self.grid.order_amount / instrument.quantum)
        self._most_orders = self.grid.max_open_orders
        self._least = max(self.grid.min_order_value, instrument.min_notional)
        self._most_off_s = settings.safety.max_clock_offset_s + CLOCK_SLACK_S
        self._stop_reached = False
        self._closing_since_ns: int | None = None
        self._most_lots = (
            None
            if self.grid.max_position is None
            else int(self.grid.max_position / instrument.base_per_lot)
        )
        self._ended: dict[ClientOrderId, None] = {}
        self._post_only: dict[ClientOrderId, bool] = {}
        self._placed_by: dict[ClientOrderId, int] = {}
        self._filled_with: dict[str, int] = {}
        """How much of its order was filled with a trade."""
        self._balance: Counter[int] = Counter()
        """What each slot took in, less what it gave, in its own direction: a slot can owe."""
        self._died_ns: int | None = None
        self._memory_lost = False
        self.clock_off_s: Callable[[], float] = lambda: 0.0
        self._disowned = False
        """A position of ours that a process without memory left to the owner, as it was told to."""
        self._forget_process()

    def _forget_process(self) -> None:
        self.stop_asked_ns: int | None = None
        self.expect_silence = False
        self._told: dict[ClientOrderId, Told] = {}
        self._slot: dict[int, ClientOrderId] = {}
        self._up_ns: int | None = None
        self._down_ns = 0
        self._snapshot_ok = False
        self._listed: list[OrderReport] = []
        self._listed_asked_ns = -1
        self._price_ns: int | None = None
        self._price_up = False
        self._price_trusted = False
        self._price_down_ns = 0
        self._tokens = float(self._burst)
        self._tokens_ns = 0
        self._paused_until_ns = 0
        self._margin_since_ns = self._margin_until_ns = 0
        self._readings = 0
        self._told_first: set[str] = set()
        self._disk_refused_ns: int | None = None
        self._least_off_s = inf
        self._rejects: dict[int, int] = {}
        self._wait_until_ns: dict[int, int] = {}

    # -- the life of processes -----------------------------------------------------------------------

    def process_began(self, *, remembers: bool, same_levels: bool, now_ns: int) -> None:
        """`remembers`: it starts with a state directory; `same_levels`: with the one the last process wrote."""
        self.process += 1
        self._forget_process()
        if self.process > 1 and not (remembers and same_levels):
            self._memory_lost = True
        since_ns, died_ns = self._closing_since_ns, self._died_ns
        written = since_ns is not None and (died_ns is None or died_ns - since_ns > SAVED_NS)
        if not (remembers and same_levels and written):
            self._closing_since_ns = None
        self._died_ns = None
        if not (remembers and same_levels):
            self.anchor = None
        if not remembers and self.grid.on_position_difference is PositionPolicy.IGNORE:
            self._disowned = self._disowned or self.position_lots != 0
        self.note(now_ns, f"process {self.process} begins{'' if remembers else ' without memory'}")

    def process_died(self, now_ns: int) -> None:
        """Without a word."""
        self._died_ns = now_ns

    def settings_changed(self, settings: Settings, now_ns: int) -> None:
        """What was handed out before may still be on its way: of two amounts the larger bounds what is placed."""
        self.note(now_ns, "settings changed")
        self.settings, self.grid = settings, settings.symbols[0].grid
        self._amount = max(self._amount, int(self.grid.order_amount / self.instrument.quantum))
        self._most_orders = max(self._most_orders, self.grid.max_open_orders)

    @property
    def _knows_all(self) -> bool:
        """Whether what our orders filled is all there is: nobody else traded, and no process lost its memory."""
        return not (self.foreign_trades or self._disowned or self._memory_lost)

    def disk_answered(self, *, refused: bool, now_ns: int) -> None:
        if not refused:
            self._disk_refused_ns = None
        elif self._disk_refused_ns is None:
            self._disk_refused_ns = now_ns

    def stop_asked(self, now_ns: int) -> None:
        self.stop_asked_ns = now_ns
        self.note(now_ns, "stop asked for")

    # -- what the daemon hands over ------------------------------------------------------------------

    def placing(self, orders: Sequence[NewOrder], now_ns: int) -> None:
        for order in orders:
            self.note(now_ns, f"-> place {shown(order)}")
        self._spend(len(orders), now_ns, "placements")
        for order in orders:
            self.placed += 1
            self._check_moment(order, now_ns)
            self._check_order(order, now_ns)
            self._check_slot(order, now_ns)
            self._remember_sent(order, now_ns)

    def _check_moment(self, order: NewOrder, now_ns: int) -> None:
        name = tuple(order.client_order_id)
        if self.expect_silence:
            self.broken("silent", f"{name} placed by a restart that changed nothing", now_ns)
        if self.stop_asked_ns is not None and now_ns > self.stop_asked_ns:
            self.broken("stopped", f"{name} placed after the stop was asked for", now_ns)
        if self._up_ns is None:
            if now_ns > self._down_ns:  # whoever was about to place hears of it in this instant
                self.broken("stream", f"{name} placed while the order stream is down", now_ns)
        elif not self._snapshot_ok:
            self.broken("snapshot", f"{name} placed before a snapshot", now_ns)
        if min(self._least_off_s, abs(self.clock_off_s())) > self._most_off_s:
            self.broken("clock", f"{name} placed on a clock that is wrong", now_ns)
        if not self.is_entry(order.client_order_id):
            return
        refused_ns = self._disk_refused_ns
        if refused_ns is not None and now_ns - refused_ns > DISK_TOLD_NS:
            self.broken("disk", f"entry {name} while the disk refuses", now_ns)
        if not self._price_trusted or self._price_ns is None:
            if now_ns > self._price_down_ns:
                self.broken("stale", f"entry {name} while the price stream is down", now_ns)
            return
        age_s = (now_ns - self._price_ns) / NS
        limit_s = self.settings.price_monitor.stale_after_s * STALE_SLACK + 0.01
        if age_s > limit_s and not self._loose:
            self.broken("stale", f"entry {name} on a price {age_s:.2f} s old", now_ns)
        # Whoever was about to place hears of it in this instant: one answer may hold several refusals.
        if self._margin_since_ns < now_ns < self._margin_until_ns and not self._loose:
            self.broken("margin", f"entry {name} while margin is locked", now_ns)

    def _check_order(self, order: NewOrder, now_ns: int) -> None:
        name = order.client_order_id
        closing = order.time_in_force is TimeInForce.IOC
        entry = self.is_entry(name)
        if closing:
            if not self._stop_reached:
                self.broken("ended", f"{shown(order)} closes without a reason", now_ns)
            self._closing_since_ns = self._closing_since_ns or now_ns
        elif entry and self._closing_since_ns is not None:
            self.broken("ended", f"entry {tuple(name)} after the grid was closed", now_ns)
        if order.side is not name.side:
            self.broken("level", f"{tuple(name)} is a {order.side.name}", now_ns)
        if not closing:
            self._check_level(order, entry, now_ns)
        if entry:
            value = order.price_ticks * order.qty_lots
            if value > self._amount or value * self.instrument.quantum < self._least:
                self.broken("size", f"{shown(order)} is out of bounds", now_ns)
        against_owner = not entry and bool(self.foreign_trades or self._disowned)
        if (
            self.grid.side is not GridSide.NEUTRAL
            and order.reduce_only is entry
            and not against_owner
        ):
            self.broken("reduce-only", f"{shown(order)} has the wrong flag", now_ns)
        if not (order.post_only or closing):
            rejects = self._rejects.get(name.slot, 0)
            policy = self.grid.post_only
            if policy is PostOnlyPolicy.STRICT or (
                policy is PostOnlyPolicy.DEGRADE and rejects < self.grid.post_only_rejects
            ):
                self.broken("degraded", f"{shown(order)} after {rejects} rejections", now_ns)

    def _check_level(self, order: NewOrder, entry: bool, now_ns: int) -> None:
        """A neutral grid that took inventory in may have it in a slot of the other direction: then nothing is said."""
        taken_in = self.grid.side is GridSide.NEUTRAL and (self.foreign_trades or self.process > 1)
        if taken_in and (order.reduce_only or self.anchor is not None):
            return
        name = order.client_order_id
        level = name.slot if entry else name.slot + self.sign_of(name)
        anchor = order.price_ticks - level * self._interval
        if self.anchor is None:
            self.anchor = anchor
        elif anchor != self.anchor:
            self.broken("level", f"{shown(order)} counts from {anchor}, not {self.anchor}", now_ns)

    def _check_slot(self, order: NewOrder, now_ns: int) -> None:
        name = order.client_order_id
        earlier = self._told.get(self._slot.get(name.slot, name))
        if earlier is not None and earlier.order_id != name and not self._is_over(earlier):
            self.broken(
                "busy",
                f"{tuple(name)} while {tuple(earlier.order_id)} may be live in its slot",
                now_ns,
            )
        elif earlier is not None and earlier.order_id != name and self.is_entry(name):
            left = earlier.filled_lots
            if not self.is_entry(earlier.order_id):
                left = earlier.qty_lots - left
            left = min(left, self._balance[name.slot])
            value = left * order.price_ticks * self.instrument.quantum
            if value > self._least * HALF_MORE and earlier.order is not None and self._knows_all:
                self.broken("holds", f"{tuple(name)} over {left} lots held", now_ns)
        same = self._told.get(name)
        if same is not None and same.order is not None:
            if not same.may_send_again or same.order != order:
                self.broken("resend", f"{shown(order)} sent again", now_ns)
        elif name in self.used:
            self.broken("fresh-id", f"{tuple(name)} was used by process {self.used[name]}", now_ns)
        elif now_ns < self._wait_until_ns.get(name.slot, 0) and not self._loose:
            self.broken("patience", f"{tuple(name)} right after a refusal", now_ns)
        live = sum(1 for told in self._told.values() if not self._is_over(told))
        if same is None and live >= self._most_orders:
            self.broken("count", f"{tuple(name)} is one more than {live} orders", now_ns)

    def _remember_sent(self, order: NewOrder, now_ns: int) -> None:
        name = order.client_order_id
        self.used.setdefault(name, self.process)
        self._placed_by.setdefault(name, self.process)
        self._post_only[name] = order.post_only
        self._told[name] = Told(order_id=name, qty_lots=order.qty_lots, order=order, sent_ns=now_ns)
        self._slot[name.slot] = name

    def cancelling(self, orders: Sequence[OrderRef], now_ns: int) -> None:
        for ref in orders:
            self.note(now_ns, f"-> cancel {tuple(ref.client_order_id)} {ref.venue_order_id}")
        self._spend(len(orders), now_ns, "cancels")
        for ref in orders:
            self.cancelled += 1
            if self.expect_silence:
                self.broken("silent", f"{tuple(ref.client_order_id)} cancelled", now_ns)
            if ref.client_order_id not in self.used:
                self.broken("foreign", f"{tuple(ref.client_order_id)} was never ours", now_ns)
            told = self._told.get(ref.client_order_id)
            if told is not None:
                told.cancels += 1
                if told.cancels > CANCELS_AT_MOST:
                    self.broken("cancel-storm", f"{tuple(ref.client_order_id)}", now_ns)

    def _spend(self, count: int, now_ns: int, what: str) -> None:
        if self._loose:
            return
        gained = (now_ns - self._tokens_ns) / NS * self._rate
        self._tokens = min(float(self._burst), self._tokens + gained) - count
        self._tokens_ns = now_ns
        if self._tokens < -1e-6:
            self.broken("budget", f"{count} {what}: {-self._tokens:.3f} too many", now_ns)
        if now_ns < self._paused_until_ns:
            left_s = (self._paused_until_ns - now_ns) / NS
            self.broken("pause", f"{count} {what} {left_s:.3f} s too early", now_ns)

    # -- what the daemon is told ---------------------------------------------------------------------

    def place_answered(
        self, order: NewOrder, outcome: OrderReport | VenueError | None, now_ns: int
    ) -> None:
        told = self._told[order.client_order_id]
        if isinstance(outcome, OrderReport):
            self.told(outcome, now_ns)
            return
        self.note(now_ns, f"<- {tuple(order.client_order_id)} {outcome!r}")
        self._hear_limit(outcome, now_ns)
        if isinstance(outcome, MAY_BE_SENT_AGAIN):
            told.over = told.may_send_again = True
        elif told.seen_open:
            return
        elif isinstance(outcome, Rejected) and not isinstance(outcome, DuplicateClientOrderId):
            told.over = True
            self._hear_refusal(
                told,
                now_ns,
                post_only=isinstance(outcome, PostOnlyWouldCross),
                margin=isinstance(outcome, InsufficientMargin),
            )

    def cancel_answered(
        self, ref: OrderRef, outcome: OrderReport | VenueError | None, now_ns: int
    ) -> None:
        if isinstance(outcome, OrderReport):
            self.told(outcome, now_ns)
            return
        self.note(now_ns, f"<- cancel {tuple(ref.client_order_id)} {outcome!r}")
        self._hear_limit(outcome, now_ns)

    def _hear_limit(self, outcome: object, now_ns: int) -> None:
        if isinstance(outcome, RateLimited):
            given = outcome.retry_after_s
            wait_s = self.settings.execution.rate_limit_delay_s if given is None else given
            until_ns = now_ns + round(wait_s * NS) - 2_000
            self._paused_until_ns = max(self._paused_until_ns, until_ns)

    def _hear_refusal(self, told: Told, now_ns: int, *, post_only: bool, margin: bool) -> None:
        if told.refused:
            return
        told.refused = True
        slot = told.order_id.slot
        if post_only:
            self._rejects[slot] = self._rejects.get(slot, 0) + 1
        if margin and self.is_entry(told.order_id):
            if now_ns >= self._margin_until_ns:
                self._margin_since_ns = now_ns
            self._margin_until_ns = now_ns + round(self.grid.margin_lock_s * NS * 0.9)
        self._wait_until_ns[slot] = now_ns + round(self.grid.retry_delay_s * NS * 0.9)

    def told(self, report: OrderReport, now_ns: int) -> None:
        """A report reaches the daemon, by whichever way."""
        name = report.client_order_id
        if name is None:
            return
        self.note(now_ns, f"<- {said(report)}")
        told = self._told_of(report, now_ns)
        if report.filled_lots > told.filled_lots:
            told.filled_lots = report.filled_lots
            self._rejects.pop(name.slot, None)
        if report.fill is not None:
            self._hear_trade(told, report.fill)
        if report.status is not OrderStatus.OPEN or told.filled_lots >= told.qty_lots:
            told.over = True
        else:
            told.misses = 0
            told.seen_open = True
        if report.end_reason is EndReason.POST_ONLY:
            self._hear_refusal(told, now_ns, post_only=True, margin=False)

    def _told_of(self, report: OrderReport, now_ns: int) -> Told:
        name = report.client_order_id
        assert name is not None
        told = self._told.get(name)
        if told is None:
            told = self._told[name] = Told(
                order_id=name, qty_lots=report.qty_lots, order=None, sent_ns=now_ns
            )
            if report.status is OrderStatus.OPEN:
                self._slot.setdefault(name.slot, name)
        return told

    def _hear_trade(self, told: Told, fill: Fill) -> None:
        told.trades[fill.trade_id] = fill.qty_lots
        traded = sum(told.trades.values())
        if told.order is None:  # of what filled before it may know from its memory
            traded = max(traded, self._filled_with.get(fill.trade_id, 0))
        if traded > told.filled_lots:
            told.filled_lots = traded
            self._rejects.pop(told.order_id.slot, None)
        if traded >= told.qty_lots:
            told.over = True

    def told_missing(self, name: ClientOrderId, asked_ns: int, now_ns: int) -> None:
        self.note(now_ns, f"<- {tuple(name)} is not known")
        told = self._told.get(name)
        if told is not None:
            told.misses += 1
            told.last_miss_asked_ns = asked_ns
            if told.misses == 2:
                told.missed_twice_ns = now_ns

    def told_open_orders(self, listed: Sequence[OrderReport], asked_ns: int, now_ns: int) -> None:
        own = [report for report in listed if report.client_order_id is not None]
        self.note(now_ns, f"<- {len(own)} of {len(listed)} open orders are ours")
        self._listed, self._listed_asked_ns = own, asked_ns
        names = {report.client_order_id for report in own}
        for told in self._told.values():
            twice = told.misses >= 2 and asked_ns >= told.missed_twice_ns
            if twice and told.order_id not in names:
                told.over = True

    def told_fills(self, fills: Sequence[Fill], now_ns: int) -> None:
        """The last of the questions of which a reading is made: only a whole one tells what it lists."""
        if self._up_ns is not None and self._listed_asked_ns >= self._up_ns:
            self._snapshot_ok = True
        names = {report.client_order_id for report in self._listed}
        for told in self._told.values():
            if told.order is None and told.order_id not in names:
                told.unlisted += 1
                told.over = told.over or told.unlisted >= (1 if self._listed else 2)
        for report in self._listed:
            told = self._told_of(report, now_ns)
            told.filled_lots = max(told.filled_lots, report.filled_lots)
            told.unlisted = 0
        self._listed = []
        if self._readings < FIRST_READINGS:
            trades = {fill.trade_id for fill in fills}
            self._told_first = self._told_first & trades if self._readings else trades
            self._readings += 1
        for fill in fills:
            if fill.client_order_id is not None and fill.client_order_id in self._told:
                self._hear_trade(self._told[fill.client_order_id], fill)

    def told_clock(self, off_s: float) -> None:
        self._least_off_s = min(self._least_off_s, abs(off_s))

    def order_stream_up(self, now_ns: int) -> None:
        self.note(now_ns, "order stream up")
        self._up_ns = now_ns
        self._snapshot_ok = False

    def order_stream_down(self, now_ns: int) -> None:
        self.note(now_ns, "order stream down")
        self._up_ns = None
        self._down_ns = now_ns

    def price_stream_up(self, now_ns: int) -> None:
        self._price_up = True

    def price_stream_down(self, now_ns: int) -> None:
        self.note(now_ns, "price stream down")
        self._price_up = self._price_trusted = False
        self._price_down_ns = now_ns

    def stalled(self, since_ns: int, now_ns: int) -> None:
        """The process did not run until now: it cannot know yet how old its price is, or that it was asked to stop."""
        self.note(now_ns, "the process was stopped until now")
        if self.stop_asked_ns == since_ns:
            self.stop_asked_ns = now_ns
        if self._price_ns is not None:
            self._price_ns = now_ns

    def told_price(self, price_ticks: int, now_ns: int) -> None:
        self._price_ns = now_ns
        self._price_trusted = self._price_up
        limit = self.grid.stop_loss
        if limit is not None and not self._stop_reached:
            sign = 1 if self.grid.side is GridSide.LONG else -1
            beyond = sign * (limit - self.instrument.price(Ticks(price_ticks)))
            self._stop_reached = beyond >= 0

    def _is_over(self, told: Told) -> bool:
        """Whether the slot may be used again: the end was told, or asked for in vain for long enough; or the order was
        left behind by an earlier process, and is being cancelled because no slot wants it."""
        if told.over or (told.order is None and told.cancels):
            return True
        waited_ns = told.last_miss_asked_ns - told.sent_ns
        return told.misses >= 2 and (self._loose or waited_ns > self._lifetime_ns)

    # -- what the venue does -------------------------------------------------------------------------

    def cancel_arrived(self, owner: ClientOrderId | None, now_ns: int) -> None:
        if owner is None:
            self.broken("foreign", "an order of somebody else is being cancelled", now_ns)

    def happened(self, report: OrderReport, now_ns: int) -> None:
        """Something happened to an order on the account; called in the order in which it happened."""
        before = self.position_lots
        if report.fill is not None:
            self.position_lots += report.side * report.fill.qty_lots
        name = report.client_order_id
        if name is None:
            if report.fill is not None:
                self.note(
                    now_ns, f"== somebody else trades {report.side.name} {report.fill.qty_lots}"
                )
                self.foreign_trades.append((self.process, report.fill))
            return
        self.note(now_ns, f"== {said(report)}")
        if name not in self.open and report.status is OrderStatus.OPEN:
            self._came_in(report, name, now_ns)
        if report.fill is not None:
            self._traded(report, name, report.fill, before, now_ns)
        if report.status is OrderStatus.OPEN:
            self.open[name] = report
        else:
            self.open.pop(name, None)
            self._ended[name] = None
        self._check_exposure(now_ns)

    def _came_in(self, report: OrderReport, name: ClientOrderId, now_ns: int) -> None:
        if name in self._ended:
            self.broken("fresh-id", f"{tuple(name)} is live a second time", now_ns)
        for other in self.open:
            if other.slot == name.slot and not self._is_left_behind(other):
                self.broken(
                    "one-live", f"{tuple(other)} and {tuple(name)} are live in one slot", now_ns
                )
        if len(self.open) >= self._most_orders:
            self.broken("count", f"{len(self.open) + 1} orders are open", now_ns)

    def _is_left_behind(self, name: ClientOrderId) -> bool:
        """An order of an earlier process that no slot wants and that is being cancelled."""
        told = self._told.get(name)
        return told is not None and told.order is None and told.cancels > 0

    def _traded(
        self, report: OrderReport, name: ClientOrderId, fill: Fill, before: int, now_ns: int
    ) -> None:
        self._filled_with[fill.trade_id] = report.filled_lots
        self._balance[name.slot] += report.side * self.sign_of(name) * fill.qty_lots
        self.trades.append(
            OwnTrade(fill=fill, process=self.process, ours_since=self._placed_by.get(name, 0))
        )
        if report.reduce_only and abs(self.position_lots) > abs(before):
            self.broken("reduces", f"{said(report)} from a position of {before}", now_ns)
        if not fill.is_maker and self._post_only.get(name, False):
            self.broken("maker", f"post-only {said(report)} took", now_ns)

    def _check_exposure(self, now_ns: int) -> None:
        blurred = self.foreign_trades or self._disowned or self.grid.side is GridSide.NEUTRAL
        if self._most_lots is None or blurred:
            return
        sign = 1 if self.grid.side is GridSide.LONG else -1
        exposed = sign * self.position_lots + sum(
            report.qty_lots - report.filled_lots
            for name, report in self.open.items()
            if self.is_entry(name) and not self._is_left_behind(name)
        )
        if exposed > self._most_lots:
            self.broken("exposure", f"{exposed} lots, at most {self._most_lots}", now_ns)

    # -- when quiet ----------------------------------------------------------------------------------

    def check_books(
        self, totals: GridTotals, foreign_lots: int, now_ns: int, *, repairs: int = 0
    ) -> None:
        """Nothing is under way: the daemon's books against what happened. `repairs`: how often the process took a
        difference from the position."""
        self.check_repairs(repairs, foreign_lots, now_ns)
        if totals.inventory_lots + foreign_lots != self.position_lots:
            self.broken(
                "position",
                f"slots hold {totals.inventory_lots} (and {foreign_lots} is not ours), the position is"
                f" {self.position_lots}",
                now_ns,
            )
        ours = [t.fill for t in self.trades if t.process == self.process or self._was_hidden(t)]
        sure = [t.fill for t in self.trades if t.ours_since == self.process]
        least, most = (sum((f.fee for f in part), Decimal(0)) for part in (sure, ours))
        if not least <= totals.fees <= most:
            self.broken(
                "trades", f"fees of {totals.fees} are booked, {least} to {most} were paid", now_ns
            )
        if len(ours) != len(sure):
            return
        lots = sum(f.side * f.qty_lots for f in ours)
        value = sum(f.side * f.qty_lots * f.price_ticks for f in ours)
        if totals.inventory_lots - totals.adopted_lots != lots:
            self.broken(
                "trades",
                f"{totals.inventory_lots - totals.adopted_lots} lots are booked, {lots} were traded",
                now_ns,
            )
        booked = totals.inventory_cost - totals.adopted_cost - totals.realised
        if booked != value:
            self.broken("trades", f"{booked} quanta are booked, {value} were paid", now_ns)

    def _was_hidden(self, trade: OwnTrade) -> bool:
        """It happened before the process began, of an order left open, and a reading with which it began was older."""
        name = trade.fill.client_order_id
        told = None if name is None else self._told.get(name)
        left = told is not None and told.order is None
        return left and trade.fill.trade_id not in self._told_first

    def check_repairs(self, repairs: int, foreign_lots: int, now_ns: int) -> None:
        """Of one process, at any time."""
        if (repairs or foreign_lots) and self._knows_all:
            self.broken("repaired", f"{repairs} repairs, {foreign_lots} lots left alone", now_ns)

    def check_written(self, memory: GridMemory, written: GridMemory, now_ns: int) -> None:
        """Of what the next process needs, and no reading of the venue could tell it."""
        for name in ("anchor_ticks", "holdings", "foreign_lots", "ended", "triggered", "held"):
            remembered, on_disk = getattr(memory, name), getattr(written, name)
            if remembered != on_disk:
                self.broken("written", f"{name} is {remembered}, the disk has {on_disk}", now_ns)

    def check_known(self, daemon_orders: int, now_ns: int) -> None:
        if daemon_orders != len(self.open):
            self.broken(
                "orders",
                f"the daemon counts {daemon_orders} orders, {len(self.open)} are open",
                now_ns,
            )

    def check_equity(
        self, residual: Decimal, start_lots: int, totals: GridTotals, now_ns: int
    ) -> None:
        """Exact where every trade of the process was by an order of its own and nobody else traded."""
        ours = [t for t in self.trades if t.process == self.process]
        undisturbed = all(t.ours_since == self.process for t in ours) and not any(
            process == self.process for process, _ in self.foreign_trades
        )
        if undisturbed and totals.adopted_lots == start_lots and residual != 0:
            self.broken("equity", f"residual {residual}", now_ns)

    def why_not_whole(
        self, price_ticks: int, slots: Iterable[SlotStatus], foreign_lots: int
    ) -> str:
        """What is missing from the grid that should be there at this price, "" when it is whole.

        Where part of the position is somebody else's, or a slot gave more than it held, a venue may refuse to let
        all of it be reduced: then what is not offered is not missed.
        """
        return next(self._missing(price_ticks, list(slots), foreign_lots), "")

    def _missing(
        self, price_ticks: int, slots: list[SlotStatus], foreign_lots: int
    ) -> Iterator[str]:
        says_so = any(slot.why.startswith("stop_loss at") for slot in slots)
        if self._closing_since_ns is not None or (says_so and self._stop_reached):
            if self.open:
                yield f"{len(self.open)} orders are open after the grid was closed"
            for left in slots:
                if left.held_lots and not foreign_lots and self._is_sellable(left):
                    yield f"level {left.slot} holds {left.held_lots} after the grid was closed"
            return
        anchor = self.anchor if self.anchor is not None else self._anchor_of_open()
        if anchor is None:
            yield "no order was ever placed"
            return
        known = {slot.slot: slot for slot in slots}
        at = {(name.slot, name.side): report for name, report in self.open.items()}
        if sum(slot.side is not None for slot in slots) != len(self.open):
            yield f"the daemon has {sum(s.side is not None for s in slots)} orders of {len(self.open)}"
        for sign in self._signs():
            for level in self._window(sign, price_ticks, anchor):
                slot = known.get(level)
                held = slot is not None and slot.held_lots != 0
                why = slot.why if slot is not None else "no record"
                if (level, Side(sign)) not in at and not held and not limited(why):
                    yield f"level {level} has no entry: {why}"
        for name in self.open:
            sign = self.sign_of(name)
            reach, anchored = sign * price_ticks, sign * anchor
            nearest = (2 * (reach - anchored) + self._interval) // (2 * self._interval)
            if self.is_entry(name) and sign * name.slot < nearest - self.grid.buy_window:
                yield f"entry {tuple(name)} lies outside the window"
        in_debt = any(
            slot.held_lots * self.sign_of(ClientOrderId(slot.slot, Side.BUY, 0)) < 0
            for slot in slots
        )
        offered = sum(not self.is_entry(name) for name in self.open)
        offered += sum(limited(slot.why) for slot in slots if slot.held_lots)
        for slot in slots:
            sellable = self._is_sellable(slot) and slot.side is None
            if foreign_lots or in_debt:
                continue
            if sellable and offered < self.grid.sell_window and not limited(slot.why):
                yield f"{slot.held_lots} lots of level {slot.slot} are not offered: {slot.why}"

    def _is_sellable(self, slot: SlotStatus) -> bool:
        return abs(slot.held_lots) * slot.price_ticks * self.instrument.quantum > self._least

    def _anchor_of_open(self) -> int | None:
        for name, report in self.open.items():
            level = name.slot if self.is_entry(name) else name.slot + self.sign_of(name)
            return report.price_ticks - level * self._interval
        return None

    def _signs(self) -> tuple[int, ...]:
        return {GridSide.LONG: (1,), GridSide.SHORT: (-1,), GridSide.NEUTRAL: (1, -1)}[
            self.grid.side
        ]

    def _window(self, sign: int, price_ticks: int, anchor: int) -> Iterator[int]:
        """Levels at which an entry belongs, by the rule of the window alone."""
        reach, anchor = sign * price_ticks, sign * anchor
        nearest = (2 * (reach - anchor) + self._interval) // (2 * self._interval)
        for rung in range(nearest, nearest - self.grid.buy_window, -1):
            distance = reach - (anchor + rung * self._interval)
            if distance * 5 < self._interval:
                continue
            if self.grid.side is not GridSide.NEUTRAL or rung < 0:
                yield sign * rung

    # -- the end -------------------------------------------------------------------------------------

    def check_left(self, unconfirmed: Sequence[str], now_ns: int, *, faults_over: bool) -> None:
        if self.open and not unconfirmed:
            self.broken("left", f"{len(self.open)} orders are open after the stop", now_ns)
        if faults_over and unconfirmed:
            self.broken("left", f"unconfirmed without a fault: {unconfirmed}", now_ns)

    # -- small things --------------------------------------------------------------------------------

    def sign_of(self, name: ClientOrderId) -> int:
        """Which way the slot's inventory goes."""
        match self.grid.side:
            case GridSide.LONG:
                return 1
            case GridSide.SHORT:
                return -1
            case GridSide.NEUTRAL:
                return 1 if name.slot < 0 else -1

    def is_entry(self, name: ClientOrderId) -> bool:
        return name.side == self.sign_of(name)

    def note(self, now_ns: int, line: str) -> None:
        self.lines.append((now_ns - self._began_ns, line))

    def broken(self, rule: str, what: str, now_ns: int) -> None:
        if self.violation is None:
            self.violation = Violation(rule=rule, what=what, ts_ns=now_ns - self._began_ns)
            self.note(now_ns, f"!! {rule}: {what}")
            self._fail(self.violation)


def limited(why: str) -> bool:
    """Whether a limit the operator chose explains it."""
    return why.startswith(LIMITS_THAT_EXPLAIN)


def shown(order: NewOrder) -> str:
    flags = " post-only" * order.post_only + " reduce-only" * order.reduce_only
    return f"{tuple(order.client_order_id)} {order.side.name} {order.qty_lots}@{order.price_ticks}{flags}"


def said(report: OrderReport) -> str:
    fill = "" if report.fill is None else f" trade {report.fill.trade_id}"
    end = "" if report.end_reason is None else f" {report.end_reason.value}"
    return (
        f"{tuple(report.client_order_id or ())} {report.side.name} {report.status.value}"
        f" {report.filled_lots}/{report.qty_lots}{fill}{end}"
    )
