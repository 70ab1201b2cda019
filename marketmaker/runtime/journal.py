"""The journal: everything the core heard and decided, in order, so that a run can be decided again.

One file per process, one JSON value per line, appended and never rewritten:

    {"journal":1,"version":...,"symbols":[...]}   what every position manager was built from
    {"s":0,"e":{...}}                             symbol 0 heard an event
    {"s":0,"a":[...]}                             and decided these actions (no line: it decided none)
    {"lost":17}                                   17 lines are missing here, the disk would not take them
    {"end":true}                                  closed on purpose

A journal never gets in the way of trading: a disk that refuses is reported once and tried again, and lines wait in
memory up to a bound. What a crash can lose is what `run` has not written yet, 0.2 s; the last line of such a file may
be torn, and its last event may lack its actions, so without an `end` line the reader gives out no event that nothing
follows.

A file of the same name from an earlier process is kept under the next free number (`journal.jsonl` becomes
`journal.1.jsonl`, the first number being the oldest run).
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from marketmaker.errors import ConfigError
from marketmaker.model.action import Action
from marketmaker.model.event import Event
from marketmaker.model.instrument import Instrument
from marketmaker.model.settings import GridSettings
from marketmaker.model.status import GridMemory
from marketmaker.runtime.wire_format import (
    action_from_json,
    event_from_json,
    from_json,
    shown,
    to_json,
    to_text,
)
from marketmaker.runtime.wire_text import line_text

FORMAT = 1
FLUSH_INTERVAL_S = 0.2
CHUNK_BYTES = 32 * 1024
"""Handed to the disk at once, in some tens of microseconds; memory of more than 128 KiB would be fetched from the system
anew each time."""
READ_BYTES = 256 * 1024
ENTRIES_AT_ONCE, ENTRIES_MAX = 16, 64
MAX_WAITING_BYTES = 64 * 1024 * 1024
MAX_LINE_BYTES = 64 * 1024 * 1024
GZIP_WBITS = 31
"""zlib's word for a gzip frame; its header then carries neither a name nor a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreArguments:
    """What a symbol's position manager is built from: exactly its constructor's arguments."""

    instrument: Instrument
    settings: GridSettings
    sequences: int
    max_slot: int
    first_sequence: int
    request_lifetime_s: float
    order_lifetime_s: float | None = None
    memory: GridMemory | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JournaledSymbol:
    name: str
    core: CoreArguments


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalHeader:
    """`version` is the program's. A symbol's index is its place in `symbols`."""

    version: str
    symbols: tuple[JournaledSymbol, ...]


