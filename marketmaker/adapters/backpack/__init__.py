"""Backpack perpetuals, one-way and cross margin only.

Pages: the vendor's OpenAPI file, its official Rust client (July 2026), the tables of ccxt 4.5.90, and connectors' tests;
gathered September 2026.

How orders travel. Over REST: there is no order entry over WebSocket. Several placements go as one request, cancels one by
one and side by side.

Oddities, each met below
- Requests are signed with ED25519, over their parameters sorted by name behind the name of an instruction; the fields
  of a batch are signed order by order. The secret is the key's seed in base64, the API key its public half.
- The client id is a whole number of 32 bits, free again with its order (`IntegerForm`): a bot has 65,536 of them.
- A query finds resting orders only, and the history cannot be asked by client id: an order that has ended is looked up
  by the venue's number, which the ack or the stream told, and else among its recent orders.
- An ack may be 202: taken in, the result comes by stream.
- Post-only refusal is INVALID_ORDER and shares its code: it is told by its text. It may also come as an expiry.
- A DELETE has a body.
- Times are ms, microseconds or text without a zone (UTC), by endpoint; numbers are text in some events.
- There is no acknowledgement of a subscription, only of a wrong one; the private stream sends positions, not orders, on
  subscribing, and nothing carries a sequence number.
- There is neither an amend, nor a dead-man's switch, nor a testnet.
- One empty list of positions is not believed elsewhere in this daemon either.

Unverified: the size of a batch (10 are sent); how a client id that is in use is answered; the limits (20 requests a second
are kept); the field of the quantity paid in a funding payment (`quantity`, negative when paid).

The package, top to bottom: `tables`, `wire`, `parse`, `build`, `adapter`.
"""

from marketmaker.adapters.backpack.adapter import Backpack as Backpack
from marketmaker.adapters.backpack.adapter import make as make
from marketmaker.adapters.backpack.tables import DEMO as DEMO
from marketmaker.adapters.backpack.tables import LIVE as LIVE
from marketmaker.adapters.backpack.tables import Endpoints as Endpoints
