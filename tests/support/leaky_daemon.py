"""`marketmaker run` on a paper exchange that quotes our secrets in everything it says, and then breaks.

    python -m tests.support.leaky_daemon CONFIG [options of run]

`LEAK` in the environment: `refusals` (default) quotes them in refused placements and dropped streams; `service` also
breaks a service of the symbol with a foreign exception; `start` breaks the start with one that nobody catches.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import structlog

from marketmaker import launch
from marketmaker.__main__ import main
from marketmaker.errors import FilterViolation
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import NewOrder
from marketmaker.model.settings import Credentials
from marketmaker.sim.venue import PaperExchange

BREAK_AFTER_S = 1.0


class LeakyExchange(PaperExchange):
    credentials = Credentials()

    def quote(self) -> str:
        held = self.credentials
        return f"bad request: key={held.api_key} secret={held.api_secret} {held.passphrase!r}"

    async def connect(self) -> None:
        await super().connect()
        structlog.get_logger().debug(
            "frame.sent", text=self.quote(), headers={"sign": self.quote()}
        )
        structlog.get_logger().info(
            "seen", credentials=self.credentials, raw=vars_of(self.credentials)
        )
        warnings.warn(self.quote(), stacklevel=1)
        thread = threading.Thread(target=self.break_now)
        thread.start()
        thread.join()
        if os.environ.get("LEAK") == "start":
            self.break_now()

    def break_now(self) -> None:
        raise RuntimeError(self.quote())

    async def stream_prices(self, *args: Any) -> None:
        if os.environ.get("LEAK") == "service":
            async with asyncio.timeout(BREAK_AFTER_S) as limit:
                try:
                    await super().stream_prices(*args)
                except asyncio.CancelledError as error:
                    if limit.expired():
                        raise RuntimeError(self.quote()) from error
                    raise
        await super().stream_prices(*args)

    def place(self, instrument: Instrument, orders: Sequence[NewOrder]) -> Any:
        """The first order of each batch never gets there; what is said of it holds our secrets."""

        async def answer() -> Sequence[Any]:
            refusal = FilterViolation(self.quote(), venue="paper", operation="place", code="-1")
            rest = await placed if placed is not None else []
            return [refusal, *rest]

        placed = super().place(instrument, orders[1:]) if len(orders) > 1 else None
        return answer()


def vars_of(credentials: Credentials) -> dict[str, str]:
    return {name: getattr(credentials, name) for name in credentials.__slots__}


if __name__ == "__main__":
    settings_of = launch.load_configuration

    def load(path: str) -> Any:
        configuration = settings_of(path)
        LeakyExchange.credentials = configuration.settings.credentials
        return configuration

    launch.PaperExchange = LeakyExchange  # type: ignore[misc]
    launch.load_configuration = load
    sys.argv[1:1] = ["run"]
    sys.exit(main())
