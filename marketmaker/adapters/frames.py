"""Frames that broke their contract: counted, and the last ones kept to look at."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

KEPT = 100
FRAME_KEPT = 2_000


class Malformed:
    """`count` is all there ever were; iterating gives (what was wrong, the frame cut to 2,000 bytes), oldest first."""

    def __init__(self, venue: str) -> None:
        self.count = 0
        self._venue = venue
        self._kept: deque[tuple[str, bytes]] = deque(maxlen=KEPT)

    def keep(self, error: Exception, frame: bytes) -> None:
        self.count += 1
        self._kept.append((f"{self._venue}: {error}", frame[:FRAME_KEPT]))

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        return iter(self._kept)
