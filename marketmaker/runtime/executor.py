"""Sends orders of all symbols of one account, within its budget, and turns every outcome into an event.

Sending is synchronous: `submit` hands everything the token bucket allows to the adapter before it returns, and is
called back with the answer. What the bucket does not allow waits in three lines: cancels, reduce-only
placements, opening placements. A lower line moves only while the higher ones are empty, and inside a line the symbols
take turns. Batches take what is waiting right now; nothing waits for a batch to fill. One order costs one token.

What an outcome allows (`retry` reads the error tree):

    placement                           event                        sent again
    order report                        OrderReported                no
    known not executed, may be retried  after the last: PlaceRefused yes, same client id, later
    refused                             PlaceRefused                 no
    client id exists                    PlaceUnanswered              no: the first order with it may be live
    anything else, silence, a crash     PlaceUnanswered              never

Cancels do no harm twice, so everything short of a refusal is retried. A rate limit pauses the whole account.

A cancel for an order that has not been sent takes it back. One for a placement in flight is dropped and counted
(`cancels_dropped`), because only the answer tells whether there is anything to cancel, unless the order stream was
quicker and the venue's id is known: the core hears that answer and decides anew, and an answer that would allow
another attempt takes the order back instead. Queries cost no token; four per symbol run at a time, so a slow symbol
holds up nobody else.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple, assert_never

import structlog

from marketmaker.adapters.protocol import Adapter, Turn
from marketmaker.errors import (
    DuplicateClientOrderId,
    InvariantBroken,
    MalformedMessage,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    VenueError,
)
from marketmaker.model.action import CancelOrder, PlaceOrder, QueryOrder
from marketmaker.model.event import (
    CancelRefused,
    CancelUnanswered,
    OrderMissing,
    OrderQueryFailed,
    OrderReported,
    PlaceRefused,
    PlaceUnanswered,
    Refusal,
)
from marketmaker.model.order import ClientOrderId, NewOrder, OrderRef, OrderReport
from marketmaker.model.settings import ExecutionSettings
from marketmaker.runtime import log_events
from marketmaker.runtime.clock import Clock
from marketmaker.runtime.rate_limit import TokenBucket
from marketmaker.runtime.retry import (
    may_retry,
    pause_s,
    refusal_of,
    retry_after_s,
    retry_delay_s,
)
from marketmaker.runtime.send_line import Channel, Job, Key, SendLine, Stage

__all__ = ["Channel", "Executor", "OrderAction"]

NS: Final = 1_000_000_000
QUERIES_PER_SYMBOL: Final = 4
SHORTEST_WAIT_S: Final = 1e-6
"""A timer never rounds to nothing: the loop's clock is coarser than a nanosecond."""

OrderAction = PlaceOrder | CancelOrder | QueryOrder


class Awaited(NamedTuple):
    """Who waits for an answer, until when by the loop's clock, and for how many orders it speaks."""

    deadline_s: float
    orders: int
    hear: Callable[[Sequence[Any]], None]


