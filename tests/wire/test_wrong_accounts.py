"""Forty kinds of wrong key, permission, account and environment, on every venue: one clear line each, and no secret in it.

Everything that any logger says at any level is read as well, and so is the traceback of what was raised.
"""

from __future__ import annotations

import logging
import random
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from marketmaker.adapters import make_adapter
from marketmaker.adapters.protocol import Adapter
from marketmaker.core.safety import account_problems
from marketmaker.errors import ConfigError, VenueError
from marketmaker.loopback import make_loopback
from marketmaker.loopback.stage import LoopbackVenue
from marketmaker.model.settings import (
    Credentials,
    GridSettings,
    PaperSettings,
    SafetySettings,
)
from marketmaker.runtime.clock import RealClock
from marketmaker.venues import venue_of
from tests.contract.bench import BUY, MID
from tests.contract.makers import MAKERS, ROOMY, impatient
from tests.support.paper import QuietFeed, make_order

VENUES = [name for name, maker in MAKERS.items() if maker.loopback and not name.startswith("ccxt:")]
SOUND = replace(ROOMY, leverage=Decimal(5))
REFUSED = ("Authentication", "key", "signature", "sign", "passphrase", "permission")
Wrong = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """`says`: one of these must stand in the line, whatever the case. `part`: a credential, and `wrong` what is done to
    it. `untold`: some venues do not tell, or have no such thing."""

    says: tuple[str, ...] = REFUSED
    part: str = ""
    wrong: Wrong = str
    mischief: dict[str, Any] = field(default_factory=dict)
    paper: PaperSettings = SOUND
    endpoints: dict[str, str] = field(default_factory=dict)
    untold: bool = False


WRONGS: dict[str, Wrong] = {
    "another": lambda right: "An0therS3cretThing" * 2,
    "in capitals": str.upper,
    "cut short": lambda right: right[:-1],
    "doubled": lambda right: right * 2,
    "with a space": lambda right: f"{right[:4]} {right[4:]}",
    "with a letter of another alphabet": lambda right: right + "ß",
    "with a line break": lambda right: right + "\nX: y",
    "of endless length": lambda right: "Z" * 7_000,
    "backwards": lambda right: right[::-1],
}
NOT_THERE = "http://127.0.0.1:9"
KINDS: dict[str, Kind] = {
    **{
        f"{part} {name}": Kind(
            part=part, wrong=wrong, says=(*REFUSED, "NotSent", "ValueError", "api_secret")
        )
        for part in ("api_key", "api_secret", "passphrase")
        for name, wrong in WRONGS.items()
    },
    "no key at all": Kind(part="both", says=("no API key",)),
    "no secret": Kind(part="api_secret", wrong=lambda right: "", says=(*REFUSED, "api_secret")),
    "no passphrase": Kind(part="passphrase", wrong=lambda right: ""),
    "key and secret changed places": Kind(part="swapped"),
    "an address that is not allowed": Kind(mischief={"ip_allowed": False}),
    "a key that may only read": Kind(mischief={"may_trade": False}),
    "a key that may withdraw": Kind(
        mischief={"may_withdraw": True}, says=("withdraw",), untold=True
    ),
    "an account in hedge mode": Kind(
        mischief={"hedge_mode": True}, says=("hedge", "one-way"), untold=True
    ),
    "a clock 3 s off": Kind(mischief={"clock_offset_ms": 3_000}, says=("clock", "time")),
    "a clock 3 s late": Kind(mischief={"clock_offset_ms": -3_000}, says=("clock", "time")),
    "an address that is banned": Kind(
        mischief={"ban_s": 60.0}, says=("ban", "limit", "too many", "quiet")
    ),
    "a venue in maintenance": Kind(
        mischief={"maintenance": True},
        says=("unavailable", "maintenance", "maintained", "busy", "system", "service", "exception"),
    ),
    "leverage above the limit": Kind(
        paper=replace(SOUND, leverage=Decimal(50)), says=("leverage",)
    ),
    "too little money": Kind(paper=replace(SOUND, balance=Decimal(5)), says=("equity",)),
    "a server that is not there": Kind(
        endpoints={"rest_url": NOT_THERE}, says=("connect", "Error")
    ),
}


def test_there_are_forty_kinds() -> None:
    assert len(KINDS) >= 40


@asynccontextmanager
async def rehearsed(exchange: str, kind: Kind) -> AsyncIterator[tuple[LoopbackVenue, Adapter]]:
    maker = MAKERS[exchange]
    venue = make_loopback(
        maker.loopback, feed=QuietFeed("ETHUSDT", "BTCUSDT"), paper=kind.paper, **maker.settings
    )
    await venue.start()
    try:
        adapter = impatient(
            make_adapter(
                exchange,
                credentials=credentials(kind, maker.credentials),
                bot_tag="mm",
                clock=RealClock(),
                rng=random.Random(1),
                endpoints={**venue.endpoints, **kind.endpoints},
                timeout_s=3.0,
            )
        )
    except ConfigError:
        await venue.close()
        raise
    try:
        yield venue, adapter
    finally:
        venue.stage.mischief.set({name: False for name in ("maintenance",)})
        await adapter.close()
        await venue.close()


def credentials(kind: Kind, right: Credentials) -> Credentials:
    match kind.part:
        case "":
            return right
        case "both":
            return Credentials()
        case "swapped":
            return replace(right, api_key=right.api_secret, api_secret=right.api_key)
    return replace(right, **{kind.part: kind.wrong(getattr(right, kind.part))})


async def attempt(adapter: Adapter) -> None:
    """What the daemon does up to its first order. Raises the first thing that keeps it from trading."""
    await adapter.connect()
    instrument = await adapter.fetch_instrument("ETHUSDT")
    account = await adapter.fetch_account(instrument)
    grid = GridSettings(price_interval=Decimal(2), order_amount=Decimal(60))
    if problems := account_problems(account, grid, SafetySettings(), name="ETHUSDT"):
        raise ConfigError("\n".join(problems))
    (outcome,) = await adapter.place(instrument, [make_order(BUY, MID - 1_000, 100)])
    if isinstance(outcome, VenueError):
        raise outcome


@pytest.mark.parametrize("exchange", VENUES)
async def test_every_kind_of_wrong_is_one_clear_line_without_a_secret(
    exchange: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    known = venue_of(exchange)
    assert known is not None
    unclear: list[str] = []
    for name, kind in KINDS.items():
        if kind.part == "passphrase" and "passphrase" not in known.credentials:
            continue
        told, trace, shown = "", "", ""
        try:
            async with rehearsed(exchange, kind) as (venue, adapter):
                venue.stage.mischief.set(kind.mischief)
                shown = repr(vars(adapter))
                await attempt(adapter)
        except (VenueError, ConfigError) as error:
            told = f"{type(error).__name__} {error}"
            trace = "".join(traceback.format_exception(error))
        if not told:
            if not kind.untold:
                unclear.append(f"{name}: nothing was said")
            continue
        if "\n" in told.strip() or len(told) > 500:
            unclear.append(f"{name}: not one line: {told[:200]!r}")
        if not any(word.lower() in told.lower() for word in kind.says):
            unclear.append(f"{name}: {told}")
        right = MAKERS[exchange].credentials
        given = credentials(kind, right)
        logged = caplog.text + "".join(capsys.readouterr())
        for secret in (given.api_secret, given.passphrase, right.api_secret):
            if len(secret) > 3 and secret in told + trace + logged + shown:
                unclear.append(f"{name}: a secret is shown")
        caplog.clear()
    assert not unclear, "\n".join(unclear)
