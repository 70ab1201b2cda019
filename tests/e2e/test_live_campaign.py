"""The whole daemon on rehearsed venues that cut, limit and lose, killed and started again, many times over.

By hand:  KILLS=100 pytest tests/e2e/test_live_campaign.py -m long     kills over all venues together
Each life trades on a moving market with a cut of every connection every few seconds, answers lost before and after the
order was taken, and limits; then kill -9. The next must find every order and every lot again. In the end SIGTERM.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from marketmaker.venues import VENUES
from tests.support.daemon import Daemon
from tests.support.live import VenueProcess, books, live_configuration

REHEARSED = [venue.id for venue in VENUES.values() if venue.available and venue.rehearsal]
KILLS = int(os.environ.get("KILLS", "100"))
CUT_EVERY_S = 4.0
pytestmark = [pytest.mark.e2e, pytest.mark.long]
FAULTS: tuple[dict[str, object], ...] = (
    {"lose_answers": 1},
    {"lose_requests": 1},
    {"unknown_done": 1},
    {"unknown_not_done": 1},
    {"overloaded": 1},
    {"rate_limit": 1, "retry_after_s": 1},
    {"lose_events": 1},
    {"events": "after"},
    {"events": "before"},
    {"duplicate_events": True},
    {"expire_post_only": 1},
)


@pytest.mark.parametrize("exchange", REHEARSED)
def test_no_order_and_no_lot_is_lost_or_doubled(exchange: str, tmp_path: Path) -> None:
    rng = random.Random(exchange)
    feed = ("--symbols", "ETHUSDT", "--feed", "synthetic:11", "--speed", "20")
    with VenueProcess(exchange, tmp_path, feed) as venue:
        config = live_configuration(venue, tmp_path, more="execution: {request_timeout: 3}\n")
        for life in range(max(1, KILLS // len(REHEARSED))):
            daemon = Daemon(tmp_path, config, name=f"life{life}").start()
            until_s = time.monotonic() + rng.uniform(6.0, 14.0)
            while time.monotonic() < until_s and daemon.process is not None:
                assert daemon.process.poll() is None, (tmp_path / f"life{life}.err").read_text()
                venue.ask(set=rng.choice(FAULTS), do=["disconnect"] if rng.random() < 0.3 else [])
                time.sleep(rng.uniform(0.2, CUT_EVERY_S / 2))
            daemon.kill()
            (tmp_path / f"life{life}.jsonl").unlink(missing_ok=True)
            told = venue.ask()
            assert told["duplicates"] == [], told
        venue.ask(set={"duplicate_events": False, "events": "", "lose_events": 0})
        last = Daemon(tmp_path, config, name="last").start()
        last.wait_until_it_trades()
        time.sleep(15.0)  # a reconciliation
        last.send(signal.SIGTERM)
        ended = last.finish()
        assert books(ended) == []
        told = venue.ask()
        assert told["open_orders"] == 0
        (symbol,) = ended.symbols
        assert float(told["positions"]["ETHUSDT"]) == symbol["position"]
