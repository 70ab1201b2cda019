"""The compiled core: the same modules, built by `make compile`, in place of their sources.

`marketmaker run` takes it where it was built, and says in a line of its log which core runs, and why where it is plain
Python. Everything else runs plain Python unless `MARKETMAKER_COMPILED` is set (to 1, or to the directory of the build)
before the package is first imported; 0 says plain Python to `run`, too. What was built is taken only while its manifest
names exactly the sources that are here, and only by the Python it was built for: who asked for it gets a ConfigError
otherwise, never a silent choice between two versions of the rules. That is why the build lies in `build/compiled` and
not beside the sources, where Python would prefer it without asking.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import json
import os
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from marketmaker.errors import ConfigError

PACKAGE = Path(__file__).resolve().parent
VARIABLE = "MARKETMAKER_COMPILED"
BUILD = (
    PACKAGE.parent / "build" / "compiled"
    if (PACKAGE.parent / "pyproject.toml").is_file()
    else Path(sys.prefix) / "compiled"
)
"""In a clone, or where the package is installed: what was built in the clone is copied there."""
MANIFEST = "manifest.json"
COMPILED = {
    "model": ("action", "client_order_id", "event", "instrument", "order"),
    "core": (
        "books",
        "cleaning",
        "grid",
        "lattice",
        "order_news",
        "position_manager",
        "post_only",
        "price_limits",
        "repair",
        "sizing",
        "slot",
    ),
    "runtime": (
        "clock",
        "engine",
        "event_queue",
        "executor",
        "journal",
        "latency",
        "order_feed",
        "price_monitor",
        "rate_limit",
        "retry",
        "send_line",
        "turn",
    ),
    "adapters": (
        "contract",
        "feeds",
        "frames",
        "memory",
        "order_socket",
        "owners",
        "parsing",
        "signing",
        "venue_clock",
        "websocket",
    ),
    "adapters.binance": ("adapter", "build", "parse"),
    "ledger": ("intake", "taken"),
    "sim": ("account", "admission", "exchange", "market", "matching"),
    "backtest": ("drive", "index", "skip"),
}
"""Where a backtest spends its time, and an order on its way from the frame that calls for it."""
WRITTEN_FROM = {
    "model": ("account", "settings"),
    "runtime": ("wire_format", "wire_text"),
}
"""What `marketmaker.runtime.made_writers`, which exists in a build alone, is made from besides those."""


def modules_to_compile() -> dict[str, Path]:
    """Module name to source file."""
    return sources_of(COMPILED)


def sources_of(rooms: Mapping[str, Sequence[str]]) -> dict[str, Path]:
    return {
        f"marketmaker.{room}.{name}": PACKAGE.joinpath(*room.split("."), f"{name}.py")
        for room, names in rooms.items()
        for name in names
    }


def hashes() -> dict[str, str]:
    """Of everything that a build is made from, by module."""
    made_from = modules_to_compile() | sources_of(WRITTEN_FROM)
    return {name: hash_of(path) for name, path in made_from.items()}


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class CompiledFinder:
    """Finds the built modules before Python's own finders find their sources."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.suffix = str(sysconfig.get_config_var("EXT_SUFFIX"))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        place = self.directory.joinpath(*fullname.split(".")).with_suffix(self.suffix)
        if not (fullname.startswith("marketmaker.") or fullname.endswith("__mypyc")):
            return None
        if not place.is_file():
            return None
        loader = importlib.machinery.ExtensionFileLoader(fullname, str(place))
        return importlib.util.spec_from_file_location(fullname, place, loader=loader)


def use_compiled(directory: Path) -> None:
    """From here on what is imported comes from the build. Raises ConfigError as `check_build` does."""
    if not in_use():
        check_build(directory)
        sys.meta_path.insert(0, CompiledFinder(directory))


def check_build(directory: Path) -> None:
    """Raises ConfigError unless the build is of exactly these sources and for this Python."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except OSError:
        raise ConfigError(f"{directory}: no compiled core; run `make compile`") from None
    if manifest["python"] != sysconfig.get_config_var("EXT_SUFFIX"):
        raise ConfigError(f"{directory}: compiled for another Python; run `make compile` again")
    if hashes() != manifest["sources"]:
        raise ConfigError(f"{directory}: made from other sources; run `make compile` again")


def use_what_was_asked_for() -> None:
    """As the environment says. Ends the process with one line and exit code 2 where that cannot be."""
    asked = os.environ[VARIABLE]
    try:
        use_compiled(BUILD if asked == "1" else Path(asked))
    except ConfigError as error:
        print(f"marketmaker: {VARIABLE}={asked}: {error}", file=sys.stderr)
        sys.exit(2)


def use_if_built() -> None:
    """For `run`: unless the environment says which core to take, the build where there is one that fits."""
    if VARIABLE not in os.environ:
        with suppress(ConfigError):
            use_compiled(BUILD)


def which() -> str:
    """Which core runs, and what keeps this process from the compiled one."""
    if in_use():
        return "compiled"
    if VARIABLE in os.environ:
        return f"plain Python: {VARIABLE}={os.environ[VARIABLE]}"
    try:
        check_build(BUILD)
    except ConfigError as error:
        return f"plain Python: {error}"
    return "plain Python"


def in_use() -> bool:
    """Whether this process runs the compiled core."""
    return any(isinstance(finder, CompiledFinder) for finder in sys.meta_path)
