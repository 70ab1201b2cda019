"""Bybit v5 linear perpetuals on a unified account, one-way position mode.

Pages: the vendor's documentation repository (July 2026: REST `/v5`, WebSocket streams, WebSocket trade), the tables of
ccxt 4.5.90, and issue threads; gathered September 2026.

How orders travel. Over the trade socket, authenticated beforehand: one frame carries one order, or a batch of up to 10,
and is handed to the socket before `place` returns. While that socket is away REST takes over with the same batches.

Oddities, each met below
- Everything about orders is asynchronous: `retCode` 0 means that the request was taken in. Post-only refusal comes
  later, on the order topic: Cancelled (or Rejected) with `rejectReason` EC_PostOnlyWillTakeLiquidity.
- The order topic tells cumulative quantities and no trade, the execution topic tells trades; either may come first. Of
  an execution, what was filled so far is the order's quantity less what it leaves.
- After a race of cancel and fill two last events may come; the quantities count, not the reasons.
- A batch's answer is good although its orders were refused: their codes stand in `retExtInfo.list`, in order.
- `orderLinkId` may never be used twice, not even long after.
- Positions are unsigned with a side. Pages go by a cursor, executions in windows of a week, newest first, and rows can
  repeat from one page to the next.
- A funding payment is an execution of type Funding; its fee is what was paid.
- A refused subscription does not name its request: the whole socket is given up then.
- Deltas of the ticker leave out what has not changed, so many bring no mark price.
- HTTP 403 is a ban of the address for ten minutes.
- There is no dead-man's switch for ordinary accounts: the one there is must be enabled by the venue for each of them.

Unverified: whether REST and the trade socket share the budget of 10 orders a second (kept as if they did); which words
`GET /v5/user/query-api` uses for the right to withdraw ("Withdraw" among `permissions.Wallet` is understood).

The package, top to bottom: `tables`, `wire`, `parse`, `build`, `adapter`.
"""

from marketmaker.adapters.bybit.adapter import Bybit as Bybit
from marketmaker.adapters.bybit.adapter import make as make
from marketmaker.adapters.bybit.tables import DEMO as DEMO
from marketmaker.adapters.bybit.tables import LIVE as LIVE
from marketmaker.adapters.bybit.tables import Endpoints as Endpoints
