"""Converted recordings kept for the next time: the arrays of a file and the blocks of its index, mapped, not read.

One file `NAME.mmcache` beside the recording, or in the user's cache directory where that may not be written (a
folder without any write permission is left alone, whoever asks): a line of JSON that says whose it is, padded, then the arrays one after the other. It is used only while the recording's size
and modification time, the instrument's steps and the way of reading are those it was made from; anything else, damage
included, means that it is made again. Several processes may map one file; a new one replaces it as a whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marketmaker.backtest.arrays import MarketData
from marketmaker.backtest.index import PriceIndex

FORMAT = 3
SUFFIX = ".mmcache"
WORTH_KEEPING = 100_000
"""Rows; fewer are read faster than anybody notices."""
ALIGNED = 4_096
ANY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
WHOLE = ("ts_ns", "price", "low", "high", "qty")


def places(recording: Path) -> tuple[Path, Path]:
    """Where a recording's copy may be: beside it, or in the user's cache directory."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "marketmaker"
    where = hashlib.sha256(str(recording.absolute()).encode()).hexdigest()[:16]
    return (
        recording.with_name(recording.name + SUFFIX),
        home / f"{recording.name}.{where}{SUFFIX}",
    )


def fingerprint(recording: Path, reading: str) -> dict[str, Any]:
    """`reading`: everything else that the arrays depend on, in words."""
    found = recording.stat()
    return {
        "format": FORMAT,
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "reading": reading,
    }


def load_cached(recording: Path, reading: str) -> tuple[MarketData, PriceIndex] | None:
    """None when there is no copy that fits."""
    wanted = fingerprint(recording, reading)
    for place in places(recording):
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = _map(place, wanted)
            if found is not None:
                return found
    return None


def symbol_kept(recording: Path, looked_for: str) -> str | None:
    """Whose data it holds, found when the same was looked for in the same file; None when that is not known."""
    wanted = {**fingerprint(recording, ""), "looked_for": looked_for} if recording.is_file() else {}
    wanted.pop("reading", None)
    for place in places(recording) if wanted else ():
        with suppress(OSError, ValueError, KeyError, TypeError):
            header, _ = _read_header(place)
            if all(header[name] == value for name, value in wanted.items()):
                return str(header["symbol"])
    return None


def store(
    recording: Path, reading: str, data: MarketData, index: PriceIndex, looked_for: str = ""
) -> Path | None:
    """`looked_for`: which symbols, and how else, in words: what `symbol_kept` answers for.

    Where the copy went, None when it is not kept: frames and small files are not, and a full disk is no reason to stop."""
    if data.quotes is not None or len(data) < WORTH_KEEPING:
        return None
    same = data.low is data.high
    arrays = {name: getattr(data, name) for name in WHOLE if not (same and name in {"low", "high"})}
    arrays |= {f"block{number}": block for number, block in enumerate(index.blocks)}
    header = {
        **fingerprint(recording, reading),
        "looked_for": looked_for,
        "symbol": data.symbol,
        "kind": data.kind,
        "bar_ns": data.bar_ns,
        "described": list(data.described),
        "arrays": {name: [array.dtype.str, len(array)] for name, array in arrays.items()},
    }
    beside, at_home = places(recording)
    writable = beside.parent.stat().st_mode & ANY_WRITE
    for place in (beside, at_home) if writable else (at_home,):
        with suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            _write(place, header, list(arrays.values()))
            return place
    return None


@contextmanager
def stored_beside() -> Iterator[Callable[..., None]]:
    """`store` in a thread of its own, beside whatever is done until the end; then all is written."""
    threads: list[Thread] = []

    def start(*args: Any) -> None:
        threads.append(Thread(target=store, args=args, name="store"))
        threads[-1].start()

    try:
        yield start
    finally:
        for thread in threads:
            thread.join()


def _write(place: Path, header: dict[str, Any], arrays: list[NDArray[Any]]) -> None:
    tempfile = import_module("tempfile")
    line = json.dumps(header).encode() + b"\n"
    descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(line.rjust(-(-len(line) // ALIGNED) * ALIGNED))
            for array in arrays:
                file.write(array.view(np.uint8).data)
                file.write(bytes(-array.nbytes % ALIGNED))
        os.replace(name, place)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _read_header(place: Path) -> tuple[dict[str, Any], int]:
    """With its length in bytes."""
    with place.open("rb") as file:
        line = file.readline()
    header: dict[str, Any] = json.loads(line)
    return header, len(line)


def _map(place: Path, wanted: dict[str, Any]) -> tuple[MarketData, PriceIndex] | None:
    header, offset = _read_header(place)
    if any(header[name] != value for name, value in wanted.items()):
        return None
    arrays = {}
    for name, (kind, size) in header["arrays"].items():
        dtype = np.dtype(kind)
        array = np.memmap(place, dtype, "r", offset, (size,)) if size else np.empty(0, dtype)
        arrays[name] = np.asarray(array)
        offset += -(-size * dtype.itemsize // ALIGNED) * ALIGNED
    price = arrays["price"]
    low, high = arrays.get("low", price), arrays.get("high", price)
    data = MarketData(
        symbol=header["symbol"],
        kind=header["kind"],
        ts_ns=arrays["ts_ns"],
        price=price,
        low=low,
        high=high,
        qty=arrays["qty"],
        bar_ns=header["bar_ns"],
        described=tuple(header["described"]),
    )
    blocks = tuple(array for name, array in arrays.items() if name.startswith("block"))
    return data, PriceIndex(low, high, blocks)
