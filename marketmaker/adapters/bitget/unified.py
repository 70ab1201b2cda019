"""The unified account (API v3): its requests, its JSON, and both ways between them and ours. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from marketmaker.adapters.bitget.build import build_force
from marketmaker.adapters.bitget.generation import (
    Ask,
    ContractOf,
    Deed,
    Page,
    Question,
    Reading,
    Standing,
)
from marketmaker.adapters.bitget.parse import (
    build_position,
    check_sides,
    parse_end,
    parse_fee,
    parse_status,
)
from marketmaker.adapters.bitget.tables import (
    BATCH,
    COIN,
    DEFAULT_LEVERAGE,
    FUNDING_TYPES,
    HEDGE,
    PRODUCT,
    ROLES,
    ROWS_PER_PAGE,
    SIDES,
    YES,
)
from marketmaker.adapters.bitget.wire import Ack, FeePart, read_ack, read_ack_list
from marketmaker.adapters.contract import Contract
from marketmaker.adapters.funding import Payment
from marketmaker.adapters.parsing import (
    malformed,
    parse_decimal,
    parse_ms_text,
    parse_one_of,
    reader,
)
from marketmaker.model.account import Position
from marketmaker.model.instrument import Lots, Ticks
from marketmaker.model.order import Fill, NewOrder, OrderReport, Side

WIRE_PRODUCT = PRODUCT.lower()
"""As order entry over the socket writes the category."""


class OrderRow(msgspec.Struct, gc=False):
    """An order as the order topic, a query and a list show it."""

    symbol: str
    orderId: str
    side: str
    qty: str
    orderStatus: str
    createdTime: str
    updatedTime: str
    category: str = PRODUCT
    clientOid: str | None = ""
    price: str | None = ""
    cumExecQty: str | None = "0"
    timeInForce: str | None = ""
    reduceOnly: str | None = "no"
    cancelReason: str | None = ""


class FillRow(msgspec.Struct, gc=False):
    """A trade as the fill topic (`execTime`) and the list (`createdTime`) show it."""

    symbol: str
    execId: str
    orderId: str
    side: str
    execPrice: str
    execQty: str
    tradeScope: str
    category: str = PRODUCT
    feeDetail: list[FeePart] = []
    clientOid: str | None = None
    execTime: str = ""
    createdTime: str = ""


class PositionRow(msgspec.Struct, gc=False):
    """`total`, `liquidationPrice` in answers; `size`, `liqPrice` in events."""

    symbol: str
    posSide: str
    holdMode: str = ""
    total: str = ""
    size: str = ""
    avgPrice: str | None = ""
    markPrice: str | None = ""
    liquidationPrice: str | None = ""
    liqPrice: str | None = ""


class PaymentRow(msgspec.Struct, gc=False):
    id: str
    symbol: str
    coin: str
    type: str
    amount: str
    ts: str


class Asset(msgspec.Struct, gc=False):
    coin: str
    equity: str
    available: str


class Assets(msgspec.Struct, gc=False):
    """`effEquity` and `imr`: what all coins count as margin for, and what of it is bound, in USDT."""

    assets: list[Asset] = []
    effEquity: str = ""
    imr: str = ""


class SymbolSettings(msgspec.Struct, gc=False):
    symbol: str
    category: str
    leverage: str = ""


class Settings(msgspec.Struct, gc=False):
    holdMode: str
    symbolConfigList: list[SymbolSettings] = []


class Orders(msgspec.Struct, gc=False, rename={"rows": "list"}):
    rows: list[OrderRow] | None = None
    cursor: str | None = ""


class Fills(msgspec.Struct, gc=False, rename={"rows": "list"}):
    rows: list[FillRow] | None = None
    cursor: str | None = ""


class Payments(msgspec.Struct, gc=False, rename={"rows": "list"}):
    rows: list[PaymentRow] | None = None
    cursor: str | None = ""


class Positions(msgspec.Struct, gc=False, rename={"rows": "list"}):
    rows: list[PositionRow] | None = None


read_settings, read_assets = reader(Settings), reader(Assets)
read_orders_page, read_fills_page = reader(Orders), reader(Fills)
read_payments_page, read_position_list = reader(Payments), reader(Positions)
read_order = reader(OrderRow)
read_orders, read_fills = reader(list[OrderRow]), reader(list[FillRow])
read_positions = reader(list[PositionRow])


class Unified:
    """Implements `generation.Generation`."""

    topics: tuple[str, ...] = ("order", "fill", "position")
    over_socket = True
    switch = True
    cursor = "cursor"

    # -- questions -----------------------------------------------------------------------------------

    def fees(self, symbol: str) -> Question:
        return Question(path="/api/v3/account/fee-rate", params=about(symbol))

    def open_orders(self, contract: Contract) -> Question:
        params = {**about(contract.symbol), "limit": ROWS_PER_PAGE}
        return Question(path="/api/v3/trade/unfilled-orders", params=params)

    def order(self, contract: Contract, **named: str) -> Question:
        return Question(path="/api/v3/trade/order-info", params=dict(named))

    def fills(self, contract: Contract, start_ms: int, end_ms: int) -> Question:
        params = {
            **about(contract.symbol),
            "startTime": start_ms,
            "endTime": end_ms,
            "limit": ROWS_PER_PAGE,
        }
        return Question(path="/api/v3/trade/fills", params=params)

    def payments(self, since_ms: int) -> Question:
        params: dict[str, object] = {
            "category": PRODUCT,
            "coin": COIN,
            "startTime": since_ms,
            "limit": ROWS_PER_PAGE,
        }
        return Question(path="/api/v3/account/financial-records", params=params)

    def position(self, contract: Contract) -> Question:
        return Question(path="/api/v3/position/current-position", params=about(contract.symbol))

    async def standing(self, ask: Ask, contract: Contract) -> Standing:
        """A symbol whose leverage was never set is not listed: it has the venue's usual one."""
        settings = read_settings(await ask("/api/v3/account/settings", {}, "account"))
        assets = read_assets(await ask("/api/v3/account/assets", {}, "account"))
        levers = [
            parse_decimal(row.leverage)
            for row in settings.symbolConfigList
            if row.symbol == contract.symbol and row.category == PRODUCT and row.leverage
        ]
        mine = [asset for asset in assets.assets if asset.coin == contract.instrument.quote]
        equity = sum((parse_decimal(asset.equity) for asset in mine), Decimal(0))
        available = sum((parse_decimal(asset.available) for asset in mine), Decimal(0))
        if assets.effEquity and assets.imr:
            available = parse_decimal(assets.effEquity) - parse_decimal(assets.imr)
        return Standing(
            equity=equity,
            available=max(Decimal(0), available),
            leverage=max(levers, default=DEFAULT_LEVERAGE),
            hedge_mode=settings.holdMode == HEDGE,
        )

    # -- deeds ---------------------------------------------------------------------------------------

    def place(self, orders: Sequence[NewOrder], contract: Contract, ids: Sequence[str]) -> Deed:
        rows = [
            {"category": PRODUCT, **build_order(order, contract, client_id)}
            for order, client_id in zip(orders, ids, strict=True)
        ]
        if len(rows) == 1:
            return Deed(path="/api/v3/trade/place-order", params=rows[0])
        return Deed(path="/api/v3/trade/place-batch", params=rows)

    def cancel(self, contract: Contract, ids: Sequence[str]) -> Deed:
        if len(ids) == 1:
            return Deed(path="/api/v3/trade/cancel-order", params={"clientOid": ids[0]})
        rows = [{**about(contract.symbol), "clientOid": client_id} for client_id in ids]
        return Deed(path="/api/v3/trade/cancel-batch", params=rows)

    def cancel_all(self, contract: Contract) -> Deed:
        return Deed(path="/api/v3/trade/cancel-symbol-order", params=about(contract.symbol))

    def acks(self, data: bytes, count: int) -> Sequence[Ack]:
        """Of one order an object, of several a list; over the socket always a list."""
        return [read_ack(data)] if data.startswith(b"{") else read_ack_list(data)

    # -- answers -------------------------------------------------------------------------------------

    def read_order(self, data: bytes) -> OrderRow:
        return read_order(data)

    def read_orders_page(self, data: bytes) -> Page:
        page = read_orders_page(data)
        return Page(rows=page.rows or [], cursor=page.cursor or "")

    def read_fills_page(self, data: bytes) -> Page:
        page = read_fills_page(data)
        return Page(rows=page.rows or [], cursor=page.cursor or "")

    def read_payments_page(self, data: bytes) -> Page:
        page = read_payments_page(data)
        return Page(rows=page.rows or [], cursor=page.cursor or "")

    def parse_order(self, row: OrderRow, contract: Contract, reading: Reading) -> OrderReport:
        """`{"orderId":"111111111111111111","clientOid":"0mmb000200000001x","category":"USDT-FUTURES","symbol":"BTCUSDT",
        "orderType":"limit","side":"buy","price":"45000","qty":"0.01","cumExecQty":"0","timeInForce":"gtc",
        "orderStatus":"live","reduceOnly":"NO","createdTime":"1730186725663","updatedTime":"1730186725691"}`: the one
        shape of events, queries and lists."""
        side, status = parse_one_of(SIDES, row.side, "side"), parse_status(row.orderStatus)
        qty = contract.qty.parse(row.qty)
        filled = contract.qty.parse(row.cumExecQty or "0")
        client_order_id = reading.ids.decode(row.clientOid or "")
        check_sides(side, client_order_id.side if client_order_id else None, filled, qty)
        price = contract.price.parse(row.price or "0")
        updated_ns, reduce_only = parse_ms_text(row.updatedTime), row.reduceOnly in YES
        return OrderReport(
            client_order_id=client_order_id,
            venue_order_id=row.orderId,
            side=side,
            price_ticks=Ticks(price),
            qty_lots=Lots(qty),
            filled_lots=Lots(filled),
            status=status,
            reduce_only=reduce_only,
            end_reason=parse_end(
                status,
                force=row.timeInForce or "",
                reason=row.cancelReason or "",
                reduce_only=reduce_only,
                filled=filled,
                lived_ns=updated_ns - parse_ms_text(row.createdTime),
                asked=reading.asked(client_order_id),
                takes=reading.takes(contract.symbol, side, price),
            ),
            ts_venue_ns=updated_ns,
        )

    def parse_fill(self, row: FillRow, contract: Contract, reading: Reading) -> Fill:
        """`{"symbol":"BTCUSDT","side":"buy","orderId":"1288888888888888888","clientOid":"0mmb000200000001x","execId":
        "1288888888888888888","execPrice":"94993","execQty":"0.01","tradeScope":"taker","feeDetail":[{"feeCoin":"USDT",
        "fee":"0.569958"}],"execTime":"1736378720623"}`"""
        maker = parse_one_of(ROLES, row.tradeScope, "role")
        price = Ticks(contract.price.parse(row.execPrice))
        qty = Lots(contract.qty.parse(row.execQty))
        if not (price and qty):
            raise malformed("a trade of nothing")
        notional = contract.instrument.notional(price, qty)
        if row.clientOid is None:
            owner = reading.owner(row.orderId)
        else:
            owner = reading.ids.decode(row.clientOid)
        return Fill(
            trade_id=row.execId,
            client_order_id=owner,
            venue_order_id=row.orderId,
            side=parse_one_of(SIDES, row.side, "side"),
            price_ticks=price,
            qty_lots=qty,
            fee=parse_fee(row.feeDetail, notional, maker, contract.instrument),
            is_maker=maker,
            ts_venue_ns=parse_ms_text(row.execTime or row.createdTime),
        )

    def unnamed(self, rows: Sequence[FillRow]) -> list[tuple[str, int]]:
        """The client id is not documented of every list."""
        return [
            (row.orderId, parse_ms_text(row.execTime or row.createdTime))
            for row in rows
            if row.clientOid is None
        ]

    def parse_payment(self, row: PaymentRow) -> Payment | None:
        """`{"category":"USDT-FUTURES","id":"13111111111111111","symbol":"BTCUSDT","coin":"USDT","type":
        "CONTRACT_MAIN_SETTLE_FEE_USER_OUT","amount":"-0.0531168","ts":"1745853486185"}`"""
        if row.type not in FUNDING_TYPES or row.coin != COIN:
            return None
        return Payment(
            payment_id=row.id,
            symbol=row.symbol,
            amount=parse_decimal(row.amount),
            ts_venue_ns=parse_ms_text(row.ts),
        )

    def parse_position(self, data: bytes, contract: Contract) -> Position | None:
        found = None
        for row in read_position_list(data).rows or []:
            if row.symbol == contract.symbol:
                found = parse_position_row(row, contract, row.markPrice or "") or found
        return found

    # -- events --------------------------------------------------------------------------------------

    def hear_orders(
        self, data: bytes, contract_of: ContractOf, reading: Reading
    ) -> list[tuple[str, OrderReport]]:
        return [
            (row.symbol, self.parse_order(row, contract, reading))
            for row in read_orders(data)
            if row.category.upper() == PRODUCT and (contract := contract_of(row.symbol)) is not None
        ]

    def hear_fills(
        self, data: bytes, contract_of: ContractOf, reading: Reading
    ) -> list[tuple[str, Fill]]:
        return [
            (row.symbol, self.parse_fill(row, contract, reading))
            for row in read_fills(data)
            if row.category.upper() == PRODUCT and (contract := contract_of(row.symbol)) is not None
        ]

    def hear_positions(
        self, data: bytes, contract_of: ContractOf, mark_of: Callable[[str], str]
    ) -> list[tuple[str, Position]]:
        told = [
            (row.symbol, parse_position_row(row, contract, row.markPrice or mark_of(row.symbol)))
            for row in read_positions(data)
            if row.holdMode != HEDGE and (contract := contract_of(row.symbol)) is not None
        ]
        return [(symbol, position) for symbol, position in told if position is not None]


