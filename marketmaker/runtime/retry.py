"""What may be done after an error of the venue: one reading of the error tree for everyone who sends orders."""

from __future__ import annotations

import random

from marketmaker import errors
from marketmaker.errors import ClockSkew, NotSent, Overloaded, RateLimited, VenueError
from marketmaker.model.event import Refusal
from marketmaker.model.settings import ExecutionSettings

JITTER = 0.2

REFUSALS: dict[type[VenueError], Refusal] = {
    errors.NotSent: Refusal.NOT_SENT,
    errors.PostOnlyWouldCross: Refusal.POST_ONLY,
    errors.ReduceOnlyRefused: Refusal.REDUCE_ONLY,
    errors.InsufficientMargin: Refusal.INSUFFICIENT_MARGIN,
    errors.FilterViolation: Refusal.FILTER,
    errors.DuplicateClientOrderId: Refusal.DUPLICATE_ID,
    errors.RateLimited: Refusal.RATE_LIMITED,
    errors.Overloaded: Refusal.OVERLOADED,
    errors.ClockSkew: Refusal.CLOCK_SKEW,
    errors.PositionModeMismatch: Refusal.POSITION_MODE,
    errors.AuthenticationRefused: Refusal.AUTHENTICATION,
    errors.OrderNotFound: Refusal.ORDER_NOT_FOUND,
    errors.Rejected: Refusal.OTHER,
}


def may_retry(error: VenueError) -> bool:
    """The request is known not to have been executed, and the same one may succeed later."""
    return isinstance(error, NotSent | RateLimited | Overloaded | ClockSkew)


def refusal_of(error: VenueError) -> Refusal:
    """The nearest class of the tree that has a name; OTHER for one that has none."""
    for kind in type(error).__mro__:
        if kind in REFUSALS:
            return REFUSALS[kind]
    return Refusal.OTHER


def retry_after_s(error: Exception) -> float | None:
    """The venue's own figure, where it gave one."""
    return error.retry_after_s if isinstance(error, RateLimited) else None


def pause_s(error: RateLimited, settings: ExecutionSettings) -> float:
    """How long the whole account keeps still."""
    given = error.retry_after_s
    return settings.rate_limit_delay_s if given is None else given


def retry_delay_s(error: Exception, settings: ExecutionSettings, rng: random.Random) -> float:
    """How long one order waits, jittered by 20 %: both ways, but never under the venue's own figure."""
    given = retry_after_s(error)
    if given is not None:
        return given * (1 + JITTER * rng.random())
    delay_s = (
        settings.rate_limit_delay_s if isinstance(error, RateLimited) else settings.retry_delay_s
    )
    return delay_s * (1 - JITTER + 2 * JITTER * rng.random())
