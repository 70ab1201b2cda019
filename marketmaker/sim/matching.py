"""Our own orders of one instrument against the market that is replayed past them.

The market does not feel us: a fill takes nothing from what others do next. What an order of ours gets is decided by
one of three models, from sceptical to kind to careful:

    cross  all of it, once a trade or the opposite best lies strictly beyond its price
    touch  all of it, once a trade or the opposite best reaches its price
    queue  all of it, once either lies strictly beyond its price; at its price, trades first eat the quantity that was
           there before us, then fill us up to what was traded

For `queue` the quantity ahead is what the best bid (offer) shows when we join it, or, for an order placed deeper, when
the market's best first comes to its price; until then it is unknown and trades at the price do nothing. It only
shrinks: by trades, and when less than it is shown. Where a feed has no quotes nothing is ahead.

Who takes: with quotes, an order at or beyond the opposite best; without, one strictly beyond the last price. It
takes at that price, under `queue` no more than is shown there and has not been taken yet.

Orders of one side are kept by `key` = price times sign, so that for both sides the highest key is the best price, and
a market event that touches nobody costs two comparisons however many orders rest.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from marketmaker.errors import ConfigError
from marketmaker.model.order import ClientOrderId, EndReason, Side, TimeInForce

NOWHERE: Final = -(1 << 61)
"""The key of an empty side: below every price."""


class FillModel(Enum):
    CROSS = "cross"
    TOUCH = "touch"
    QUEUE = "queue"


TOUCH: Final = FillModel.TOUCH
QUEUE: Final = FillModel.QUEUE
BUY: Final = Side.BUY


def parse_fill_model(text: str) -> FillModel:
    try:
        return FillModel(text)
    except ValueError:
        names = ", ".join(model.value for model in FillModel)
        raise ConfigError(f"paper.fill: {text!r} is not one of {names}") from None


@dataclass(slots=True, kw_only=True, eq=False)
class BookOrder:
    """An order at the exchange; `ahead_lots` None: not known yet. `open`: not ended."""

    wire_id: str
    client_order_id: ClientOrderId | None
    venue_order_id: str
    side: Side
    price_ticks: int
    leaves_lots: int
    qty_lots: int
    reduce_only: bool
    time_in_force: TimeInForce
    ahead_lots: int | None = 0
    open: bool = True
    key: int = field(init=False)
    """Price times sign: higher is better, on both sides."""

    def __post_init__(self) -> None:
        self.key = self.price_ticks if self.side is BUY else -self.price_ticks


@dataclass(slots=True)
class Execution:
    """Part of an order done; the order's `leaves_lots` already shows it."""

    order: BookOrder
    price_ticks: int
    qty_lots: int
    is_maker: bool


class BookSide:
    """Resting orders of one side: by price, and in time order within a price. `best` is the highest key."""

    __slots__ = ("_keys", "_levels", "best")

    def __init__(self) -> None:
        self._keys: list[int] = []
        self._levels: dict[int, list[BookOrder]] = {}
        self.best = NOWHERE

    def add(self, order: BookOrder) -> None:
        key = order.key
        keys = self._keys
        if key > self.best:
            self._levels[key] = [order]
            keys.append(key)
            self.best = key
            return
        level = self._levels.get(key)
        if level is not None:
            level.append(order)
            return
        self._levels[key] = [order]
        if key < keys[0]:
            keys.insert(0, key)
        else:
            insort(keys, key)

    def remove(self, order: BookOrder) -> None:
        """Nothing happens when it does not rest here."""
        key = order.key
        level = self._levels.get(key)
        if level is None or order not in level:
            return
        if len(level) > 1:
            level.remove(order)
            return
        del self._levels[key]
        keys = self._keys
        if key == self.best:
            self._drop_best()
        elif key == keys[0]:
            keys.pop(0)
        else:
            keys.pop(bisect_left(keys, key))

    def _drop_best(self) -> None:
        """The best level is empty."""
        keys = self._keys
        keys.pop()
        self.best = keys[-1] if keys else NOWHERE

    def take_first(self) -> Execution:
        """All of the best order, at its own price."""
        level = self._levels[self.best]
        order = level[0]
        if len(level) > 1:
            del level[0]
        else:
            del self._levels[self.best]
            self._drop_best()
        qty = order.leaves_lots
        order.leaves_lots = 0
        return Execution(order, order.price_ticks, qty, True)

    def at(self, key: int) -> tuple[BookOrder, ...]:
        return tuple(self._levels.get(key, ()))

    def down_to(self, key: int) -> Iterator[int]:
        """Keys at or above `key`, best first."""
        for own in reversed(self._keys):
            if own < key:
                return
            yield own