def about(symbol: str) -> dict[str, object]:
    return {"category": PRODUCT, "symbol": symbol}


def parse_position_row(row: PositionRow, contract: Contract, mark: str) -> Position | None:
    """`{"symbol":"BTCUSDT","holdMode":"one_way_mode","posSide":"long","total":"0.001","avgPrice":"107410.3","markPrice":
    "107415.3","liquidationPrice":"0"}`"""
    return build_position(
        contract,
        hedge=row.holdMode == HEDGE,
        side=row.posSide,
        total=row.total or row.size,
        entry=row.avgPrice or "",
        mark=mark,
        liquidation=row.liquidationPrice or row.liqPrice or "",
    )


def build_order(order: NewOrder, contract: Contract, client_id: str) -> dict[str, object]:
    """One placement, without its category. What may take says how to meet an own order: that one goes."""
    force = build_force(order)
    return {
        "symbol": contract.symbol,
        "qty": contract.qty.format(order.qty_lots),
        "price": contract.price.format(order.price_ticks),
        "side": order.side.name.lower(),
        "orderType": "limit",
        "timeInForce": force,
        "reduceOnly": "yes" if order.reduce_only else "no",
        "clientOid": client_id,
        **({} if force == "post_only" else {"stpMode": "cancel_maker"}),
    }


