"""The classic account (API v2): its requests, its JSON, and both ways between them and ours. Pure."""

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
    COIN,
    HEDGE,
    PRODUCT,
    ROLES,
    ROWS_PER_PAGE,
    SIDES,
    YES,
)
from marketmaker.adapters.bitget.wire import Ack, FeePart, read_ack, read_acks
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
from marketmaker.model.order import ClientOrderId, Fill, NewOrder, OrderReport

MIX = "/api/v2/mix"
FUNDING_BUSINESS = "contract_settle_fee"
NOT_THERE = "40768"
"""The code of a cancel that finds no order: the failures of a batch may come without one."""


class OrderRow(msgspec.Struct, gc=False):
    """An order as the orders channel (`instId`, `accBaseVolume`, the last trade), a query (`state`) and a list show it."""

    orderId: str
    side: str
    size: str
    cTime: str
    uTime: str
    instId: str = ""
    symbol: str = ""
    status: str = ""
    state: str = ""
    clientOid: str | None = ""
    price: str | None = ""
    force: str | None = ""
    accBaseVolume: str | None = None
    baseVolume: str | None = ""
    reduceOnly: str | None = "no"
    cancelReason: str | None = ""
    tradeId: str = ""
    fillPrice: str = ""
    fillTime: str = ""
    fillFee: str = ""
    fillFeeCoin: str = ""
    tradeScope: str = ""


class FillRow(msgspec.Struct, gc=False):
    symbol: str
    tradeId: str
    orderId: str
    side: str
    price: str
    baseVolume: str
    tradeScope: str
    cTime: str
    feeDetail: list[FeePart] = []


class PositionRow(msgspec.Struct, gc=False):
    """`symbol`, `markPrice` in answers; `instId` in events."""

    holdSide: str
    total: str
    openPriceAvg: str | None = ""
    liquidationPrice: str | None = ""
    posMode: str = ""
    symbol: str = ""
    instId: str = ""
    markPrice: str | None = ""


class PaymentRow(msgspec.Struct, gc=False):
    billId: str
    symbol: str
    amount: str
    businessType: str
    coin: str
    cTime: str


class AccountRow(msgspec.Struct, gc=False):
    accountEquity: str
    available: str
    crossedMaxAvailable: str = ""
    crossedMarginLeverage: str | int = ""
    isolatedLongLever: str | int = ""
    isolatedShortLever: str | int = ""
    marginMode: str = "crossed"
    posMode: str = ""


class Orders(msgspec.Struct, gc=False):
    entrustedList: list[OrderRow] | None = None
    endId: str | None = ""


class Fills(msgspec.Struct, gc=False):
    fillList: list[FillRow] | None = None
    endId: str | None = ""


class Payments(msgspec.Struct, gc=False):
    bills: list[PaymentRow] | None = None
    endId: str | None = ""


read_account, read_order = reader(AccountRow), reader(OrderRow)
read_orders_page, read_fills_page, read_payments_page = (
    reader(Orders),
    reader(Fills),
    reader(Payments),
)
read_orders, read_fills = reader(list[OrderRow]), reader(list[FillRow])
read_positions = reader(list[PositionRow])


