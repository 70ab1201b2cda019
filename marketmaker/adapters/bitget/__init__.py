"""Bitget USDT-M futures, one-way position mode, on a unified account (API v3) or a classic one (API v2).

Pages: the vendor's documentation of both generations, the types of the SDK tiagosiebler/bitget-api (WebSocket order
entry, batches), the test payloads of JKorf/Bitget.Net, and the source of ccxt 4.5.90 for what none of them says (how
an account's generation is found out, the types of funding payments, login codes); gathered September 2026.

Two generations. Every account speaks exactly one: new ones are unified, older ones may be classic. Which it is, is asked
when connecting; what differs is in `unified` and `classic` behind one page (`generation`). Market data is that of API
v2 for both: the same books, and the older, better documented words.

How orders travel. On a unified account over a private socket of their own: one frame carries one order, or a batch of
up to 20, and is handed to the socket before `place` returns; while that socket is away REST takes over. On a classic
account by REST, in batches of 20: order entry over WebSocket has to be enabled by the venue there.

Oddities, each met below
- A placement is taken in first. Post-only refusal comes later, on the order channel, as a cancellation whose reason is
  the same as that of any other: it is told by its shape (post-only, nothing filled, at once, not asked for by us). So
  is the end of a reduce-only order that no position covers any more.
- A batch of a unified account is not known to heed reduce-only and has no self-trade prevention: only post-only entries
  go in batches, what takes or reduces goes alone, and says that an own order it would meet is to go (`cancel_maker`).
- A batch's answer is good although its orders were refused; its rows are told apart by client id, and a failed cancel of
  a classic batch may come without a code: it is taken for an order that is not there.
- The answer to a reduce-only placement may have no order id.
- Unified: the order topic tells quantities and no trade, the fill topic trades and no cumulative quantity. Classic: the
  orders channel tells both; the list of trades does not say whose they are, so orders are asked for by their number.
- A fee is paid above zero on a unified account (so the recorded payloads; ccxt takes it otherwise) and below it on a
  classic one. The state of an order is `state`, `status`
  or `orderStatus`; symbols may come back in lower case.
- The private topics of a unified account tell of spot and margin too, under the same symbols: what is of another
  category is none of ours.
- Trades are pushed newest first. A candle does not say whether it is closed: the next one does.
- No event tells of a funding payment: the records are read when the ticker's next funding time moves on, and every ten
  minutes.
- Nothing carries a sequence number, and no snapshot of orders comes on subscribing.
- The signature covers the query as it reads before it is percent-encoded; times are ms over REST, seconds at login.
- The dead-man's switch is a unified account's alone, takes 5 to 60 seconds, and cancels foreign orders too.
- A demo account has the same REST host and a header (`simulated` among the endpoints).

Unverified: whether `batch-place` over the socket answers row by row with codes as REST does (a row without code or id
is taken for a fate unknown); whether the switch needs a permission (a refusal is borne); the reason a reduce-only order is
ended with; whether the classic orders channel repeats an order's last trade (it would be the same trade id); what a
classic account answers to a question of API v3 (any refusal, when one of API v2 is answered). Of a unified account whose
leverage was never set for a symbol, 20 is assumed, as new accounts have.

The package, top to bottom: `tables`, `wire`, `parse`, `build`, `generation`, `unified`, `classic`, `adapter`.
"""

from marketmaker.adapters.bitget.adapter import Bitget as Bitget
from marketmaker.adapters.bitget.adapter import make as make
from marketmaker.adapters.bitget.tables import DEMO as DEMO
from marketmaker.adapters.bitget.tables import LIVE as LIVE
from marketmaker.adapters.bitget.tables import Endpoints as Endpoints