def most_together(orders: Sequence[NewOrder]) -> int:
    """How many of these may go in one request: a batch neither reduces only nor prevents self-trades."""
    plain = all(order.post_only and not order.reduce_only for order in orders)
    return BATCH if plain else 1


def order_parts(contract: Contract, side: Side, force: str, reduce_only: bool) -> tuple[str, str]:
    """What of an order's JSON never changes: before the quantity, and from behind the price."""
    key = (side, force, reduce_only)
    found: tuple[str, str] | None = contract.parts.get(key)
    if found is None:
        head = f'{{"symbol":"{contract.symbol}","side":"{side.name.lower()}","orderType":"limit"'
        tail = f',"timeInForce":"{force}","reduceOnly":"{"yes" if reduce_only else "no"}"'
        if force != "post_only":
            tail += ',"stpMode":"cancel_maker"'
        found = contract.parts[key] = (f'{head},"qty":"', f'"{tail},"clientOid":"')
    return found


def build_place(
    orders: Sequence[NewOrder], contract: Contract, ids: Sequence[str], *, number: int
) -> bytes:
    """`{"op":"trade","id":"7","category":"usdt-futures","topic":"place-order","args":[{..}]}`"""
    args = []
    for order, client_id in zip(orders, ids, strict=True):
        head, tail = order_parts(contract, order.side, build_force(order), order.reduce_only)
        qty = contract.qty.format(order.qty_lots)
        price = contract.price.format(order.price_ticks)
        args.append(f'{head}{qty}","price":"{price}{tail}{client_id}"}}')
    topic = "place-order" if len(args) == 1 else "batch-place"
    return build_request(topic, ",".join(args), number)


def build_cancel(ids: Sequence[str], *, number: int) -> bytes:
    topic = "cancel-order" if len(ids) == 1 else "batch-cancel"
    return build_request(topic, ",".join(f'{{"clientOid":"{each}"}}' for each in ids), number)


def build_request(topic: str, args: str, number: int) -> bytes:
    return (
        f'{{"op":"trade","id":"{number}","category":"{WIRE_PRODUCT}","topic":"{topic}","args":[{args}]}}'
    ).encode()
