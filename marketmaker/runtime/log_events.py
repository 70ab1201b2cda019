"""Names of log events, `noun.verb[.outcome]`. Values are fields beside them, never part of the name."""

from __future__ import annotations

from typing import Final

QUEUE_OVERFLOWED: Final = "queue.overflowed"

PRICE_SUSPECTED: Final = "price.suspected"
PRICE_CONFIRMED: Final = "price.confirmed"
PRICE_DENIED: Final = "price.denied"
PRICE_MALFORMED: Final = "price.malformed"
FEED_TROUBLED: Final = "feed.troubled"
FEED_TRUSTED: Final = "feed.trusted"

ORDER_PLACE_RETRIED: Final = "order.place.retried"
ORDER_PLACE_REFUSED: Final = "order.place.refused"
ORDER_PLACE_UNANSWERED: Final = "order.place.unanswered"
ORDER_PLACE_AFTER_STOP: Final = "order.place.after_stop"
ORDER_CANCEL_RETRIED: Final = "order.cancel.retried"
ORDER_CANCEL_REFUSED: Final = "order.cancel.refused"
ORDER_CANCEL_UNANSWERED: Final = "order.cancel.unanswered"
ORDER_QUERY_FAILED: Final = "order.query.failed"
ADAPTER_FAILED: Final = "adapter.failed"
ACCOUNT_PAUSED: Final = "account.paused"
EXECUTOR_FAILED: Final = "executor.failed"

ORDER_STREAM_UP: Final = "order_stream.up"
ORDER_STREAM_DOWN: Final = "order_stream.down"
ORDER_FOREIGN: Final = "order.foreign"

RECONCILE_ASKED: Final = "reconcile.asked"
RECONCILE_TAKEN: Final = "reconcile.taken"
RECONCILE_FAILED: Final = "reconcile.failed"

RISK_HALTED: Final = "risk.halted"
RISK_RELEASED: Final = "risk.released"
RISK_NO_DATA: Final = "risk.no_data"
RISK_DATA_BACK: Final = "risk.data_back"
CANDLES_FAILED: Final = "candles.failed"
CANDLES_LOADED: Final = "candles.loaded"
CANDLE_STREAM_UP: Final = "candle_stream.up"
CANDLE_STREAM_DOWN: Final = "candle_stream.down"
LIMIT_REACHED: Final = "limit.reached"
LIMIT_LIFTED: Final = "limit.lifted"
ACCOUNT_FAILED: Final = "account.failed"

ORDER_FILLED: Final = "order.filled"
ORDER_CLOSED: Final = "order.closed"
ALERT_RAISED: Final = "alert.raised"

STATE_RECOLLECTED: Final = "state.recollected"
START_RETRIED: Final = "start.retried"
APP_STARTED: Final = "app.started"
APP_STOPPING: Final = "app.stopping"
APP_STOPPED: Final = "app.stopped"
SERVICE_FAILED: Final = "service.failed"
SYMBOL_FAILED: Final = "symbol.failed"
STOP_UNCONFIRMED: Final = "stop.unconfirmed"
DISK_FAILED: Final = "disk.failed"
DISK_RECOVERED: Final = "disk.recovered"

FUNDING_TOO_HIGH: Final = "funding.too_high"
FUNDING_ACCEPTED: Final = "funding.accepted"
FUNDING_FAILED: Final = "funding.failed"

ALERT_SENT: Final = "alert.sent"
ALERT_FAILED: Final = "alert.failed"
ALERT_LOST: Final = "alert.lost"
ALERT_CHANNEL_HUNG: Final = "alert.channel.hung"
MESSENGER_ENDED: Final = "messenger.ended"
MESSENGER_REFUSED: Final = "messenger.refused"
HEARTBEAT_FAILED: Final = "heartbeat.failed"
HEARTBEAT_TAKEN: Final = "heartbeat.taken"