class Classic:
    """Implements `generation.Generation`."""

    topics: tuple[str, ...] = ("orders default", "positions default")
    over_socket = False
    switch = False
    cursor = "idLessThan"

    # -- questions -----------------------------------------------------------------------------------

    def fees(self, symbol: str) -> Question:
        params: dict[str, object] = {"symbol": symbol, "businessType": "mix"}
        return Question(path="/api/v2/common/trade-rate", params=params)

    def open_orders(self, contract: Contract) -> Question:
        params = {**about(contract.symbol), "limit": ROWS_PER_PAGE}
        return Question(path=f"{MIX}/order/orders-pending", params=params)

    def order(self, contract: Contract, **named: str) -> Question:
        params = {**about(contract.symbol), **named}
        return Question(path=f"{MIX}/order/detail", params=params)

    def fills(self, contract: Contract, start_ms: int, end_ms: int) -> Question:
        params = {
            **about(contract.symbol),
            "startTime": start_ms,
            "endTime": end_ms,
            "limit": ROWS_PER_PAGE,
        }
        return Question(path=f"{MIX}/order/fill-history", params=params)

    def payments(self, since_ms: int) -> Question:
        params: dict[str, object] = {
            "productType": PRODUCT,
            "businessType": FUNDING_BUSINESS,
            "startTime": since_ms,
            "limit": ROWS_PER_PAGE,
        }
        return Question(path=f"{MIX}/account/bill", params=params)

    def position(self, contract: Contract) -> Question:
        params = {**about(contract.symbol), "marginCoin": COIN}
        return Question(path=f"{MIX}/position/single-position", params=params)

    async def standing(self, ask: Ask, contract: Contract) -> Standing:
        """Remembers the margin mode, which every order has to repeat."""
        params = {**about(contract.symbol), "marginCoin": COIN}
        row = read_account(await ask(f"{MIX}/account/account", params, "account"))
        contract.parts["margin mode"] = row.marginMode
        crossed = row.marginMode == "crossed"
        levers = (
            (row.crossedMarginLeverage,)
            if crossed
            else (row.isolatedLongLever, row.isolatedShortLever)
        )
        free = row.crossedMaxAvailable if crossed else ""
        return Standing(
            equity=parse_decimal(row.accountEquity),
            available=parse_decimal(free or row.available),
            leverage=max(
                (parse_decimal(str(each)) for each in levers if each != ""), default=Decimal(1)
            ),
            hedge_mode=row.posMode == HEDGE,
        )

    # -- deeds ---------------------------------------------------------------------------------------

    def place(self, orders: Sequence[NewOrder], contract: Contract, ids: Sequence[str]) -> Deed:
        whole = {
            **about(contract.symbol),
            "marginMode": contract.parts.get("margin mode", "crossed"),
            "marginCoin": COIN,
        }
        rows = [
            build_order(order, contract, client_id)
            for order, client_id in zip(orders, ids, strict=True)
        ]
        if len(rows) == 1:
            return Deed(path=f"{MIX}/order/place-order", params={**whole, **rows[0]})
        return Deed(path=f"{MIX}/order/batch-place-order", params={**whole, "orderList": rows})

    def cancel(self, contract: Contract, ids: Sequence[str]) -> Deed:
        whole = {**about(contract.symbol), "marginCoin": COIN}
        if len(ids) == 1:
            return Deed(path=f"{MIX}/order/cancel-order", params={**whole, "clientOid": ids[0]})
        rows = [{"clientOid": client_id} for client_id in ids]
        return Deed(path=f"{MIX}/order/batch-cancel-orders", params={**whole, "orderIdList": rows})

    def cancel_all(self, contract: Contract) -> Deed:
        params = {**about(contract.symbol), "marginCoin": COIN}
        return Deed(path=f"{MIX}/order/cancel-all-orders", params=params)

    def acks(self, data: bytes, count: int) -> Sequence[Ack]:
        """Failures of a batch are told apart from the rest, and may come without a code."""
        if count == 1:
            return [read_ack(data)]
        acks = read_acks(data)
        for failure in acks.failureList:
            if str(failure.errorCode) == "0":
                failure.errorCode = NOT_THERE
        return [*acks.successList, *acks.failureList]

    # -- answers -------------------------------------------------------------------------------------

    def read_order(self, data: bytes) -> OrderRow:
        return read_order(data)

    def read_orders_page(self, data: bytes) -> Page:
        page = read_orders_page(data)
        return Page(rows=page.entrustedList or [], cursor=page.endId or "")

    def read_fills_page(self, data: bytes) -> Page:
        page = read_fills_page(data)
        return Page(rows=page.fillList or [], cursor=page.endId or "")

    def read_payments_page(self, data: bytes) -> Page:
        page = read_payments_page(data)
        return Page(rows=page.bills or [], cursor=page.endId or "")

    def parse_order(self, row: OrderRow, contract: Contract, reading: Reading) -> OrderReport:
        """`{"accBaseVolume":"0.02","clientOid":"0mmb000200000001x","force":"post_only","instId":"ETHUSDT","orderId":
        "1391500303017938001","price":"3000.10","reduceOnly":"no","side":"buy","size":"0.05","status":
        "partially_filled","cTime":"1767225600150","uTime":"1767225605001","baseVolume":"0.02","fillPrice":"3000.10",
        "fillTime":"1767225605001","fillFee":"-0.0120004","fillFeeCoin":"USDT","tradeId":"1391500399017938777",
        "tradeScope":"M"}` by event; lists and queries say `baseVolume` for what is filled, and of no trade."""
        side = parse_one_of(SIDES, row.side, "side")
        status = parse_status(row.status or row.state)
        told = row.baseVolume if row.accBaseVolume is None else row.accBaseVolume
        qty, filled = contract.qty.parse(row.size), contract.qty.parse(told or "0")
        client_order_id = reading.ids.decode(row.clientOid or "")
        check_sides(side, client_order_id.side if client_order_id else None, filled, qty)
        price = contract.price.parse(row.price or "0")
        updated_ns, reduce_only = parse_ms_text(row.uTime), row.reduceOnly in YES
        return OrderReport(
            client_order_id=client_order_id,
            venue_order_id=row.orderId,
            side=side,
            price_ticks=Ticks(price),
            qty_lots=Lots(qty),
            filled_lots=Lots(filled),
            status=status,
            reduce_only=reduce_only,
            fill=parse_event_fill(row, contract, client_order_id),
            end_reason=parse_end(
                status,
                force=row.force or "",
                reason=row.cancelReason or "",
                reduce_only=reduce_only,
                filled=filled,
                lived_ns=updated_ns - parse_ms_text(row.cTime),
                asked=reading.asked(client_order_id),
                takes=reading.takes(contract.symbol, side, price),
            ),
            ts_venue_ns=updated_ns,
        )

    def parse_fill(self, row: FillRow, contract: Contract, reading: Reading) -> Fill:
        """`{"tradeId":"1103122437840805890","symbol":"ETHUSDT","orderId":"1103122437760503816","price":"1801.33",
        "baseVolume":"0.02","feeDetail":[{"feeCoin":"USDT","totalFee":"-0.02161596"}],"side":"sell","tradeScope":"taker",
        "cTime":"1698730804882"}`: it does not carry our id."""
        maker = parse_one_of(ROLES, row.tradeScope, "role")
        price = Ticks(contract.price.parse(row.price))
        qty = Lots(contract.qty.parse(row.baseVolume))
        if not (price and qty):
            raise malformed("a trade of nothing")
        notional = contract.instrument.notional(price, qty)
        return Fill(
            trade_id=row.tradeId,
            client_order_id=reading.owner(row.orderId),
            venue_order_id=row.orderId,
            side=parse_one_of(SIDES, row.side, "side"),
            price_ticks=price,
            qty_lots=qty,
            fee=parse_fee(row.feeDetail, notional, maker, contract.instrument),
            is_maker=maker,
            ts_venue_ns=parse_ms_text(row.cTime),
        )

    def unnamed(self, rows: Sequence[FillRow]) -> list[tuple[str, int]]:
        return [(row.orderId, parse_ms_text(row.cTime)) for row in rows]

    def parse_payment(self, row: PaymentRow) -> Payment | None:
        """`{"billId":"1111499428100472833","symbol":"BTCUSDT","amount":"-0.004992","businessType":"contract_settle_fee",
        "coin":"USDT","cTime":"1700728034996"}`"""
        if row.businessType != FUNDING_BUSINESS or row.coin != COIN:
            return None
        return Payment(
            payment_id=row.billId,
            symbol=row.symbol,
            amount=parse_decimal(row.amount),
            ts_venue_ns=parse_ms_text(row.cTime),
        )

    def parse_position(self, data: bytes, contract: Contract) -> Position | None:
        found = None
        for row in read_positions(data):
            if row.symbol.upper() == contract.symbol:
                found = parse_position_row(row, contract, row.markPrice or "") or found
        return found

    # -- events --------------------------------------------------------------------------------------

    def hear_orders(
        self, data: bytes, contract_of: ContractOf, reading: Reading
    ) -> list[tuple[str, OrderReport]]:
        return [
            (row.instId, self.parse_order(row, contract, reading))
            for row in read_orders(data)
            if (contract := contract_of(row.instId)) is not None
        ]

    def hear_fills(
        self, data: bytes, contract_of: ContractOf, reading: Reading
    ) -> list[tuple[str, Fill]]:
        return [
            (row.symbol, self.parse_fill(row, contract, reading))
            for row in read_fills(data)
            if (contract := contract_of(row.symbol)) is not None
        ]

    def hear_positions(
        self, data: bytes, contract_of: ContractOf, mark_of: Callable[[str], str]
    ) -> list[tuple[str, Position]]:
        """A row has no mark price: it is the ticker's, and until that has come the entry price."""
        told = [
            (
                row.instId,
                parse_position_row(row, contract, mark_of(row.instId) or row.openPriceAvg or ""),
            )
            for row in read_positions(data)
            if row.posMode != HEDGE and (contract := contract_of(row.instId)) is not None
        ]
        return [(symbol, position) for symbol, position in told if position is not None]


