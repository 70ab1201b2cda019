"""A rehearsed venue as a process of its own, and the daemon that trades on it, each with its own pid."""

from __future__ import annotations

import json
import os
import signal
import string
import subprocess
import sys
import time
import urllib.request
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marketmaker.loopback.backpack.venue import PUBLIC_KEY, SEED
from tests.support.daemon import ROOT, Ended, environment, problems_of_books

CREDENTIALS = {
    "api_key": "loopback-key",
    "api_secret": "loopback-secret",
    "passphrase": "loopback-passphrase",
}
CREDENTIALS_OF = {"backpack": {"api_key": PUBLIC_KEY, "api_secret": SEED}}
START_S = 120.0
TAG_LETTERS = string.digits + string.ascii_lowercase
POLL_S = 0.05


@dataclass
class VenueProcess:
    """`marketmaker venue`, with mischief allowed."""

    venue: str
    folder: Path
    options: tuple[str, ...] = ()
    endpoints: dict[str, str] = field(default_factory=dict)
    mischief_url: str = ""

    def __enter__(self) -> VenueProcess:
        arguments = [sys.executable, "-m", "marketmaker", "venue", self.venue, "--allow-mischief"]
        self._out = (self.folder / f"{self.venue}.out").open("w+")
        self.process = subprocess.Popen(
            [*arguments, *self.options],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=subprocess.STDOUT,
        )
        deadline_s = time.monotonic() + START_S
        while "Ctrl-C" not in (text := Path(self._out.name).read_text()):
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                self.__exit__()
                raise AssertionError(text)
            time.sleep(POLL_S)
        for line in text.splitlines():
            name, _, url = line.strip().partition(": ")
            if url.startswith('"') and url.startswith(('"http', '"ws')):
                self.endpoints[name] = json.loads(url)
            elif name == "mischief":
                self.mischief_url = url
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._out.close()

    def ask(self, **order: Any) -> dict[str, Any]:
        """The switches, open orders and positions, after what `order` changes: `set`, `do`, `quotes`, `trades`."""
        body = json.dumps(order).encode() if order else None
        request = urllib.request.Request(
            self.mischief_url, data=body, method="POST" if order else "GET"
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found


def tag_of(folder: Path) -> str:
    """The same for every life in this folder and another elsewhere: two runs with one tag on one account exclude each
    other on the whole machine, and every rehearsed venue has the same account."""
    number = zlib.crc32(str(folder).encode())
    return "t" + "".join(TAG_LETTERS[number // len(TAG_LETTERS) ** n % 36] for n in range(2))


def live_configuration(
    venue: VenueProcess, folder: Path, *, exchange: str = "", more: str = "", symbols: str = ""
) -> Path:
    """For the daemon on this venue: narrow levels, state kept in `folder`."""
    from marketmaker.venues import venue_of

    known = venue_of(exchange or venue.venue)
    assert known is not None
    endpoints = "\n".join(f"  {name}: {url}" for name, url in venue.endpoints.items())
    taken = CREDENTIALS_OF.get(venue.venue, CREDENTIALS)
    secrets = "\n".join(f'  {name}: "{taken[name]}"' for name in known.credentials)
    text = f"""
mode: live
exchange: {exchange or venue.venue}
bot_tag: "{tag_of(folder)}"
endpoints:
{endpoints}
credentials:
{secrets}
symbols:
{symbols or "  - name: ETHUSDT"}
grid: {{price_interval: 2, order_amount: 60, buy_window: 8, sell_window: 8}}
safety: {{min_positions: 10, allow_withdrawal_keys: true}}
risk: {{enabled: false}}
state_dir: {folder / "state"}
reconcile_interval: 10
{more}
"""
    path = folder / f"{venue.venue}.yaml"
    path.write_text(text)
    os.chmod(path, 0o600)
    return path


def books(ended: Ended) -> list[str]:
    """What is wrong with how a run on a venue ended.

    Not the last digit of equity: a venue is asked for balance and position one after the other while its market moves.
    """
    return [each for each in problems_of_books(ended) if not each.startswith("equity_residual")]
