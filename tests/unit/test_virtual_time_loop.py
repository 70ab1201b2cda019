"""The loop that owns its time: jumps, speeds, steps in place, and still hears sockets, signals and threads."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable

import pytest

from marketmaker.sim.agenda import NEVER, Agenda
from marketmaker.sim.loop import ADVANCES_PER_TURN, NS_PER_S, LoopClock, VirtualTimeLoop
from tests.support.paper import START_NS, loop_now_ns, on_virtual_time

DAY_S = 86_400


def run_at_speed(speed: float | None, body: Callable[[VirtualTimeLoop], Awaitable[None]]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        await body(loop)

    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(START_NS, speed)) as runner:
        runner.run(main())


def running() -> VirtualTimeLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


@on_virtual_time
async def test_time_jumps_to_the_next_timer_exactly() -> None:
    loop = running()
    assert (loop.time(), loop.now_ns) == (0.0, START_NS)
    await asyncio.sleep(30 * DAY_S)
    assert loop.now_ns == START_NS + 30 * DAY_S * NS_PER_S
    await loop.sleep_until(START_NS + 30 * DAY_S * NS_PER_S + 1)
    assert loop.now_ns == START_NS + 30 * DAY_S * NS_PER_S + 1
    assert LoopClock(loop).now_ns() == loop.now_ns


@on_virtual_time
async def test_time_stands_still_while_something_is_ready() -> None:
    loop = running()
    due: list[str] = []
    loop.call_later(0.001, due.append, "timer")
    for _ in range(1000):
        await asyncio.sleep(0)
    assert not due
    assert loop.now_ns == START_NS


@on_virtual_time
async def test_timers_run_in_the_order_of_their_times_and_see_their_own_time() -> None:
    loop = running()
    seen: list[tuple[int, int]] = []

    def note(delay: int) -> None:
        seen.append((delay, loop.now_ns - START_NS))

    for delay in (5, 1, 3, 2, 4):
        loop.call_later(delay, note, delay)
    await asyncio.sleep(6)
    assert seen == [(delay, delay * NS_PER_S) for delay in (1, 2, 3, 4, 5)]


def test_the_same_program_makes_the_same_steps_in_the_same_order() -> None:
    def story() -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []

        async def one(name: int) -> None:
            for step in range(20):
                await asyncio.sleep(0.001 * ((name * 7 + step * 3) % 5))
                seen.append((name, running().now_ns))

        async def main(_: VirtualTimeLoop) -> None:
            await asyncio.gather(*(one(name) for name in range(10)))

        run_at_speed(None, main)
        return seen

    assert story() == story()


@on_virtual_time
async def test_a_timeout_ends_a_wait_after_its_virtual_time() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3600):
            await asyncio.Event().wait()
    assert loop_now_ns() == START_NS + 3600 * NS_PER_S


@on_virtual_time
async def test_advance_to_steps_in_place_when_nothing_else_is_due() -> None:
    loop = running()
    assert loop.advance_to(START_NS + 5)
    assert loop.now_ns == START_NS + 5
    assert loop.advance_to(START_NS + 5)
    assert loop.advance_to(START_NS + 3)
    assert loop.now_ns == START_NS + 5, "time never goes back"


@on_virtual_time
async def test_advance_to_refuses_to_pass_a_timer() -> None:
    loop = running()
    loop.call_at(1.0, lambda: None)
    assert loop.advance_to(START_NS + NS_PER_S - 1)
    assert not loop.advance_to(START_NS + NS_PER_S)
    assert not loop.advance_to(START_NS + NS_PER_S + 1)
    assert loop.now_ns == START_NS + NS_PER_S - 1


@on_virtual_time
async def test_advance_to_refuses_while_a_callback_is_ready() -> None:
    loop = running()
    loop.call_soon(lambda: None)
    assert not loop.advance_to(START_NS + 1)
    await asyncio.sleep(0)
    assert loop.advance_to(START_NS + 1)


@on_virtual_time
async def test_advance_to_sends_its_caller_round_the_loop_from_time_to_time() -> None:
    loop = running()
    steps = 0
    while loop.advance_to(START_NS + steps):
        steps += 1
        assert steps <= ADVANCES_PER_TURN
    assert not loop.advance_to(START_NS + steps), "until the loop has really turned"
    await loop.sleep_until(START_NS + steps)
    assert loop.advance_to(START_NS + steps + 1)


@on_virtual_time
async def test_sleep_until_a_time_that_has_passed_lets_others_run_first() -> None:
    loop = running()
    ran: list[int] = []
    loop.call_soon(ran.append, 1)
    await loop.sleep_until(START_NS - 1)
    assert ran == [1]


@pytest.mark.parametrize("speed", [None, 100_000.0])
def test_a_signal_is_heard_while_time_runs(speed: float | None) -> None:
    """Neither a busy ticker nor a driver that steps in place keeps a signal handler from its turn."""

    async def body(loop: VirtualTimeLoop) -> None:
        heard = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, heard.set)
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            for step in range(100_000):
                if heard.is_set():
                    break
                if not loop.advance_to(loop.now_ns + 1000):
                    await loop.sleep_until(loop.now_ns + 1000)
                assert step < 1000
        finally:
            loop.remove_signal_handler(signal.SIGUSR1)

    run_at_speed(speed, body)


@on_virtual_time
async def test_a_socket_is_read_while_timers_keep_time_jumping() -> None:
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=near)
    far.send(b"tick\n")
    running().call_later(0, _tick_for_ever)
    assert await reader.readline() == b"tick\n"
    writer.close()
    await writer.wait_closed()
    far.close()


def _tick_for_ever() -> None:
    running().call_later(0.001, _tick_for_ever)


@on_virtual_time
async def test_with_no_timer_left_the_loop_waits_for_the_real_world() -> None:
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=near)
    loop = running()
    line = asyncio.create_task(reader.readline())
    await asyncio.to_thread(far.send, b"late\n")
    assert await line == b"late\n"
    assert loop.now_ns == START_NS
    writer.close()
    await writer.wait_closed()
    far.close()


@on_virtual_time
async def test_work_in_a_thread_takes_no_virtual_time() -> None:
    loop = running()
    go_on, let_go = os.pipe()
    work = loop.run_in_executor(None, os.read, go_on, 1)
    assert not loop.advance_to(START_NS + 1)
    loop.call_soon(os.write, let_go, b"x")
    async with asyncio.timeout(30):
        assert await work == b"x"
    assert loop.now_ns == START_NS
    assert loop.advance_to(START_NS + 1)
    os.close(go_on)
    os.close(let_go)


def test_with_a_speed_time_runs_that_many_times_as_fast_as_the_real_one() -> None:
    async def body(loop: VirtualTimeLoop) -> None:
        real = time.monotonic()
        virtual = loop.now_ns
        await asyncio.sleep(1000)
        passed_s = (loop.now_ns - virtual) / NS_PER_S
        assert passed_s >= 1000 - 1e-6
        assert passed_s <= (time.monotonic() - real) * 100_000 + 1

    run_at_speed(100_000.0, body)


def test_with_a_speed_a_step_waits_for_real_time() -> None:
    async def body(loop: VirtualTimeLoop) -> None:
        assert not loop.advance_to(loop.now_ns + DAY_S * NS_PER_S)
        assert loop.advance_to(loop.now_ns)

    run_at_speed(1.0, body)


@pytest.mark.parametrize("speed", [0, -1, float("inf"), float("nan")])
def test_a_speed_that_is_no_speed_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        VirtualTimeLoop(START_NS, speed)


@on_virtual_time
async def test_an_agenda_keeps_time_order_and_first_come_first_served() -> None:
    agenda = Agenda(loop_now_ns, asyncio.get_running_loop())
    done: list[str] = []
    for due, name in ((5, "c"), (1, "a"), (5, "d"), (1, "b")):
        agenda.add(START_NS + due, done.append, name)
    while agenda.next_ns < NEVER:
        agenda.run_next()
    assert done == ["a", "b", "c", "d"]
    assert agenda.time_ns == START_NS + 5


@on_virtual_time
async def test_a_waiting_agenda_wakes_for_what_is_added_before_its_time() -> None:
    loop = running()
    agenda = Agenda(loop_now_ns, loop)
    loop.call_at(1.0, lambda: agenda.add(START_NS + 2 * NS_PER_S, lambda: None))
    await agenda.wait_until(START_NS + 10 * NS_PER_S)
    assert loop.now_ns == START_NS + 2 * NS_PER_S
    loop.call_at(3.0, lambda: agenda.add(START_NS + 20 * NS_PER_S, lambda: None))
    await agenda.wait_until(START_NS + 10 * NS_PER_S)
    assert loop.now_ns == START_NS + 10 * NS_PER_S
