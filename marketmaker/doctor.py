"""`marketmaker doctor`: is this machine, this configuration and this key fit to trade? Looks at everything, changes nothing.

Each check answers findings: what is so, and where something has to be done, what. A `note` is worth knowing and stops
nobody. Checks do not depend on each other; what one of them cannot find out is a finding of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import importlib.metadata
import json
import os
import platform
import re
import resource
import shutil
import socket
import ssl
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from marketmaker import __version__, compiled, logs
from marketmaker.adapters import addresses_of
from marketmaker.cli.table import aligned
from marketmaker.config import Configuration, load_configuration
from marketmaker.core.safety import account_problems
from marketmaker.errors import ConfigError, MarketMakerError
from marketmaker.launch import venue_adapter
from marketmaker.ledger.url import is_sqlite, secrets_in, sqlite_path
from marketmaker.model.account import AccountState
from marketmaker.model.settings import Settings
from marketmaker.runtime.clock import RealClock

PYTHON = (3, 11)
FREE_BYTES_MIN = 1 << 30
FREE_INODES_MIN = 10_000
MEMORY_BYTES_MIN = 256 << 20
OPEN_FILES_MIN = 1_024
REACH_TIMEOUT_S = 5.0
VENUE_TIMEOUT_S = 30.0
STA_UNSYNC = 0x40
PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80, "postgresql": 5432, "postgres": 5432}
NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`state` is ok, note or problem; `advice` what to do about a problem."""

    check: str
    state: str
    what: str
    advice: str = ""


def ok(check: str, what: str) -> Finding:
    return Finding(check=check, state="ok", what=what)


def note(check: str, what: str, advice: str = "") -> Finding:
    return Finding(check=check, state="note", what=what, advice=advice)


def problem(check: str, what: str, advice: str) -> Finding:
    return Finding(check=check, state="problem", what=what, advice=advice)


def run(args: argparse.Namespace) -> int:
    """0 when there is no problem, 1 when there is, 2 when the configuration is wrong."""
    findings = list(examine(args.config, offline=args.offline))
    bad = [each for each in findings if each.state == "problem"]
    if args.json:
        rows = [
            {
                "check": each.check,
                "state": each.state,
                "what": logs.masked(each.what),
                "advice": logs.masked(each.advice),
            }
            for each in findings
        ]
        print(json.dumps({"ok": not bad, "findings": rows}, indent=2))
    else:
        for line in aligned([(each.state, each.check, told(each)) for each in findings]):
            print(logs.masked(line))
    if any(each.check == "config" for each in bad):
        return 2
    return 1 if bad else 0


def told(finding: Finding) -> str:
    return f"{finding.what}; {finding.advice}" if finding.advice else finding.what


def examine(path: str, *, offline: bool) -> Iterator[Finding]:
    yield from look_at_program()
    try:
        configuration = load_configuration(path)
    except ConfigError as error:
        for line in str(error).splitlines():
            yield problem("config", line, "mend it, then look again")
        return
    settings = configuration.settings
    logs.register_secrets((*configuration.secrets, *secrets_in(settings.ledger)))
    yield ok("config", f"{configuration.name}: no mistakes found")
    yield look_at_core()
    yield from look_at_packages(settings)
    yield from look_at_permissions(configuration, path)
    yield from look_at_disk(settings)
    yield from look_at_machine()
    yield look_at_clock(settings)
    if offline:
        yield note("network", "not looked at: --offline")
        return
    yield from look_at_network(addresses(settings))
    if settings.mode == "live":
        yield from look_at_venue(settings)
    else:
        yield ok("keys", "none are needed: mode: paper")


# --- the program and the machine


def look_at_program() -> Iterator[Finding]:
    version = platform.python_version()
    if sys.version_info < PYTHON:
        yield problem("versions", f"Python {version}", "install Python 3.11 or newer")
    else:
        yield ok("versions", f"marketmaker {__version__}, Python {version}, {platform.platform()}")
    if os.geteuid() == 0:
        yield note("permissions", "this runs as root", "let a user of its own run it: see the unit")


def look_at_core() -> Finding:
    """Whether `run` takes a compiled core: one that was built from other sources is as good as none."""
    if compiled.VARIABLE in os.environ:
        return note("versions", f"core: {compiled.which()}")
    try:
        compiled.check_build(compiled.BUILD)
    except ConfigError as error:
        why, _, advice = str(error).partition("; ")
        return note("versions", f"run takes plain Python, not the compiled core: {why}", advice)
    return ok("versions", f"run takes the compiled core of {compiled.BUILD}")


def look_at_packages(settings: Settings) -> Iterator[Finding]:
    """Whether what the configuration needs is installed, and new enough."""
    bounds = requirements()
    for extra in extras(settings):
        wanted = bounds.get(extra, {})
        missing = [name for name in wanted if installed(name) is None]
        if missing:
            advice = f"pip install 'marketmaker[{extra}]'"
            yield problem("versions", f"not installed: {', '.join(missing)}", advice)
            continue
        found = []
        for name, least in wanted.items():
            version = installed(name)
            assert version is not None
            if numbers(version) < numbers(least):
                advice = f"pip install --upgrade 'marketmaker[{extra}]'"
                yield problem("versions", f"{name} {version} is older than {least}", advice)
            found.append(f"{name} {version}")
        yield ok("versions", f"{extra}: {', '.join(found)}")


