"""The journal's file: its lines, its patience with the disk, what a crash leaves, and how it is read and replayed."""

from __future__ import annotations

import argparse
import asyncio
import errno
import gzip
import io
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from marketmaker.cli.replay import add_arguments, run_replay
from marketmaker.errors import ConfigError, InvariantBroken
from marketmaker.model.action import Action, PlaceOrder, TakeSnapshot
from marketmaker.model.event import Event, PriceChanged
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.order import ClientOrderId, NewOrder, Side
from marketmaker.model.settings import GridSettings
from marketmaker.model.status import GridMemory
from marketmaker.runtime import journal as journal_module
from marketmaker.runtime.journal import (
    CoreArguments,
    Journal,
    JournaledSymbol,
    JournalHeader,
    read_journal,
)

INSTRUMENT = Instrument(
    venue="paper",
    name="ETHUSDT",
    base="ETH",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.001"),
    maker_fee=Decimal("0.0002"),
    taker_fee=Decimal("0.0005"),
)
CORE = CoreArguments(
    instrument=INSTRUMENT,
    settings=GridSettings(order_amount=Decimal(50), price_interval=Decimal(5)),
    sequences=36**8,
    max_slot=839_807,
    first_sequence=1_700,
    request_lifetime_s=5.0,
    order_lifetime_s=86_400.0,
    memory=GridMemory(anchor_ticks=Ticks(240_000), next_sequence=1_700, holdings=(), ended=""),
)
HEADER = JournalHeader(version="1.2.3", symbols=(JournaledSymbol(name="ETHUSDT", core=CORE),))


def price(ticks: int) -> PriceChanged:
    return PriceChanged(price_ticks=Ticks(ticks), ts_venue_ns=ticks * 10, ts_ns=ticks * 10 + 1)


def place(sequence: int) -> PlaceOrder:
    return PlaceOrder(
        order=NewOrder(
            client_order_id=ClientOrderId(-3, Side.BUY, sequence),
            side=Side.BUY,
            price_ticks=Ticks(239_500),
            qty_lots=Lots(20),
            post_only=True,
            reduce_only=False,
        ),
        reason="in the window",
    )


class Disk:
    """A write function that takes `room` bytes, `step` at a time, and then refuses."""

    def __init__(self, room: float = float("inf"), step: int = 1 << 30) -> None:
        self.room = room
        self.step = step
        self.taken = bytearray()
        self.refusals = 0

    def __call__(self, fd: int, data: bytes | bytearray) -> int:
        size = int(min(len(data), self.step, self.room))
        if not size:
            self.refusals += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= size
        self.taken += data[:size]
        return os.write(fd, data[:size])


class Alarm:
    def __init__(self) -> None:
        self.rang: list[str] = []

    def failure(self, reason: str) -> None:
        self.rang.append(reason)

    def recovered(self) -> None:
        self.rang.append("recovered")


def opened(path: Path, disk: Disk | None = None, alarm: Alarm | None = None) -> Journal:
    alarm = alarm or Alarm()
    journal = Journal(
        str(path),
        on_failure=alarm.failure,
        on_recovered=alarm.recovered,
        write=disk or os.write,
    )
    journal.open(HEADER)
    return journal


def closed_journal(path: Path, *, events: int = 3) -> Path:
    """Every event is answered by one placement with the event's number as its sequence."""
    journal = opened(path)
    for number in range(1, events + 1):
        journal.heard(0, price(number))
        journal.decided(0, [place(number)])
    journal.close()
    return path


def prices(path: Path) -> list[int]:
    return [
        entry.event.price_ticks
        for entry in read_journal(str(path))[1]
        if isinstance(entry.event, PriceChanged)
    ]


# --- the file


