"""`marketmaker run` in mode: live, on rehearsed venues: each a process of its own, with sockets in between."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from marketmaker.venues import VENUES
from tests.support.daemon import Daemon
from tests.support.live import VenueProcess, books, live_configuration

REHEARSED = [venue.id for venue in VENUES.values() if venue.available and venue.rehearsal]
pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("exchange", REHEARSED)
def test_it_trades_survives_being_killed_and_leaves_nothing_open(
    exchange: str, tmp_path: Path
) -> None:
    trades_is_killed_and_leaves_nothing(exchange, tmp_path)


@pytest.mark.long
def test_it_does_on_a_classic_account_of_bitget(tmp_path: Path) -> None:
    trades_is_killed_and_leaves_nothing("bitget", tmp_path, "--account", "classic")


def trades_is_killed_and_leaves_nothing(exchange: str, tmp_path: Path, *options: str) -> None:
    with VenueProcess(
        exchange, tmp_path, ("--symbols", "ETHUSDT", "--feed", "synthetic:7", *options)
    ) as venue:
        config = live_configuration(venue, tmp_path)
        first = Daemon(tmp_path, config, name="first").start()
        first.wait_until_it_trades()
        wait_for_orders(venue, 8)
        first.send(
            signal.SIGSTOP
        )  # a daemon that sees its streams cut takes its orders off at once
        venue.ask(do=["disconnect"])
        first.kill()
        assert venue.ask()["open_orders"] > 0, "it was killed: nobody has cancelled them"
        second = Daemon(tmp_path, config, name="second").start()
        second.wait_until_it_trades()
        wait_for_orders(venue, 8)
        second.send(signal.SIGTERM)
        ended = second.finish()
        assert books(ended) == []
        shown = venue.ask()
        assert shown["open_orders"] == 0
        (symbol,) = ended.symbols
        assert float(shown["positions"]["ETHUSDT"]) == symbol["position"]


def test_more_signals_change_nothing(tmp_path: Path) -> None:
    """Sockets and names are looked up in threads, and a thread takes any signal that it does not hold back."""
    with VenueProcess("okx", tmp_path, ("--symbols", "ETHUSDT", "--feed", "synthetic:7")) as venue:
        daemon = Daemon(tmp_path, live_configuration(venue, tmp_path)).start()
        try:
            daemon.wait_until_it_trades()
            ended = daemon.pelt(signal.SIGTERM)
        finally:
            daemon.kill()
        assert books(ended) == []
        assert venue.ask()["open_orders"] == 0


def wait_for_orders(venue: VenueProcess, count: int) -> None:
    deadline_s = time.monotonic() + 60
    while venue.ask()["open_orders"] < count:
        assert time.monotonic() < deadline_s, venue.ask()
        time.sleep(0.1)
