"""What outlives the process: one small file per symbol, and a lock so that only one process uses them.

    <directory>/<bot tag>.lock             held while the process lives; holds its pid
    <directory>/<bot tag>-<symbol>.json    the symbol's GridMemory and the steps its ticks and lots mean

A file is replaced as a whole: written beside, made durable, renamed. One that cannot be understood, or that counts in
other steps than the instrument's, stops the start instead of being ignored: it holds the cost basis of an inventory.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import quote

from marketmaker.errors import ConfigError
from marketmaker.model.instrument import Instrument
from marketmaker.model.status import GridMemory
from marketmaker.runtime.wire_format import from_json, to_json, to_text

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFile:
    """`state` is the format. The steps say what the ticks and lots in `memory` mean."""

    state: int
    venue: str
    symbol: str
    tick_size: Decimal
    lot_size: Decimal
    multiplier: Decimal
    memory: GridMemory


class StateStore:
    """With the directory "" nothing is kept, found or locked."""

    def __init__(self, directory: str, *, bot_tag: str) -> None:
        self.directory = directory
        self.bot_tag = bot_tag
        self._lock_fd: int | None = None

    def acquire(self) -> None:
        """Creates the directory and takes the lock.

        Raises ConfigError when another process has it, naming its pid, or when the directory cannot be used.
        """
        if not self.directory:
            return
        path = os.path.join(self.directory, f"{self.bot_tag}.lock")
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"state directory {self.directory}: {error.strerror}; name one that this user may"
                ' write to, or "" to keep nothing'
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.truncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
        except BlockingIOError:
            pid = os.read(fd, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise ConfigError(
                f"{path}: another instance with bot_tag {self.bot_tag!r} is running (pid {pid});"
                " stop it, or give this one its own bot_tag"
            ) from None
        except OSError as error:
            os.close(fd)
            raise ConfigError(f"{path}: cannot be locked: {error.strerror}") from error
        self._lock_fd = fd

    def release(self) -> None:
        """The lock file stays: removing it could take away the one a successor has just locked."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def path(self, symbol: str) -> str:
        return os.path.join(self.directory, f"{self.bot_tag}-{quote(symbol, safe='')}.json")

    def load(self, instrument: Instrument) -> GridMemory | None:
        """None when nothing was kept. Raises ConfigError naming the file and what to do with it."""
        if not self.directory:
            return None
        path = self.path(instrument.name)
        try:
            with open(path, "rb") as file:
                kept = from_json(json.loads(file.read()), StateFile)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                f"{path}: cannot be understood ({error}); restore it from a backup, or move it away:"
                " levels and inventory are then read from the venue's orders and trades"
            ) from error
        if kept.state != FORMAT:
            raise ConfigError(f"{path}: has format {kept.state}, this version reads {FORMAT}")
        now = state_file(instrument, kept.memory)
        for name in ("symbol", "venue", "tick_size", "lot_size", "multiplier"):
            was, is_ = getattr(kept, name), getattr(now, name)
            if was != is_:
                raise ConfigError(
                    f"{path}: was written for {name} {was}, now it is {is_}; close the position and"
                    " move the file away, or go back to what it was written for"
                )
        return kept.memory

    def save(self, instrument: Instrument, memory: GridMemory) -> None:
        """Replaces the file. Raises OSError when the disk refuses; the old file is then untouched."""
        if not self.directory:
            return
        path = self.path(instrument.name)
        beside = f"{path}.new"
        try:
            with open(beside, "wb", opener=private) as file:
                file.write(f"{to_text(to_json(state_file(instrument, memory)))}\n".encode())
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise
        sync_directory(self.directory)


def state_file(instrument: Instrument, memory: GridMemory) -> StateFile:
    return StateFile(
        state=FORMAT,
        venue=instrument.venue,
        symbol=instrument.name,
        tick_size=instrument.tick_size,
        lot_size=instrument.lot_size,
        multiplier=instrument.multiplier,
        memory=memory,
    )


def private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def sync_directory(directory: str) -> None:
    """Makes a rename in it durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