def test_the_lines_are_header_event_actions_and_end(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j.jsonl")
    journal.heard(0, price(240_100))
    journal.decided(0, [place(1)])
    journal.heard(0, price(240_200))
    journal.decided(0, [])
    journal.close()
    header, *lines = (tmp_path / "j.jsonl").read_text().splitlines()
    assert json.loads(header)["journal"] == 1
    assert json.loads(header)["symbols"][0]["core"]["instrument"]["tick_size"] == "0.01"
    assert lines == [
        '{"s":0,"e":{"t":"PriceChanged","price_ticks":240100,"ts_venue_ns":2401000,"ts_ns":2401001}}',
        '{"s":0,"a":[{"t":"PlaceOrder","order":{"client_order_id":[-3,1,1],"side":1,'
        '"price_ticks":239500,"qty_lots":20,"post_only":true,"reduce_only":false,'
        '"time_in_force":"gtc"},"reason":"in the window"}]}',
        '{"s":0,"e":{"t":"PriceChanged","price_ticks":240200,"ts_venue_ns":2402000,"ts_ns":2402001}}',
        '{"end":true}',
    ]


def test_the_reader_pairs_events_with_their_actions_and_counts_lines(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j.jsonl")
    journal.heard(0, price(1))
    journal.heard(0, price(2))
    journal.decided(0, [place(2), TakeSnapshot(reason="why not")])
    journal.heard(0, price(3))
    journal.close()
    header, entries = read_journal(str(tmp_path / "j.jsonl"))
    assert header == HEADER
    assert [(e.line_number, e.event, len(e.actions)) for e in entries] == [
        (2, price(1), 0),
        (3, price(2), 2),
        (5, price(3), 0),
    ]


@pytest.mark.parametrize("name", ["j.jsonl", "j.jsonl.gz"])
def test_the_same_run_twice_gives_the_same_bytes_under_any_name(tmp_path: Path, name: str) -> None:
    first = closed_journal(tmp_path / f"first-{name}", events=5000).read_bytes()
    assert closed_journal(tmp_path / f"second-{name}", events=5000).read_bytes() == first


def test_a_name_in_gz_gives_a_gzip_file_that_other_tools_read(tmp_path: Path) -> None:
    plain = closed_journal(tmp_path / "j.jsonl", events=5000).read_bytes()
    packed = closed_journal(tmp_path / "j.jsonl.gz", events=5000)
    assert gzip.decompress(packed.read_bytes()) == plain
    assert packed.stat().st_size < len(plain) / 5


def test_without_a_path_nothing_is_written_or_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    journal = Journal("")
    journal.open(HEADER)
    journal.heard(0, price(1))
    journal.decided(0, [place(1)])
    journal.flush()
    journal.close()
    assert not list(tmp_path.iterdir()) and journal.lost_lines == 0


def test_journals_of_earlier_processes_are_kept_under_numbers(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.jsonl.gz"
    for events in (1, 2, 3):
        closed_journal(path, events=events)
    assert [len(prices(path.with_name(f"journal{n}.jsonl.gz"))) for n in (".1", ".2", "")] == [
        1,
        2,
        3,
    ]


def test_a_journal_that_cannot_be_created_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "file" / "below", tmp_path / "pipe"):
        with pytest.raises(ConfigError, match=f"^journal {path}: .*; name a file"):
            opened(path)


# --- when it is written


async def test_run_writes_what_waits_after_a_fifth_of_a_second(tmp_path: Path) -> None:
    slept: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(delay: float) -> None:
        slept.append(delay)
        await real_sleep(0)

    journal = opened(tmp_path / "j.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "sleep", sleep)
        task = asyncio.create_task(journal.run())
        journal.heard(0, price(1))
        assert (tmp_path / "j.jsonl").read_bytes() == b""
        for _ in range(10):
            await real_sleep(0)
        assert (tmp_path / "j.jsonl").read_bytes().count(b"\n") == 2
        assert slept == [0.2]  # and then it rests: nothing is waiting
        journal.heard(0, price(2))
        for _ in range(10):
            await real_sleep(0)
        assert (tmp_path / "j.jsonl").read_bytes().count(b"\n") == 3
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    journal.close()


def test_what_was_heard_is_written_down_in_order_however_much_waits(tmp_path: Path) -> None:
    """Lines are made later than what they tell of: by bites, when an order was sent, and at the end."""
    path = tmp_path / "j.jsonl"
    journal = opened(path)
    for number in range(1, 201):
        journal.heard(0, price(number))
        journal.decided(0, [place(number)])
        if number % 7 == 0:
            journal.write_down()
        if number % 50 == 0:
            journal.flush()
    journal.close()
    assert path.read_bytes() == closed_journal(tmp_path / "good.jsonl", events=200).read_bytes()


def test_32_kibibytes_are_written_without_waiting_for_run(tmp_path: Path) -> None:
    disk = Disk()
    journal = opened(tmp_path / "j.jsonl", disk)
    while not disk.taken:
        journal.heard(0, price(1))
    assert 32 * 1024 <= len(disk.taken) < 32 * 1024 + 200
    journal.close()


# --- when the disk refuses


def test_a_full_disk_raises_nothing_and_rings_once_and_loses_nothing(tmp_path: Path) -> None:
    path, alarm = tmp_path / "j.jsonl", Alarm()
    disk = Disk(room=1500, step=7)
    journal = opened(path, disk, alarm)
    for number in range(1, 21):
        journal.heard(0, price(number))
        journal.decided(0, [place(number)])
        journal.flush()
    assert disk.refusals > 2
    assert alarm.rang == [f"journal {path}: No space left on device"]
    assert journal.failed == alarm.rang[0]
    disk.room = float("inf")
    journal.flush()
    assert alarm.rang[1:] == ["recovered"] and journal.failed is None
    journal.close()
    assert journal.lost_lines == 0
    assert path.read_bytes() == closed_journal(tmp_path / "good.jsonl", events=20).read_bytes()


def test_a_gzip_journal_survives_a_full_disk_as_well(tmp_path: Path) -> None:
    path, disk = tmp_path / "j.jsonl.gz", Disk(room=300, step=11)
    journal = opened(path, disk)
    for number in range(1, 21):
        journal.heard(0, price(number))
        journal.flush()
    assert disk.refusals
    disk.room = float("inf")
    journal.close()
    assert prices(path) == list(range(1, 21)) and journal.lost_lines == 0


def test_while_the_disk_refuses_only_run_and_flush_try_again(tmp_path: Path) -> None:
    disk = Disk(room=0)
    journal = opened(tmp_path / "j.jsonl", disk)
    journal.flush()
    for _ in range(5000):
        journal.heard(0, price(1))
    assert disk.refusals == 1


async def test_run_goes_on_trying_a_disk_that_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda delay: real_sleep(0))
    disk, alarm = Disk(room=0), Alarm()
    journal = opened(tmp_path / "j.jsonl", disk, alarm)
    task = asyncio.create_task(journal.run())
    for _ in range(20):
        await real_sleep(0)
    assert disk.refusals >= 3
    disk.room = float("inf")
    for _ in range(20):
        await real_sleep(0)
    task.cancel()
    assert alarm.rang[1] == "recovered" and journal.failed is None
    journal.close()


def test_beyond_the_bound_lines_are_lost_in_one_gap_that_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_WAITING_BYTES", 4000)
    path, disk = tmp_path / "j.jsonl", Disk(room=0)
    journal = opened(path, disk)
    for number in range(1, 101):
        journal.heard(0, price(number))
        journal.decided(0, [place(number)])
    lost = journal.lost_lines
    assert 0 < lost < 200
    disk.room = float("inf")
    journal.flush()
    journal.heard(0, price(999))
    journal.close()
    lines = path.read_text().splitlines()
    assert lines.count(f'{{"lost":{lost}}}') == 1 and '"lost"' in lines[1 + 200 - lost]
    _, entries = read_journal(str(path))
    kept = [entry.event for entry in entries]
    assert kept == [price(number) for number in range(1, (200 - lost) // 2 + 1)]
    assert entries.lost_line == 2 + 200 - lost
    assert journal.lost_lines == lost


def test_once_a_line_is_lost_no_shorter_one_slips_in_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_WAITING_BYTES", 4000)
    path, disk = tmp_path / "j.jsonl", Disk(room=0)
    journal = opened(path, disk)
    journal.heard(0, price(1))
    journal.decided(0, [TakeSnapshot(reason="x" * 4000)])
    journal.heard(0, price(2))
    journal.write_down()
    assert journal.lost_lines == 2
    disk.room = float("inf")
    journal.close()
    assert [json.loads(line) for line in path.read_text().splitlines()[2:]] == [
        {"lost": 2},
        {"end": True},
    ]
    _, entries = read_journal(str(path))
    assert list(entries) == [] and entries.unfinished_line == 2


def test_what_cannot_be_written_at_the_end_is_counted(tmp_path: Path) -> None:
    disk, alarm = Disk(room=0), Alarm()
    journal = opened(tmp_path / "j.jsonl", disk, alarm)
    journal.heard(0, price(1))
    journal.flush()
    journal.heard(0, price(2))
    journal.close()
    assert journal.lost_lines == 3  # the header and both events
    journal.heard(0, price(3))
    assert journal.lost_lines == 4 and len(alarm.rang) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_real_full_device_is_reported_in_the_system_s_words() -> None:
    alarm = Alarm()
    journal = opened(Path("/dev/full"), alarm=alarm)
    journal.flush()
    journal.close()
    assert alarm.rang == ["journal /dev/full: No space left on device"]


# --- what a crash leaves


@pytest.mark.parametrize("name", ["j.jsonl", "j.jsonl.gz"])
def test_a_journal_cut_off_anywhere_reads_as_a_prefix_of_the_whole(
    tmp_path: Path, name: str
) -> None:
    """No cut invents an event or takes its actions away from one."""
    path = tmp_path / name
    journal = opened(path)
    for number in range(1, 8):
        journal.heard(0, price(number))
        journal.decided(0, [place(number)])
        journal.flush()
    journal.close()
    whole = path.read_bytes()
    _, entries = read_journal(str(path))
    expected = list(entries)
    lengths = set()
    for size in range(len(whole)):
        cut = tmp_path / f"cut-{name}"
        cut.write_bytes(whole[:size])
        try:
            _, entries = read_journal(str(cut))
        except ConfigError as error:
            assert str(error).startswith(f"{cut}:1: ")
            continue
        found = list(entries)
        lengths.add(len(found))
        assert found == expected[: len(found)]
        assert name.endswith(".gz") or not entries.closed
    assert lengths == set(range(8))


def test_a_torn_last_line_and_an_unfinished_last_event_are_reported(tmp_path: Path) -> None:
    path = closed_journal(tmp_path / "j.jsonl")
    *lines, _end = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines)[:-10])
    _, entries = read_journal(str(path))
    assert [entry.event for entry in entries] == [price(1), price(2)]
    assert (entries.torn_line, entries.unfinished_line, entries.closed) == (7, 6, False)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", ":1: is empty"),
        (b'{"journal":1,"ver', ":1: is empty or was cut off"),
        (b"hello\n", ":1: is not JSON"),
        (b"[1]\n", ":1: is not a JSON object"),
        (b"[" * 100_000 + b"\n", ":1: is not JSON"),
        (b'{"journal":2}\n', ":1: does not begin with the header of a format 1 journal"),
        (b'{"journal":1}\n', ":1: JournalHeader.version is missing"),
        (b"\x00\x01\x02\n", ":1: is not JSON"),
    ],
)
def test_a_file_that_is_no_journal_is_refused_with_its_line(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refusal:
        read_journal(str(path))
    assert str(refusal.value).startswith(f"{path}{complaint}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("nonsense", "is not JSON"),
        ('{"what":1}', "is no line of a journal"),
        ('{"s":1,"e":{"t":"TimerFired","ts_ns":1}}', "1 is not the index of one of 1 symbols"),
        ('{"s":true,"e":{"t":"TimerFired","ts_ns":1}}', "True is not the index"),
        ('{"s":0,"e":{"t":"Nothing"}}', "'Nothing' is not the name of an event"),
        ('{"s":0,"e":{"t":"PlaceOrder"}}', "'PlaceOrder' is not the name of an event"),
        ('{"s":0,"e":{"t":"TimerFired","ts_ns":"1"}}', "TimerFired.ts_ns: '1' is not a whole"),
        ('{"s":0,"e":{"t":"TimerFired","ts_ns":1.0}}', "TimerFired.ts_ns: 1.0 is not a whole"),
        ('{"s":0,"e":{"t":"TimerFired","ts_ns":true}}', "TimerFired.ts_ns: True is not a whole"),
        ('{"s":0,"e":{"t":"TimerFired"}}', "TimerFired.ts_ns is missing"),
        ('{"s":0,"e":{"t":"TimerFired","ts_ns":1,"x":2}}', "TimerFired has no field 'x'"),
        ('{"s":0,"e":{"t":"GateOpened","gate":"x","ts_ns":1}}', "GateOpened.gate: 'x' is not one"),
        ('{"s":0,"a":[]}', "actions without the event before them"),
        ('{"s":0,"a":{}}', "actions without the event before them"),
    ],
)
def test_a_damaged_line_is_refused_with_its_number(
    tmp_path: Path, line: str, complaint: str
) -> None:
    path = closed_journal(tmp_path / "j.jsonl")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], line, *lines[3:]]) + "\n")
    with pytest.raises(ConfigError) as refusal:
        list(read_journal(str(path))[1])
    assert str(refusal.value).startswith(f"{path}:4: ")
    assert complaint in str(refusal.value)


