"""Asks a venue again while its trouble may pass: one bad gateway at the start must not be the end.

Only questions, which change nothing, and only errors that say that the same question may be answered later. What the
operator has to mend (a key that is refused, an instrument that does not exist) is raised at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from marketmaker.errors import OutcomeUnknown, RateLimited, StreamBroken, VenueError
from marketmaker.runtime.retry import may_retry

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0

T = TypeVar("T")


def may_ask_again(error: VenueError) -> bool:
    """An answer that was lost costs a question nothing."""
    return may_retry(error) or isinstance(error, OutcomeUnknown | StreamBroken)


async def ask_until_answered(
    question: Callable[[], Awaitable[T]], on_trouble: Callable[[VenueError, float], None]
) -> T:
    """The answer, however long it takes: after 1, 2, 4 ... 30 s, or when the venue says.

    `on_trouble(error, wait_s)` is called before each wait. Raises what asking again would not change.
    """
    wait_s = FIRST_WAIT_S
    while True:
        try:
            return await question()
        except VenueError as error:
            if not may_ask_again(error):
                raise
            given = error.retry_after_s if isinstance(error, RateLimited) else None
            pause_s = wait_s if given is None else max(given, FIRST_WAIT_S)
            on_trouble(error, pause_s)
        await asyncio.sleep(pause_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
