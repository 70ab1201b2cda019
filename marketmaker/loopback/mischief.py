"""What a loopback venue can be told to do wrong, as data. Everything is off in a new `Mischief`.

Counters count down by one each time they strike. Those on answers strike the requests that `scope` names: "place"
(single, batch and over WebSocket), "cancel", or "any" signed request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

SCOPES = ("place", "cancel", "any")
EVENT_TIMES = ("", "before", "after")


@dataclass(slots=True, kw_only=True)
class Failure:
    """The next `times` requests to `path` (any path when "") are not carried out and answered with this."""

    code: int
    message: str
    status: int = 400
    times: int = 1
    path: str = ""


@dataclass(slots=True, kw_only=True)
class Mischief:
    scope: str = "place"
    lose_answers: int = 0
    """Carried out, then the connection is cut instead of an answer (over WebSocket: no answer)."""
    lose_requests: int = 0
    """Not carried out, and the connection is cut."""
    hang_answers: int = 0
    """Carried out, never answered; the connection stays."""
    hang_requests: int = 0
    """Not carried out, never answered."""
    unknown_done: int = 0
    """Carried out, answered 503 "Unknown error" (over WebSocket: -1007)."""
    unknown_not_done: int = 0
    """Not carried out, answered the same."""
    delay_answers_s: float = 0.0
    """Every answer to a signed request is this late; what it asked for was done at once."""
    fail: list[Failure] = field(default_factory=list)

    events: str = ""
    """"before": a request's events reach the client clearly before its answer; "after": clearly after. "": at once."""
    duplicate_events: bool = False
    reorder_events: bool = False
    """Events of the private stream change places two by two."""
    lose_events: int = 0
    """This many events of the private stream are never sent."""
    silent: list[str] = field(default_factory=list)
    """Streams that stop without closing: a stream's name, "private" or "all"."""
    lose_subscriptions: int = 0
    """Subscriptions that are acknowledged and then ignored."""

    reject_post_only: int = 0
    """Post-only orders refused at once, whether they would take or not."""
    expire_post_only: int = 0
    """Post-only orders acknowledged, then ended by the stream, whether they would take or not."""
    late_post_only: bool = False
    """Post-only orders that would take are acknowledged, then ended by the stream."""

    rate_limit: int = 0
    """Requests answered 429; `retry_after_s` goes with them, 0 for no such header."""
    retry_after_s: int = 1
    ban_s: float = 0.0
    """The next request begins a ban of this length, and this goes back to 0."""
    overloaded: int = 0
    """Requests answered 503 -1008, not carried out; reduce-only orders are exempt."""
    maintenance: bool = False
    """Every request is answered 503 "Service Unavailable." (order entry over WebSocket: -1008); streams go on."""

    clock_offset_ms: int = 0
    """The venue's clock minus this machine's."""
    hedge_mode: bool = False
    multi_assets: bool = False
    ip_allowed: bool = True
    may_trade: bool = True
    may_withdraw: bool = False

    def set(self, changes: Mapping[str, object]) -> None:
        """Change several at once, from plain JSON. Raises ValueError naming what it does not know; nothing is changed then."""
        known = {each.name: getattr(self, each.name) for each in fields(self)}
        ready: dict[str, object] = {}
        for name, value in changes.items():
            if name not in known:
                raise ValueError(f"no mischief called {name}; there are {', '.join(known)}")
            ready[name] = _like(name, known[name], value)
        for name, value in ready.items():
            setattr(self, name, value)

    def strikes(self, name: str) -> bool:
        """Whether the counter of this name is above 0; takes one off."""
        left = getattr(self, name)
        if left <= 0:
            return False
        setattr(self, name, left - 1)
        return True

    def failure(self, path: str) -> Failure | None:
        """The failure that strikes this request."""
        for each in self.fail:
            if each.times > 0 and each.path in ("", path):
                each.times -= 1
                return each
        return None

    def hushes(self, stream: str) -> bool:
        return bool(self.silent) and ("all" in self.silent or stream in self.silent)


def _like(name: str, current: object, value: object) -> object:
    if name == "fail":
        if not isinstance(value, list):
            raise ValueError("fail takes a list of {code, message, status, times, path}")
        try:
            return [Failure(**each) for each in value]
        except TypeError as error:
            raise ValueError(f"fail: {error}") from None
    if isinstance(current, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(current):
        raise ValueError(f"{name} takes a {type(current).__name__}, got {value!r}")
    allowed = {"scope": SCOPES, "events": EVENT_TIMES}.get(name)
    if allowed is not None and value not in allowed:
        raise ValueError(f"{name} is one of {', '.join(map(repr, allowed))}, got {value!r}")
    return value