def extras(settings: Settings) -> Iterator[str]:
    if settings.mode == "live":
        yield "live"
    if settings.ledger:
        yield "ledger" if is_sqlite(settings.ledger) else "postgres"
    if settings.alerts.channels:
        yield "alerts"
    if settings.account:
        yield "keys"
    if settings.http.listen:
        yield "web"


def requirements() -> dict[str, dict[str, str]]:
    """Package and least version by extra, as this installation states them."""
    found: dict[str, dict[str, str]] = {}
    for line in importlib.metadata.requires("marketmaker") or []:
        read = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?>=([0-9.]+)", line)
        extra = re.search(r"extra == ['\"]([^'\"]+)['\"]", line)
        if read and extra:
            found.setdefault(extra[1], {})[read[1]] = read[2]
    return found


def installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def look_at_machine() -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < OPEN_FILES_MIN:
        advice = "raise it: `ulimit -n 8192`, or LimitNOFILE= in a unit"
        yield problem("limits", f"only {soft} files may be open", advice)
    else:
        yield ok("limits", f"{soft} files may be open")
    free = available_memory()
    if free is None:
        yield note("memory", "this system does not tell how much is free")
    elif free < MEMORY_BYTES_MIN:
        advice = f"free some: the daemon wants {in_units(MEMORY_BYTES_MIN)}"
        yield problem("memory", f"only {in_units(free)} are available", advice)
    else:
        yield ok("memory", f"{in_units(free)} are available")


def available_memory() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def in_units(size: float) -> str:
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.0f} MiB"


# --- files


def look_at_permissions(configuration: Configuration, path: str) -> Iterator[Finding]:
    settings = configuration.settings
    mode = stat.S_IMODE(os.stat(path).st_mode)
    held = [each for each in configuration.secrets if each in Path(path).read_text("utf-8")]
    if mode & stat.S_IWOTH:
        yield problem("permissions", f"{path}: anybody may change it", "chmod o-w it")
    elif held and mode & (stat.S_IRGRP | stat.S_IROTH):
        yield problem(
            "permissions",
            f"{path}: holds secrets and others may read it (mode {mode:04o})",
            "chmod 600 it, and better: keep them in the vault or in credentials",
        )
    elif held:
        yield note("permissions", f"{path}: holds secrets", "keep them in the vault instead")
    else:
        yield ok("permissions", f"{path}: mode {mode:04o}, without secrets")
    for what, folder in folders(settings):
        yield usable_folder(what, folder)


def folders(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Where the daemon will write, by key."""
    if settings.state_dir:
        yield "state_dir", Path(settings.state_dir)
    if settings.journal:
        yield "journal", Path(settings.journal).absolute().parent
    if settings.ledger and is_sqlite(settings.ledger):
        yield "ledger", Path(sqlite_path(settings.ledger)).absolute().parent


def usable_folder(what: str, folder: Path) -> Finding:
    there = nearest(folder)
    if folder.exists() and not folder.is_dir():
        return problem("permissions", f"{what}: {folder} is not a directory", "name another")
    if not os.access(there, os.W_OK | os.X_OK):
        advice = "give this user the right to write there, or name another"
        return problem("permissions", f"{what}: {there} may not be written to", advice)
    if what != "state_dir" and there != folder:
        return problem("permissions", f"{what}: {folder} does not exist", "make it")
    if folder.is_dir() and os.stat(folder).st_mode & stat.S_IWOTH and not is_sticky(folder):
        return problem("permissions", f"{what}: anybody may write to {folder}", "chmod o-w it")
    return ok("permissions", f"{what}: {folder} may be written to")


def is_sticky(folder: Path) -> bool:
    return bool(os.stat(folder).st_mode & stat.S_ISVTX)


def nearest(folder: Path) -> Path:
    """The folder itself, or the first above it that exists."""
    folder = folder.absolute()
    return next(each for each in (folder, *folder.parents) if each.exists())


def look_at_disk(settings: Settings) -> Iterator[Finding]:
    seen: set[int] = set()
    for what, folder in [*folders(settings), ("working directory", Path.cwd())]:
        there = nearest(folder)
        device = os.stat(there).st_dev
        if device in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(there).free
        inodes = os.statvfs(there)
        if free < FREE_BYTES_MIN:
            advice = f"free some: {in_units(FREE_BYTES_MIN)} should be there at least"
            yield problem("disk", f"{what}: only {in_units(free)} are free at {there}", advice)
        elif inodes.f_files > 0 and inodes.f_favail < FREE_INODES_MIN:
            yield problem("disk", f"{what}: {there} has few inodes left", "remove small files")
        else:
            yield ok("disk", f"{what}: {in_units(free)} are free at {there}")


# --- time


class Timex(ctypes.Structure):
    """`struct timex` of Linux, as far as it is read, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def look_at_clock(settings: Settings) -> Finding:
    """What the kernel says of its clock. How far it is off the venue's, only the venue can say."""
    matters = settings.mode == "live"
    if sys.platform != "linux":
        return note("clock", "only Linux tells whether its clock is synchronised")
    reading = Timex()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(reading)) < 0:
        return note("clock", f"the kernel does not tell ({os.strerror(ctypes.get_errno())})")
    if reading.status & STA_UNSYNC:
        what = "the kernel says that nothing keeps its clock right"
        advice = "run chrony or systemd-timesyncd: `timedatectl set-ntp true`"
        if matters:
            return problem("clock", what, advice)
        return note("clock", what, advice)
    return ok("clock", f"kept right, within {reading.maxerror / 1000:.0f} ms")