class Executor:
    """One account's way to its venue.

    Counters: `placed`, `cancelled` (orders handed to the adapter, retries included), `retries`, `unknown` (outcomes
    nobody knows), `refusals` by reason, `cancels_dropped`. `last_place_sent_ns` and `last_cancel_sent_ns` are our
    clock when the adapter was last given one, 0 for never.
    """

    def __init__(
        self,
        adapter: Adapter,
        settings: ExecutionSettings,
        clock: Clock,
        bucket: TokenBucket,
        rng: random.Random,
        *,
        turn: Turn | None = None,
    ) -> None:
        """`turn`: in which answers are acted on at once, where the adapter takes turns."""
        self._turn = turn
        self._adapter = adapter
        self._settings = settings
        self._clock = clock
        self._bucket = bucket
        self._limits = adapter.capabilities
        self._rng = rng
        self._cancels: SendLine[OrderRef] = SendLine()
        self._reducing: SendLine[NewOrder] = SendLine()
        self._opening: SendLine[NewOrder] = SendLine()
        self._placing: dict[Key, Job[NewOrder]] = {}
        self._cancelling: dict[Key, Job[OrderRef]] = {}
        self._asking: dict[Key, None] = {}
        self._questions: dict[str, deque[tuple[Channel, ClientOrderId]]] = {}
        self._questions_open: Counter[str] = Counter()
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._answers: dict[asyncio.Future[Sequence[Any]], Awaited] = {}
        self._answers_timer: asyncio.TimerHandle | None = None
        self._pump_timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self._ended = asyncio.Event()
        self._broken = asyncio.Event()
        self._failure: BaseException | None = None
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
            service="executor", venue=adapter.name
        )
        self.placed = 0
        self.cancelled = 0
        self.retries = 0
        self.unknown = 0
        self.refusals: Counter[Refusal] = Counter()
        self.cancels_dropped = 0
        self.last_place_sent_ns = 0
        self.last_cancel_sent_ns = 0

    @property
    def waiting(self) -> int:
        """Orders held back by the budget."""
        return len(self._cancels) + len(self._reducing) + len(self._opening)

    @property
    def budget_left(self) -> int:
        """Order messages that may leave now."""
        return self._bucket.available(self._clock.now_ns(), cancel=True)

    @property
    def burst(self) -> int:
        return self._bucket.burst

    @property
    def paused_s(self) -> float:
        """How long the account is still to be left alone."""
        return self._bucket.paused_ns(self._clock.now_ns()) / NS

    def adopt(self, settings: ExecutionSettings) -> None:
        """Other times and another budget from now on; what is under way keeps its deadline."""
        self._settings = settings
        capabilities = self._limits = self._adapter.capabilities
        self._bucket.retune(
            rate_per_s=min(settings.orders_per_s, capabilities.orders_per_s),
            burst=min(settings.burst, capabilities.order_burst),
            reserve=settings.cancel_reserve,
            now_ns=self._clock.now_ns(),
        )
        self._pump()

    def hear_limit(self, error: RateLimited) -> None:
        """A rate limit that was told to somebody else."""
        self._pause_if_limited(error)

    async def spend_on_cancels(self, most: int) -> int:
        """For whoever cancels by another way: waits for budget, takes it, and returns how many of `most` >= 1 cancels
        it pays for."""
        while True:
            now_ns = self._clock.now_ns()
            room = min(self._bucket.available(now_ns, cancel=True), most)
            if room:
                self._bucket.take(room, now_ns, cancel=True)
                self.cancelled += room
                self.last_cancel_sent_ns = now_ns
                return room
            wait_ns = self._bucket.wait_ns(1, now_ns, cancel=True)
            await asyncio.sleep(max(wait_ns / NS, SHORTEST_WAIT_S))

    async def run(self) -> None:
        """Waits for ever; raises what went wrong in a task of the executor, as soon as it does."""
        await self._broken.wait()
        assert self._failure is not None
        raise self._failure

    def submit(self, channel: Channel, actions: Sequence[OrderAction]) -> None:
        """Send what the budget allows, keep the rest. Never raises; outcomes come as events."""
        for action in actions:
            match action:
                case PlaceOrder():
                    self._accept_place(channel, action.order)
                case CancelOrder():
                    self._accept_cancel(channel, action.order, action.reason)
                case QueryOrder():
                    self._accept_query(channel, action.client_order_id)
                case _:
                    assert_never(action)
        self._pump()

    def stop_opening(self) -> None:
        """From here on no placement leaves: those not sent are withdrawn, later ones refused."""
        self._stopped = True
        for job in list(self._placing.values()):
            if job.stage is not Stage.IN_FLIGHT:
                self._withdraw(job, "stopping")

    async def drain(self, timeout_s: float) -> list[str]:
        """Wait until everything accepted has had its outcome; what has not in time is described, one line each."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._placing or self._cancelling or self._asking:
                    self._ended.clear()
                    await self._ended.wait()
        return [
            *(describe("place", job) for job in self._placing.values()),
            *(describe("cancel", job) for job in self._cancelling.values()),
            *(f"{name} query {order_name(order)}" for name, order in self._asking),
        ]

    async def close(self) -> None:
        """Give up on everything still open. Only after `drain`."""
        await asyncio.sleep(
            0
        )  # a request just handed over begins, so that it can be cancelled cleanly
        timers = [job.timer for job in self._placing.values()]
        timers += [job.timer for job in self._cancelling.values()]
        timers += (self._pump_timer, self._answers_timer)
        for timer in timers:
            if timer is not None:
                timer.cancel()
        open_still: list[asyncio.Future[Any]] = [*self._tasks, *self._answers]
        self._answers.clear()
        for each in open_still:
            each.cancel()
        await asyncio.gather(*open_still, return_exceptions=True)

    # Accepting

    def _accept_place(self, channel: Channel, order: NewOrder) -> None:
        job = Job(channel, order)
        if self._stopped:
            self._log.error(log_events.ORDER_PLACE_AFTER_STOP, **names(job))
            self._post_refused(job, Refusal.WITHDRAWN, "stopping", None)
        elif job.key in self._placing:
            self._fail(InvariantBroken(f"client order id placed twice: {describe('place', job)}"))
        else:
            self._placing[job.key] = job
            self._line_of(job).append(job)

    def _accept_cancel(self, channel: Channel, order: OrderRef, reason: str) -> None:
        job = Job(channel, order)
        placing = self._placing.get(job.key)
        earlier = self._cancelling.get(job.key)
        if placing is not None and placing.stage is not Stage.IN_FLIGHT:
            self._withdraw(placing, reason)
        elif earlier is not None or (placing is not None and not order.venue_order_id):
            self.cancels_dropped += 1
            if placing is not None:
                placing.unwanted = reason
        else:
            self._cancelling[job.key] = job
            self._cancels.append(job)

    def _accept_query(self, channel: Channel, order: ClientOrderId) -> None:
        key = (channel.name, order)
        if key not in self._asking:
            self._asking[key] = None
            self._questions.setdefault(channel.name, deque()).append((channel, order))
            self._ask_more(channel.name)

    def _line_of(self, job: Job[NewOrder]) -> SendLine[NewOrder]:
        return self._reducing if job.order.reduce_only else self._opening

    # Sending

    def _pump(self) -> None:
        limits = self._limits
        now_ns = self._clock.now_ns()
        while self._cancels:
            room = self._room(now_ns, cancel=True)
            if room == 0:
                return
            self._send_cancels(self._cancels.take(min(room, limits.cancel_batch)), now_ns)
        for line in (self._reducing, self._opening):
            while line:
                room = self._room(now_ns, cancel=False)
                if room == 0:
                    return
                self._send_places(line.take(min(room, limits.place_batch)), now_ns)

    def _room(self, now_ns: int, *, cancel: bool) -> int:
        """Tokens to spend now; when there are none, pumps again as soon as there is one."""
        room = self._bucket.available(now_ns, cancel=cancel)
        if room == 0:
            wait_ns = self._bucket.wait_ns(1, now_ns, cancel=cancel)
            if self._pump_timer is not None:
                self._pump_timer.cancel()
            self._pump_timer = self._later(wait_ns / NS, self._pump)
        return room

    def _send_places(self, jobs: list[Job[NewOrder]], now_ns: int) -> None:
        self._bucket.take(len(jobs), now_ns, cancel=False)
        for job in jobs:
            job.stage = Stage.IN_FLIGHT
        self.placed += len(jobs)
        self.last_place_sent_ns = now_ns
        instrument = jobs[0].channel.instrument
        try:
            answer = self._adapter.place(instrument, [job.order for job in jobs])
        except Exception as error:
            self._hear_places(jobs, self._same_for_all(error, len(jobs)))
        else:
            self._await(answer, len(jobs), partial(self._hear_places, jobs))

    def _send_cancels(self, jobs: list[Job[OrderRef]], now_ns: int) -> None:
        self._bucket.take(len(jobs), now_ns, cancel=True)
        for job in jobs:
            job.stage = Stage.IN_FLIGHT
        self.cancelled += len(jobs)
        self.last_cancel_sent_ns = now_ns
        instrument = jobs[0].channel.instrument
        try:
            answer = self._adapter.cancel(instrument, [job.order for job in jobs])
        except Exception as error:
            self._hear_cancels(jobs, self._same_for_all(error, len(jobs)))
        else:
            self._await(answer, len(jobs), partial(self._hear_cancels, jobs))

    def _await(
        self,
        answer: Awaitable[Sequence[Any]],
        count: int,
        hear: Callable[[Sequence[Any]], None],
    ) -> None:
        """`hear` gets one outcome per order, whatever the adapter does. No task of ours: an answer that is a future
        calls back when it is there, and one timer watches over the oldest of them."""
        future = answer if isinstance(answer, asyncio.Future) else asyncio.ensure_future(answer)
        deadline_s = asyncio.get_running_loop().time() + self._settings.request_timeout_s
        self._answers[future] = Awaited(deadline_s, count, hear)
        future.add_done_callback(self._answered)
        if self._answers_timer is None:
            self._answers_timer = self._later(self._settings.request_timeout_s, self._expire)

    def _answered(self, future: asyncio.Future[Sequence[Any]]) -> None:
        awaited = self._answers.pop(future, None)
        if awaited is None or future.cancelled():
            return
        error = future.exception()
        if error is None:
            outcomes = future.result()
            if len(outcomes) != awaited.orders:
                error = MalformedMessage(f"{len(outcomes)} outcomes for {awaited.orders} orders")
        turn = self._turn
        if turn is not None:
            turn.begin()
        try:
            if error is None:
                awaited.hear(outcomes)
            elif isinstance(error, Exception):
                awaited.hear(self._same_for_all(error, awaited.orders))
            else:
                raise error
        except Exception as failure:
            self._fail(failure)
        finally:
            if turn is not None:
                turn.end()

    def _expire(self) -> None:
        """Those whose time is over: nobody knows what became of them."""
        now_s = asyncio.get_running_loop().time()
        timeout_s = self._settings.request_timeout_s
        self._answers_timer = None
        while self._answers:
            future, awaited = next(iter(self._answers.items()))
            left_s = awaited.deadline_s - now_s
            if left_s > 0:
                self._answers_timer = self._later(left_s, self._expire)
                return
            del self._answers[future]
            future.cancel()
            error = OutcomeUnknown(f"no answer within {timeout_s:g} s")
            awaited.hear(self._same_for_all(error, awaited.orders))

    def _same_for_all(self, error: Exception, count: int) -> list[Exception]:
        if not isinstance(error, VenueError):
            self._log.error(log_events.ADAPTER_FAILED, exc_info=error)
        return [error] * count

    # Hearing

    def _hear_places(
        self, jobs: list[Job[NewOrder]], outcomes: Sequence[OrderReport | Exception]
    ) -> None:
        for job, outcome in zip(jobs, outcomes, strict=True):
            self._hear_place(job, outcome)

    def _hear_place(self, job: Job[NewOrder], outcome: OrderReport | Exception) -> None:
        self._pause_if_limited(outcome)
        match outcome:
            case OrderReport() if outcome.client_order_id == job.order.client_order_id:
                self._end_place(job)
                self._post_report(job.channel, outcome)
            case DuplicateClientOrderId():
                self._place_unanswered(job, f"already known there: {outcome}")
            case VenueError() if may_retry(outcome):
                self._retry_place(job, outcome)
            case Rejected():
                self._refuse_place(job, outcome)
            case _:
                self._place_unanswered(job, what_happened(outcome))

    def _retry_place(self, job: Job[NewOrder], error: VenueError) -> None:
        if job.unwanted:
            self._withdraw(job, job.unwanted)
        elif self._stopped or job.attempts >= self._settings.max_retries:
            self._refuse_place(job, error)
        else:
            delay_s = self._rest(job, error, lambda: self._line_of(job).put_back(job))
            self._log.warning(
                log_events.ORDER_PLACE_RETRIED, error=str(error), delay_s=delay_s, **names(job)
            )

    def _refuse_place(self, job: Job[NewOrder], error: VenueError) -> None:
        self._end_place(job)
        refusal = refusal_of(error)
        self._log.info(log_events.ORDER_PLACE_REFUSED, error=str(error), **names(job))
        self._post_refused(job, refusal, str(error), retry_after_s(error))

    def _place_unanswered(self, job: Job[NewOrder], message: str) -> None:
        self._end_place(job)
        self.unknown += 1
        self._log.warning(log_events.ORDER_PLACE_UNANSWERED, error=message, **names(job))
        job.channel.queue.put(
            PlaceUnanswered(
                client_order_id=job.order.client_order_id,
                message=message,
                ts_ns=self._clock.now_ns(),
            )
        )

    def _withdraw(self, job: Job[NewOrder], reason: str) -> None:
        if job.timer is not None:
            job.timer.cancel()
            job.timer = None
        if job.stage is Stage.WAITING:
            self._line_of(job).remove(job)
        self._end_place(job)
        self._post_refused(job, Refusal.WITHDRAWN, reason, None)

    def _hear_cancels(
        self, jobs: list[Job[OrderRef]], outcomes: Sequence[OrderReport | Exception | None]
    ) -> None:
        for job, outcome in zip(jobs, outcomes, strict=True):
            self._hear_cancel(job, outcome)

    def _hear_cancel(self, job: Job[OrderRef], outcome: OrderReport | Exception | None) -> None:
        self._pause_if_limited(outcome)
        match outcome:
            case None:
                self._end_cancel(job)
            case OrderReport() if outcome.client_order_id == job.order.client_order_id:
                self._end_cancel(job)
                self._post_report(job.channel, outcome)
            case OrderNotFound():
                self._refuse_cancel(job, outcome)
            case Rejected() if not may_retry(outcome):
                self._refuse_cancel(job, outcome)
            case _:
                self._retry_cancel(job, outcome)

    def _retry_cancel(self, job: Job[OrderRef], outcome: OrderReport | Exception) -> None:
        message = what_happened(outcome)
        if job.attempts < self._settings.max_retries:
            error = outcome if isinstance(outcome, Exception) else MalformedMessage(message)
            delay_s = self._rest(job, error, lambda: self._cancels.put_back(job))
            self._log.warning(
                log_events.ORDER_CANCEL_RETRIED, error=message, delay_s=delay_s, **names(job)
            )
            return
        self._end_cancel(job)
        self.unknown += 1
        self._log.warning(log_events.ORDER_CANCEL_UNANSWERED, error=message, **names(job))
        job.channel.queue.put(
            CancelUnanswered(
                client_order_id=job.order.client_order_id,
                message=message,
                ts_ns=self._clock.now_ns(),
            )
        )

    def _refuse_cancel(self, job: Job[OrderRef], error: VenueError) -> None:
        self._end_cancel(job)
        refusal = refusal_of(error)
        self.refusals[refusal] += 1
        self._log.info(log_events.ORDER_CANCEL_REFUSED, error=str(error), **names(job))
        job.channel.queue.put(
            CancelRefused(
                client_order_id=job.order.client_order_id,
                refusal=refusal,
                message=str(error),
                ts_ns=self._clock.now_ns(),
            )
        )

    def _pause_if_limited(self, error: object) -> None:
        """A rate limit keeps the whole account still."""
        if not isinstance(error, RateLimited):
            return
        seconds = pause_s(error, self._settings)
        self._bucket.pause_until(self._clock.now_ns() + round(seconds * NS))
        self._log.warning(log_events.ACCOUNT_PAUSED, pause_s=seconds, banned=error.banned)

    def _rest(
        self,
        job: Job[NewOrder] | Job[OrderRef],
        error: Exception,
        put_back: Callable[[], None],
    ) -> float:
        """Come back to the front of the line after a while; returns how long, in seconds."""

        def rejoin() -> None:
            job.timer = None
            job.stage = Stage.WAITING
            put_back()
            self._pump()

        self.retries += 1
        job.attempts += 1
        job.stage = Stage.RESTING
        delay_s = retry_delay_s(error, self._settings, self._rng)
        job.timer = self._later(delay_s, rejoin)
        return delay_s

    # Asking

    def _ask_more(self, name: str) -> None:
        questions = self._questions.get(name)
        while questions and self._questions_open[name] < QUERIES_PER_SYMBOL:
            self._questions_open[name] += 1
            self._own(self._ask(*questions.popleft()))

    async def _ask(self, channel: Channel, order: ClientOrderId) -> None:
        if pause_ns := self._bucket.paused_ns(self._clock.now_ns()):
            await asyncio.sleep(pause_ns / NS)
        ts_asked_ns = self._clock.now_ns()
        timeout_s = self._settings.request_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                report = await self._adapter.fetch_order(channel.instrument, order)
        except OrderNotFound:
            channel.queue.put(
                OrderMissing(
                    client_order_id=order, ts_asked_ns=ts_asked_ns, ts_ns=self._clock.now_ns()
                )
            )
        except TimeoutError:
            self._query_failed(channel, order, f"no answer within {timeout_s:g} s")
        except Exception as error:
            self._pause_if_limited(error)
            self._same_for_all(error, 1)
            self._query_failed(channel, order, what_happened(error))
        else:
            if report.client_order_id == order:
                self._post_report(channel, report)
            else:
                self._query_failed(channel, order, "the answer is about another order")
        finally:
            del self._asking[channel.name, order]
            self._questions_open[channel.name] -= 1
            self._ended.set()
        self._ask_more(channel.name)

    def _query_failed(self, channel: Channel, order: ClientOrderId, message: str) -> None:
        self._log.warning(
            log_events.ORDER_QUERY_FAILED,
            instrument=channel.name,
            client_order_id=order_name(order),
            error=message,
        )
        channel.queue.put(
            OrderQueryFailed(client_order_id=order, message=message, ts_ns=self._clock.now_ns())
        )

    # Bookkeeping

    def _end_place(self, job: Job[NewOrder]) -> None:
        del self._placing[job.key]
        self._ended.set()

    def _end_cancel(self, job: Job[OrderRef]) -> None:
        del self._cancelling[job.key]
        self._ended.set()

    def _post_report(self, channel: Channel, report: OrderReport) -> None:
        channel.queue.put(OrderReported(report=report, ts_ns=self._clock.now_ns()))

    def _post_refused(
        self, job: Job[NewOrder], refusal: Refusal, message: str, wait_s: float | None
    ) -> None:
        self.refusals[refusal] += 1
        job.channel.queue.put(
            PlaceRefused(
                client_order_id=job.order.client_order_id,
                refusal=refusal,
                message=message,
                retry_after_s=wait_s,
                ts_ns=self._clock.now_ns(),
            )
        )

    def _own(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._disown)

    def _disown(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _later(self, delay_s: float, step: Callable[[], None]) -> asyncio.TimerHandle:
        def guarded() -> None:
            try:
                step()
            except Exception as error:
                self._fail(error)

        return asyncio.get_running_loop().call_later(max(delay_s, SHORTEST_WAIT_S), guarded)

    def _fail(self, error: BaseException) -> None:
        self._log.critical(log_events.EXECUTOR_FAILED, exc_info=error)
        if self._failure is None:
            self._failure = error
            self._broken.set()


def order_name(order: ClientOrderId) -> str:
    return f"{order.slot}/{order.side.name.lower()}/{order.sequence}"


def names(job: Job[NewOrder] | Job[OrderRef]) -> dict[str, str]:
    return {
        "instrument": job.channel.name,
        "client_order_id": order_name(job.order.client_order_id),
    }


def describe(verb: str, job: Job[NewOrder] | Job[OrderRef]) -> str:
    order = order_name(job.order.client_order_id)
    return f"{job.channel.name} {verb} {order}: {job.stage.value}"


def what_happened(outcome: OrderReport | Exception) -> str:
    match outcome:
        case VenueError():
            return str(outcome)
        case Exception():
            return f"{type(outcome).__name__}: {outcome}"
        case _:
            return "the answer is about another order"
