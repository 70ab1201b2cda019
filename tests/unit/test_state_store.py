"""What outlives the process: files replaced as a whole, never ignored when damaged, used by one process only."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from marketmaker.errors import ConfigError
from marketmaker.model.instrument import Instrument, Lots, Quanta, Ticks
from marketmaker.model.status import GridMemory, Holding
from marketmaker.runtime.state_store import StateStore

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
MEMORY = GridMemory(
    anchor_ticks=Ticks(240_000),
    next_sequence=123_456_789,
    holdings=(Holding(slot=-3, qty_lots=Lots(20), cost=Quanta(4_790_000)),),
    ended="",
)


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    store = StateStore(str(tmp_path / "state"), bot_tag="mm")
    store.acquire()
    return store


def test_what_was_saved_is_loaded_exactly(store: StateStore) -> None:
    assert store.load(INSTRUMENT) is None
    store.save(INSTRUMENT, MEMORY)
    assert store.load(INSTRUMENT) == MEMORY
    later = replace(MEMORY, next_sequence=200_000_000, holdings=())
    store.save(INSTRUMENT, later)
    assert store.load(INSTRUMENT) == later


def test_bots_and_symbols_do_not_share_files(store: StateStore) -> None:
    other_bot = StateStore(store.directory, bot_tag="b")
    other_symbol = replace(INSTRUMENT, name="BTC/USDT:USDT")
    store.save(INSTRUMENT, MEMORY)
    assert other_bot.load(INSTRUMENT) is None and store.load(other_symbol) is None
    store.save(other_symbol, MEMORY)
    assert sorted(os.listdir(store.directory)) == [
        "mm-BTC%2FUSDT%3AUSDT.json",
        "mm-ETHUSDT.json",
        "mm.lock",
    ]


def test_without_a_directory_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = StateStore("", bot_tag="mm")
    store.acquire()
    store.save(INSTRUMENT, MEMORY)
    assert store.load(INSTRUMENT) is None
    store.release()
    assert not list(tmp_path.iterdir())


def test_only_the_owner_may_read_the_files(store: StateStore) -> None:
    store.save(INSTRUMENT, MEMORY)
    assert os.stat(store.directory).st_mode & 0o077 == 0
    assert os.stat(store.path("ETHUSDT")).st_mode & 0o077 == 0


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_old_file_whole_and_nothing_beside_it(
    store: StateStore, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store.save(INSTRUMENT, MEMORY)
    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OSError, match="No space left"):
        store.save(INSTRUMENT, replace(MEMORY, holdings=()))
    assert store.load(INSTRUMENT) == MEMORY
    assert sorted(os.listdir(store.directory)) == ["mm-ETHUSDT.json", "mm.lock"]


def test_a_save_is_durable_before_it_is_renamed_and_the_directory_after(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(fd: int) -> None:
        order.append("directory" if os.path.isdir(f"/proc/self/fd/{fd}") else "file")
        real_fsync(fd)

    def rename(source: str, target: str) -> None:
        order.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", rename)
    store.save(INSTRUMENT, MEMORY)
    assert order == ["file", "rename", "directory"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[:-20],
        lambda text: "null",
        lambda text: "[" * 100_000,
        lambda text: text.replace("240000", '"240000"'),
        lambda text: text.replace('"anchor_ticks":240000,', ""),
        lambda text: text.replace("anchor_ticks", "anker_ticks"),
        lambda text: text.replace('"cost":4790000', '"cost":4790000.5'),
    ],
)
def test_a_file_that_cannot_be_understood_stops_the_start(store: StateStore, spoil: Any) -> None:
    store.save(INSTRUMENT, MEMORY)
    path = Path(store.path("ETHUSDT"))
    path.write_text(spoil(path.read_text()))
    with pytest.raises(ConfigError) as refusal:
        store.load(INSTRUMENT)
    text = str(refusal.value)
    assert text.startswith(f"{path}: cannot be understood") and "move it away" in text
    assert "\n" not in text


def test_a_file_of_another_format_is_refused(store: StateStore) -> None:
    store.save(INSTRUMENT, MEMORY)
    path = Path(store.path("ETHUSDT"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "state": 2}))
    with pytest.raises(ConfigError, match="has format 2, this version reads 1"):
        store.load(INSTRUMENT)


def test_a_file_that_may_not_be_read_is_refused(store: StateStore) -> None:
    os.mkdir(store.path("ETHUSDT"))
    with pytest.raises(ConfigError, match=r"mm-ETHUSDT\.json: cannot be read: Is a directory"):
        store.load(INSTRUMENT)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"tick_size": Decimal("0.1")}, "was written for tick_size 0.01, now it is 0.1"),
        ({"lot_size": Decimal("0.01")}, "was written for lot_size 0.001, now it is 0.01"),
        ({"multiplier": Decimal(10)}, "was written for multiplier 1, now it is 10"),
        ({"venue": "okx"}, "was written for venue paper, now it is okx"),
    ],
)
def test_ticks_and_lots_are_never_read_in_other_steps_than_they_were_written(
    store: StateStore, change: dict[str, Any], complaint: str
) -> None:
    store.save(INSTRUMENT, MEMORY)
    with pytest.raises(ConfigError, match=complaint):
        store.load(replace(INSTRUMENT, **change))


def test_steps_that_are_only_written_differently_are_the_same(store: StateStore) -> None:
    store.save(INSTRUMENT, MEMORY)
    assert store.load(replace(INSTRUMENT, tick_size=Decimal("0.0100"))) == MEMORY


def test_a_second_instance_with_the_same_tag_is_refused_with_the_pid_of_the_first(
    store: StateStore,
) -> None:
    second = StateStore(store.directory, bot_tag="mm")
    with pytest.raises(ConfigError) as refusal:
        second.acquire()
    assert f"'mm' is running (pid {os.getpid()})" in str(refusal.value)
    StateStore(store.directory, bot_tag="b").acquire()
    store.release()
    second.acquire()


def test_the_lock_of_a_process_that_died_is_free(tmp_path: Path) -> None:
    code = (
        "import os, sys; from marketmaker.runtime.state_store import StateStore;"
        " StateStore(sys.argv[1], bot_tag='mm').acquire(); os._exit(9)"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=root, check=False, timeout=60
    )
    assert done.returncode == 9 and (tmp_path / "mm.lock").read_text().strip().isdigit()
    (tmp_path / "mm.lock").write_text("99999999999999\n")
    StateStore(str(tmp_path), bot_tag="mm").acquire()
    assert (tmp_path / "mm.lock").read_text() == f"{os.getpid()}\n"


def test_a_directory_that_cannot_be_used_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=f"^state directory {directory}: "):
            StateStore(str(directory), bot_tag="mm").acquire()