# --- network and venue


def addresses(settings: Settings) -> dict[str, str]:
    """Every server the daemon will talk to whose address we know, by what it is for."""
    found: dict[str, str] = {}
    if settings.mode == "live":
        theirs = addresses_of(
            settings.exchange, testnet=settings.testnet, endpoints=settings.endpoints.given()
        )
        named = {field.name: getattr(theirs, field.name) for field in fields(theirs)}
        found |= {name: url for name, url in named.items() if isinstance(url, str) and "://" in url}
    for key in ("url", "url_not_quoting"):
        url = getattr(settings.alerts.heartbeat, key)
        if url:
            found[f"heartbeat {key}"] = url
    if settings.ledger and not is_sqlite(settings.ledger):
        found["ledger"] = settings.ledger
    return found


def look_at_network(found: Mapping[str, str]) -> Iterable[Finding]:
    if not found:
        return [ok("network", "nothing is to be reached")]
    with ThreadPoolExecutor(len(found)) as pool:
        return list(pool.map(lambda each: reach(*each), found.items()))


def reach(what: str, url: str) -> Finding:
    """A connection, with TLS where the address says so; nothing is sent over it."""
    parts = urlsplit(url)
    scheme = parts.scheme.partition("+")[0]
    host, port = parts.hostname or "", parts.port or PORTS.get(scheme, 443)
    where = f"{what}: {host}:{port}"
    began_s = time.perf_counter()
    try:
        with socket.create_connection((host, port), REACH_TIMEOUT_S) as connection:
            if scheme in {"https", "wss"}:
                context = ssl.create_default_context()
                with context.wrap_socket(connection, server_hostname=host):
                    pass
    except ssl.SSLCertVerificationError as error:
        advice = "look at the machine's clock and certificates, and for whoever stands in between"
        return problem("network", f"{where}: {error.verify_message}", advice)
    except socket.gaierror as error:
        return problem("network", f"{where}: {error.strerror}", "look at the name and at DNS")
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        return problem("network", f"{where}: {reason}", "look at firewall, proxy and routes")
    return ok("network", f"{where} answers in {(time.perf_counter() - began_s) * 1000:.0f} ms")


def look_at_venue(settings: Settings) -> Iterator[Finding]:
    """One reading of the account with the configured key: its rights, the clock, and the check before the first order."""
    name = settings.symbols[0].name
    try:
        account = asyncio.run(read_account(settings))
    except (MarketMakerError, TimeoutError) as error:
        advice = "look at the key, its addresses and its rights"
        yield problem("keys", str(error) or f"no answer in {VENUE_TIMEOUT_S:.0f} s", advice)
        return
    offset_ms = account.clock_offset_ns / NS_PER_MS
    limit_ms = settings.safety.max_clock_offset_s * 1000
    if abs(offset_ms) > limit_ms:
        advice = "run chrony or systemd-timesyncd"
        yield problem("clock", f"{offset_ms:+.0f} ms off the venue's (of {limit_ms:.0f})", advice)
    else:
        yield ok("clock", f"{offset_ms:+.0f} ms off the venue's")
    if account.can_withdraw is None:
        yield note("keys", "the venue does not tell what this key may", "look there yourself")
    elif account.can_withdraw:
        advice = "make one that may only trade, and delete this one"
        yield problem("keys", "this key may withdraw", advice)
    else:
        yield ok("keys", "this key is taken and may not withdraw")
    refusals = account_problems(account, settings.symbols[0].grid, settings.safety, name=name)
    for line in refusals:
        yield problem("account", line, "the daemon would not start")
    if not refusals:
        yield ok("account", f"equity {account.equity:f}, leverage {account.leverage:f}")


async def read_account(settings: Settings) -> AccountState:
    adapter = venue_adapter(settings, RealClock())
    try:
        async with asyncio.timeout(VENUE_TIMEOUT_S):
            await adapter.connect()
            instrument = await adapter.fetch_instrument(settings.symbols[0].name)
            return await adapter.fetch_account(instrument)
    finally:
        await adapter.close()
