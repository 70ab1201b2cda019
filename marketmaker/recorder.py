"""`marketmaker record`: what a venue's public streams say, byte for byte, each frame with the time it came.

The frames are taken where the adapter's sockets deliver them, so what is recorded is what it would have read. The file
is written by whole lines: a kill leaves at most the last one cut, and a gzip file that can be read up to there.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, cast

from marketmaker.adapters.picows_socket import dial_picows
from marketmaker.adapters.protocol import Adapter
from marketmaker.adapters.websocket import Socket
from marketmaker.config import load_configuration
from marketmaker.errors import ConfigError
from marketmaker.launch import make_real_loop, venue_adapter
from marketmaker.model.instrument import Ticks
from marketmaker.model.settings import Credentials, Settings
from marketmaker.runtime.clock import RealClock

FLUSH_S = 1.0


class Recording:
    """Frames into a file. `frames` and `size` so far; `gaps`: how often a stream was down."""

    def __init__(self, file: IO[bytes], now_ns: Callable[[], int]) -> None:
        self.frames = 0
        self.size = 0
        self.gaps = 0
        self._file = file
        self._now_ns = now_ns

    def write(self, frame: bytes) -> None:
        """A frame that has line breaks of its own is written without them: they mean nothing in JSON."""
        line = frame.replace(b"\n", b" ").replace(b"\r", b" ")
        self._file.write(b"%d %b\n" % (self._now_ns(), line))
        self.frames += 1
        self.size += len(frame)

    async def dial(
        self,
        url: str,
        *,
        heard: Callable[[bytes], None],
        closed: Callable[[str], None],
        timeout_s: float,
    ) -> Socket:
        """A `websocket.Dial` that writes down what it hears."""

        def hear(message: bytes) -> None:
            if message:
                self.write(message)
            heard(message)

        return await dial_picows(url, heard=hear, closed=closed, timeout_s=timeout_s)


class Listener:
    """Wants prices for the sake of their frames."""

    def __init__(self, recording: Recording, name: str) -> None:
        self._recording = recording
        self._name = name

    def on_price(self, price_ticks: Ticks, ts_venue_ns: int, ts_local_ns: int) -> None: ...
    def on_confirming_price(
        self, price_ticks: Ticks, ts_venue_ns: int, ts_local_ns: int
    ) -> None: ...

    def stream_up(self) -> None:
        print(f"{self._name}: recording", file=sys.stderr)

    def stream_down(self, reason: str) -> None:
        self._recording.gaps += 1
        print(f"{self._name}: a gap: {reason}", file=sys.stderr)


def run_record(args: argparse.Namespace) -> int:
    """Raises ConfigError for an exchange without streams, or a file that is there or cannot be written."""
    settings = load_configuration(args.config).settings
    if settings.exchange == "paper":
        raise ConfigError("exchange: paper has nothing to record; name the exchange to listen to")
    path = Path(args.out)
    try:
        path.open("xb").close()
    except FileExistsError:
        raise ConfigError(f"--out {path}: is there already; name a new file") from None
    except OSError as error:
        raise ConfigError(f"--out {path}: cannot be written ({error.strerror})") from None
    clock = RealClock()
    zipped = path.suffix == ".gz"
    with (
        path.open("wb") as plain,
        gzip.GzipFile(fileobj=plain, mode="wb") if zipped else nullcontext(plain) as opened,
        asyncio.Runner(loop_factory=make_real_loop) as runner,
    ):
        file = cast(IO[bytes], opened)
        recording = Recording(file, clock.now_ns)
        runner.run(record(replace(settings, credentials=Credentials()), recording, file, args))
    print(
        f"{path}: {recording.frames} frames, {recording.size} bytes, {recording.gaps} gaps",
        file=sys.stderr,
    )
    return 0


async def record(
    settings: Settings, recording: Recording, file: IO[bytes], args: argparse.Namespace
) -> None:
    """Until a signal or the end of the time."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    adapter = venue_adapter(settings, RealClock(), dial=recording.dial)
    try:
        await adapter.connect()
        streams = [
            asyncio.create_task(listen(adapter, recording, symbol.name))
            for symbol in settings.symbols
        ]
        ending = asyncio.create_task(stopped.wait())
        writing = asyncio.create_task(keep_flushed(file))
        tasks = {*streams, ending, writing}
        done, _ = await asyncio.wait(
            tasks, timeout=args.duration, return_when=asyncio.FIRST_COMPLETED
        )
        for task in tasks - done:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()
    finally:
        await adapter.close()


async def listen(adapter: Adapter, recording: Recording, name: str) -> None:
    instrument = await adapter.fetch_instrument(name)
    await adapter.stream_prices(instrument, Listener(recording, name))


async def keep_flushed(file: IO[bytes]) -> None:
    with suppress(ValueError):  # closed at the end
        while True:
            await asyncio.sleep(FLUSH_S)
            file.flush()
