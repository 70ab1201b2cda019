"""How soon health tells of what has stopped, on a clock of its own: neither before `stale_after` nor later."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmaker.web.guard import Guard
from marketmaker.web.server import Server
from tests.support.web import StoppedClock

STEP_S = 0.05
"""Between two looks, and what a figure of a reading may be rounded by."""


async def nobody(message: dict[str, Any]) -> None:
    raise AssertionError(f"nobody asked for {message}")


def reading(symbol: str, stale_after_s: float, price_age_s: float) -> dict[str, Any]:
    streams = {"stale_after_s": stale_after_s, "price_age_s": round(price_age_s, 3)}
    row = {"symbol": symbol, "state": "quoting", "healthy": True, "streams": streams}
    return {"health": [], "symbols": [row], "quoting": True, "ready": True, "reasons": []}


@pytest.mark.parametrize("dies", ["the feed", "the daemon"])
@given(
    stale_after_s=st.floats(0.5, 30),
    every_s=st.floats(0.1, 2),
    offset_s=st.floats(0, 1),
)
def test_it_turns_when_the_last_price_is_as_old_as_allowed(
    dies: str, stale_after_s: float, every_s: float, offset_s: float
) -> None:
    """Whether readings that tell of the old price go on (the feed is silent), or end as well (the daemon hangs)."""
    clock = StoppedClock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("marketmaker.web.server.time", clock)
        server = Server(Guard(token="", origins=()), nobody, lambda by: None)
        began_s, shown_s = clock.now_s, clock.now_s - offset_s
        server.show(reading("ETHUSDT", stale_after_s, 0.0), [])
        while (age_s := clock.now_s - began_s) < stale_after_s + 1:
            if dies == "the feed" and clock.now_s - shown_s >= every_s:
                server.show(reading("ETHUSDT", stale_after_s, age_s), [])
                shown_s = clock.now_s
            health = server.health()
            if abs(age_s - stale_after_s) > STEP_S:
                assert health["healthy"] == (age_s < stale_after_s), (age_s, health)
                assert health["status"] == ("quoting" if age_s < stale_after_s else "unhealthy")
            assert health["healthy"] != bool(health["reasons"])
            clock.now_s += STEP_S