class Matcher:
    """One instrument. `trade` and `quote` say what the market did and return what it did to us.

    They return executions one at a time: whoever takes one may remove other orders before asking for the next.
    The best that was seen last is `bid_ticks` and so on once `quoted`; a side of quantity 0 is empty.
    """

    __slots__ = (
        "_buys",
        "_model",
        "_sells",
        "ask_lots",
        "ask_ticks",
        "bid_lots",
        "bid_ticks",
        "last_ticks",
        "quoted",
    )

    def __init__(self, model: FillModel) -> None:
        self._model = model
        self._buys = BookSide()
        self._sells = BookSide()
        self.quoted = False
        self.bid_ticks = self.bid_lots = self.ask_ticks = self.ask_lots = 0
        self.last_ticks: int | None = None

    def trade(self, price_ticks: int, qty_lots: int) -> Iterable[Execution]:
        self.last_ticks = price_ticks
        if self._buys.best < price_ticks and self._sells.best < -price_ticks:
            return ()
        return self._traded(price_ticks, qty_lots)

    def quote(
        self, bid_ticks: int, bid_lots: int, ask_ticks: int, ask_lots: int
    ) -> Iterable[Execution]:
        self.bid_ticks = bid_ticks
        self.bid_lots = bid_lots
        self.ask_ticks = ask_ticks
        self.ask_lots = ask_lots
        self.quoted = True
        buys = self._buys.best
        sells = self._sells.best
        if buys < bid_ticks and buys < ask_ticks and sells < -ask_ticks and sells < -bid_ticks:
            return ()
        return self._quoted()

    @property
    def model(self) -> FillModel:
        return self._model

    def reach(self) -> tuple[int, int]:
        """Prices of our best buy and our best sell: a market that stays strictly between them touches no order.
        Beyond every price where we have none."""
        return self._buys.best, -self._sells.best

    def takes(self, side: Side, price_ticks: int) -> bool:
        """Whether an order at this price would meet the market at once."""
        if not self.quoted:
            if self.last_ticks is None:
                return False
            return price_ticks > self.last_ticks if side is BUY else price_ticks < self.last_ticks
        if side is BUY:
            return self.ask_lots > 0 and price_ticks >= self.ask_ticks
        return self.bid_lots > 0 and price_ticks <= self.bid_ticks

    def take(self, order: BookOrder) -> Execution | None:
        """What a new order gets at once. Never from an order of ours: not beyond one, nor at its price."""
        if not self.takes(order.side, order.price_ticks):
            return None
        price, shown = self._opposite_best(order.side)
        opposite = self._sells if order.side is BUY else self._buys
        if opposite.best >= (-price if order.side is BUY else price):
            return None
        qty = order.leaves_lots
        if self.quoted and self._model is QUEUE:
            qty = min(qty, shown)
            if order.side is BUY:
                self.ask_lots -= qty
            else:
                self.bid_lots -= qty
        order.leaves_lots -= qty
        return Execution(order, price, qty, False)

    def rest(self, order: BookOrder) -> EndReason | None:
        """Keep what is left of a new order, or say why it may not stay."""
        opposite = self._sells if order.side is BUY else self._buys
        if opposite.best >= -order.key:
            return EndReason.SELF_TRADE
        if order.time_in_force is TimeInForce.IOC:
            return EndReason.IOC
        order.ahead_lots = self._ahead(order)
        self._own(order.side).add(order)
        return None

    def remove(self, order: BookOrder) -> None:
        self._own(order.side).remove(order)

    def _own(self, side: Side) -> BookSide:
        return self._buys if side is BUY else self._sells

    def _opposite_best(self, side: Side) -> tuple[int, int]:
        if not self.quoted:
            return self.last_ticks or 0, 0
        if side is BUY:
            return self.ask_ticks, self.ask_lots
        return self.bid_ticks, self.bid_lots

    def _ahead(self, order: BookOrder) -> int | None:
        if self._model is not QUEUE or not self.quoted:
            return 0
        buying = order.side is BUY
        best, lots = (self.bid_ticks, self.bid_lots) if buying else (-self.ask_ticks, self.ask_lots)
        if lots == 0 or order.key > best:
            return 0
        return lots if order.key == best else None

    def _traded(self, price_ticks: int, qty_lots: int) -> Iterator[Execution]:
        for own, key in ((self._buys, price_ticks), (self._sells, -price_ticks)):
            while (done := self._passed(own, key)) is not None:
                yield done
            if self._model is QUEUE and own.best == key:
                yield from self._at(own, key, qty_lots)

    def next_traded(self, price_ticks: int) -> Execution | None:
        """What `trade` at this price would give next under `cross` and `touch`, where quantities do not count; for one
        who takes them one by one."""
        done = self._passed(self._buys, price_ticks)
        return self._passed(self._sells, -price_ticks) if done is None else done

    def _passed(self, own: BookSide, key: int) -> Execution | None:
        reach = 1 if self._model is TOUCH else 0
        return own.take_first() if own.best > key - reach else None

    def _quoted(self) -> Iterator[Execution]:
        reach = 1 if self._model is TOUCH else 0
        if self.ask_lots:
            yield from self._beyond(self._buys, self.ask_ticks - reach)
        if self.bid_lots:
            yield from self._beyond(self._sells, -self.bid_ticks - reach)
        if self._model is QUEUE:
            self._shrink_queue(self._buys, self.bid_ticks, self.bid_lots)
            self._shrink_queue(self._sells, -self.ask_ticks, self.ask_lots)

    def _beyond(self, own: BookSide, key: int) -> Iterator[Execution]:
        """Everything of ours strictly above `key`, best first, each at its own price."""
        while own.best > key:
            yield own.take_first()

    def _at(self, own: BookSide, key: int, qty_lots: int) -> Iterator[Execution]:
        """`qty_lots` traded at our price: through the others' quantity ahead and ours, in the order of arrival."""
        eaten = 0
        for order in own.at(key):
            if not order.open or order.ahead_lots is None:
                continue
            still_ahead = max(0, order.ahead_lots - eaten)
            bite = min(qty_lots, still_ahead)
            eaten += bite
            qty_lots -= bite
            order.ahead_lots = still_ahead - bite
            fill = min(qty_lots, order.leaves_lots)
            if fill:
                qty_lots -= fill
                order.leaves_lots -= fill
                if not order.leaves_lots:
                    own.remove(order)
                yield Execution(order, order.price_ticks, fill, True)

    def _shrink_queue(self, own: BookSide, best: int, lots: int) -> None:
        """Above the market's best nobody is ahead of us; at it, no more than it shows."""
        for key in own.down_to(best):
            shown = lots if key == best else 0
            for order in own.at(key):
                if order.ahead_lots is None or order.ahead_lots > shown:
                    order.ahead_lots = shown
