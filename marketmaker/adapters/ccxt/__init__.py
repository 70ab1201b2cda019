"""Any exchange that ccxt knows, through ccxt (4.5.90 when this was written): `exchange: ccxt:<id>`, linear perpetuals.

ccxt is imported when such an exchange is opened, never before. Where it streams (`watch_*`) its streams are used; where
it does not, the exchange is asked again and again. What this costs, and what the generic way cannot know, stated:

- Orders go by REST, one request each: no batches, no order socket, floats inside ccxt on the way. Prices and
  quantities are checked to come out of it on our steps.
- ccxt does not say what of a failed request reached the exchange: every network error of an order leaves its fate
  unknown, even one that never left. Nothing is sent twice for that.
- A fill comes as a change of an order; its trades are then asked for, so it is told a round trip late, with its trade id.
- An order is asked for by our id where ccxt passes that on; otherwise it is looked for among the open and the latest
  orders. One that is in neither is not found.
- Position mode and leverage are told where ccxt can read them; else one-way and the position's own leverage (1 without
  one) are assumed. Whether a key may withdraw is never known. There is no dead-man's switch and no cancel-all of ours.
- Equity is the balance's total and the positions' unrealised profit; `TOTAL_WITH_PROFIT` names exchanges whose total
  holds that already.
- Funding is read from the history every five minutes, where ccxt has it.

`values` (pure) turns ccxt's dictionaries and exceptions into ours; `adapter` waits and listens.
"""

from marketmaker.adapters.ccxt.adapter import DEMO as DEMO
from marketmaker.adapters.ccxt.adapter import LIVE as LIVE
from marketmaker.adapters.ccxt.adapter import Ccxt as Ccxt
from marketmaker.adapters.ccxt.adapter import Endpoints as Endpoints
from marketmaker.adapters.ccxt.adapter import make as make
