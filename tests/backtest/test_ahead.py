"""An iterator that runs ahead gives what its source gives, and can be left."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from marketmaker.backtest.ahead import Ahead


def counting(end: int, made: list[int]) -> Iterator[int]:
    for number in range(end):
        made.append(number)
        yield number
    raise OSError("the file ends here")


def test_all_values_come_in_order_and_then_what_the_source_raised() -> None:
    numbers = Ahead(counting(100, []), 3)
    assert [next(numbers) for _ in range(100)] == list(range(100))
    with pytest.raises(OSError, match="ends here"):
        next(numbers)
    assert list(numbers) == []


def test_a_source_that_ends_ends_it() -> None:
    assert list(Ahead(iter("abc"), 1)) == ["a", "b", "c"]


def test_who_does_not_take_all_leaves_no_thread_behind() -> None:
    made: list[int] = []
    before = threading.active_count()
    numbers = Ahead(counting(10**9, made), 2)
    assert next(numbers) == 0
    numbers.close()
    assert threading.active_count() == before
    assert len(made) <= 8
    assert list(numbers) == []