class Journal:
    """Writes one journal; with the path "" it accepts everything and writes nothing.

    `failed` says why the disk refuses, None while it does not; `on_failure` and `on_recovered` are called when that
    changes, possibly from inside `heard` and `decided`, so they may post an event but not call the core.
    `lost_lines` counts what will never be written.
    """

    def __init__(
        self,
        path: str,
        *,
        on_failure: Callable[[str], None] | None = None,
        on_recovered: Callable[[], None] | None = None,
        write: Callable[[int, bytes | bytearray], int] = os.write,
    ) -> None:
        self.path = path
        self.failed: str | None = None
        self.lost_lines = 0
        self._on_failure = on_failure
        self._on_recovered = on_recovered
        self._write = write
        self._fd: int | None = None
        self._compressor = zlib.compressobj(wbits=GZIP_WBITS) if path.endswith(".gz") else None
        self._entries: deque[tuple[int, Event | Sequence[Action]]] = deque()
        self._lines: deque[str] = deque()
        self._lines_bytes = 0
        self._unwritten = bytearray()
        self._unwritten_lines = 0
        self._gap_lines = 0
        self._waiting = asyncio.Event()

    def open(self, header: JournalHeader) -> None:
        """Raises ConfigError when the file cannot be created."""
        if not self.path:
            return
        try:
            make_way(self.path)
            self._fd = os.open(
                self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640
            )
        except OSError as error:
            raise ConfigError(
                f"journal {self.path}: {error.strerror}; name a file in a directory that this"
                ' user may write to, or "" for no journal'
            ) from error
        self._add(to_text({"journal": FORMAT, **untagged(header)}))

    def heard(self, symbol_index: int, event: Event) -> None:
        self._keep(symbol_index, event)

    def decided(self, symbol_index: int, actions: Sequence[Action]) -> None:
        """`actions` must not change afterwards."""
        if actions:
            self._keep(symbol_index, actions)

    def write_down(self) -> None:
        """Makes lines of what was kept. `run` does it in time; whoever has just sent an order does it while the venue is
        busy with that, so that it is done before the next frame comes."""
        entries = self._entries
        while entries:
            self._write_down_one(*entries.popleft())

    def _write_down_one(self, symbol_index: int, what: Event | Sequence[Action]) -> None:
        if isinstance(what, list | tuple):
            items = ",".join([line_text(action) for action in what])
            self._add(f'{{"s":{symbol_index},"a":[{items}]}}')
        else:
            self._add(f'{{"s":{symbol_index},"e":{line_text(what)}}}')

    def _keep(self, symbol_index: int, what: Event | Sequence[Action]) -> None:
        """Events and actions never change, so their text can be made when there is time."""
        if not self.path:
            return
        if self._fd is None:
            self._lose()
            return
        if not self._entries:
            self._waiting.set()
        self._entries.append((symbol_index, what))
        if self.failed is not None or self._gap_lines or len(self._entries) >= ENTRIES_MAX:
            self.write_down()

    async def run(self) -> None:
        """Writes what is waiting 0.2 s after the first of it came; the only one to try again after a failure."""
        while True:
            await self._waiting.wait()
            await asyncio.sleep(FLUSH_INTERVAL_S)
            while self._entries:
                for _ in range(min(len(self._entries), ENTRIES_AT_ONCE)):
                    self._write_down_one(*self._entries.popleft())
                if self._entries:
                    await asyncio.sleep(0)
            self._waiting.clear()
            while self._write_chunk():  # noqa: ASYNC110  (others get their turn between chunks)
                await asyncio.sleep(0)
            if self.failed is not None:
                self._waiting.set()

    def flush(self) -> None:
        """Hands all that is waiting to the operating system; what it refuses goes on waiting."""
        self.write_down()
        self._write_lines()

    def close(self) -> None:
        """Writes all that is waiting and makes it durable. Lines that come later are lost."""
        if self._fd is None:
            return
        self.flush()
        if self.failed is None:
            self._add('{"end":true}')
            self.flush()
        if self._compressor is not None and self.failed is None:
            self._unwritten += self._compressor.flush(zlib.Z_FINISH)
            self._compressor = None
            self.flush()
        self.lost_lines += len(self._lines) + self._unwritten_lines
        self._forget_waiting()
        fd, self._fd = self._fd, None
        try:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                os.fsync(fd)
        except OSError as error:
            self._fail(str(error.strerror))
        finally:
            os.close(fd)

    def _add(self, line: str) -> None:
        if self._fd is None or self._gap_lines:
            self._lose()
            return
        if self._lines_bytes + len(self._unwritten) + len(line) >= MAX_WAITING_BYTES:
            self._lose()
            return
        if not self._lines:
            self._waiting.set()
        self._lines.append(line + "\n")
        self._lines_bytes += len(line) + 1
        if self._lines_bytes >= CHUNK_BYTES and self.failed is None:
            self._write_lines()

    def _lose(self) -> None:
        """From the first lost line to the last that is waiting nothing is taken, so that there is one gap, not many."""
        self.lost_lines += 1
        if self._fd is not None:
            self._gap_lines += 1

    def _write_lines(self) -> None:
        while self._write_chunk():
            pass

    def _write_chunk(self) -> bool:
        """Whether there is more to write and the disk takes it."""
        if self._fd is None:
            return False
        if not self._unwritten:
            self._encode_chunk()
        while self._unwritten:
            try:
                written = self._write(self._fd, self._unwritten)
                if written == 0:
                    raise OSError(0, "the file takes no more")
            except OSError as error:
                self._fail(str(error.strerror))
                return False
            del self._unwritten[:written]
        self._unwritten_lines = 0
        self._recover()
        return bool(self._lines)

    def _encode_chunk(self) -> None:
        taken: list[str] = []
        size = 0
        if self._lines_bytes <= CHUNK_BYTES:
            taken += self._lines
            self._lines.clear()
            size = self._lines_bytes
        while self._lines and size < CHUNK_BYTES:
            line = self._lines.popleft()
            taken.append(line)
            size += len(line)
        self._lines_bytes -= size
        self._unwritten_lines = len(taken)
        data = "".join(taken).encode("ascii")
        if data and self._compressor is not None:
            data = self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        self._unwritten += data

    def _fail(self, reason: str) -> None:
        was_failed = self.failed is not None
        self.failed = f"journal {self.path}: {reason}"
        if not was_failed and self._on_failure is not None:
            self._on_failure(self.failed)

    def _recover(self) -> None:
        if self._lines:
            return
        if self._gap_lines:
            lost, self._gap_lines = self._gap_lines, 0
            self._add(f'{{"lost":{lost}}}')
            return
        if self.failed is not None:
            self.failed = None
            if self._on_recovered is not None:
                self._on_recovered()

    def _forget_waiting(self) -> None:
        self._lines.clear()
        self._lines_bytes = 0
        self._unwritten.clear()
        self._unwritten_lines = 0
        self._gap_lines = 0


def untagged(header: JournalHeader) -> dict[str, Any]:
    data = to_json(header)
    del data["t"]
    return data


def make_way(path: str) -> None:
    """Creates the directory and renames what an earlier process left under this name."""
    directory = os.path.dirname(path)
    if directory:
        os.makedirs(directory, exist_ok=True)
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return
    if stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode):
        raise OSError(0, "is not a file")
    if stat.S_ISREG(found.st_mode) and found.st_size:
        os.rename(path, next_free_name(path))


