"""The ledger on SQLite, its address, and the equity identity it is fed with."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from marketmaker.config import settings_from_text
from marketmaker.errors import ConfigError, VenueError
from marketmaker.ledger.url import check_url, secrets_in, shown
from marketmaker.model.action import PlaceOrder, RaiseAlert, RecordOrderEnd
from marketmaker.model.equity import EquityReading
from marketmaker.model.instrument import Lots
from marketmaker.model.order import ClientOrderId, NewOrder, Side
from marketmaker.model.settings import Credentials
from marketmaker.runtime.equity_watch import EquityWatch, WatchedSymbol
from tests.support.application import Run, View, make_exchange, make_settings, problems_of, running
from tests.support.fakes import FLAT, START_NS, FakeAdapter, make_account, run_virtual
from tests.support.ledger_suite import (
    ETH,
    Kept,
    LedgerSuite,
    heard,
    ids,
    make_reading,
    make_totals,
    make_trade,
    open_ledger,
    written,
)
from tests.support.toy_venue import grid_settings, make_manager

sqlalchemy = pytest.importorskip("sqlalchemy")

from marketmaker.ledger import writer  # noqa: E402
from marketmaker.ledger.database import connect, said  # noqa: E402
from marketmaker.ledger.reader import read_ledger  # noqa: E402


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    yield f"sqlite:///{tmp_path / 'books' / 'ledger 1%.db'}"


class TestOnSqlite(LedgerSuite):
    pass


def test_it_writes_ahead_so_that_a_reader_never_waits(url: str, tmp_path: Path) -> None:
    kept = open_ledger(url)
    with kept.ledger.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    kept.ledger.engine.dispose()
    (file,) = (tmp_path / "books").glob("*.db")
    assert stat.S_IMODE(os.stat(file).st_mode) & 0o007 == 0


def test_a_disk_that_is_really_full_loses_nothing(url: str) -> None:
    kept = open_ledger(url)

    def limit(pages: int) -> None:
        with kept.ledger.engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    async def main() -> None:
        limit(1)
        for number in range(2_000):
            kept.ledger.intake.note(ETH, heard(make_trade(number)), [])
        await kept.ledger.flush()
        await asyncio.sleep(writer.PATIENCE_S)
        await kept.ledger.flush()
        assert "full" in kept.failures[0]
        limit(1_000_000)
        await kept.ledger.flush()
        assert kept.recoveries == [{}]

    found = written(url, kept, main())
    assert ids(found.trades) == [f"t{number}" for number in range(2_000)]


def test_money_is_text_in_the_file(url: str) -> None:
    kept = open_ledger(url)
    kept.ledger.intake.note(ETH, heard(make_trade(1)), [])
    written(url, kept)
    engine = connect(url, read_only=True)
    with engine.connect() as connection:
        row = connection.exec_driver_sql("SELECT typeof(price), typeof(fee) FROM trades").one()
    engine.dispose()
    assert tuple(row) == ("text", "text")


def test_reading_makes_no_file(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_ledger(url)
    assert not list(tmp_path.rglob("*.db"))


def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    file.write_text("this is not a database, but it is long enough to be looked at " * 20)
    with pytest.raises(ConfigError, match="not a database") as refused:
        open_ledger(f"sqlite:///{file}")
    assert "\n" not in str(refused.value)


PASSWORD = "hunter2-%40-secret"
WITH_PASSWORD = f"postgresql://mm:{PASSWORD}@db.example:5433/mm?sslmode=require"


@pytest.mark.parametrize(
    ("address", "visible"),
    [
        (WITH_PASSWORD, "postgresql://mm:***@db.example:5433/mm?sslmode=require"),
        ("postgresql://db/mm?password=abcdef", "postgresql://db/mm?password=***"),
        ("postgresql://mm@/mm?host=/run/pg", "postgresql://mm@/mm?host=/run/pg"),
        ("sqlite:///a/b.db", "sqlite:///a/b.db"),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, visible: str) -> None:
    check_url(address)
    assert shown(address) == visible


def test_a_password_is_secret_as_written_and_as_meant() -> None:
    assert set(secrets_in(WITH_PASSWORD)) == {PASSWORD, "hunter2-@-secret", WITH_PASSWORD}
    assert list(secrets_in("sqlite:///a.db")) == []


def test_what_the_database_says_holds_no_password() -> None:
    error = RuntimeError(f"cannot reach {WITH_PASSWORD}\nwith hunter2-@-secret")
    assert "hunter2" not in said(error, WITH_PASSWORD)


@pytest.mark.parametrize(
    "address", ["", "ledger.db", "sqlite://", "sqlite:///", "mysql://u:pw@h/db", "postgresql://h"]
)
def test_an_address_of_another_kind_is_refused_without_quoting_it(address: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_url(address)
    assert "pw" not in str(refused.value) and "sqlite:///PATH" in str(refused.value)


@pytest.mark.parametrize("mark", ["3001.25", "2999.99"])
def test_a_reading_whose_change_is_explained_leaves_no_residual(mark: str) -> None:
    gain = Decimal("0.020") * (Decimal(mark) - 3000)
    reading: Any = make_reading(1, equity=str(1000 + gain))
    row = reading.symbols[0]
    moved = replace(row, position=replace(row.position, mark_price=Decimal(mark)))
    assert replace(reading, symbols=(moved,)).residual == 0


# --- the equity identity, once a minute ---


class Desk:
    """An equity watch over one flat symbol whose venue answers what it is told."""

    def __init__(self, **script: list[Any]) -> None:
        self.adapter = FakeAdapter(script=script)
        self.recorded: list[EquityReading] = []
        self.alerts: list[RaiseAlert] = []

    def watch(self, clock: Any) -> EquityWatch:
        manager = make_manager(grid_settings())
        return EquityWatch(
            self.adapter,
            clock,
            [WatchedSymbol(instrument=manager.instrument, manager=manager, opening=FLAT)],
            opening=make_account(1000),
            opening_ts_ns=START_NS,
            record=self.recorded.append,
            alert=self.alerts.append,
        )

    def minutes(self, count: int) -> None:
        async def main(clock: Any) -> None:
            running = asyncio.create_task(self.watch(clock).run())
            await asyncio.sleep(60 * count + 10)
            running.cancel()

        run_virtual(main)


def test_the_account_is_read_at_the_opening_and_every_minute() -> None:
    desk = Desk()
    desk.minutes(3)
    assert [reading.residual for reading in desk.recorded] == [0, 0, 0, 0]
    assert desk.recorded[0].ts_ns == START_NS and desk.alerts == []


@pytest.mark.parametrize(("off", "alarms"), [("0.1", 0), ("-0.09", 0), ("0.11", 1), ("-0.11", 1)])
def test_a_residual_above_a_ten_thousandth_of_the_equity_is_an_alarm_once(
    off: str, alarms: int
) -> None:
    desk = Desk(fetch_account=[make_account(1000 + Decimal(off))])
    desk.minutes(3)
    assert desk.recorded[-1].residual == Decimal(off)
    assert [alert.topic for alert in desk.alerts] == ["equity.residual"] * alarms


def test_a_residual_of_a_single_look_is_no_alarm() -> None:
    desk = Desk(fetch_account=[make_account(900), make_account(900), make_account(1000)])
    desk.minutes(1)
    assert desk.alerts == [] and desk.recorded[-1].residual == 0


def test_a_venue_that_does_not_answer_is_neither_a_reading_nor_an_alarm() -> None:
    desk = Desk(fetch_account=[VenueError("busy")])
    desk.minutes(2)
    assert len(desk.recorded) == 1 and desk.alerts == []


def test_a_position_that_the_slots_do_not_hold_makes_no_reading() -> None:
    desk = Desk(fetch_position=[replace(FLAT, qty_lots=Lots(5))], fetch_account=[make_account(1)])
    desk.minutes(2)
    assert len(desk.recorded) == 1 and desk.alerts == []


def test_everything_our_books_know_of_explains_the_equity() -> None:
    """100 lots held before at 3000; 20 taken in at 2990; profit 7 quanta, fees 0.5, funding -0.25; mark now 3010."""
    reading = make_reading(1, equity="0")
    (row,) = reading.symbols
    totals = make_totals(
        inventory_lots=120,
        inventory_cost=100 * 280_000 + 20 * 299_000,
        adopted_lots=100,
        adopted_cost=100 * 280_000,
        realised=7,
        fees=Decimal("0.5"),
        funding=Decimal("-0.25"),
    )
    opening = replace(row.opening, qty_lots=Lots(100))
    position = replace(row.position, qty_lots=Lots(120), mark_price=Decimal(3010))
    moved = replace(row, totals=totals, opening=opening, position=position)
    gain = Decimal("0.1") * 10 + Decimal("0.02") * 20 + Decimal("0.00007") - Decimal("0.75")
    assert moved.explained() == gain
    whole = replace(reading, symbols=(moved,), equity=reading.opening_equity + gain + 3)
    assert whole.residual == 3


# --- in the daemon ---


class Patient(View):
    """A venue that outlives the process."""

    connected = False

    async def connect(self) -> None:
        if not self.connected:
            self.connected = True
            await self.inner.connect()

    async def close(self) -> None:
        pass


def in_slots(run: Run) -> str:
    return " ".join(run.totals().not_quoting)


def test_a_ledger_that_takes_nothing_stops_new_risk_until_it_is_back(url: str) -> None:
    settings = make_settings(ledger=url)

    async def main(_: object) -> None:
        async with running(settings, make_exchange(settings)) as run:
            await run.until_quoting()
            assert run.app.bookkeeper is not None
            ledger = run.app.bookkeeper.ledger
            assert ledger is not None
            mend = Kept(ledger).refuse()
            await run.until(lambda: "disk: ledger" in in_slots(run), within_s=30)
            run.app._disk.recovered("journal")
            await asyncio.sleep(1)
            assert "disk: ledger" in in_slots(run)
            assert not [o for o in open_orders(run) if not o.is_exit]
            mend()
            await run.until(lambda: "disk" not in in_slots(run), within_s=5)
            await run.until_quoting()
            await run.until(lambda: run.totals().fills > 20, within_s=3600)
        assert run.report is not None and problems_of(run.report) == []
        assert len(read_ledger(url).trades) == run.totals().fills

    run_virtual(main)


def open_orders(run: Run) -> list[Any]:
    return [slot.order for slot in run.symbol().manager.live.values() if slot.order is not None]


def test_a_ledger_older_than_the_venue_is_completed_at_the_start(url: str) -> None:
    settings = make_settings(ledger=url)

    async def main(_: object) -> None:
        venue = Patient(make_exchange(settings))
        async with running(settings, venue) as run:
            await run.until_quoting()
            await run.until(lambda: run.totals().fills > 20, within_s=3600)
        known = ids(read_ledger(url).trades)
        engine = connect(url)
        with engine.begin() as connection:
            lost = connection.exec_driver_sql("DELETE FROM trades WHERE number > 60").rowcount
        engine.dispose()
        assert 0 < lost < len(known)
        await asyncio.sleep(600)  # longer ago than the slots ask for
        async with running(settings, venue) as again:
            await again.until_quoting()
        assert ids(read_ledger(url).trades)[: len(known)] == known
        await venue.inner.close()

    run_virtual(main)


def test_the_configuration_in_the_ledger_holds_no_secret(url: str) -> None:
    secret = Credentials(api_key="the-key-itself", api_secret="the-secret-itself")
    settings = make_settings(ledger=url, credentials=secret)

    async def main(_: object) -> None:
        async with running(settings, make_exchange(settings)) as run:
            await run.until_quoting()

    run_virtual(main)
    engine = connect(url, read_only=True)
    with engine.connect() as connection:
        (text,) = connection.exec_driver_sql("SELECT settings FROM configurations").one()
    engine.dispose()
    assert "the-key-itself" not in text and "the-secret-itself" not in text
    assert '"price_interval"' in text
    assert url not in repr(settings)


def test_a_configured_password_is_never_quoted() -> None:
    text = "mode: paper\nledger: {}\nsymbols:\n  - name: ETHUSDT\n    grid: {{price_interval: 2, order_amount: 60}}\n"
    settings = settings_from_text(text.format(WITH_PASSWORD), "c.yaml", {})
    assert settings.ledger == WITH_PASSWORD and PASSWORD not in repr(settings)
    for wrong in (f"mysql://u:{PASSWORD}@h/d", f"postgresql://u:{PASSWORD}@h", "ledger.db"):
        with pytest.raises(ConfigError) as refused:
            settings_from_text(text.format(wrong), "c.yaml", {})
        assert PASSWORD not in str(refused.value)
        assert "c.yaml:2: ledger: is not the address of a ledger" in str(refused.value)


ODD_TEXT = 'quote " backslash \\ line\nbreak é 漢 \u2028 []{}:,'


@pytest.mark.parametrize("odd", ["a\0b", r"\u0000", ODD_TEXT])
def test_text_of_any_kind_and_numbers_up_to_the_last_come_back_as_they_were(
    url: str, odd: str
) -> None:
    kept = open_ledger(url)
    great = replace(make_trade(2), ts_venue_ns=2**63 - 1, fee=Decimal("-0.000000000000000000001"))

    async def main() -> None:
        kept.ledger.intake.note(ETH, heard(replace(make_trade(1), trade_id=odd)), [])
        kept.ledger.intake.note(ETH, heard(great), [])
        await kept.ledger.flush()
        assert (kept.ledger.intake.lost_rows, kept.ledger.waiting_rows) == (0, 0)

    found = written(url, kept, main())
    assert sorted(ids(found.trades)) == sorted([odd, "t2"])
    last = max(found.trades, key=lambda trade: trade.ts_venue_ns)
    assert last.ts_venue_ns == 2**63 - 1
    assert format(last.fee, "f") == "-0.000000000000000000001"


def test_a_ledger_with_a_thread_writes_what_one_without_writes(tmp_path: Path) -> None:
    """More rows than are made at once, orders that end in the batch in which they began among them."""

    def books(name: str, *, in_thread: bool) -> Any:
        address = f"sqlite:///{tmp_path / name}"
        ledger = writer.Ledger(
            address,
            venue="fake",
            account="",
            bot_tag="mm1",
            in_thread=in_thread,
            on_failure=pytest.fail,
            on_recovered=lambda _: None,
        )
        ledger.open(program="1.0", settings="{}", ts_ns=START_NS)

        async def main() -> None:
            for number in range(300):
                fill = make_trade(number)
                name = ClientOrderId(-3, Side.BUY, 100 + number)
                order = NewOrder(
                    client_order_id=name,
                    side=Side.BUY,
                    price_ticks=fill.price_ticks,
                    qty_lots=fill.qty_lots,
                    post_only=True,
                    reduce_only=False,
                )
                end = RecordOrderEnd(
                    client_order_id=name,
                    venue_order_id=fill.venue_order_id,
                    side=Side.BUY,
                    price_ticks=fill.price_ticks,
                    qty_lots=fill.qty_lots,
                    filled_lots=fill.qty_lots,
                    end=None,
                    detail="",
                    ts_sent_ns=START_NS,
                    ts_accepted_ns=START_NS + 1,
                    ts_ended_ns=START_NS + 2,
                )
                ledger.intake.note(ETH, heard(fill), [PlaceOrder(order=order, reason="entry")])
                if number % 2:
                    ledger.intake.note(ETH, heard(fill), [end])
            await ledger.flush()
            assert await ledger.close(5.0) == ""

        asyncio.run(main())
        return read_ledger(address)

    aside, alone = books("aside.db", in_thread=True), books("alone.db", in_thread=False)
    assert len(aside.orders) == 300 and len(aside.trades) == 300
    assert [order.ended for order in aside.orders].count("filled") == 150
    assert aside == alone
