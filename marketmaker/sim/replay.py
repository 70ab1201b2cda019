"""The one task behind the embedded exchange: it carries the feed, the agenda and the seconds forward together."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from marketmaker.model.market import Quote, Trade
from marketmaker.sim.agenda import NEVER, Agenda
from marketmaker.sim.exchange import Exchange
from marketmaker.sim.loop import NS_PER_S
from marketmaker.sim.tape import Tape


class Replay:
    """Events of `feed` happen `shift_ns` after their own time; those of symbols without a tape are left out.

    On every full second tapes are told, and funding is paid when its interval begins. This ends with the feed.
    """

    def __init__(
        self,
        *,
        feed: Iterable[tuple[str, Trade | Quote]],
        shift_ns: int,
        agenda: Agenda,
        tapes: dict[str, Tape],
        exchange: Exchange,
        funding_interval_ns: int,
        now_ns: Callable[[], int],
    ) -> None:
        self._feed = feed
        self._shift_ns = shift_ns
        self._agenda = agenda
        self._tapes = tapes
        self._exchange = exchange
        self._now_ns = now_ns
        self._funding_interval_ns = funding_interval_ns
        self._next_second_ns = next_multiple(agenda.time_ns, NS_PER_S)
        self._next_funding_ns = next_multiple(agenda.time_ns, funding_interval_ns)

    async def run(self, feed_ended: Callable[[], None]) -> None:
        """Until cancelled; `feed_ended` is called after the last event of the feed."""
        agenda = self._agenda
        tapes = self._tapes
        reach = agenda.reach
        shift_ns = self._shift_ns
        for symbol, event in self._feed:
            tape = tapes.get(symbol)
            if tape is None:
                continue
            due_ns = event.ts_local_ns + shift_ns
            due_ns = max(due_ns, agenda.time_ns)
            if due_ns >= self._next_second_ns or due_ns >= agenda.next_ns or not reach(due_ns):
                await self._catch_up(due_ns)
            agenda.time_ns = due_ns
            tape.apply(event, due_ns)
        self._next_second_ns = NEVER
        feed_ended()
        await self._catch_up(NEVER)

    async def _catch_up(self, due_ns: int) -> None:
        """Wait until `due_ns`, and do on the way what falls due until then."""
        agenda = self._agenda
        while True:
            step_ns = min(due_ns, self._next_second_ns, agenda.next_ns)
            if step_ns == NEVER or not agenda.reach(step_ns):
                await agenda.wait_until(step_ns)
                step_ns = min(due_ns, self._next_second_ns, agenda.next_ns)
                if self._now_ns() < step_ns:
                    continue
            if self._next_second_ns <= step_ns:
                self._second()
            elif agenda.next_ns <= step_ns:
                agenda.run_next()
            else:
                return

    def _second(self) -> None:
        now_ns = self._agenda.time_ns = self._next_second_ns
        self._next_second_ns += NS_PER_S
        for tape in self._tapes.values():
            tape.second(now_ns)
        if now_ns >= self._next_funding_ns:
            self._next_funding_ns = next_multiple(now_ns, self._funding_interval_ns)
            self._exchange.pay_funding(now_ns)


def next_multiple(now_ns: int, step_ns: int) -> int:
    return (now_ns // step_ns + 1) * step_ns
