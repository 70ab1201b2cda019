"""A recorded run played through the backtester: would it have decided the same, and earned the same?

Two questions, asked event by event of the journal of one symbol:

    again      a core of today hears exactly what the recorded core heard. Does it decide the same? It must: anything
               else is a change of the code, or a core that looks at something beside its events.
    backtest   the backtester's core and exchange meet the market of the journal: the prices that were heard, and our
               own fills as trades of the market at their price and quantity. What the exchange does to our orders is
               its own matching (rule queue, nothing ahead of us), its own fees, its own books.

A price that is only said again, or is older than the last order's arrival, tells what the market did before and is no
trade. What only the venue can know is taken from the journal: when a request reached it, what it refused, funding payments,
gates, streams that broke, when it was asked for a snapshot. Where the two cores have parted, and the journal so has
no answer to a request, it arrives `GRACE_NS` later.

Order decisions are placements and cancels. Those of the backtest are compared slot by slot, each with price and
quantity: what came a moment earlier or later is the same decision.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from difflib import SequenceMatcher
from typing import NamedTuple

from marketmaker.backtest.arrays import from_trades
from marketmaker.backtest.drive import Bench
from marketmaker.backtest.funding import RecordedFunding
from marketmaker.core.position_manager import PositionManager
from marketmaker.errors import VenueError
from marketmaker.model.action import Action, CancelOrder, PlaceOrder, QueryOrder, RecordFill
from marketmaker.model.event import (
    CancelRefused,
    CancelUnanswered,
    Event,
    FundingBooked,
    OrderMissing,
    OrderQueryFailed,
    OrderReported,
    PlaceRefused,
    PlaceUnanswered,
    PriceChanged,
    Refusal,
    SnapshotTaken,
)
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import ClientOrderId, OrderReport, OrderStatus, Side
from marketmaker.model.settings import GridSettings, PaperSettings

GRACE_NS = 1_000_000_000
LATENCY_NS = 1
"""What is sent waits for the journal's word; with 0 it would not even wait."""
ENOUGH = Decimal(10**12)
"""Balance: what the margin refused is in the journal."""
NEVER_S = 1e9


class Decision(NamedTuple):
    """`verb`: place or cancel. Price and quantity 0 for a cancel."""

    verb: str
    side: Side
    price_ticks: int
    qty_lots: int


class Made(NamedTuple):
    """A decision and where it was made: time, line of the journal (0: not in it), the core's reason."""

    decision: Decision
    slot: int
    ts_ns: int
    line: int
    reason: str


def decisions(actions: Sequence[Action], ts_ns: int, line: int) -> list[Made]:
    found = []
    for action in actions:
        if isinstance(action, PlaceOrder):
            order = action.order
            what = Decision("place", order.side, order.price_ticks, order.qty_lots)
            found.append(Made(what, order.client_order_id.slot, ts_ns, line, action.reason))
        elif isinstance(action, CancelOrder):
            known = action.order.client_order_id
            what = Decision("cancel", known.side, 0, 0)
            found.append(Made(what, known.slot, ts_ns, line, action.reason))
    return found


@dataclass(slots=True, kw_only=True)
class Books:
    """Cash and inventory of one side of the comparison, from its fills. Money in quote currency, exact."""

    cash: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)
    turnover: Decimal = Decimal(0)
    lots: int = 0
    fills: int = 0
    filled: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """By slot, (time heard, lots)."""

    def add(self, fill: RecordFill, instrument: Instrument, ts_ns: int) -> None:
        value = fill.price_ticks * fill.qty_lots * instrument.quantum
        self.cash -= fill.side * value
        self.turnover += value
        self.fees += fill.fee
        self.lots += fill.side * fill.qty_lots
        self.fills += 1
        self.filled.setdefault(fill.client_order_id.slot, []).append((ts_ns, fill.qty_lots))

    def filled_until(self, slot: int, ts_ns: int) -> int:
        return sum(lots for heard_ns, lots in self.filled.get(slot, ()) if heard_ns <= ts_ns)

    def pnl(self, instrument: Instrument, price_ticks: int) -> Decimal:
        value = self.lots * price_ticks * instrument.quantum
        return self.cash + value - self.fees + self.funding


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The earliest decision that the other side did not make. `recorded` or `backtest` may be missing, not both.

    `filled`: lots filled in this slot until then, in the journal and in the backtest.
    """

    slot: int
    recorded: Made | None
    backtest: Made | None
    filled: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Of one symbol. `same_again` of `decided` decisions were made again; `same` have a twin in the backtest, which
    made `backtested`. `gap_bp`: PnL of the backtest less the recorded one by the recorded turnover; None without any.
    `broken`: what today's core raised, "" when it decided everything.
    """

    decided: int
    same_again: int
    first_again: Made | None
    broken: str
    backtested: int
    same: int
    first: Difference | None
    recorded_pnl: Decimal
    backtest_pnl: Decimal
    recorded_fills: int
    backtest_fills: int
    turnover: Decimal
    gap_bp: float | None

    @property
    def identical(self) -> bool:
        counts = {self.decided, self.same_again, self.same, self.backtested}
        return len(counts) == 1 and not self.broken