def next_free_name(path: str) -> str:
    directory, name = os.path.split(path)
    stem, dot, suffix = name.partition(".") if not name.startswith(".") else (name, "", "")
    taken = set(os.listdir(directory or "."))
    number = 1
    while (candidate := f"{stem}.{number}{dot}{suffix}") in taken:
        number += 1
    return os.path.join(directory, candidate)


class JournalEntry(NamedTuple):
    """`line_number` is the event's line, counted from 1."""

    line_number: int
    symbol_index: int
    event: Event
    actions: list[Action]


class JournalEntries:
    """Iterates over the entries of a journal, once; the attributes are final when it is exhausted.

    `torn_line`: number of a last line that was cut off. `lost_line`: number of a line that says that lines before it
    were lost; nothing after it is given out. `closed`: the writer ended on purpose. `unfinished_line`: number of a
    last event that was left out because its actions may be missing.
    """

    def __init__(self, path: str, lines: Iterator[tuple[int, bytes, bool]], symbols: int) -> None:
        self.torn_line: int | None = None
        self.lost_line: int | None = None
        self.unfinished_line: int | None = None
        self.closed = False
        self._path = path
        self._symbols = symbols
        self._entries = self._read(lines)

    def __iter__(self) -> JournalEntries:
        return self

    def __next__(self) -> JournalEntry:
        return next(self._entries)

    def _read(self, lines: Iterator[tuple[int, bytes, bool]]) -> Iterator[JournalEntry]:
        heard: JournalEntry | None = None
        for number, line, whole in lines:
            if not whole:
                self.torn_line = number
                break
            if self.closed:
                raise unreadable(self._path, number, "something follows the line that ends it")
            record = parse_line(self._path, number, line)
            try:
                if "e" in record:
                    if heard is not None:
                        yield heard
                    event = event_from_json(record["e"])
                    heard = JournalEntry(number, self._symbol(record), event, [])
                elif "a" in record:
                    if heard is None or heard.symbol_index != self._symbol(record):
                        raise ValueError("actions without the event before them")
                    heard.actions.extend(actions_from_json(record["a"]))
                    yield heard
                    heard = None
                elif record.get("end") is True:
                    self.closed = True
                elif "lost" in record:
                    self.lost_line = number
                    break
                else:
                    raise ValueError(f"{shown(record)} is no line of a journal")
            except ValueError as error:
                raise unreadable(self._path, number, str(error)) from None
        if heard is not None:
            if self.closed:
                yield heard
            else:
                self.unfinished_line = heard.line_number

    def _symbol(self, record: dict[str, Any]) -> int:
        index = record.get("s")
        if type(index) is not int or not 0 <= index < self._symbols:
            raise ValueError(f"{shown(index)} is not the index of one of {self._symbols} symbols")
        return index


def read_journal(path: str) -> tuple[JournalHeader, JournalEntries]:
    """Raises ConfigError, here or while iterating, whose text is `file:line: what`."""
    lines = read_lines(path)
    number, line, whole = next(lines, (1, b"", False))
    if not whole:
        raise unreadable(path, number, "is empty or was cut off in its first line")
    record = parse_line(path, number, line)
    if record.get("journal") != FORMAT:
        raise unreadable(
            path, number, f"does not begin with the header of a format {FORMAT} journal"
        )
    del record["journal"]
    try:
        header = from_json(record, JournalHeader)
    except ValueError as error:
        raise unreadable(path, number, str(error)) from None
    return header, JournalEntries(path, lines, len(header.symbols))


def parse_line(path: str, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise unreadable(path, number, "is not JSON") from None
    if not isinstance(record, dict):
        raise unreadable(path, number, "is not a JSON object")
    return record


def actions_from_json(data: object) -> list[Action]:
    if not isinstance(data, list):
        raise ValueError(f"{shown(data)} is not an array of actions")
    return [action_from_json(item) for item in data]


def unreadable(path: str, number: int, what: str) -> ConfigError:
    return ConfigError(f"{path}:{number}: {what}")


def read_lines(path: str) -> Iterator[tuple[int, bytes, bool]]:
    """(number from 1, line without its end, whether it has one), whole lines first; only the last can be cut off."""
    number = 0
    rest = b""
    try:
        for block in read_blocks(path):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                number += 1
                yield number, line, True
            if len(rest) > MAX_LINE_BYTES:
                raise unreadable(path, number + 1, f"is longer than {MAX_LINE_BYTES:,} bytes")
    except OSError as error:
        raise unreadable(path, number + 1, f"cannot be read: {error.strerror}") from error
    except zlib.error:
        raise unreadable(path, number + 1, "is not a sound gzip file from here on") from None
    if rest:
        yield number + 1, rest, False


def read_blocks(path: str) -> Iterator[bytes]:
    """A gzip file that was cut off just ends early."""
    unzip = zlib.decompressobj(wbits=GZIP_WBITS) if path.endswith(".gz") else None
    with open(path, "rb") as file:
        while block := file.read(READ_BYTES):
            yield block if unzip is None else unzip.decompress(block)
