"""An iterator that runs ahead in a thread of its own: what waits for C code there waits beside what is done here."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Queue
from threading import Thread
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Ahead(Iterator[Value], Generic[Value]):
    """The same values in the same order, up to `most` of them made before they are asked for.

    What `source` raises is raised where its next value would have come. Whoever does not take all must `close`.
    """

    def __init__(self, source: Iterator[Value], most: int) -> None:
        self._source = source
        self._ready: Queue[tuple[Value] | BaseException | None] = Queue(most)
        self._closed = False
        self._thread = Thread(target=self._run, name="ahead", daemon=True)
        self._thread.start()

    def __next__(self) -> Value:
        found = None if self._closed else self._ready.get()
        if isinstance(found, tuple):
            return found[0]
        self._closed = True
        if found is None:
            raise StopIteration
        raise found

    def close(self) -> None:
        """Ends the thread. Nothing comes any more."""
        self._closed = True
        while self._thread.is_alive():
            while not self._ready.empty():
                self._ready.get()
            self._thread.join(0.001)

    def _run(self) -> None:
        end: BaseException | None = None
        try:
            for value in self._source:
                if self._closed:
                    return
                self._ready.put((value,))
        except BaseException as error:
            end = error
        self._ready.put(end)
