"""`check --online` and `record` against rehearsed venues: processes, sockets, exit codes, and what is written."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from marketmaker.venues import VENUES
from tests.support.daemon import run_command
from tests.support.live import VenueProcess, live_configuration

REHEARSED = [venue.id for venue in VENUES.values() if venue.available and venue.rehearsal]
ONE_WAY_ONLY = {"backpack"}
"""Exchanges that know no hedge mode."""
pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("exchange", REHEARSED)
def test_it_is_asked_and_recorded_without_an_order(exchange: str, tmp_path: Path) -> None:
    with VenueProcess(exchange, tmp_path, ("--symbols", "ETHUSDT")) as venue:
        config = live_configuration(venue, tmp_path)
        asked = run_command("check", str(config), "--online", "--json")
        assert (asked.returncode, asked.stderr) == (0, "")
        told = json.loads(asked.stdout)
        assert told["ok"] and told["problems"] == []
        assert abs(told["clock_offset_ms"]) < 1_000
        assert set(told["round_trip_ms"]) >= {"connect", "account", "position", "open orders"}
        (symbol,) = told["symbols"]
        assert float(symbol["price"]) > 0 and symbol["first_price_s"] < 20
        assert "loopback-secret" not in asked.stdout

        out = tmp_path / "frames.gz"
        recorded = run_command("record", str(config), "--out", str(out), "--duration", "2")
        assert recorded.returncode == 0, recorded.stderr
        lines = gzip.decompress(out.read_bytes()).splitlines()
        assert lines
        stamps = [int(line.partition(b" ")[0]) for line in lines]
        assert stamps == sorted(stamps)
        assert any(isinstance(json.loads(line.partition(b" ")[2]), dict) for line in lines)
        again = run_command("record", str(config), "--out", str(out))
        assert (again.returncode, "is there already" in again.stderr) == (2, True)
        assert venue.ask()["open_orders"] == 0

        if exchange in ONE_WAY_ONLY:
            return
        venue.ask(set={"hedge_mode": True})
        asked = run_command("check", str(config), "--online")
        assert asked.returncode == 2
        assert "hedge mode" in asked.stdout + asked.stderr


def test_what_was_recorded_of_binance_can_be_backtested(tmp_path: Path) -> None:
    with VenueProcess("binance", tmp_path, ("--symbols", "ETHUSDT")) as venue:
        config = live_configuration(venue, tmp_path)
        out = tmp_path / "frames.gz"
        assert (
            run_command("record", str(config), "--out", str(out), "--duration", "3").returncode == 0
        )
    paper = tmp_path / "paper.yaml"
    paper.write_text(
        "mode: paper\nsymbols:\n  - name: ETHUSDT\n    grid: {price_interval: 2, order_amount: 60}\n"
        "risk: {enabled: false}\n"
    )
    ran = run_command("run", str(paper), "--feed", str(out), "--speed", "max")
    assert ran.returncode == 0, ran.stderr
    assert "end of feed" in ran.stdout + ran.stderr
