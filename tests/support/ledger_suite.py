"""What a ledger promises, whichever database holds it: one suite, run on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

sqlalchemy = pytest.importorskip("sqlalchemy")

from sqlalchemy import event  # noqa: E402
from sqlalchemy.exc import OperationalError  # noqa: E402

from marketmaker.errors import ConfigError  # noqa: E402
from marketmaker.ledger import intake, schema, writer  # noqa: E402
from marketmaker.ledger.reader import read_ledger  # noqa: E402
from marketmaker.ledger.rows import LedgerTrade  # noqa: E402
from marketmaker.ledger.writer import Ledger  # noqa: E402
from marketmaker.model.account import Position, VenueSnapshot  # noqa: E402
from marketmaker.model.action import PlaceOrder, RecordFill, RecordOrderEnd  # noqa: E402
from marketmaker.model.equity import EquityReading, SymbolReading  # noqa: E402
from marketmaker.model.event import (  # noqa: E402
    FundingBooked,
    OrderReported,
    SnapshotTaken,
    TimerFired,
)
from marketmaker.model.instrument import Lots, Quanta, Ticks  # noqa: E402
from marketmaker.model.order import (  # noqa: E402
    ClientOrderId,
    EndReason,
    Fill,
    OrderReport,
    OrderStatus,
    Side,
)
from marketmaker.model.status import GridTotals  # noqa: E402
from tests.support.fakes import START_NS, make_instrument, make_order, run_virtual  # noqa: E402

ETH = make_instrument()


@dataclass
class Kept:
    """A ledger and what it said."""

    ledger: Ledger
    failures: list[str] = field(default_factory=list)
    recoveries: list[Mapping[str, int]] = field(default_factory=list)

    def refuse(self, *, times: int | None = None) -> Callable[[], None]:
        """Whoever wants to write is told of a full disk, so many times; returns what ends it."""
        left = times

        def fail(*_: Any) -> None:
            nonlocal left
            if left is not None:
                left -= 1
                if left < 0:
                    return
            raise OperationalError("INSERT", None, Exception("database or disk is full"))

        event.listen(self.ledger.engine, "checkout", fail)
        return lambda: event.remove(self.ledger.engine, "checkout", fail)


def open_ledger(
    url: str, *, venue: str = "fake", account: str = "", bot_tag: str = "mm1", settings: str = "{}"
) -> Kept:
    failures: list[str] = []
    recoveries: list[Mapping[str, int]] = []
    ledger = Ledger(
        url,
        venue=venue,
        account=account,
        bot_tag=bot_tag,
        in_thread=False,
        on_failure=failures.append,
        on_recovered=recoveries.append,
    )
    ledger.open(program="1.0", settings=settings, ts_ns=START_NS)
    return Kept(ledger, failures, recoveries)


def make_trade(number: int, *, side: Side = Side.BUY, fee: str = "0.01") -> Fill:
    return Fill(
        trade_id=f"t{number}",
        client_order_id=ClientOrderId(-3, side, 100 + number),
        venue_order_id=f"v{number}",
        side=side,
        price_ticks=Ticks(300_000 + number),
        qty_lots=Lots(20),
        fee=Decimal(fee),
        is_maker=True,
        ts_venue_ns=START_NS + number,
    )


def heard(fill: Fill) -> OrderReported:
    return OrderReported(
        report=OrderReport(
            client_order_id=fill.client_order_id,
            venue_order_id=fill.venue_order_id,
            side=fill.side,
            price_ticks=fill.price_ticks,
            qty_lots=fill.qty_lots,
            filled_lots=fill.qty_lots,
            status=OrderStatus.FILLED,
            fill=fill,
        ),
        ts_ns=START_NS,
    )


def snapshot(*fills: Fill) -> SnapshotTaken:
    flat = Position(qty_lots=Lots(0), entry_price=Decimal(0), mark_price=Decimal(0))
    return SnapshotTaken(
        snapshot=VenueSnapshot(
            open_orders=(),
            position=flat,
            fills=fills,
            ts_asked_ns=START_NS,
            ts_answered_ns=START_NS,
        ),
        ts_ns=START_NS,
    )


def booking_of(fill: Fill, *, trade_id: str | None = None, realised: int = 7) -> RecordFill:
    assert fill.client_order_id is not None
    return RecordFill(
        trade_id=fill.trade_id if trade_id is None else trade_id,
        client_order_id=fill.client_order_id,
        side=fill.side,
        price_ticks=fill.price_ticks,
        qty_lots=fill.qty_lots,
        realised=Quanta(realised),
        fee=fill.fee,
        is_maker=True,
        ts_venue_ns=fill.ts_venue_ns,
    )


def make_totals(**changes: Any) -> GridTotals:
    zero = {field.name: 0 for field in fields(GridTotals)}
    more = {"fees": Decimal(0), "funding": Decimal(0), "price_ticks": None, "not_quoting": ()}
    values: dict[str, Any] = {**zero, **more, **changes}
    return GridTotals(**values)


def make_reading(ts_ns: int, *, equity: str = "1000.5") -> EquityReading:
    def position(lots: int, mark: str) -> Position:
        return Position(qty_lots=Lots(lots), entry_price=Decimal(0), mark_price=Decimal(mark))

    row = SymbolReading(
        instrument=ETH,
        totals=make_totals(inventory_lots=20, inventory_cost=20 * 300_000),
        opening=position(0, "3000"),
        position=position(20, "3001.25"),
    )
    return EquityReading(
        equity=Decimal(equity),
        available=Decimal(900),
        opening_equity=Decimal(1000),
        opening_ts_ns=START_NS,
        symbols=(row,),
        ts_ns=ts_ns,
    )


def ids(trades: tuple[LedgerTrade, ...]) -> list[str]:
    return [trade.trade_id for trade in trades]


def written(url: str, kept: Kept, work: Coroutine[Any, Any, Any] | None = None) -> Any:
    """Everything flushed and closed, then read back."""

    async def main(_: object) -> None:
        if work is not None:
            await work
        assert await kept.ledger.close(1.0) == ""

    run_virtual(main)
    return read_ledger(url)


class LedgerSuite:
    """The fixture `url` is the address of an empty database."""

    def test_a_trade_comes_back_digit_for_digit(self, url: str) -> None:
        kept = open_ledger(url)
        fee = "-0.000000000123456789012345678901234567"
        kept.ledger.intake.note(ETH, heard(make_trade(1, fee=fee)), [])
        (trade,) = written(url, kept).trades
        assert (trade.price, trade.qty, str(trade.fee)) == (
            Decimal("3000.01"),
            Decimal("0.020"),
            f"{Decimal(fee)}",
        )
        assert (trade.slot, trade.side, trade.sequence) == (-3, 1, 101)
        assert (trade.ts_venue_ns, trade.is_maker) == (START_NS + 1, True)

    def test_a_trade_told_by_stream_snapshot_and_a_second_process_is_one_row(
        self, url: str
    ) -> None:
        kept = open_ledger(url)
        fill = make_trade(1)
        kept.ledger.intake.note(ETH, heard(fill), [booking_of(fill)])
        kept.ledger.intake.note(ETH, snapshot(fill, make_trade(2)), [])
        written(url, kept)
        again = open_ledger(url)
        again.ledger.intake.note(
            ETH, snapshot(fill, make_trade(2)), [booking_of(fill, realised=99)]
        )
        found = written(url, again)
        assert ids(found.trades) == ["t1", "t2"]
        assert [booking.realised for booking in found.bookings] == [ETH.money(Quanta(7))]

    def test_a_trade_of_somebody_else_is_left_out(self, url: str) -> None:
        kept = open_ledger(url)
        foreign = Fill(
            trade_id="x",
            client_order_id=None,
            venue_order_id="v",
            side=Side.BUY,
            price_ticks=Ticks(1),
            qty_lots=Lots(1),
            fee=Decimal(0),
            is_maker=True,
            ts_venue_ns=1,
        )
        kept.ledger.intake.note(ETH, snapshot(foreign), [])
        assert written(url, kept).trades == ()

    def test_quantities_booked_before_their_trade_are_rows_of_their_own(self, url: str) -> None:
        kept = open_ledger(url)
        fill = make_trade(1)
        for _ in range(2):
            kept.ledger.intake.note(
                ETH, TimerFired(ts_ns=START_NS), [booking_of(fill, trade_id="")]
            )
        found = written(url, kept)
        assert len(found.bookings) == 2
        assert all(booking.trade_id.startswith("~") for booking in found.bookings)

    def test_an_order_has_one_row_from_placement_to_end(self, url: str) -> None:
        kept = open_ledger(url)
        order = make_order(5, slot=2, side=Side.SELL, reduce_only=True)
        placed = PlaceOrder(order=order, reason="window")
        kept.ledger.intake.note(ETH, TimerFired(ts_ns=START_NS + 1), [placed])
        end = RecordOrderEnd(
            client_order_id=order.client_order_id,
            venue_order_id="v9",
            side=order.side,
            price_ticks=order.price_ticks,
            qty_lots=order.qty_lots,
            filled_lots=Lots(4),
            end=EndReason.REQUESTED,
            detail="why",
            ts_sent_ns=START_NS + 1,
            ts_accepted_ns=START_NS + 2,
            ts_ended_ns=START_NS + 3,
        )
        kept.ledger.intake.note(ETH, TimerFired(ts_ns=START_NS + 3), [end])
        (row,) = written(url, kept).orders
        assert (row.slot, row.side, row.sequence) == (2, -1, 5)
        assert (row.qty, row.filled, row.ended) == (
            Decimal("0.010"),
            Decimal("0.004"),
            "requested",
        )
        assert row.ts_sent_ns == START_NS + 1

    def test_funding_is_booked_once_per_payment(self, url: str) -> None:
        kept = open_ledger(url)
        for amount in ("-1.5", "-1.5"):
            payment = FundingBooked(payment_id="p1", amount=Decimal(amount), ts_ns=START_NS)
            kept.ledger.intake.note(ETH, payment, [])
        (row,) = written(url, kept).funding
        assert row.amount == Decimal("-1.5")

    def test_a_reading_of_the_account_holds_its_residual(self, url: str) -> None:
        kept = open_ledger(url)
        kept.ledger.intake.record_equity(make_reading(START_NS + 5))
        found = written(url, kept)
        (row,), (position,) = found.equity, found.positions
        # 0.020 held since 3000.00, worth 3001.25 now: 0.025 explained of 0.5
        assert (row.equity, row.residual) == (Decimal("1000.5"), Decimal("0.475"))
        assert (position.position, position.mark_price) == (Decimal("0.02"), Decimal("3001.25"))

    def test_quoting_is_kept_as_intervals_and_a_crash_ends_one_within_ten_seconds(
        self, url: str
    ) -> None:
        kept = open_ledger(url)
        second = 1_000_000_000
        for at_s in range(25):
            why = "" if at_s < 12 else "risk: all panic"
            kept.ledger.intake.record_quoting(
                "ETHUSDT", bids=at_s < 12, asks=True, why=why, ts_ns=at_s * second
            )
        rows = written(url, kept).quoting
        assert [(row.ts_from_ns, row.ts_to_ns, row.bids, row.why) for row in rows] == [
            (0, 12 * second, True, ""),
            (12 * second, 22 * second, False, "risk: all panic"),
        ]

    def test_every_configuration_is_kept_once(self, url: str) -> None:
        for settings in ("a", "b", "a"):
            written(url, open_ledger(url, settings=settings))
        engine = open_ledger(url, settings="a").ledger.engine
        with engine.connect() as connection:
            rows = connection.execute(sqlalchemy.select(schema.configurations.c.settings)).all()
        engine.dispose()
        assert sorted(row.settings for row in rows) == ["a", "b"]

    def test_bots_accounts_and_venues_do_not_mix(self, url: str) -> None:
        books = [
            {},
            {"bot_tag": "mm2"},
            {"account": "sub"},
            {"venue": "other"},
        ]
        for book in books:
            kept = open_ledger(url, **book)
            kept.ledger.intake.note(ETH, heard(make_trade(1)), [])
            found = written(url, kept)
        assert len({trade.book_id for trade in found.trades}) == len(books)
        assert len(read_ledger(url, bot_tag="mm2").trades) == 1

    def test_numbers_ascend_over_restarts(self, url: str) -> None:
        for start in (1, 4):
            kept = open_ledger(url)
            for number in range(start, start + 3):
                kept.ledger.intake.note(ETH, heard(make_trade(number)), [])
            found = written(url, kept)
        numbers = [trade.number for trade in found.trades]
        assert len(set(numbers)) == 6 and numbers == sorted(numbers)

    def test_the_newest_trade_tells_from_when_on_to_ask(self, url: str) -> None:
        kept = open_ledger(url)
        assert kept.ledger.last_trade_ns("ETHUSDT") is None
        kept.ledger.intake.note(ETH, snapshot(make_trade(8), make_trade(3)), [])
        run_virtual(lambda _: kept.ledger.flush())
        assert kept.ledger.last_trade_ns("ETHUSDT") == START_NS + 8
        assert kept.ledger.last_trade_ns("BTCUSDT") is None
        written(url, kept)

    def test_a_full_disk_is_said_once_keeps_every_row_and_recovers(self, url: str) -> None:
        kept = open_ledger(url)

        async def main() -> None:
            running = asyncio.create_task(kept.ledger.run())
            kept.ledger.intake.note(ETH, heard(make_trade(1)), [])
            mend = kept.refuse()
            await asyncio.sleep(writer.PATIENCE_S / 2)
            assert kept.failures == []
            kept.ledger.intake.note(ETH, heard(make_trade(2)), [])
            await asyncio.sleep(60)
            assert len(kept.failures) == 1 and "disk is full" in kept.failures[0]
            assert kept.recoveries == [] and kept.ledger.waiting_rows == 2
            mend()
            await asyncio.sleep(2)
            assert kept.recoveries == [{}] and kept.ledger.failed == ""
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

        found = written(url, kept, main())
        assert ids(found.trades) == ["t1", "t2"] and found.gaps == ()

    def test_a_short_trouble_stops_nothing(self, url: str) -> None:
        kept = open_ledger(url)

        async def main() -> None:
            kept.refuse(times=1)
            kept.ledger.intake.note(ETH, heard(make_trade(1)), [])
            await kept.ledger.flush()
            assert kept.ledger.waiting_rows == 1
            await asyncio.sleep(1)
            await kept.ledger.flush()

        found = written(url, kept, main())
        assert (kept.failures, kept.recoveries) == ([], [])
        assert ids(found.trades) == ["t1"]

    def test_a_batch_whose_commit_nobody_confirmed_is_written_again_without_doubles(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = open_ledger(url)
        commit = kept.ledger._commit

        def committed_then_lost(*args: Any, **options: Any) -> int:
            commit(*args, **options)
            raise OperationalError("COMMIT", None, Exception("connection lost"))

        async def main() -> None:
            fill = make_trade(1)
            kept.ledger.intake.note(ETH, heard(fill), [booking_of(fill, trade_id="")])
            kept.ledger.intake.record_equity(make_reading(START_NS + 5))
            with monkeypatch.context() as patch:
                patch.setattr(kept.ledger, "_commit", committed_then_lost)
                await kept.ledger.flush()
            assert kept.ledger.waiting_rows == 4

        found = written(url, kept, main())
        assert [len(rows) for rows in (found.trades, found.bookings, found.equity)] == [1, 1, 1]

    def test_rows_beyond_the_bound_are_counted_and_their_trades_asked_for_again(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(intake, "MAX_WAITING_ROWS", 3)
        kept = open_ledger(url)

        async def main() -> None:
            mend = kept.refuse()
            for number in (1, 2, 3, 9, 7, 8):
                kept.ledger.intake.note(ETH, heard(make_trade(number)), [])
            for _ in range(2):
                await kept.ledger.flush()
                await asyncio.sleep(writer.PATIENCE_S)
            assert len(kept.failures) == 1
            mend()
            await kept.ledger.flush()
            assert kept.recoveries == [{"ETHUSDT": START_NS + 7}]
            assert kept.ledger.intake.lost_rows == 3
            for number in (7, 8, 9):
                kept.ledger.intake.record_trade(ETH, make_trade(number))
            kept.ledger.intake.lost_rows = 0

        found = written(url, kept, main())
        assert [gap.rows_lost for gap in found.gaps] == [3]
        assert ids(found.trades) == ["t1", "t2", "t3", "t7", "t8", "t9"]

    def test_a_row_that_no_database_takes_does_not_keep_back_the_others(self, url: str) -> None:
        kept = open_ledger(url)

        async def main() -> None:
            kept.ledger.intake.note(ETH, heard(make_trade(1)), [])
            kept.ledger.intake.note(ETH, heard(make_trade(2, fee="NaN")), [])
            kept.ledger.intake.note(ETH, heard(make_trade(3)), [])
            await kept.ledger.flush()
            assert (kept.ledger.intake.lost_rows, kept.ledger.waiting_rows) == (1, 0)
            kept.ledger.intake.lost_rows = 0

        found = written(url, kept, main())
        assert ids(found.trades) == ["t1", "t3"]
        assert [gap.rows_lost for gap in found.gaps] == [1]

    def test_what_cannot_be_written_at_the_end_is_said(self, url: str) -> None:
        kept = open_ledger(url)

        async def main(_: object) -> None:
            kept.refuse()
            kept.ledger.intake.note(ETH, heard(make_trade(1)), [])
            assert "1 rows not written" in await kept.ledger.close(1.0)

        run_virtual(main)

    async def test_a_write_that_hangs_is_a_failure_while_the_loop_goes_on(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writer, "PATIENCE_S", 0.01)
        released, failed = threading.Event(), asyncio.Event()
        recovered: list[Mapping[str, int]] = []
        over = asyncio.Event()

        def hear_recovery(since_ns: Mapping[str, int]) -> None:
            recovered.append(since_ns)
            over.set()

        ledger = Ledger(
            url,
            venue="fake",
            account="",
            bot_tag="mm1",
            in_thread=True,
            on_failure=lambda _: failed.set(),
            on_recovered=hear_recovery,
        )
        ledger.open(program="1.0", settings="{}", ts_ns=START_NS)
        commit = ledger._commit
        numbers = count(1)

        def hanging(*args: Any, **options: Any) -> int:
            """Whenever rows are written, there is one more to write."""
            released.wait()
            ledger.intake.note(ETH, heard(make_trade(next(numbers))), [])
            return commit(*args, **options)

        monkeypatch.setattr(ledger, "_commit", hanging)
        ledger.intake.note(ETH, heard(make_trade(next(numbers))), [])
        running = asyncio.create_task(ledger.run())
        try:
            async with asyncio.timeout(20):
                await failed.wait()
            assert "no answer" in ledger.failed and not recovered
            released.set()
            async with asyncio.timeout(20):
                await over.wait()
        finally:
            released.set()
        assert recovered == [{}] and ledger.failed == "" and ledger.waiting_rows
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        monkeypatch.setattr(ledger, "_commit", commit)
        assert await ledger.close(5.0) == ""
        told = next(numbers)
        assert ids(read_ledger(url).trades) == [f"t{number}" for number in range(1, told)]

    def test_a_ledger_of_another_format_is_refused(self, url: str) -> None:
        kept = open_ledger(url)
        with kept.ledger.engine.begin() as connection:
            connection.execute(sqlalchemy.update(schema.about).values(format=99))
        kept.ledger.engine.dispose()
        with pytest.raises(ConfigError, match="format 99"):
            read_ledger(url)
        again = Ledger(
            url,
            venue="fake",
            account="",
            bot_tag="mm1",
            in_thread=False,
            on_failure=print,
            on_recovered=print,
        )
        with pytest.raises(ConfigError, match="format 99"):
            again.open(program="1.0", settings="{}", ts_ns=START_NS)
        again.engine.dispose()
