"""Binance USD-M perpetual futures, one-way position mode.

Pages: the vendor's derivatives documentation (REST `/fapi/v1` to `/fapi/v3`, WebSocket streams on the three routes of
March 2026, WebSocket API `ws-fapi/v1`), its Python SDK's example payloads, and issue threads; gathered September 2026.

How orders travel. Over the WebSocket API: each order is one frame, handed to the socket before `place` returns, and
one reply. That API has no batches, so several orders are several frames. While its socket is away REST takes over,
with `batchOrders` (5 placements or 10 cancels in a request); `Capabilities` states these two figures.

Measured on a busy machine (six runnable processes on two cores, best of seven): a trade from frame to `on_price` 2.7 us;
a placement with its id, encoded and signed, 12 us. msgspec decodes just the fields named here in 0.45 us, where slicing
them out of the bytes by hand took 1.3 us; prices become ticks from their decimal text without a Decimal.

Oddities, each met below
- A stream subscribed on the wrong route, or misspelt, is acknowledged and stays silent: see `FIRST_MESSAGE_S`.
- Post-only refusal is -5022 in the answer, and no event follows; the older form, an EXPIRED event of a GTX order with
  nothing filled, is understood too.
- Acks of places and cancels carry no average price. A plain limit order is asked for RESULT, so that its answer tells
  what it took at once; a post-only order is not, its ack comes sooner.
- Trades of our account carry no client id: it is joined by order id, asking for orders this process has not met.
- A funding event of a cross position names no symbol: what was paid is read from the income history.
- Only the spot host tells whether the API key may withdraw (`canWithdraw` of the account is another matter); without
  `key_url`, or when it does not answer, `can_withdraw` is None.
- Equity is the wallet and the unrealised profit of cross positions in the quote asset; isolated profit is not in it.
- A fee paid in another asset (BNB) is stated as the fee the instrument's rate would have been.
- The dead-man's switch (`countdownCancelAll`) is per symbol and cancels every order of the symbol, foreign ones too.
- 503 means two things: "Service Unavailable." (not executed) and everything else it says (fate unknown).

Unverified: whether the demo host has the three routes (its addresses below use none); the meaning of `er` (expire
reason) in order events; whether a 429 of the WebSocket API carries a time to wait in a field rather than in its text.

The package, top to bottom: `tables` (addresses, limits, codes, words), `wire` (what the JSON looks like), `parse`
(theirs into ours), `build` (ours into theirs, signed), `adapter` (the class: only what waits).
"""

from marketmaker.adapters.binance.adapter import Binance as Binance
from marketmaker.adapters.binance.adapter import make as make
from marketmaker.adapters.binance.tables import DEMO as DEMO
from marketmaker.adapters.binance.tables import LIVE as LIVE
from marketmaker.adapters.binance.tables import Endpoints as Endpoints
