"""Everything that is served, in one table; the description at /openapi.json is made from it and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from marketmaker.model.view import (
    DaemonView,
    HealthView,
    HistoryView,
    NewsList,
    Outcome,
    ReloadOutcome,
)


class Access(Enum):
    """PUBLIC holds nothing of the account: the page's own files. READ needs the token from anywhere but this machine,
    ACT needs it always."""

    PUBLIC = "public"
    READ = "read"
    ACT = "act"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One parameter of a query. `least` and `most` bound a whole number; `choices` what a text may be."""

    name: str
    what: str
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`name` is what the server calls it. `answer` is the class of the JSON, None for other content, whose type is
    `media`. `body`: what a request may send, "" for nothing. `codes`: other answers than 200, beside the refusals that
    every route has."""

    method: str
    path: str
    name: str
    summary: str
    access: Access
    answer: type | None = None
    media: str = "application/json"
    body: str = ""
    query: tuple[Query, ...] = ()
    codes: tuple[tuple[int, str], ...] = ()


SYMBOL = Query(name="symbol", what="only this symbol, such as ETHUSDT")
UNKNOWN_SYMBOL = (404, "no such symbol")
NOT_YET = (503, "the daemon has not shown itself yet")
NOT_TRADING = "SYMBOLS"
RELOADING = "RELOAD"
UNANSWERED = (504, "the daemon has not answered in time; what was asked may still be carried out")
BROKEN = (502, "the daemon could not carry it out; its log says why")
ACTING = (UNKNOWN_SYMBOL, NOT_YET, UNANSWERED, BROKEN)

ROUTES = (
    Route(
        method="GET",
        path="/healthz",
        name="healthz",
        summary="Whether every symbol quotes, or is kept from it on purpose; 503 when not.",
        access=Access.READ,
        answer=HealthView,
        codes=((503, "not healthy: `reasons` says why"),),
    ),
    Route(
        method="GET",
        path="/readyz",
        name="readyz",
        summary="Whether orders and position were read and the first orders rest; 503 before.",
        access=Access.READ,
        answer=HealthView,
        codes=((503, "not ready yet"),),
    ),
    Route(
        method="GET",
        path="/metrics",
        name="metrics",
        summary="Everything that counts, for Prometheus.",
        access=Access.READ,
        media="text/plain",
        codes=(NOT_YET,),
    ),
    Route(
        method="GET",
        path="/status",
        name="status",
        summary="Everything at this moment: per symbol, per slot, and why a slot has no order.",
        access=Access.READ,
        answer=DaemonView,
        query=(SYMBOL,),
        codes=(UNKNOWN_SYMBOL, NOT_YET),
    ),
    Route(
        method="GET",
        path="/events",
        name="events",
        summary="A stream of server-sent events: `view` as /status, `news` as an entry of /news.",
        access=Access.READ,
        media="text/event-stream",
        codes=((429, "too many watch already"),),
    ),
    Route(
        method="GET",
        path="/news",
        name="news",
        summary="What happened lately: fills, ended orders, alerts, gates, what the operator did.",
        access=Access.READ,
        answer=NewsList,
        query=(
            Query(name="after", what="only what has a greater id", least=0, most=1 << 53),
            Query(
                name="kind",
                what="only of this kind",
                choices=("fill", "order", "alert", "gate", "operator"),
            ),
        ),
    ),
    Route(
        method="GET",
        path="/history",
        name="history",
        summary="Price, position and profit of one symbol over time, for plots.",
        access=Access.READ,
        answer=HistoryView,
        query=(
            Query(name="symbol", what="the symbol, such as ETHUSDT", required=True),
            Query(name="span", what="the last half hour, or the last day", choices=("30m", "24h")),
        ),
        codes=(UNKNOWN_SYMBOL,),
    ),
    Route(
        method="POST",
        path="/control/pause",
        name="pause",
        summary="Cancel every entry and place no new one; exits go on. Holds until resumed, over restarts too.",
        access=Access.ACT,
        answer=Outcome,
        body=NOT_TRADING,
        codes=ACTING,
    ),
    Route(
        method="POST",
        path="/control/resume",
        name="resume",
        summary="Trade on after pause, cancel-all or flatten.",
        access=Access.ACT,
        answer=Outcome,
        body=NOT_TRADING,
        codes=ACTING,
    ),
    Route(
        method="POST",
        path="/control/cancel-all",
        name="cancel-all",
        summary="Cancel every order of ours, exits too, and place none until resumed.",
        access=Access.ACT,
        answer=Outcome,
        body=NOT_TRADING,
        codes=ACTING,
    ),
    Route(
        method="POST",
        path="/control/flatten",
        name="flatten",
        summary="Cancel every order and give the whole position back, reduce-only; stay out until resumed.",
        access=Access.ACT,
        answer=Outcome,
        body=NOT_TRADING,
        codes=ACTING,
    ),
    Route(
        method="POST",
        path="/control/reload",
        name="reload",
        summary="Read the configuration file again: what would change and which orders would move, or change it.",
        access=Access.ACT,
        answer=ReloadOutcome,
        body=RELOADING,
        codes=(NOT_YET, UNANSWERED, BROKEN),
    ),
    Route(
        method="GET",
        path="/openapi.json",
        name="openapi",
        summary="This description.",
        access=Access.PUBLIC,
        media="application/json",
    ),
    Route(
        method="GET",
        path="/docs",
        name="docs",
        summary="This description, to try out.",
        access=Access.PUBLIC,
        media="text/html",
    ),
    Route(
        method="GET",
        path="/",
        name="page",
        summary="The dashboard.",
        access=Access.PUBLIC,
        media="text/html",
    ),
)