def test_nothing_may_follow_the_end(tmp_path: Path) -> None:
    path = closed_journal(tmp_path / "j.jsonl")
    with path.open("a") as file:
        file.write('{"s":0,"e":{"t":"TimerFired","ts_ns":1}}\n')
    with pytest.raises(ConfigError, match=":9: something follows"):
        list(read_journal(str(path))[1])


def test_a_line_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_LINE_BYTES", 1 << 20)
    path = tmp_path / "j.jsonl"
    path.write_bytes(b"x" * (3 << 20))
    with pytest.raises(ConfigError, match=":1: is longer than"):
        read_journal(str(path))


def test_a_plain_file_called_gz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl.gz"
    path.write_bytes(b"not zipped\n" * 10)
    with pytest.raises(ConfigError, match=":1: is not a sound gzip file"):
        read_journal(str(path))


# --- replay


class FakeManager:
    """Answers every price with one placement whose sequence is the price in ticks."""

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments

    def decide(self, event: Event) -> list[Action]:
        assert isinstance(event, PriceChanged)
        return [place(event.price_ticks)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def replayed(
    path: Path, make_manager: Any = FakeManager, *, as_json: bool = False
) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = run_replay(str(path), make_manager=make_manager, as_json=as_json, out=out, err=err)
    return code, out.getvalue(), err.getvalue()


def test_replay_of_an_unchanged_core_finds_no_difference(tmp_path: Path) -> None:
    code, out, err = replayed(closed_journal(tmp_path / "j.jsonl.gz"))
    assert (code, err) == (0, "")
    assert "events 3, actions 3, differences 0\n" in out


def test_replay_builds_each_manager_from_exactly_the_recorded_arguments(tmp_path: Path) -> None:
    built: list[FakeManager] = []

    def make_manager(**arguments: Any) -> FakeManager:
        built.append(FakeManager(**arguments))
        return built[-1]

    assert replayed(closed_journal(tmp_path / "j.jsonl"), make_manager)[0] == 0
    assert [manager.arguments for manager in built] == [
        {name: getattr(CORE, name) for name in CoreArguments.__dataclass_fields__}
    ]


def test_replay_names_the_first_difference_and_counts_all(tmp_path: Path) -> None:
    class Other(FakeManager):
        def decide(self, event: Event) -> list[Action]:
            actions = super().decide(event)
            return actions if event == price(1) else []

    path = closed_journal(tmp_path / "j.jsonl")
    code, out, _ = replayed(path, Other)
    assert code == 1
    assert "differences 2\n" in out
    assert f"first difference at {path}:4, ETHUSDT\n" in out
    assert '  event    {"t":"PriceChanged","price_ticks":2,' in out
    assert '  expected [{"t":"PlaceOrder"' in out
    assert "  actual   []\n" in out


def test_an_action_that_differs_in_one_value_is_a_difference(tmp_path: Path) -> None:
    class Other(FakeManager):
        def decide(self, event: Event) -> list[Action]:
            assert isinstance(event, PriceChanged)
            return [place(event.price_ticks + (event.price_ticks == 3))]

    code, out, _ = replayed(closed_journal(tmp_path / "j.jsonl"), Other)
    assert code == 1 and "differences 1\n" in out and "j.jsonl:6, " in out


def test_replay_tells_the_same_as_json(tmp_path: Path) -> None:
    class Eager(FakeManager):
        def decide(self, event: Event) -> list[Action]:
            return [*super().decide(event), TakeSnapshot(reason="new")]

    code, out, _ = replayed(closed_journal(tmp_path / "j.jsonl"), Eager, as_json=True)
    result = json.loads(out)
    assert code == 1
    assert (result["events"], result["actions"], result["differences"]) == (3, 3, 3)
    first = result["first_difference"]
    assert (first["line"], first["symbol"], first["event"]["price_ticks"]) == (2, "ETHUSDT", 1)
    assert len(first["expected"]) == 1 and len(first["actual"]) == 2
    assert first["actual"][1] == {"t": "TakeSnapshot", "reason": "new"}


def test_a_core_that_fails_in_replay_is_a_difference_with_its_error(tmp_path: Path) -> None:
    class Broken(FakeManager):
        def decide(self, event: Event) -> list[Action]:
            if event == price(2):
                raise InvariantBroken("two orders in slot -3")
            return super().decide(event)

    path = closed_journal(tmp_path / "j.jsonl")
    code, out, _ = replayed(path, Broken)
    assert code == 1
    assert "differences 1\n" in out and f"{path}:4" in out
    assert "  actual   InvariantBroken: two orders in slot -3\n" in out
    assert "ETHUSDT: not decided again after the core failed\n" in out


def test_a_journal_of_a_killed_process_replays_and_says_so(tmp_path: Path) -> None:
    path = closed_journal(tmp_path / "j.jsonl")
    path.write_bytes(path.read_bytes()[:-40])
    code, out, _ = replayed(path)
    assert code == 0
    assert "events 2, actions 2, differences 0\n" in out
    assert "the journal was not closed" in out and "line 7: cut off in the middle" in out


@pytest.mark.parametrize("name", ["missing.jsonl", ".", "junk.jsonl"])
def test_a_file_that_cannot_be_replayed_gives_one_line_and_code_2(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "junk.jsonl").write_text("junk\n")
    code, out, err = replayed(tmp_path / name)
    assert (code, out) == (2, "")
    assert err.startswith(f"{tmp_path / name}:1: ") and err.count("\n") == 1


def test_progress_is_shown_on_a_terminal_and_taken_away(tmp_path: Path) -> None:
    path, err = closed_journal(tmp_path / "j.jsonl", events=20_001), Terminal()
    run_replay(str(path), make_manager=FakeManager, as_json=False, out=io.StringIO(), err=err)
    assert err.getvalue() == "\rreplaying: 20,000 events\r\x1b[K"


def test_the_help_of_replay_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser(prog="marketmaker replay")
    add_arguments(parser)
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--help"])
    assert end.value.code == 0
    assert "example: marketmaker replay " in capsys.readouterr().out
