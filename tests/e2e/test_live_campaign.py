"""The whole daemon on rehearsed venues that cut, limit and lose; then killed and started again, many times over.

By hand:  KILLS=100 pytest tests/e2e/test_live_campaign.py -m long       kills over all venues together
          MARKET_S=600                                                   how long the market is, before the kills

First a long market: every connection is cut every 20 s, and in between requests and answers are lost, limits reached,
events late, twice or never. Then kill -9 in the middle of such faults, again and again. Every life that follows must
come to the venue's own figures: each order that rests there is one of its slots' (no orphan), no two rest at one level
and no client id came in twice (no duplicate), and what the slots hold is the position. In the end SIGTERM: nothing is
open. What was done is printed (`-s`, or in the report of a failure).
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from marketmaker.venues import VENUES
from tests.support.daemon import Daemon
from tests.support.live import VenueProcess, books, live_configuration

pytest.importorskip("aiohttp")
pytest.importorskip("prometheus_client")

REHEARSED = [venue.id for venue in VENUES.values() if venue.available and venue.rehearsal]
KILLS = int(os.environ.get("KILLS", "100"))
MARKET_S = float(os.environ.get("MARKET_S", "600"))
CUT_EVERY_S = 20.0
AGREE_WITHIN_S = 180.0
pytestmark = [pytest.mark.e2e, pytest.mark.long]
FAULTS: tuple[dict[str, object], ...] = (
    {"lose_answers": 1},
    {"lose_answers": 1, "scope": "cancel"},
    {"lose_requests": 1},
    {"hang_answers": 1},
    {"unknown_done": 1},
    {"unknown_not_done": 1},
    {"overloaded": 1},
    {"rate_limit": 1, "retry_after_s": 1},
    {"lose_events": 1},
    {"events": "after"},
    {"events": "before"},
    {"duplicate_events": True},
    {"reorder_events": True},
    {"expire_post_only": 1},
)
LASTING: dict[str, object] = {
    "events": "",
    "scope": "place",
    "duplicate_events": False,
    "reorder_events": False,
}
"""Faults that do not end by themselves, switched off."""
COUNTED = {name for fault in FAULTS for name in fault if name not in LASTING}
CALM: dict[str, object] = {**dict.fromkeys(COUNTED, 0), **LASTING}


@dataclass
class Campaign:
    """One venue's, its daemons one after the other; `done` counts what was done to them."""

    venue: VenueProcess
    folder: Path
    config: Path
    port: int
    rng: random.Random
    daemon: Daemon | None = None
    done: Counter[str] = field(default_factory=Counter)

    def start(self, name: str) -> None:
        self.daemon = Daemon(self.folder, self.config, name=name).start()
        self.done["starts"] += 1

    def kill(self) -> None:
        assert self.daemon is not None
        self.daemon.kill()
        self.daemon.journal.unlink(missing_ok=True)
        self.done["kills"] += 1

    def trouble(self, for_s: float, *, cut_every_s: float) -> None:
        """A fault every second or so, and every connection cut at its time."""
        ends_s = time.monotonic() + for_s
        cut_s = time.monotonic() + cut_every_s
        while time.monotonic() < ends_s:
            self.alive()
            fault = self.rng.choice(FAULTS)
            self.venue.ask(set={**LASTING, **fault})
            self.done["faults"] += 1
            if time.monotonic() >= cut_s:
                cut_s += cut_every_s
                self.venue.ask(do=["disconnect"])
                self.done["cuts"] += 1
            time.sleep(self.rng.uniform(0.2, 2.0))

    def alive(self) -> None:
        assert self.daemon is not None and self.daemon.process is not None
        errors = self.folder / f"{self.daemon.name}.err"
        assert self.daemon.process.poll() is None, errors.read_text()[-4000:]

    def agree(self) -> None:
        """Within its time the daemon's figures are the venue's, at a moment when neither moves."""
        self.venue.ask(set=CALM)
        ends_s = time.monotonic() + AGREE_WITHIN_S
        while found := self.disagreements():
            self.alive()
            assert time.monotonic() < ends_s, found
            time.sleep(0.1)
        self.done["agreements"] += 1

    def disagreements(self) -> list[str]:
        told, view, again = self.venue.ask(), self.status(), self.venue.ask()
        assert self.daemon is not None and self.daemon.process is not None
        if view is not None and view["pid"] != self.daemon.process.pid:
            return ["the one before it still answers"]
        if view is None or not view["symbols"]:
            return ["the daemon does not answer yet"]
        found = [f"duplicate client id {each}" for each in told["duplicates"]]
        (row,) = view["symbols"]
        here, there = row["bids"] + row["asks"], told["open_orders"]
        if told["resting"] != again["resting"] or told["positions"] != again["positions"]:
            return [*found, "the venue moved while it was compared"]
        if not row["ready"]:
            found.append(f"it is not settled: {row['reasons']}")
        if here != there:
            found.append(f"{there} orders rest, {here} are known: {told['resting']}")
        if there == 0:
            found.append("nothing rests")
        twice = [level for level, count in Counter(told["resting"]).items() if count > 1]
        found += [f"two orders at {level}" for level in twice]
        if float(row["position"]) != float(told["positions"]["ETHUSDT"]):
            found.append(f"slots hold {row['position']}, the account {told['positions']}")
        return found

    def status(self) -> dict[str, Any] | None:
        """None while it does not serve."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status", timeout=10) as told:
                view: dict[str, Any] = json.loads(told.read())
        except OSError:
            return None
        return view


@pytest.mark.parametrize("exchange", REHEARSED)
def test_no_order_and_no_lot_is_lost_or_doubled(
    exchange: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    rng = random.Random(exchange)
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    more = f"execution: {{request_timeout: 3}}\nhttp: {{listen: 127.0.0.1:{port}}}\n"
    feed = ("--symbols", "ETHUSDT", "--feed", "synthetic:11", "--speed", "8")
    with VenueProcess(exchange, tmp_path, feed) as venue:
        config = live_configuration(venue, tmp_path, more=more)
        campaign = Campaign(venue, tmp_path, config, port, rng)
        try:
            campaign.start("market")
            campaign.agree()
            campaign.trouble(MARKET_S, cut_every_s=CUT_EVERY_S)
            campaign.agree()
            for life in range(max(1, KILLS // len(REHEARSED))):
                campaign.trouble(rng.uniform(1.0, 5.0), cut_every_s=rng.uniform(0.5, 6.0))
                campaign.kill()
                campaign.start(f"life{life}")
                campaign.agree()
            daemon = campaign.daemon
            assert daemon is not None
            daemon.send(signal.SIGTERM)
            ended = daemon.finish()
        finally:
            if campaign.daemon is not None:
                campaign.daemon.kill()
        assert books(ended) == []
        told = venue.ask()
        assert (told["open_orders"], told["duplicates"]) == (0, [])
        (symbol,) = ended.symbols
        assert float(told["positions"]["ETHUSDT"]) == symbol["position"]
        line = ", ".join(f"{count} {what}" for what, count in campaign.done.items())
        print(f"\n{exchange}: {line}, {symbol['fills']} fills in the last life; nothing open")
        record_property("campaign", line)
