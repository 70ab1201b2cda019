"""Gate USDT perpetual futures (API v4), single position mode.

Pages: the vendor's API v4 documentation (REST and WebSocket of futures), its Go client, the tables of ccxt 4.5.90, and
recorded payloads; gathered September 2026.

How orders travel. Over a socket of their own, logged in beforehand: one frame carries one order, or a batch of up to 10
(20 cancels), and is handed to the socket before `place` returns. A placement is answered twice, first with an echo
(`ack: true`), then with what became of it. While that socket is away REST takes over.

Oddities, each met below
- Quantities are contracts of `quanto_multiplier` base units, signed: sells are below zero everywhere, in `left` too.
  Whole contracts only: the header that allows fractions cannot be sent with the WebSocket handshake.
- Prices are text over REST and numbers over WebSocket; they are read as they are written, never as floats.
- The client id is `text` and begins with `t-`. It finds an order while it is open and for a minute after, so the venue's
  own id is used as soon as it is known.
- Post-only refusal is synchronous (ORDER_POC_IMMEDIATE), and no event follows.
- The orders channel tells quantities and no trade, the trades channel tells trades and no cumulative quantity.
- A fee can be paid in points; it is then stated as what the instrument's rate would have been.
- The signature covers the query before it is percent-encoded, and times are seconds.
- A private subscription carries its own signature and the account's number.
- `orders_limit` (often 50 per contract) is smaller than the usual `max_open_orders`.
- A candle does not say whether it is closed; there are none of three minutes.
- Funding shows as a `fund` change of the balance; the account book has no ids, so a payment is named by its time.
- The dead-man's switch is per contract and cancels foreign orders too; it takes 5 seconds or more.

Unverified: whether two live orders may share a `text` (assumed: they may, so nothing relies on a refusal); whether
`futures.order_cancel` takes a `text` where the order's number is not known yet (REST does).

The package, top to bottom: `tables`, `wire`, `parse`, `build`, `adapter`.
"""

from marketmaker.adapters.gate.adapter import Gate as Gate
from marketmaker.adapters.gate.adapter import make as make
from marketmaker.adapters.gate.tables import DEMO as DEMO
from marketmaker.adapters.gate.tables import LIVE as LIVE
from marketmaker.adapters.gate.tables import Endpoints as Endpoints
