"""The disk of a simulated process: full, slow, taking a few bytes at a time, gone with the process."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

SHORT_BYTES = 37


class Disk:
    """Files live in `directory`. `full` and `short` say what is wrong now, `wait` takes the time that a write needs;
    `dead`: nothing reaches it any more."""

    def __init__(
        self,
        directory: str,
        *,
        full: Callable[[], bool],
        short: Callable[[], bool],
        wait: Callable[[], None],
    ) -> None:
        self.directory = Path(directory)
        self.dead = False
        self._full = full
        self._short = short
        self._wait = wait

    def write(self, fd: int, data: bytes | bytearray) -> int:
        """In place of `os.write`. What a dead process writes is taken and forgotten."""
        if self.dead:
            return len(data)
        self.check()
        return os.write(fd, data[:SHORT_BYTES] if self._short() else data)

    def check(self) -> None:
        """Raises OSError while the disk is full; while it is slow, comes back later."""
        self._wait()
        if self._full():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def contents(self) -> dict[str, bytes]:
        if not self.directory.exists():
            return {}
        return {path.name: path.read_bytes() for path in sorted(self.directory.glob("*.json"))}

    def restore(self, contents: dict[str, bytes]) -> None:
        """Make the directory hold exactly this."""
        for path in sorted(self.directory.glob("*.json*")):
            path.unlink()
        for name, data in contents.items():
            (self.directory / name).write_bytes(data)