def about(symbol: str) -> dict[str, object]:
    return {"symbol": symbol, "productType": PRODUCT}


def parse_event_fill(row: OrderRow, contract: Contract, owner: ClientOrderId | None) -> Fill | None:
    """The trade that an order event tells of."""
    if not (row.tradeId and row.tradeScope and row.fillPrice):
        return None
    qty = Lots(contract.qty.parse(row.baseVolume or "0"))
    if not qty:
        return None
    maker = parse_one_of(ROLES, row.tradeScope, "role")
    price = Ticks(contract.price.parse(row.fillPrice))
    fees = [FeePart(feeCoin=row.fillFeeCoin, totalFee=row.fillFee)]
    notional = contract.instrument.notional(price, qty)
    return Fill(
        trade_id=row.tradeId,
        client_order_id=owner,
        venue_order_id=row.orderId,
        side=parse_one_of(SIDES, row.side, "side"),
        price_ticks=price,
        qty_lots=qty,
        fee=parse_fee(fees, notional, maker, contract.instrument),
        is_maker=maker,
        ts_venue_ns=parse_ms_text(row.fillTime or row.uTime),
    )


def parse_position_row(row: PositionRow, contract: Contract, mark: str) -> Position | None:
    """`{"symbol":"BTCUSDT","holdSide":"long","total":"0.01","openPriceAvg":"25000","posMode":"one_way_mode",
    "liquidationPrice":"24144.1124161806977798","markPrice":"25100"}`"""
    return build_position(
        contract,
        hedge=row.posMode == HEDGE,
        side=row.holdSide,
        total=row.total,
        entry=row.openPriceAvg or "",
        mark=mark,
        liquidation=row.liquidationPrice or "",
    )


def build_order(order: NewOrder, contract: Contract, client_id: str) -> dict[str, object]:
    """One placement, without what a batch says once for all. What may take says how to meet an own order: that one goes."""
    force = build_force(order)
    return {
        "size": contract.qty.format(order.qty_lots),
        "price": contract.price.format(order.price_ticks),
        "side": order.side.name.lower(),
        "orderType": "limit",
        "force": force,
        "clientOid": client_id,
        "reduceOnly": "YES" if order.reduce_only else "NO",
        **({} if force == "post_only" else {"stpMode": "cancel_maker"}),
    }
