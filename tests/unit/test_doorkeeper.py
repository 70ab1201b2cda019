"""How often the daemon shows itself to the web process."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from marketmaker import doorkeeper
from marketmaker.doorkeeper import IDLE_S, WATCHED_S, Doorkeeper
from marketmaker.model.settings import HttpSettings
from tests.support.paper import on_virtual_time


@pytest.mark.parametrize("watched", [0, 2])
@pytest.mark.parametrize("stale_after_s", [0.5, 1.0, 5.0])
@on_virtual_time
async def test_a_reading_is_followed_by_the_next_long_before_it_counts_as_stale(
    stale_after_s: float, watched: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    looks_s: list[float] = []
    symbols = [
        SimpleNamespace(streams=SimpleNamespace(stale_after_s=each))
        for each in (60.0, stale_after_s)
    ]

    def look() -> object:
        looks_s.append(loop.time())
        return SimpleNamespace(symbols=symbols)

    monkeypatch.setattr(doorkeeper, "plain", lambda value: {})
    monkeypatch.setattr(doorkeeper, "COSTLY", 0)
    keeper = Doorkeeper(
        settings=HttpSettings(listen=("127.0.0.1", 1)),
        overview=cast(Any, SimpleNamespace(look=look)),
        control=cast(Any, None),
        reloader=cast(Any, None),
        news=cast(Any, None),
    )
    keeper._watched = watched
    showing = asyncio.create_task(keeper._keep_showing())
    await asyncio.sleep(10)
    showing.cancel()
    gaps = {round(later - earlier, 6) for earlier, later in pairwise(looks_s)}
    assert gaps == {min(WATCHED_S if watched else IDLE_S, stale_after_s / 4)}
