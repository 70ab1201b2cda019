"""Every real payload that was collected of a venue goes through the adapter's reader for it, or stands in a list of what
is never read, with the reason. Binance's own list is in `test_binance_frames.py`; what the values become, and each
error's class, is looked at in the venue's own file. Also: every code of the venue's error list is of its class."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import pytest

from marketmaker.adapters.backpack import parse as backpack_parse
from marketmaker.adapters.backpack import tables as backpack_tables
from marketmaker.adapters.backpack import wire as backpack
from marketmaker.adapters.bybit import parse as bybit_parse
from marketmaker.adapters.bybit import tables as bybit_tables
from marketmaker.adapters.bybit import wire as bybit
from marketmaker.adapters.gate import parse as gate_parse
from marketmaker.adapters.gate import tables as gate_tables
from marketmaker.adapters.gate import wire as gate
from marketmaker.adapters.http import Answer
from marketmaker.adapters.okx import parse as okx_parse
from marketmaker.adapters.okx import tables as okx_tables
from marketmaker.adapters.okx import wire as okx
from marketmaker.errors import VenueError
from marketmaker.model.order import Side
from tests.support.paper import make_order
from tests.support.venue_desk import sample, sample_names

Read = Callable[[bytes], Any]
SENT = "what a client sends; the tests of what we send compare with it"
NOT_ASKED = "not asked for"
NOT_HEARD = "not subscribed to"
THEIR_SETTING = "a setting of the account is the operator's"


@dataclass(frozen=True, kw_only=True)
class Collected:
    """`error`: what a refusal is to us. `read`: by the name of a payload, or a pattern of names; the first that fits. `never`: why not."""

    error: Callable[[Any], VenueError | None]
    read: dict[str, Read]
    never: dict[str, str]
    kinds: dict[Any, type[VenueError]] = field(default_factory=dict)
    sheet: str = ""


def of_okx(read: Read) -> Read:
    """What an answer is about."""
    return lambda body: read(bytes(okx.read_envelope(body).data))


def of_channel(read: Read) -> Read:
    return lambda frame: read(bytes(okx.read_frame(frame).data))


def of_bybit(read: Read) -> Read:
    return lambda body: read(bytes(bybit.read_envelope(body).result))


def of_page(read: Read) -> Read:
    return of_bybit(lambda result: read(bytes(bybit.read_page(result).rows)))


def of_topic(read: Read) -> Read:
    return lambda frame: read(bytes(bybit.read_frame(frame).data))


def of_gate(read: Read) -> Read:
    return lambda frame: read(bytes(gate.read_frame(frame).result))


def of_stream(read: Read) -> Read:
    return lambda frame: read(bytes(backpack.read_frame(frame).data))


def part(name: str, read: Read) -> Read:
    """Of a payload that holds a request and what came back."""
    return lambda body: read(json.dumps(json.loads(body)[name]).encode())


def answer(status: int, content: Any) -> Answer:
    return Answer(status=status, headers={}, body=json.dumps(content).encode())


def okx_error(content: Any) -> VenueError | None:
    """Of the request, or of its one order."""
    found = okx_parse.parse_answer_error(answer(200, content), "place")
    if found is not None:
        return found
    acks = okx.read_acks(json.dumps(content["data"]).encode())
    placed = okx_parse.parse_placed(acks[0], make_order(Side.BUY, 300_000, 10), "place")
    return placed if isinstance(placed, VenueError) else None


def bybit_error(content: Any) -> VenueError | None:
    status, text = content.get("_http_status", 200), content.get("_body_text")
    told = (
        Answer(status=status, headers={}, body=text.encode()) if text else answer(status, content)
    )
    return bybit_parse.parse_answer_error(told, "place")


def gate_error(content: Any) -> VenueError | None:
    return gate_parse.parse_answer_error(answer(400, content), "place", None)


def backpack_error(content: Any) -> VenueError | None:
    return backpack_parse.parse_answer_error(answer(400, content), "place")


COLLECTED: dict[str, Collected] = {
    "okx": Collected(
        error=okx_error,
        read={
            "rest_account_config": of_okx(okx.read_configs),
            "rest_balance": of_okx(okx.read_balances),
            "rest_instruments": of_okx(okx.read_instruments),
            "rest_klines": of_okx(okx.read_candles),
            "rest_open_orders*": of_okx(okx.read_orders),
            "rest_positions*": of_okx(okx.read_positions),
            "rest_user_trades": of_okx(okx.read_fills),
            "rest_set_leverage": of_okx(okx.read_leverages),
            "rest_place_order*": of_okx(okx.read_acks),
            "rest_cancel_order": of_okx(okx.read_acks),
            "rest_cancel_batch": of_okx(okx.read_acks),
            "ws_order_*": of_channel(okx.read_orders),
            "ws_postonly_reject": of_channel(okx.read_orders),
            "ws_positions": of_channel(okx.read_positions),
            "ws_balance_and_position": of_channel(okx.read_changes),
            "ws_kline*": of_channel(okx.read_candles),
            "ws_mark_price": of_channel(okx.read_marks),
            "ws_trade*": okx.read_trades,
            "ws_account": lambda frame: okx.read_frame(frame).arg,
            "ws_login_failure": lambda frame: okx.read_frame(frame).code,
            "ws_login_success": lambda frame: okx.read_frame(frame).code,
            "ws_notice*": lambda frame: okx.read_frame(frame).code,
            "ws_subscribe*": lambda frame: okx.read_frame(frame).id,
            "ws_channel_conn_count": lambda frame: okx.read_frame(frame).event,
            "wsorder_*_failure": of_channel(okx.read_acks),
            "wsorder_place_reply": of_channel(okx.read_acks),
            "wsorder_format_error": lambda frame: okx.read_frame(frame).code,
        },
        never={
            "sign_vectors": SENT,
            "ws_login_request": SENT,
            "wsorder_place_request": SENT,
            "rest_amend_order": "an order is never amended here, where that would lose its place",
            "rest_cancel_all_after": "that it was taken is enough",
            "rest_funding_rate_history": NOT_ASKED,
            "rest_price_limit": NOT_ASKED,
            "rest_set_position_mode": THEIR_SETTING,
            "rest_transaction_detail_item": "a fill of the spot market",
            "ws_bbo*": NOT_HEARD,
            "ws_depth*": NOT_HEARD,
            "ws_funding_rate": NOT_HEARD,
            "ws_tickers": NOT_HEARD,
        },
        kinds=okx_tables.ERROR_OF_CODE,
        sheet="""
            PostOnlyWouldCross 51511 | RateLimited 50011 50061 60014 | Overloaded 50013 50001
            OutcomeUnknown 50004 51149 51054 50026 | InsufficientMargin 51008 51004
            OrderNotFound 51400 51401 51402 51410 51603 51503 51509 51510 | DuplicateClientOrderId 51016
            FilterViolation 51121 51020 51202 51006 51137 51138 51116
            ReduceOnlyRefused 51169 51170 51112 51205 51206 51148
            Rejected 51000 51001 51002 50014 50015 51102 51174 51025 51019 60012 60013 60018 60028
            ClockSkew 50102 60004 60006
            AuthenticationRefused 50101 50103 50104 50105 50106 50107 50108 50109 50110 50111 50112 50113
            AuthenticationRefused 50119 50120 60007 60009 60011 60024 60032
        """,
    ),
    "bybit": Collected(
        error=bybit_error,
        read={
            "rest_balance": of_page(bybit.read_wallets),
            "rest_fee_rate": of_page(bybit.read_fee_rates),
            "rest_instruments*": of_page(bybit.read_instruments),
            "rest_klines": of_page(bybit.read_candles),
            "rest_open_orders*": of_page(bybit.read_orders),
            "rest_positions*": of_page(bybit.read_positions),
            "rest_user_trades": of_page(bybit.read_executions),
            "rest_place_order": of_bybit(bybit.read_ids),
            "rest_cancel_order": of_bybit(bybit.read_ids),
            "rest_place_order_batch": of_bybit(bybit.read_id_list),
            "rest_cancel_batch": of_bybit(bybit.read_id_list),
            "rest_server_time": of_bybit(bybit.read_server_time),
            "ws_order_*": of_topic(bybit.read_orders),
            "ws_postonly_reject": of_topic(bybit.read_orders),
            "ws_execution_fast": lambda frame: bybit.read_frame(frame).topic,
            "ws_execution*": of_topic(bybit.read_executions),
            "ws_position": of_topic(bybit.read_positions),
            "ws_kline": of_topic(bybit.read_bars),
            "ws_ticker*": bybit.read_ticker,
            "ws_trade": bybit.read_trades,
            "ws_auth_failure": lambda frame: bybit.read_frame(frame).op,
            "ws_auth_success": lambda frame: bybit.read_frame(frame).op,
            "ws_pong_private": lambda frame: bybit.read_frame(frame).op,
            "ws_subscribe*": lambda frame: bybit.read_frame(frame).op,
            "wstrade_*reply": bybit.read_reply,
            "wstrade_pong": bybit.read_reply,
        },
        never={
            "sign_vectors": SENT,
            "ws_auth_request": SENT,
            "wstrade_create_request": SENT,
            "rest_account_info": NOT_ASKED,
            "rest_amend_order": "an order is never amended here, where that would lose its place",
            "rest_cancel_all": "that it was taken is enough; the stream tells of each",
            "rest_funding_rate_history": NOT_ASKED,
            "rest_price_limit": NOT_ASKED,
            "ws_bbo": NOT_HEARD,
            "ws_depth*": NOT_HEARD,
            "ws_price_limit": NOT_HEARD,
            "ws_wallet": NOT_HEARD,
        },
        kinds=bybit_tables.ERROR_OF_CODE,
        sheet="""
            PostOnlyWouldCross 110103 | RateLimited 10006
            OutcomeUnknown 10000 10016 10429 20003 20006 10019 429 10403 110079
            InsufficientMargin 110007 110004 110012 110044 110045 | OrderNotFound 110001 110008 110010
            DuplicateClientOrderId 110072 10014 | FilterViolation 110003 110120 110121 30208 30209 110094
            ReduceOnlyRefused 110017 | ClockSkew 10002 | AuthenticationRefused 10003 10004 10005 10010 33004
            Rejected 10001 110020 110025 110043 110074 10029
        """,
    ),
    "gate": Collected(
        error=gate_error,
        read={
            "rest_balance": gate.read_account,
            "rest_instruments": gate.read_contracts,
            "rest_klines": gate.read_bars,
            "rest_open_orders": gate.read_orders,
            "rest_order_filled": gate.read_order,
            "rest_place_order": gate.read_order,
            "rest_cancel_order": gate.read_order,
            "rest_batch_place*": lambda body: [
                gate.read_batch_row(bytes(each)) for each in gate.read_items(body)
            ],
            "rest_batch_cancel": gate.read_cancels,
            "rest_positions": gate.read_positions,
            "rest_user_trades": gate.read_user_trades,
            "ws_order_*": of_gate(gate.read_orders),
            "ws_positions": of_gate(gate.read_positions),
            "ws_usertrades": of_gate(gate.read_user_trades),
            "ws_balances": of_gate(gate.read_changes),
            "ws_kline": of_gate(gate.read_bars),
            "ws_ticker_mark": of_gate(gate.read_tickers),
            "ws_trade": gate.read_trades,
            "ws_ping_pong": part("pong", gate.read_frame),
            "ws_subscribe_orders": part("ack", gate.read_frame),
            "wsapi_place": part("result", gate.read_reply),
            "wsapi_cancel": part("result", gate.read_reply),
            "wsapi_login": part("reply", gate.read_reply),
            "wsapi_place_error": gate.read_reply,
        },
        never={
            "rest_amend_order": "an order is never amended here, where that would lose its place",
            "rest_cancel_all": "that it was taken is enough; the stream tells of each",
            "rest_countdown_cancel_all": "that it was taken is enough",
            "rest_funding_rate": NOT_ASKED,
            "ws_bbo": NOT_HEARD,
            "ws_depth*": NOT_HEARD,
            "ws_postonly_reject": "a note that there is no such event",
        },
        kinds=gate_tables.ERROR_OF_LABEL,
        sheet="""
            PostOnlyWouldCross ORDER_POC_IMMEDIATE POC_FILL_IMMEDIATELY
            RateLimited TOO_MANY_REQUESTS TOO_FAST
            InsufficientMargin INSUFFICIENT_AVAILABLE BALANCE_NOT_ENOUGH FUTURES_BALANCE_NOT_ENOUGH
            InsufficientMargin MARGIN_BALANCE_NOT_ENOUGH INITIAL_MARGIN_TOO_LOW LIQUIDATE_IMMEDIATELY
            OrderNotFound ORDER_NOT_FOUND CLIENT_ID_NOT_FOUND ORDER_NOT_OWNED ORDER_FINISHED ORDER_CLOSED
            OrderNotFound ORDER_CANCELLED CANCEL_FAIL
            Rejected INVALID_CLIENT_ORDER_ID | DuplicateClientOrderId REPEATED_CREATION
            FilterViolation PRICE_TOO_DEVIATED PRICE_THRESHOLD_EXCEEDED INVALID_PRECISION
            FilterViolation INVALID_PARAM_VALUE SIZE_TOO_SMALL SIZE_TOO_LARGE
            ReduceOnlyRefused INCREASE_POSITION POSITION_EMPTY POSITION_NOT_FOUND
            Rejected TOO_MANY_ORDERS RISK_LIMIT_EXCEEDED CONTRACT_IN_DELISTING CONTRACT_NOT_FOUND
            ClockSkew REQUEST_EXPIRED
            AuthenticationRefused INVALID_KEY INVALID_SIGNATURE INVALID_CREDENTIALS IP_FORBIDDEN
            AuthenticationRefused READ_ONLY FORBIDDEN ACCOUNT_LOCKED
            OutcomeUnknown TOO_BUSY INTERNAL SERVER_ERROR | Rejected ORDER_FOK FOK_NOT_FILL NO_CHANGE
        """,
    ),
    "backpack": Collected(
        error=backpack_error,
        read={
            "rest_account": backpack.read_account,
            "rest_collateral": backpack.read_collateral,
            "rest_instruments*": backpack.read_markets,
            "rest_klines": backpack.read_candles,
            "rest_mark_prices": backpack.read_marks,
            "rest_my_trades": backpack.read_fills,
            "rest_open_orders": backpack.read_orders,
            "rest_order_history": backpack.read_orders,
            "rest_order": backpack.read_order,
            "rest_place_order_batch": lambda body: [
                backpack.read_batch_row(bytes(each)) for each in backpack.read_items(body)
            ],
            "rest_place_order": backpack.read_order,
            "rest_place_order_market_filled": backpack.read_order,
            "rest_cancel_order": backpack.read_order,
            "rest_positions": backpack.read_positions,
            "rest_funding_payments": backpack.read_funding,
            "ws_order_*": of_stream(backpack.read_order_event),
            "ws_fill_minimal": of_stream(backpack.read_order_event),
            "ws_position_*": of_stream(backpack.read_position_event),
            "ws_kline": of_stream(backpack.read_bar),
            "ws_mark_price": of_stream(backpack.read_mark),
            "ws_trade": backpack.read_trade,
            "ws_error_invalid_stream": lambda frame: bytes(backpack.read_frame(frame).error),
        },
        never={
            "rest_place_order_request": SENT,
            "ws_subscribe_private": SENT,
            "rest_balance": "the collateral tells equity and what is free",
            "rest_cancel_all": "that it was taken is enough; the stream tells of each",
            "rest_depth": NOT_ASKED,
            "rest_funding_rates": NOT_ASKED,
            "rest_place_order_spot": "an order of the spot market",
            "rest_ticker": NOT_ASKED,
            "rest_trades": NOT_ASKED,
            "ws_bbo": NOT_HEARD,
            "ws_depth*": NOT_HEARD,
            "ws_ticker": NOT_HEARD,
        },
        kinds=backpack_tables.ERROR_OF_CODE,
        sheet="""
            InsufficientMargin INSUFFICIENT_MARGIN INSUFFICIENT_FUNDS MAX_LEVERAGE_REACHED POSITION_LIMIT
            InsufficientMargin ACCOUNT_LIQUIDATING | OrderNotFound RESOURCE_NOT_FOUND
            Rejected ORDER_LIMIT INVALID_ORDER INVALID_MARKET INVALID_SYMBOL INVALID_CLIENT_REQUEST
            RateLimited TOO_MANY_REQUESTS | AuthenticationRefused UNAUTHORIZED INVALID_SIGNATURE FORBIDDEN
            ClockSkew TIMESTAMP_OUT_OF_RANGE | FilterViolation INVALID_PRICE INVALID_QUANTITY
            Overloaded TRADING_PAUSED MAINTENANCE TOO_EARLY PRECONDITION_FAILED
            OutcomeUnknown TIMEOUT SERVER_ERROR
        """,
    ),
}
each_venue = pytest.mark.parametrize("venue", COLLECTED)


def fitting(name: str, patterns: dict[str, Any]) -> list[str]:
    return [each for each in patterns if fnmatchcase(name, each)]


@each_venue
def test_every_payload_is_read_or_said_not_to_be(venue: str) -> None:
    collected = COLLECTED[venue]
    names = sample_names(venue, "*")
    used = set()
    for name in names:
        reads = ["error"] if name.startswith("error_") else fitting(name, collected.read)
        never = fitting(name, collected.never)
        assert bool(reads) != bool(never), (name, reads, never)
        used |= {*reads[:1], *never}
    unused = {*collected.read, *collected.never} - used
    assert unused == set(), "no payload is of that name"


@each_venue
def test_what_is_read_is_understood(venue: str) -> None:
    collected, read = COLLECTED[venue], 0
    for name in sample_names(venue, "*"):
        content = sample(venue, name)
        if name.startswith("error_"):
            error = collected.error(content)
            assert isinstance(error, VenueError), (name, error)
            read += 1
        elif found := fitting(name, collected.read):
            value = collected.read[found[0]](json.dumps(content).encode())
            assert value is not None and value not in ("", []), name
            read += 1
    print(f"{venue}: {read} of {len(sample_names(venue, '*'))} payloads read")


@each_venue
def test_every_code_of_the_list_is_of_its_class(venue: str) -> None:
    collected = COLLECTED[venue]
    kinds = {str(code): kind.__name__ for code, kind in collected.kinds.items()}
    listed = 0
    for line in collected.sheet.splitlines():
        for words in filter(None, (each.split() for each in line.split("|"))):
            kind, *codes = words
            listed += len(codes)
            assert {code: kinds.get(code) for code in codes} == dict.fromkeys(codes, kind)
    assert listed > 20
