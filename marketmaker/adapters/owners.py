"""Whose order it was: venue order ids joined with our client ids, for trades that do not carry the latter."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from marketmaker.adapters.memory import remember
from marketmaker.errors import OrderNotFound, OutcomeUnknown
from marketmaker.model.order import ClientOrderId

YOUNG_NS: Final = 60_000_000_000
ONE_BY_ONE_MAX: Final = 5

Row = tuple[str, ClientOrderId | None]
"""(venue order id, our id or None for a stranger's)"""


class Owners:
    def __init__(self, venue: str) -> None:
        self._venue = venue
        self._known: OrderedDict[str, ClientOrderId | None] = OrderedDict()

    def remember(self, venue_order_id: str, owner: ClientOrderId | None) -> None:
        remember(self._known, venue_order_id, owner)

    def of(self, venue_order_id: str) -> ClientOrderId | None:
        return self._known.get(venue_order_id)

    async def learn(
        self,
        traded: Iterable[tuple[str, int]],
        *,
        now_ns: int,
        ask: Callable[[str], Awaitable[Row]],
        ask_many: Callable[[Sequence[str]], Awaitable[Iterable[Row]]] | None = None,
    ) -> None:
        """Asks for the orders of `traded` (venue order id, trade time in venue ns) that are not known yet.

        Many of them by one list first (`ask_many`), the rest one by one; `ask` raises OrderNotFound. A trade can be
        told before its order can be asked for: while it is young that is no answer, and OutcomeUnknown is raised.
        """
        times = dict(traded)
        unknown = [order_id for order_id in times if order_id not in self._known]
        if ask_many is not None and len(unknown) > ONE_BY_ONE_MAX:
            for order_id, owner in await ask_many(unknown):
                self.remember(order_id, owner)
        for order_id in unknown:
            if order_id in self._known:
                continue
            try:
                self.remember(*await ask(order_id))
            except OrderNotFound as error:
                if now_ns - times[order_id] < YOUNG_NS:
                    raise OutcomeUnknown(
                        "a trade of an order that cannot be asked for yet",
                        venue=self._venue,
                        operation="fills",
                    ) from error
                self.remember(order_id, None)
