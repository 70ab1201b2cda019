"""OKX v5 linear perpetual swaps, net position mode, cross margin.

Pages: the vendor's v5 documentation (REST, WebSocket, error codes), an SDK snapshot of July 2026, the tables of ccxt
4.5.90, and issue threads; gathered September 2026.

How orders travel. Over a private WebSocket of their own, logged in beforehand: one frame carries one order, or a batch
of up to 20, and is handed to the socket before `place` returns. While that socket is away REST takes over with the same
batches. Every placement carries `expTime`, after which the venue drops it instead of letting it rest late.

Oddities, each met below
- Quantities are contracts of `ctVal * ctMult` base units: converted once, by `Contract`. A lot is `lotSz` contracts.
- Instruments are `ETH-USDT-SWAP`; order entry over WebSocket names them by `instIdCode`, REST by `instId`.
- An ack is not a resting order. Post-only refusal comes later, on the orders channel: `canceled`, `cancelSource` 31.
- HTTP is 200 for refusals: `code` speaks of the request, `sCode` of each order in it (`code` 1 all, 2 some failed).
- Fees are negative when paid; a fee in another currency is stated as what the instrument's rate would have been.
- There is no cancel-all for swaps and no usage header. The limits of `Capabilities` keep the 60 orders in 2 s.
- The dead-man's switch (`cancel-all-after`) is the whole account's, or one tag's: every order of ours carries the bot
  tag, so that only ours are cancelled. It takes 10 to 120 seconds.
- A funding payment shows as a `funding_fee` event of the balance; what was paid is read from the bills.
- The heartbeat is the text `ping`, answered by `pong`, neither of them JSON.
- Candles and trades live on different sockets (business and public).
- Demo trading needs a key made there, and a header on every request.
- Open orders and trades come newest first, 100 a page; trades older than three days from another address.

Unverified: `GET /public/mark-price` and the `balChg` of a funding bill were read in one source only; whether the tag of
`cancel-all-after` also covers orders placed over WebSocket; the split between the codes 51400 to 51410.

The package, top to bottom: `tables`, `wire`, `parse`, `build`, `adapter`.
"""

from marketmaker.adapters.okx.adapter import Okx as Okx
from marketmaker.adapters.okx.adapter import make as make
from marketmaker.adapters.okx.tables import DEMO as DEMO
from marketmaker.adapters.okx.tables import LIVE as LIVE
from marketmaker.adapters.okx.tables import Endpoints as Endpoints