class _Heard:
    """What the backtest's core decides, kept for the comparison; stands where a journal would."""

    def __init__(self, instrument: Instrument) -> None:
        self.made: list[Made] = []
        self.books = Books()
        self._instrument = instrument
        self._now_ns = 0

    def heard(self, symbol_index: int, event: Event) -> None:
        self._now_ns = event.ts_ns

    def decided(self, symbol_index: int, actions: Sequence[Action]) -> None:
        self.made += decisions(actions, self._now_ns, 0)
        for action in actions:
            if isinstance(action, RecordFill):
                self.books.add(action, self._instrument, self._now_ns)


class Comparison:
    """One symbol: `hear` every entry of the journal in order, then `verdict`."""

    def __init__(
        self,
        *,
        instrument: Instrument,
        settings: GridSettings,
        make_manager: Callable[[], PositionManager],
        refusal_of: Callable[[VenueError], Refusal],
    ) -> None:
        self._instrument = instrument
        self._again = make_manager()
        self._broken = ""
        self._same_again = 0
        self._first_again: Made | None = None
        self._recorded: list[Made] = []
        self._books = Books()
        self._price = 0
        self._log = _Heard(instrument)
        self._trades: set[str] = set()
        self._known: set[ClientOrderId] = set()
        self._ended: set[ClientOrderId] = set()
        self._seen_position = False
        self._arrived_ns = 0
        self._bench = Bench(
            from_trades(instrument.name, [1], [1], [0]),
            instrument=instrument,
            grid=settings,
            paper=PaperSettings(fill="queue", balance=ENOUGH, leverage=Decimal(1)),
            refusal_of=refusal_of,
            latency_ns=LATENCY_NS,
            cleanup_interval_s=NEVER_S,
            journal=self._log,
            funding=RecordedFunding(times_ns=(), rates=()),
            manager=make_manager(),
        )

    def hear(self, event: Event, actions: Sequence[Action], line: int) -> None:
        recorded = decisions(actions, event.ts_ns, line)
        self._recorded += recorded
        for action in actions:
            if isinstance(action, RecordFill):
                self._books.add(action, self._instrument, event.ts_ns)
        if isinstance(event, FundingBooked):
            self._books.funding += event.amount
        self._decide_again(event, actions, recorded)
        self._play(event)

    def _decide_again(self, event: Event, actions: Sequence[Action], recorded: list[Made]) -> None:
        if self._broken:
            return
        try:
            actual = self._again.decide(event)
        except Exception as error:  # a journal that ends in a bug is replayed to see just that
            self._broken = f"{type(error).__name__}: {error}"
            return
        mine = [each.decision for each in decisions(actual, event.ts_ns, 0)]
        theirs = [each.decision for each in recorded]
        if mine == theirs:
            self._same_again += len(theirs)
            return
        blocks = SequenceMatcher(None, theirs, mine, autojunk=False).get_matching_blocks()
        self._same_again += sum(block.size for block in blocks)
        if self._first_again is None:
            other = next((made for made in recorded if made.decision not in mine), None)
            self._first_again = other or (recorded or decisions(actual, event.ts_ns, 0))[0]

    # --- the backtest's side ---

    def _play(self, event: Event) -> None:
        bench = self._bench
        while (due_ns := bench.next_due_ns() + GRACE_NS) <= event.ts_ns:
            bench.do_due(due_ns - GRACE_NS)
        bench.now_ns = max(bench.now_ns, event.ts_ns)
        match event:
            case PriceChanged():
                bench.hear(event)
                if event.price_ticks != self._price and event.ts_ns >= self._arrived_ns:
                    bench.print_trade(event.price_ticks, 0)
                self._price = event.price_ticks
            case OrderReported():
                self._report(event.report)
            case SnapshotTaken():
                if not self._seen_position:
                    self._begin_with(event)
                bench.look()
            case PlaceRefused() | PlaceUnanswered():
                self._instead(event, PlaceOrder)
            case CancelRefused() | CancelUnanswered():
                self._instead(event, CancelOrder)
            case OrderMissing() | OrderQueryFailed():
                self._instead(event, QueryOrder)
            case FundingBooked():
                bench.exchange.account.pay_in(event.amount)
                bench.hear(event)
                self._log.books.funding += event.amount
            case _:
                bench.hear(event)
        bench.settle()

    def _instead(
        self,
        event: PlaceRefused
        | PlaceUnanswered
        | CancelRefused
        | CancelUnanswered
        | OrderMissing
        | OrderQueryFailed,
        kind: type[PlaceOrder | CancelOrder | QueryOrder],
    ) -> None:
        """The venue's word, or its silence, instead of the exchange's; nothing where nothing was sent."""
        known = event.client_order_id
        action = self._bench.take_up(known.slot, known.side, kind)
        if action is None:
            return
        order = action.order if isinstance(action, PlaceOrder | CancelOrder) else action
        self._bench.hear(replace(event, client_order_id=order.client_order_id))

    def _report(self, report: OrderReport) -> None:
        bench, known = self._bench, report.client_order_id
        if known is None:
            return
        if known not in self._known:
            self._known.add(known)
            placed = bench.take_up(known.slot, known.side, PlaceOrder)
            if placed is not None:
                self._arrived_ns = bench.now_ns
                bench.arrive(placed)
        fill = report.fill
        if fill is not None and fill.trade_id not in self._trades:
            self._trades.add(fill.trade_id)
            bench.print_trade(fill.price_ticks, fill.qty_lots)
        if report.status is not OrderStatus.OPEN and known not in self._ended:
            self._ended.add(known)
            cancelled = bench.take_up(known.slot, known.side, CancelOrder)
            if cancelled is not None:
                bench.arrive(cancelled)
        asked = bench.take_up(known.slot, known.side, QueryOrder)
        if asked is not None:
            bench.arrive(asked)

    def _begin_with(self, event: SnapshotTaken) -> None:
        """The position that was there before the run."""
        self._seen_position = True
        position = event.snapshot.position
        if position.qty_lots:
            holding = self._bench.market.holding
            holding.lots = position.qty_lots
            entry = position.entry_price / self._instrument.tick_size
            holding.cost = int(entry * position.qty_lots)

    def verdict(self) -> Parity:
        mine, theirs = by_slot(self._log.made), by_slot(self._recorded)
        same, first = 0, None
        for slot in mine.keys() | theirs.keys():
            count, found = compare(theirs.get(slot, []), mine.get(slot, []))
            same += count
            if found is not None and (first is None or moment_of(found) < moment_of(first)):
                first = found
        recorded = self._books.pnl(self._instrument, self._price)
        backtest = self._log.books.pnl(self._instrument, self._price)
        turnover = self._books.turnover
        return Parity(
            decided=len(self._recorded),
            same_again=self._same_again,
            first_again=self._first_again,
            broken=self._broken,
            backtested=len(self._log.made),
            same=same,
            first=None if first is None else self._with_fills(*first),
            recorded_pnl=recorded,
            backtest_pnl=backtest,
            recorded_fills=self._books.fills,
            backtest_fills=self._log.books.fills,
            turnover=turnover,
            gap_bp=float((backtest - recorded) / turnover) * 10_000 if turnover else None,
        )

    def _with_fills(self, recorded: Made | None, backtest: Made | None) -> Difference:
        ts_ns, slot = moment_of((recorded, backtest))
        return Difference(
            slot=slot,
            recorded=recorded,
            backtest=backtest,
            filled=(
                self._books.filled_until(slot, ts_ns),
                self._log.books.filled_until(slot, ts_ns),
            ),
        )


Pair = tuple[Made | None, Made | None]


def by_slot(made: Sequence[Made]) -> dict[int, list[Made]]:
    found: dict[int, list[Made]] = defaultdict(list)
    for each in made:
        found[each.slot].append(each)
    return found


def compare(recorded: Sequence[Made], backtest: Sequence[Made]) -> tuple[int, Pair | None]:
    """How many decisions of one slot have a twin in the same order, and the first one that has none."""
    one, other = [made.decision for made in recorded], [made.decision for made in backtest]
    if one == other:
        return len(one), None
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    place = next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    first = (
        recorded[place] if place < len(recorded) else None,
        backtest[place] if place < len(backtest) else None,
    )
    return sum(block.size for block in blocks), first


def moment_of(pair: Pair) -> tuple[int, int]:
    """When the two parted, and in which slot."""
    return min((made.ts_ns, made.slot) for made in pair if made is not None)
