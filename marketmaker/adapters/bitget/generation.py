"""What differs between the two generations of accounts: the requests of an account, and how their answers are read.

One account speaks exactly one of them; market data is the same for both. `Unified` and `Classic` are the two.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from marketmaker.adapters.bitget.wire import Ack
from marketmaker.adapters.contract import Contract
from marketmaker.adapters.funding import Payment
from marketmaker.model.account import Position
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.order import ClientOrderId, Fill, NewOrder, OrderReport, Side

Ask = Callable[[str, dict[str, object], str], Awaitable[bytes]]
"""(path, parameters, operation): a signed question, and the data of its answer."""
ContractOf = Callable[[str], Contract | None]
"""By the venue's symbol; None for one that nobody here trades."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    path: str
    params: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """A POST. `params`: a mapping, or for a batch of a unified account a list."""

    path: str
    params: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """`rows` as the venue sent them; `cursor`: where the next page begins, "" after the last."""

    rows: Sequence[Any]
    cursor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the account is worth and how it is set."""

    equity: Decimal
    available: Decimal
    leverage: Decimal
    hedge_mode: bool


class Reading(Protocol):
    """What the readers of orders and trades must know: our form of ids, whether we asked for this order's end, whose
    order that was (None: a stranger's, or not known), and whether an order at this price takes, by the last mark price
    that was told."""

    ids: TextForm

    def asked(self, client_order_id: ClientOrderId | None) -> bool: ...
    def owner(self, venue_order_id: str) -> ClientOrderId | None: ...
    def takes(self, symbol: str, side: Side, price_ticks: int) -> bool: ...


class Generation(Protocol):
    """`topics`: the private subscriptions. `over_socket`: orders can go over the private socket. `switch`: there is a
    dead-man's switch. `cursor`: the parameter that asks for the next page."""

    topics: tuple[str, ...]
    over_socket: bool
    switch: bool
    cursor: str

    def fees(self, symbol: str) -> Question: ...
    def open_orders(self, contract: Contract) -> Question: ...
    def order(self, contract: Contract, **named: str) -> Question:
        """`named`: by `clientOid` or `orderId`."""
        ...

    def fills(self, contract: Contract, start_ms: int, end_ms: int) -> Question: ...
    def payments(self, since_ms: int) -> Question: ...
    def position(self, contract: Contract) -> Question: ...
    async def standing(self, ask: Ask, contract: Contract) -> Standing: ...

    def place(self, orders: Sequence[NewOrder], contract: Contract, ids: Sequence[str]) -> Deed: ...
    def cancel(self, contract: Contract, ids: Sequence[str]) -> Deed: ...
    def cancel_all(self, contract: Contract) -> Deed: ...
    def acks(self, data: bytes, count: int) -> Sequence[Ack]:
        """Of a request for so many orders."""
        ...

    def read_order(self, data: bytes) -> Any: ...
    def read_orders_page(self, data: bytes) -> Page: ...
    def read_fills_page(self, data: bytes) -> Page: ...
    def read_payments_page(self, data: bytes) -> Page: ...

    def parse_order(self, row: Any, contract: Contract, reading: Reading) -> OrderReport: ...
    def parse_fill(self, row: Any, contract: Contract, reading: Reading) -> Fill: ...
    def unnamed(self, rows: Sequence[Any]) -> list[tuple[str, int]]:
        """Of these trades those that do not say whose they are: (venue order id, time in venue ns)."""
        ...

    def parse_payment(self, row: Any) -> Payment | None:
        """None: money that moved for another reason."""
        ...

    def parse_position(self, data: bytes, contract: Contract) -> Position | None:
        """Of the answer to `position`; None when flat."""
        ...

    def hear_orders(
        self, data: bytes, contract_of: ContractOf, reading: Reading
    ) -> list[tuple[str, OrderReport]]: ...
    def hear_fills(
        self, data: bytes, contract_of: ContractOf, reading: Reading
    ) -> list[tuple[str, Fill]]: ...
    def hear_positions(
        self, data: bytes, contract_of: ContractOf, mark_of: Callable[[str], str]
    ) -> list[tuple[str, Position]]: ...
