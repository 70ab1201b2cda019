"""The ledger on a real PostgreSQL server, and on both databases under `kill -9` in the middle of writes."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakes import run_virtual
from tests.support.ledger_suite import ETH, LedgerSuite, heard, make_trade, open_ledger, written
from tests.support.postgres import running_postgres, why_no_postgres

pytest.importorskip("psycopg")

from marketmaker.errors import ConfigError
from marketmaker.ledger.database import LedgerError
from marketmaker.ledger.reader import read_ledger

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
TRADES = 12_000
WRITER = f"""
import asyncio, sys
from marketmaker.ledger import writer
from tests.support.fakes import START_NS
from tests.support.fakes import run_virtual
from tests.support.ledger_suite import ETH, booking_of, heard, make_trade

writer.BATCH_ROWS = 100
ledger = writer.Ledger(sys.argv[1], venue="fake", account="", bot_tag="mm1", in_thread=True,
                       on_failure=print, on_recovered=print)
ledger.open(program="1.0", settings="{{}}", ts_ns=START_NS)

async def main():
    for number in range({TRADES}):
        fill = make_trade(number)
        ledger.intake.note(ETH, heard(fill), [booking_of(fill)])
        if number % 200 == 0:
            print(number, flush=True)
            await ledger.flush()
    await ledger.close(30)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if reason := why_no_postgres():
        pytest.skip(reason)
    with running_postgres() as address:
        yield address


@pytest.fixture
def url(server: str) -> str:
    """The server's database, emptied."""
    from marketmaker.ledger import schema
    from marketmaker.ledger.database import connect

    engine = connect(server)
    schema.metadata.drop_all(engine)
    engine.dispose()
    return server


class TestOnPostgres(LedgerSuite):
    pass


def test_money_is_numeric_in_the_table(url: str) -> None:
    from marketmaker.ledger.database import connect

    kept = open_ledger(url)
    kept.ledger.intake.note(ETH, heard(make_trade(1)), [])
    written(url, kept)
    engine = connect(url)
    with engine.connect() as connection:
        row = connection.exec_driver_sql(
            "SELECT pg_typeof(price), pg_typeof(fee) FROM trades"
        ).one()
    engine.dispose()
    assert tuple(map(str, row)) == ("numeric", "numeric")


def test_a_text_that_postgres_cannot_hold_does_not_keep_back_the_others(url: str) -> None:
    from dataclasses import replace

    kept = open_ledger(url)

    async def main() -> None:
        kept.ledger.intake.record_trade(ETH, replace(make_trade(1), trade_id="a\0b"))
        kept.ledger.intake.record_trade(ETH, make_trade(2))
        await kept.ledger.flush()
        assert kept.ledger.intake.lost_rows == 1
        kept.ledger.intake.lost_rows = 0

    assert [trade.trade_id for trade in written(url, kept, main()).trades] == ["t2"]


def test_a_connection_cut_by_the_server_is_made_again(url: str) -> None:
    from marketmaker.ledger.database import connect

    kept = open_ledger(url)
    engine = connect(url)
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = 'ledger'"
        )
    engine.dispose()
    kept.ledger.intake.note(ETH, heard(make_trade(1)), [])
    assert len(written(url, kept).trades) == 1
    assert kept.failures == []


def test_a_book_has_one_writer_on_whatever_machine(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from marketmaker.ledger import database
    from marketmaker.ledger.database import connect

    monkeypatch.setattr(database, "HOLD_PATIENCE_S", 0.3)
    kept = open_ledger(url)
    with pytest.raises(ConfigError, match="another process writes the book of bot_tag 'mm1'"):
        open_ledger(url)
    other = open_ledger(url, bot_tag="mm2")
    engine = connect(url)
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = 'ledger'"
        )
    engine.dispose()
    kept.ledger.intake.note(ETH, heard(make_trade(1)), [])
    run_virtual(lambda _: kept.ledger.flush())
    with pytest.raises(ConfigError, match="another process"):
        open_ledger(url)
    for each in (kept, other):
        written(url, each)
    written(url, open_ledger(url))


def test_a_server_that_is_not_there_is_trouble_that_may_pass_and_keeps_its_password() -> None:
    with pytest.raises(LedgerError) as refused:
        open_ledger("postgresql://mm:hunter2secret@127.0.0.1:1/mm")
    assert "hunter2secret" not in str(refused.value) and "\n" not in str(refused.value)


@pytest.fixture(params=["sqlite", "postgres"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    address: str = request.getfixturevalue("url")
    return address


def test_killed_in_the_middle_of_writes_what_is_in_is_a_prefix_and_a_restart_completes_it(
    either: str,
) -> None:
    """Each process hears every trade again from the first, as a venue tells them; three are killed while they write."""
    held = 0
    for lines in (3, 8, 15):  # of 200 trades each
        process = start_writer(either)
        assert process.stdout is not None
        for line in itertools.islice(process.stdout, lines):
            assert line.strip().isdigit()
        process.kill()
        process.wait()
        process.stdout.close()
        held = check_prefix(either, at_least=held)
    assert 0 < held < TRADES
    process = start_writer(either)
    process.communicate(timeout=300)
    assert process.returncode == 0
    assert check_prefix(either, at_least=TRADES) == TRADES


def start_writer(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


def check_prefix(url: str, *, at_least: int) -> int:
    """How many trades are in; each once, each with its booking, none left out before the last."""
    found = read_ledger(url)
    count = len(found.trades)
    expected = [f"t{number}" for number in range(count)]
    assert [trade.trade_id for trade in found.trades] == expected
    numbers = [trade.number for trade in found.trades]
    assert numbers == sorted(numbers) and len(set(numbers)) == count
    assert [booking.trade_id for booking in found.bookings] in (expected, expected[:-1])
    assert count >= at_least
    return count
