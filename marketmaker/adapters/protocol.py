"""The contract between the daemon and a venue: everything above knows a venue only by this page.

Requests. A method that asks the venue raises a `VenueError` whose class says what is now known (see `errors`).
`place` and `cancel` are plain functions returning an awaitable, so that an adapter may hand the bytes to the kernel
before it returns; they answer one outcome per order, in order, and only raise when nothing can be said order by
order (then the error holds for each of them). Every request ends within the adapter's own deadline.

Streams. `stream_*` runs until cancelled, reconnecting by itself, and calls its listener from the event loop:
`stream_up` once data can be trusted (subscribed and confirmed), `stream_down` as soon as it cannot. After every
`stream_up` of the order stream something may have been missed; the daemon takes a snapshot before it acts.
Listener methods never block and never raise.

Order of use: `connect`, then instruments, then streams, then requests, then `close`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, runtime_checkable

from marketmaker.errors import VenueError
from marketmaker.model.account import AccountState, Position
from marketmaker.model.client_order_id import ClientOrderIdForm
from marketmaker.model.instrument import Instrument, Ticks
from marketmaker.model.market import Candle
from marketmaker.model.order import ClientOrderId, Fill, NewOrder, OrderRef, OrderReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a venue offers, as data.

    `place_batch` / `cancel_batch`: most orders in one request (1 = no batches). `orders_per_s` and `order_burst`: the
    venue's own limit on order messages. `order_lifetime_s`: after how long the venue drops a resting order (None:
    never). `request_lifetime_s`: a request older than this is refused by the venue, so an order that cannot be found
    this long after sending was never accepted.
    """

    post_only: bool
    reduce_only: bool
    place_batch: int
    cancel_batch: int
    cancel_all: bool
    query_by_client_id: bool
    confirming_price: bool
    orders_per_s: float
    order_burst: int
    order_lifetime_s: float | None = None
    request_lifetime_s: float = 5.0


class Turn(Protocol):
    """Brackets what an adapter read from a socket at once, so that it is acted on as a whole and without delay.

    `begin` before a message is passed to the listeners; after it `more` when another message of the same reading
    follows, or `end` when none does: by then the orders that the messages called for have been handed to `place`.
    """

    def begin(self) -> None: ...
    def more(self) -> None: ...
    def end(self) -> None: ...


@runtime_checkable
class ReadsAhead(Protocol):
    """An adapter that says what it read at once. What others pass on is acted on in the loop's next turn."""

    def take_turns(self, turn: Turn) -> None:
        """Called once, before `connect`."""
        ...


class PriceListener(Protocol):
    """`on_price` is the price of the system (last trade); `on_confirming_price` a second opinion (mark or mid)."""

    def on_price(self, price_ticks: Ticks, ts_venue_ns: int, ts_local_ns: int) -> None: ...
    def on_confirming_price(
        self, price_ticks: Ticks, ts_venue_ns: int, ts_local_ns: int
    ) -> None: ...
    def stream_up(self) -> None: ...
    def stream_down(self, reason: str) -> None: ...


class OrderListener(Protocol):
    """Private events of one instrument. `on_funding` is signed: positive was paid to us."""

    def on_order(self, report: OrderReport, ts_local_ns: int) -> None: ...
    def on_funding(
        self, payment_id: str, amount: Decimal, ts_venue_ns: int, ts_local_ns: int
    ) -> None: ...
    def on_position(self, position: Position, ts_local_ns: int) -> None: ...
    def stream_up(self) -> None: ...
    def stream_down(self, reason: str) -> None: ...


class CandleListener(Protocol):
    def on_candle(self, candle: Candle) -> None: ...
    def stream_up(self) -> None: ...
    def stream_down(self, reason: str) -> None: ...


class Adapter(Protocol):
    """One account at one venue."""

    @property
    def name(self) -> str: ...
    @property
    def capabilities(self) -> Capabilities: ...
    @property
    def client_order_ids(self) -> ClientOrderIdForm: ...

    async def connect(self) -> None: ...
    async def close(self) -> None: ...

    async def fetch_instrument(self, name: str) -> Instrument:
        """Raises ConfigError when the venue has no such instrument (says which come near)."""
        ...

    async def fetch_account(self, instrument: Instrument) -> AccountState: ...
    async def fetch_position(self, instrument: Instrument) -> Position: ...
    async def fetch_open_orders(self, instrument: Instrument) -> Sequence[OrderReport]: ...

    async def fetch_order(
        self, instrument: Instrument, client_order_id: ClientOrderId
    ) -> OrderReport:
        """Raises OrderNotFound."""
        ...

    async def fetch_fills(self, instrument: Instrument, since_ns: int) -> Sequence[Fill]:
        """Our account's trades at or after `since_ns` (venue clock), oldest first, every page."""
        ...

    async def fetch_candles(self, symbol: str, interval_s: int, limit: int) -> Sequence[Candle]:
        """The newest `limit` candles, oldest first; the last may still be open."""
        ...

    async def fetch_funding_rate(self, instrument: Instrument) -> Decimal:
        """The rate of the next payment, a fraction of notional: positive is paid by longs. 0 for spot."""
        ...

    def place(
        self, instrument: Instrument, orders: Sequence[NewOrder]
    ) -> Awaitable[Sequence[OrderReport | VenueError]]: ...

    def cancel(
        self, instrument: Instrument, orders: Sequence[OrderRef]
    ) -> Awaitable[Sequence[OrderReport | VenueError | None]]:
        """None: accepted, the result comes by stream."""
        ...

    async def stream_prices(self, instrument: Instrument, listener: PriceListener) -> None: ...
    async def stream_orders(self, instrument: Instrument, listener: OrderListener) -> None: ...
    async def stream_candles(
        self, symbols: Sequence[str], interval_s: int, listener: CandleListener
    ) -> None: ...
