"""On every venue with an adapter of its own, what a frame calls for is done in the callback in which the frame came: the
real adapter on its loopback venue, over real sockets; only the consumer of the queue is the test's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("picows")

from marketmaker.adapters.protocol import ReadsAhead
from marketmaker.loopback.backpack.venue import PUBLIC_KEY, SEED
from marketmaker.model.event import Event, PriceChanged
from marketmaker.model.instrument import Ticks
from marketmaker.model.order import Side
from marketmaker.runtime.event_queue import EventQueue
from marketmaker.runtime.turn import Turn
from tests.support.loopback import until
from tests.support.paper import make_order
from tests.support.venue_desk import venue_desk

PAIR = {"api_key": PUBLIC_KEY, "api_secret": SEED}
SENT, NEXT = "bytes handed over", "the loop went on"


@pytest.mark.parametrize("venue", ["binance", "okx", "bybit", "bitget", "gate", "backpack"])
async def test_an_order_leaves_in_the_turn_of_the_loop_in_which_its_frame_came(venue: str) -> None:
    order = make_order(Side.BUY, 299_000, 100)
    heard: list[str] = []
    turn = Turn()
    queue = EventQueue(turn=turn)
    answers: list[Any] = []

    async with venue_desk(venue, credentials=PAIR if venue == "backpack" else None) as desk:
        adapter = desk.adapter
        assert isinstance(adapter, ReadsAhead)
        adapter.take_turns(turn)
        hear = desk.prices.on_price

        def on_price(price: Ticks, ts_venue_ns: int, ts_local_ns: int) -> None:
            hear(price, ts_venue_ns, ts_local_ns)
            if not heard:
                asyncio.get_running_loop().call_soon(heard.append, NEXT)
                queue.offer_price(price, ts_venue_ns, ts_local_ns)

        def place(event: Event) -> None:
            assert isinstance(event, PriceChanged)
            answers.append(asyncio.ensure_future(adapter.place(desk.instrument, [order])))
            if not hasattr(adapter, "_entry"):
                heard.append(SENT)  # by request: it is begun here, and HTTP does the rest

        if hasattr(adapter, "_entry"):
            socket = adapter._entry.link.socket
            send = socket.send

            def spy(message: bytes) -> None:
                heard.append(SENT)
                send(message)

            adapter._entry.link.socket = Spied(socket, spy)
        queue.serve(place, lambda error: heard.append(repr(error)))
        desk.prices.on_price = on_price  # type: ignore[method-assign]
        desk.trade(300_005, 10)
        await until(lambda: len(heard) >= 2)
        assert heard[:2] == [SENT, NEXT]
        assert (await answers[0])[0].client_order_id == order.client_order_id


class Spied:
    """A socket whose `send` is another's."""

    def __init__(self, socket: Any, send: Any) -> None:
        self._socket = socket
        self.send = send

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)
