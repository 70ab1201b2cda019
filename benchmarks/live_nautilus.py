"""nautilus_trader answers every trade with one post-only order a fixed distance below it, as fast as it can: its Binance
adapter, its own strategy and execution engine, its rate limits off.

    NAUTILUS_PYTHON benchmarks/live_nautilus.py PORT SYMBOL OFFSET_TICKS
"""

from __future__ import annotations

import sys
from decimal import Decimal

from nautilus_trader.adapters.binance import factories
from nautilus_trader.adapters.binance.common.enums import BinanceAccountType
from nautilus_trader.adapters.binance.config import BinanceDataClientConfig, BinanceExecClientConfig
from nautilus_trader.config import (
    InstrumentProviderConfig,
    LiveExecEngineConfig,
    LiveRiskEngineConfig,
    LoggingConfig,
    StrategyConfig,
    TradingNodeConfig,
)
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.trading.strategy import Strategy

PORT, SYMBOL, OFFSET = int(sys.argv[1]), sys.argv[2], Decimal(sys.argv[3]) / 100
INSTRUMENT = InstrumentId.from_str(f"{SYMBOL}-PERP.BINANCE")


class OnTrade(Strategy):
    def __init__(self):
        super().__init__(StrategyConfig(strategy_id="B-1"))
        self.qty = Quantity.from_str("0.010")

    def on_start(self):
        self.subscribe_trade_ticks(INSTRUMENT)

    def on_trade_tick(self, tick):
        order = self.order_factory.limit(
            instrument_id=INSTRUMENT,
            order_side=OrderSide.BUY,
            quantity=self.qty,
            price=Price(tick.price.as_decimal() - OFFSET, 2),
            post_only=True,
        )
        self.submit_order(order)


http_client = factories.BinanceHttpClient


def unlimited(**options):
    options["ratelimiter_quotas"] = options["ratelimiter_default_quota"] = None
    return http_client(**options)


factories.BinanceHttpClient = unlimited
shared = {
    "api_key": "stopwatch-key",
    "api_secret": "stopwatch-secret",
    "account_type": BinanceAccountType.USDT_FUTURES,
    "base_url_http": f"http://127.0.0.1:{PORT}",
    "base_url_ws": f"ws://127.0.0.1:{PORT}",
    "instrument_provider": InstrumentProviderConfig(load_ids=frozenset({INSTRUMENT})),
}
node = TradingNode(
    TradingNodeConfig(
        trader_id="BENCH-001",
        logging=LoggingConfig(log_level="ERROR"),
        exec_engine=LiveExecEngineConfig(),
        risk_engine=LiveRiskEngineConfig(max_order_submit_rate="100000/00:00:01"),
        data_clients={"BINANCE": BinanceDataClientConfig(use_agg_trade_ticks=True, **shared)},
        exec_clients={"BINANCE": BinanceExecClientConfig(**shared)},
    )
)
node.trader.add_strategy(OnTrade())
node.add_data_client_factory("BINANCE", factories.BinanceLiveDataClientFactory)
node.add_exec_client_factory("BINANCE", factories.BinanceLiveExecClientFactory)
node.build()
node.run()
