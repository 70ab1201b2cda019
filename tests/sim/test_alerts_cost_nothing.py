"""An hour with a messenger that takes nothing, against the same hour without alerts: not one decision differs."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from marketmaker.alerts import desk as desks
from marketmaker.alerts.desk import AlertDesk
from marketmaker.app import Application
from marketmaker.errors import ConfigError
from marketmaker.herald import Herald
from marketmaker.model.action import Severity
from marketmaker.model.settings import (
    AlertChannel,
    AlertRule,
    AlertSettings,
    HeartbeatSettings,
    Settings,
)
from marketmaker.runtime.notify import Notifier
from marketmaker.sim.loop import LoopClock, VirtualTimeLoop
from tests.support.application import make_exchange, make_settings, problems_of
from tests.support.paper import START_NS

HOUR_S = 3_600
EVERYTHING = AlertSettings(
    channels=(AlertChannel(name="hung", url="json://127.0.0.1:9/x"),),
    rules=(AlertRule(severity=Severity.INFO, cool_down_s=0, group_s=0),),
    heartbeat=HeartbeatSettings(url="http://127.0.0.1:9/x", interval_s=1),
)


class Hung:
    """A messenger that never reads and never answers: its pipe fills up in the first minutes."""

    def __init__(self) -> None:
        inner, outer = os.pipe(), os.pipe()
        self.other_ends = inner[0], outer[1]
        self.stdin: IO[bytes] | None = os.fdopen(inner[1], "wb", buffering=0)
        self.stdout: IO[bytes] | None = os.fdopen(outer[0], "rb", buffering=0)

    def poll(self) -> int | None:
        return None


def an_hour(settings: Settings) -> tuple[AlertDesk | None, int]:
    """The desk, and how many orders were placed, after an hour of virtual time."""
    loop = VirtualTimeLoop(START_NS, None)
    messenger = Hung()

    async def trade() -> tuple[AlertDesk | None, int]:
        clock = LoopClock(loop)
        desk = None
        if settings.alerts.channels:
            desk = AlertDesk(
                settings.alerts,
                sender="mm1",
                now_ns=clock.now_ns,
                monotonic_s=loop.time,
                spawn=lambda: messenger,
            )
            desk._start()
        app = Application(
            settings=settings,
            adapter=make_exchange(settings),
            clock=clock,
            notifier=Notifier({}),
            explain=lambda problems: ConfigError("\n".join(problems)),
            began_s=0.0,
            herald=Herald(desk, settings=settings, clock=clock),
        )
        running = asyncio.create_task(app.run())
        await asyncio.sleep(HOUR_S)
        app.stop("the hour is over")
        report = await running
        assert problems_of(report) == []
        assert report.reading is not None
        return desk, report.reading.symbols[0].totals.orders_placed

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        found = runner.run(trade())
    for fd in messenger.other_ends:
        os.close(fd)
    for pipe in (messenger.stdin, messenger.stdout):
        assert pipe is not None
        pipe.close()
    return found


@pytest.mark.slow
def test_a_channel_that_hangs_for_an_hour_changes_no_decision(tmp_path: Path) -> None:
    quiet = make_settings(journal=str(tmp_path / "quiet.jsonl"))
    hung = replace(quiet, journal=str(tmp_path / "hung.jsonl"), alerts=EVERYTHING)
    _, orders = an_hour(quiet)
    desk, orders_with_alerts = an_hour(hung)
    assert desk is not None
    assert desk.dropped > 0 and len(desk._lines) == desks.MAX_WAITING, "it was not full at all"
    assert orders == orders_with_alerts > 100
    first, second = (Path(each.journal).read_bytes() for each in (quiet, hung))
    assert first == second
