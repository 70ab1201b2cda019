"""Every error of the project, and what each one says we now know.

MarketMakerError
├─ ConfigError              the operator must act; nothing was sent; exit code 2
├─ UnsupportedInstrument    a contract whose arithmetic we do not model; exit code 2
├─ VenueError               carries venue, operation, code, message
│  ├─ NotSent               never left this process      → may be tried again
│  ├─ Rejected              the venue said no            → nothing changed there
│  │  ├─ PostOnlyWouldCross
│  │  ├─ ReduceOnlyRefused
│  │  ├─ InsufficientMargin
│  │  ├─ FilterViolation    off tick, off lot, below a minimum, outside the price band
│  │  ├─ DuplicateClientOrderId
│  │  ├─ RateLimited        retry_after_s, banned
│  │  ├─ Overloaded         the venue said it did not process the request
│  │  ├─ ClockSkew          re-measure the offset, then try again
│  │  ├─ PositionModeMismatch   fatal: says which switch to flip
│  │  └─ AuthenticationRefused  fatal
│  ├─ OrderNotFound         gone, but filled or cancelled? → ask
│  ├─ OutcomeUnknown        sent, no trustworthy answer  → ask, never send again
│  ├─ StreamBroken          silence, gap, disconnect     → stop quoting, snapshot, resume
│  └─ MalformedMessage      they broke their contract    → keep the frame, count it, ask
└─ InvariantBroken          we broke ours                → cancel what we can and exit
"""

from __future__ import annotations

from collections.abc import Callable

_mask: Callable[[str], str] = str


def mask_messages_with(mask: Callable[[str], str]) -> None:
    """From here on `mask` sees every message before it is kept: a venue may quote a key, a library an address."""
    global _mask  # noqa: PLW0603  (errors are made everywhere; what is secret is known once, at start)
    _mask = mask


class MarketMakerError(Exception):
    """Root of everything this project raises on purpose."""

    def __init__(self, message: str = "") -> None:
        super().__init__(_mask(message))


class ConfigError(MarketMakerError):
    """Bad input from the operator. `str()` is one line: what, where, what would pass."""


class UnsupportedInstrument(ConfigError):
    """The instrument's arithmetic is not modelled (inverse contracts: value divides by price)."""


class VenueError(MarketMakerError):
    """A request to a venue did not succeed; the subclass says what that means."""

    def __init__(
        self, message: str, *, venue: str = "", operation: str = "", code: str = ""
    ) -> None:
        super().__init__(message)
        # a venue's words may hold line breaks; a reason is one line
        self.message = _mask(" ".join(message.split()))
        self.venue = venue
        self.operation = operation
        self.code = code

    def __str__(self) -> str:
        where = " ".join(part for part in (self.venue, self.operation, self.code) if part)
        return f"{where}: {self.message}" if where else self.message


class NotSent(VenueError):
    """The request never left this process."""


class Rejected(VenueError):
    """The venue refused the request; its state did not change."""


class PostOnlyWouldCross(Rejected):
    """A post-only order would have taken liquidity."""


class ReduceOnlyRefused(Rejected):
    """A reduce-only order had nothing to reduce."""


class InsufficientMargin(Rejected):
    """Not enough free margin for the order."""


class FilterViolation(Rejected):
    """Off tick, off lot, below a minimum, above a maximum or outside the price band."""


class DuplicateClientOrderId(Rejected):
    """The client order id is in use: the first order with it exists."""


class RateLimited(Rejected):
    """Too many requests. `retry_after_s` is the venue's own figure, None when it gave none."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        banned: bool = False,
        venue: str = "",
        operation: str = "",
        code: str = "",
    ) -> None:
        super().__init__(message, venue=venue, operation=operation, code=code)
        self.retry_after_s = retry_after_s
        self.banned = banned


class Overloaded(Rejected):
    """The venue was too busy and said that it did not process the request."""


class ClockSkew(Rejected):
    """The request's timestamp was outside the venue's window."""


class PositionModeMismatch(Rejected):
    """The account is in the wrong position mode; the message names the switch to flip."""


class AuthenticationRefused(Rejected):
    """Key, signature, permission or address was refused."""


class OrderNotFound(VenueError):
    """The venue does not know the order (now): filled, cancelled or never accepted."""


class OutcomeUnknown(VenueError):
    """The request was sent and no trustworthy answer came back."""


class StreamBroken(VenueError):
    """A stream fell silent, skipped or closed."""


class MalformedMessage(VenueError):
    """A message from the venue breaks its own contract."""


class InvariantBroken(MarketMakerError):
    """One of our own rules does not hold: a bug here, never the venue's doing."""
