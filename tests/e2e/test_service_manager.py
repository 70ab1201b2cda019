"""What systemd hears from a real process, over a real datagram socket."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from marketmaker.model.event import OrderReported
from marketmaker.model.order import OrderStatus
from tests.support.daemon import Daemon, Ended, problems_of_books, write_config
from tests.support.service_manager import WATCHDOG_S, ServiceManager

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SLOW_VENUE = """
mode: paper
symbols:
  - name: ETHUSDT
    grid: {price_interval: 3, order_amount: 60}
  - name: BTCUSDT
    grid: {price_interval: 60, order_amount: 300}
paper: {order_latency_ms: 100}
"""
WAITING_FOR_A_TRIGGER = """
mode: paper
symbols:
  - name: ETHUSDT
    grid: {price_interval: 3, order_amount: 60, trigger_price: 10}
"""
GAPS = 4


def gaps_in_time(manager: ServiceManager) -> int:
    """How often the watchdog was fed again before its time was over."""
    return sum(
        later - earlier < WATCHDOG_S * 1e9
        for earlier, later in pairwise(manager.times("WATCHDOG=1"))
    )


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceManager]:
    listening = ServiceManager(tmp_path_factory.mktemp("systemd"))
    yield listening
    listening.close()


@pytest.fixture(scope="module")
def served(manager: ServiceManager, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A run of a few seconds under the service manager, ended by it."""
    folder = tmp_path_factory.mktemp("served")
    daemon = Daemon(folder, write_config(folder, SLOW_VENUE), env=manager.environment()).start()
    try:
        manager.wait_for("READY=1")
        deadline = time.monotonic() + 60
        while gaps_in_time(manager) < GAPS:
            assert time.monotonic() < deadline, manager.times("WATCHDOG=1")
            time.sleep(0.05)
        daemon.send(signal.SIGTERM)
        return daemon.finish()
    finally:
        daemon.kill()


def test_the_run_itself_ends_well(served: Ended) -> None:
    assert problems_of_books(served) == []


def test_ready_comes_once_and_only_when_the_venue_has_taken_an_order_of_each_symbol(
    manager: ServiceManager, served: Ended
) -> None:
    (ready_ns,) = manager.times("READY=1")
    names, entries = served.entries()
    for index in range(len(names)):
        accepted_ns = next(
            entry.event.ts_ns
            for entry in entries
            if entry.symbol_index == index
            and isinstance(entry.event, OrderReported)
            and entry.event.report.status is OrderStatus.OPEN
        )
        assert accepted_ns <= ready_ns


def test_the_watchdog_is_fed_from_ready_to_the_end_more_often_than_it_asks_for(
    manager: ServiceManager, served: Ended
) -> None:
    assert served.code == 0
    fed = manager.times("WATCHDOG=1")
    (ready_ns,) = manager.times("READY=1")
    assert gaps_in_time(manager) >= GAPS
    assert ready_ns < fed[0]


def test_stopping_is_said_before_the_orders_are_cancelled(
    manager: ServiceManager, served: Ended
) -> None:
    (stopping_ns,) = manager.times("STOPPING=1")
    _, entries = served.entries()
    cancelled_ns = [
        entry.event.ts_ns
        for entry in entries
        if isinstance(entry.event, OrderReported)
        and entry.event.report.status is OrderStatus.CANCELLED
    ]
    assert stopping_ns < max(cancelled_ns)


def test_the_status_says_what_is_being_done(manager: ServiceManager, served: Ended) -> None:
    assert served.code == 0
    texts = [text for _, text in manager.heard if text.startswith("STATUS=")]
    assert any("ETHUSDT" in text and "orders open" in text for text in texts)


def test_a_grid_that_waits_on_purpose_is_ready_without_an_order(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    listening = ServiceManager(tmp_path_factory.mktemp("systemd"))
    daemon = Daemon(
        tmp_path, write_config(tmp_path, WAITING_FOR_A_TRIGGER), env=listening.environment()
    ).start()
    try:
        listening.wait_for("READY=1")
        listening.wait_for("WATCHDOG=1")
        daemon.send(signal.SIGTERM)
        ended = daemon.finish()
    finally:
        daemon.kill()
        listening.close()
    assert problems_of_books(ended) == []
    assert ended.symbols[0]["orders_placed"] == 0
