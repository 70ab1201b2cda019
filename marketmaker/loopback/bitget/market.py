"""Market data of Bitget in the words of both generations: API v2, and API v3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from marketmaker.loopback.bars import Bar
from marketmaker.loopback.bitget.side import PRODUCT, Endpoint, limit_of, trimmed
from marketmaker.loopback.bitget.tickets import MAX_OPEN_ORDERS, PRICE_BAND, Refusal
from marketmaker.loopback.figures import decimals, price_text, qty_text
from marketmaker.loopback.stage import Json
from marketmaker.model.instrument import Instrument
from marketmaker.model.market import Quote, Trade

if TYPE_CHECKING:
    from marketmaker.loopback.bitget.venue import LoopbackBitget

MINUTE_MS = 60_000
INTERVALS_MS = {
    **{f"{n}m": n * MINUTE_MS for n in (1, 3, 5, 15, 30)},
    **{f"{n}H": n * 60 * MINUTE_MS for n in (1, 2, 4, 6, 12)},
    **{f"{n}Hutc": n * 60 * MINUTE_MS for n in (6, 12)},
    **{f"1D{utc}": 24 * 60 * MINUTE_MS for utc in ("", "utc")},
}
CANDLES_MAX = 1_000
SNAPSHOT_BARS = 500


def contract_row(instrument: Instrument) -> Json:
    """The tick is `priceEndStep` in the last of `pricePlace` decimals."""
    place = decimals(instrument.tick_size)
    step, ratio = instrument.lot_size, trimmed(PRICE_BAND)
    return {
        "symbol": instrument.name,
        "baseCoin": instrument.base,
        "quoteCoin": instrument.quote,
        "buyLimitPriceRatio": ratio,
        "sellLimitPriceRatio": ratio,
        "feeRateUpRatio": "0.005",
        "makerFeeRate": f"{instrument.maker_fee:f}",
        "takerFeeRate": f"{instrument.taker_fee:f}",
        "openCostUpRatio": "0.01",
        "supportMarginCoins": [instrument.quote],
        "minTradeNum": f"{step * instrument.min_qty:f}",
        "priceEndStep": f"{int(instrument.tick_size.scaleb(place))}",
        "volumePlace": str(decimals(step)),
        "pricePlace": str(place),
        "sizeMultiplier": f"{step:f}",
        "symbolType": "perpetual",
        "minTradeUSDT": trimmed(instrument.min_notional),
        "maxSymbolOrderNum": str(MAX_OPEN_ORDERS),
        "maxProductOrderNum": str(MAX_OPEN_ORDERS),
        "maxPositionNum": "200",
        "symbolStatus": "normal",
        "offTime": "-1",
        "limitOpenTime": "-1",
        "deliveryTime": "",
        "deliveryStartTime": "",
        "deliveryPeriod": "",
        "launchTime": "",
        "fundInterval": "8",
        "minLever": "1",
        "maxLever": "125",
        "posLimit": "0.1",
        "maintainTime": "",
        "maxOrderQty": f"{step * 1_000_000:f}",
        "maxMarketOrderQty": f"{step * 500_000:f}",
    }


def instrument_row(instrument: Instrument) -> Json:
    row, step = contract_row(instrument), instrument.lot_size
    kept = (
        *("symbol", "baseCoin", "quoteCoin", "buyLimitPriceRatio", "sellLimitPriceRatio"),
        *("feeRateUpRatio", "makerFeeRate", "takerFeeRate", "openCostUpRatio", "offTime"),
        *("limitOpenTime", "deliveryTime", "fundInterval", "maxProductOrderNum", "maxOrderQty"),
    )
    return {
        **{name: row[name] for name in kept},
        "category": PRODUCT,
        "isRwa": "NO",
        "minOrderQty": row["minTradeNum"],
        "pricePrecision": str(decimals(instrument.tick_size)),
        "quantityPrecision": str(decimals(step)),
        "quotePrecision": "",
        "priceMultiplier": trimmed(instrument.tick_size),
        "quantityMultiplier": f"{step:f}",
        "type": "perpetual",
        "minOrderAmount": row["minTradeUSDT"],
        "status": "online",
        "minLeverage": "1",
        "maxLeverage": "125",
        "symbolType": "crypto",
        "maxMarketOrderQty": row["maxMarketOrderQty"],
    }


def candle_row(bar: Bar, instrument: Instrument) -> list[str]:
    turnover = f"{bar.quanta * instrument.quantum:f}"
    return [
        str(bar.open_ms),
        *(price_text(instrument, ticks) for ticks in (bar.open, bar.high, bar.low, bar.close)),
        qty_text(instrument, bar.lots),
        turnover,
        turnover,
    ]


def kline_row(bar: Bar, instrument: Instrument) -> Json:
    start, opened, high, low, close, volume, turnover, _ = candle_row(bar, instrument)
    return {
        "start": start,
        "open": opened,
        "close": close,
        "high": high,
        "low": low,
        "volume": volume,
        "turnover": turnover,
    }


def ticker_row(venue: LoopbackBitget, symbol: str) -> Json:
    """API v2: `instId` over WebSocket, `symbol` over REST."""
    instrument, now_ms = venue.instruments[symbol], venue.stage.now_ms()
    matcher = venue.desk.market(instrument).matcher
    last = price_text(instrument, matcher.last_ticks or matcher.bid_ticks)
    mark = trimmed(venue.desk.mark(symbol))
    return {
        "instId": symbol,
        "symbol": symbol,
        "lastPr": last,
        "bidPr": price_text(instrument, matcher.bid_ticks),
        "askPr": price_text(instrument, matcher.ask_ticks),
        "bidSz": qty_text(instrument, matcher.bid_lots),
        "askSz": qty_text(instrument, matcher.ask_lots),
        "open24h": last,
        "high24h": last,
        "low24h": last,
        "change24h": "0",
        "fundingRate": trimmed(venue.stage.paper.funding_rate),
        "nextFundingTime": str(venue.stage.next_funding_ms(now_ms)),
        "markPrice": mark,
        "indexPrice": mark,
        "holdingAmount": "0",
        "baseVolume": "0",
        "quoteVolume": "0",
        "openUtc": last,
        "symbolType": "1",
        "deliveryPrice": "0",
        "ts": str(now_ms),
    }


def unified_ticker(venue: LoopbackBitget, symbol: str) -> Json:
    row = ticker_row(venue, symbol)
    return {
        "category": PRODUCT,
        "symbol": symbol,
        "ts": row["ts"],
        "lastPrice": row["lastPr"],
        "openPrice24h": row["open24h"],
        "highPrice24h": row["high24h"],
        "lowPrice24h": row["low24h"],
        "ask1Price": row["askPr"],
        "bid1Price": row["bidPr"],
        "bid1Size": row["bidSz"],
        "ask1Size": row["askSz"],
        "price24hPcnt": "0",
        "volume24h": "0",
        "turnover24h": "0",
        "indexPrice": row["indexPrice"],
        "markPrice": row["markPrice"],
        "fundingRate": row["fundingRate"],
        "openInterest": "0",
    }


# -- streams -----------------------------------------------------------------------------------------
# A stream is called as its topic is: `v2 trade ETHUSDT`, `v3 kline 1m ETHUSDT`.


def publish(
    venue: LoopbackBitget, stream: str, rows: list[Any], now_ms: int, action: str = "snapshot"
) -> None:
    message = {"action": action, "arg": arg_of(stream), "data": rows, "ts": now_ms}
    venue.stage.publish(stream, message)


def arg_of(stream: str) -> Json:
    version, channel, *rest = stream.split(" ")
    if version == "v2":
        return {"instType": PRODUCT, "channel": channel, "instId": rest[-1]}
    arg = {"instType": PRODUCT.lower(), "topic": channel, "symbol": rest[-1]}
    return {**arg, "interval": rest[0]} if channel == "kline" else arg


def stream_of(arg: Json, version: str, venue: LoopbackBitget) -> str | None:
    """None for a stream that there is not."""
    symbol = str(arg.get("instId" if version == "v2" else "symbol", ""))
    if symbol not in venue.instruments or str(arg.get("instType", "")).upper() != PRODUCT:
        return None
    if version == "v2":
        channel = str(arg.get("channel", ""))
        candles = channel.startswith("candle") and channel.removeprefix("candle") in INTERVALS_MS
        known = candles or channel in ("trade", "ticker", "books1", "books5", "books15")
        return f"v2 {channel} {symbol}" if known else None
    topic, interval = str(arg.get("topic", "")), str(arg.get("interval", ""))
    if topic == "kline":
        return f"v3 kline {interval} {symbol}" if interval in INTERVALS_MS else None
    return (
        f"v3 {topic} {symbol}" if topic in ("publicTrade", "ticker", "books1", "books5") else None
    )


def on_trade(
    venue: LoopbackBitget, symbol: str, trade: Trade, number: int, happened_ms: int
) -> None:
    instrument, now_ms = venue.instruments[symbol], venue.stage.now_ms()
    price, qty = price_text(instrument, trade.price_ticks), qty_text(instrument, trade.qty_lots)
    side, at = trade.aggressor.name.lower(), str(happened_ms)
    row = {"ts": at, "price": price, "size": qty, "side": side, "tradeId": str(number)}
    publish(venue, f"v2 trade {symbol}", [row], now_ms, "update")
    short = {"i": str(number), "p": price, "v": qty, "S": side, "T": at, "L": str(number)}
    publish(venue, f"v3 publicTrade {symbol}", [short], now_ms, "update")


def on_quote(
    venue: LoopbackBitget, symbol: str, quote: Quote, happened_ms: int, now_ms: int
) -> None:
    instrument = venue.instruments[symbol]

    def level(ticks: int, lots: int) -> list[list[str]]:
        return [[price_text(instrument, ticks), qty_text(instrument, lots)]] if lots else []

    asks, bids = level(quote.ask_ticks, quote.ask_lots), level(quote.bid_ticks, quote.bid_lots)
    about = {"seq": now_ms, "ts": str(happened_ms)}
    for channel in ("books1", "books5", "books15"):
        row = {"asks": asks, "bids": bids, "checksum": 0, **about}
        publish(venue, f"v2 {channel} {symbol}", [row], now_ms)
        publish(
            venue, f"v3 {channel} {symbol}", [{"a": asks, "b": bids, "pseq": 0, **about}], now_ms
        )


def on_second(venue: LoopbackBitget, streams: tuple[str, ...], now_ms: int) -> None:
    for stream in streams:
        version, _, about = stream.partition(" ")
        channel, _, symbol = about.partition(" ")
        if channel == "ticker":
            row = ticker_row if version == "v2" else unified_ticker
            publish(venue, stream, [row(venue, symbol)], now_ms)
        elif channel.startswith("candle") or channel == "kline":
            tell_candle(venue, stream, now_ms)


def tell_candle(venue: LoopbackBitget, stream: str, now_ms: int) -> None:
    """The bar that has just ended, then the newest as it is."""
    length_ms, symbol = length_of(stream), stream.rpartition(" ")[2]
    open_ms = now_ms - now_ms % length_ms
    told_ms = venue.candles_open.get(stream, open_ms)
    venue.candles_open[stream] = open_ms
    for start_ms in dict.fromkeys((told_ms, open_ms)):
        bar = venue.stage.bars[symbol].at(start_ms, length_ms)
        if bar is not None:
            publish(venue, stream, [bar_row(stream, bar, venue)], now_ms, "update")


def first_news(venue: LoopbackBitget, stream: str) -> list[Any]:
    """What a socket is sent when it has subscribed: the ticker, past candles, or nothing."""
    if " ticker " in stream:
        row = ticker_row if stream.startswith("v2") else unified_ticker
        return [row(venue, stream.rpartition(" ")[2])]
    if " candle" not in stream and " kline " not in stream:
        return []
    bars = venue.stage.bars[stream.rpartition(" ")[2]].series(length_of(stream))
    return [bar_row(stream, bar, venue) for bar in bars[-SNAPSHOT_BARS:]]


def bar_row(stream: str, bar: Bar, venue: LoopbackBitget) -> Any:
    shape = candle_row if stream.startswith("v2") else kline_row
    return shape(bar, venue.instruments[stream.rpartition(" ")[2]])


def length_of(stream: str) -> int:
    version, channel, *rest = stream.split(" ")
    return INTERVALS_MS[channel.removeprefix("candle") if version == "v2" else rest[0]]


# -- questions ---------------------------------------------------------------------------------------


def named(venue: LoopbackBitget, params: Json) -> Instrument:
    found = venue.instruments.get(str(params.get("symbol", "")).upper())
    if found is None or product_of(params) != PRODUCT:
        raise Refusal("40034", f"Parameter {params.get('symbol')} does not exist")
    return found


def product_of(params: Json) -> str:
    return str(params.get("productType") or params.get("category") or PRODUCT).upper()


def chosen(venue: LoopbackBitget, params: Json) -> list[Instrument]:
    """The one asked for, or all; none of another product."""
    if product_of(params) != PRODUCT:
        return []
    return [named(venue, params)] if params.get("symbol") else list(venue.instruments.values())


def get_time(venue: LoopbackBitget, params: Json) -> Any:
    return {"serverTime": str(venue.stage.now_ms())}


def get_contracts(venue: LoopbackBitget, params: Json) -> Any:
    return [contract_row(each) for each in chosen(venue, params)]


def get_instruments(venue: LoopbackBitget, params: Json) -> Any:
    return [instrument_row(each) for each in chosen(venue, params)]


def get_tickers(venue: LoopbackBitget, params: Json) -> Any:
    return [ticker_row(venue, each.name) for each in chosen(venue, params)]


def get_unified_tickers(venue: LoopbackBitget, params: Json) -> Any:
    return [unified_ticker(venue, each.name) for each in chosen(venue, params)]


def get_candles(venue: LoopbackBitget, params: Json) -> Any:
    """Oldest first."""
    instrument = named(venue, params)
    interval = str(params.get("granularity") or params.get("interval") or "")
    if interval not in INTERVALS_MS:
        raise Refusal("40020", "Parameter granularity error")
    start, end = params.get("startTime"), params.get("endTime")
    rows = [
        candle_row(bar, instrument)[:7]
        for bar in venue.stage.bars[instrument.name].series(INTERVALS_MS[interval])
        if (not start or bar.open_ms >= int(start)) and (not end or bar.open_ms <= int(end))
    ]
    return rows[-limit_of(params, 100, CANDLES_MAX) :]


def get_funding_rate(venue: LoopbackBitget, params: Json) -> Any:
    now_ms = venue.stage.now_ms()
    return [
        {
            "symbol": each.name,
            "fundingRate": trimmed(venue.stage.paper.funding_rate),
            "fundingRateInterval": "8",
            "nextUpdate": str(venue.stage.next_funding_ms(now_ms)),
            "minFundingRate": "-0.003",
            "maxFundingRate": "0.003",
        }
        for each in chosen(venue, params)
    ]


def get_nothing(venue: LoopbackBitget, params: Json) -> Any:
    """Of what this venue does not have: spot markets, currencies to move."""
    return []


V2 = "/api/v2/mix/market"
V3 = "/api/v3/market"
ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("GET", "/api/v2/public/time"): Endpoint(handle=get_time),
    ("GET", f"{V2}/contracts"): Endpoint(handle=get_contracts),
    ("GET", f"{V2}/ticker"): Endpoint(handle=get_tickers),
    ("GET", f"{V2}/tickers"): Endpoint(handle=get_tickers),
    ("GET", f"{V2}/candles"): Endpoint(handle=get_candles),
    ("GET", f"{V2}/history-candles"): Endpoint(handle=get_candles),
    ("GET", f"{V2}/current-fund-rate"): Endpoint(handle=get_funding_rate),
    ("GET", "/api/v2/spot/public/symbols"): Endpoint(handle=get_nothing),
    ("GET", "/api/v2/spot/public/coins"): Endpoint(handle=get_nothing),
    ("GET", "/api/v2/margin/currencies"): Endpoint(handle=get_nothing),
    ("GET", f"{V3}/instruments"): Endpoint(handle=get_instruments),
    ("GET", f"{V3}/tickers"): Endpoint(handle=get_unified_tickers),
    ("GET", f"{V3}/candles"): Endpoint(handle=get_candles),
    ("GET", f"{V3}/history-candles"): Endpoint(handle=get_candles),
    ("GET", f"{V3}/current-fund-rate"): Endpoint(handle=get_funding_rate),
}
