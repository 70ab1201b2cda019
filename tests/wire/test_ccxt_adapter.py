"""The adapter over ccxt on the Binance loopback venue: what ccxt hides has to be noticed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.contract.bench import BUY, MID
from tests.contract.makers import MAKERS, open_bench

pytest.importorskip("ccxt")


async def test_a_connection_lost_while_nobody_waits_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was opened anew without a word, and what had happened in between was found a minute later."""
    async with open_bench(MAKERS["ccxt:binanceusdm"]) as bench:
        adapter: Any = bench.adapter
        tell, asking, may_go_on = adapter._tell_fills, asyncio.Event(), asyncio.Event()

        async def slow(*args: Any) -> Any:
            asking.set()
            await may_go_on.wait()
            return await tell(*args)

        monkeypatch.setattr(adapter, "_tell_fills", slow)
        order = bench.order(BUY, MID)
        await bench.accept(order)
        bench.trade(MID, 100)
        async with asyncio.timeout(30):
            await asking.wait()
        clients = adapter._client.clients
        before = list(clients.values())
        bench.drop()
        await bench.until(lambda: any(each not in clients.values() for each in before))
        assert bench.orders.downs == []
        may_go_on.set()
        await bench.until(lambda: bench.orders.downs)
        await bench.until(lambda: bench.orders.ups == 2)
