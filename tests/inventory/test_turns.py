"""Places that are taken in turn."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from inventory.turns import Turns


def test_there_are_so_many_places() -> None:
    turns = Turns(2)

    assert [turns.take(0) for _ in range(3)] == [True, True, False]
    turns.give_back()
    assert turns.take(0)


def test_who_came_first_comes_first() -> None:
    turns, order = Turns(1), []
    turns.take(0)
    with ThreadPoolExecutor(5) as pool:

        def wait(number: int) -> None:
            turns.take(10)
            order.append(number)
            turns.give_back()

        for number in range(5):
            pool.submit(wait, number)
            _until(partial(_is_long, turns, number + 1))
        turns.give_back()

    assert order == [0, 1, 2, 3, 4]


def test_one_that_takes_again_and_again_does_not_keep_the_others_out() -> None:
    turns, over = Turns(1, overtaken=0.02), threading.Event()

    def greedy() -> None:
        while not over.is_set():
            turns.take(10)
            time.sleep(0.001)
            turns.give_back()

    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            pool.submit(greedy)
        waited = []
        for _ in range(5):
            began = time.monotonic()
            assert turns.take(10)
            waited.append(time.monotonic() - began)
            turns.give_back()
        over.set()

    assert max(waited) < 2


def test_one_that_gave_up_waiting_is_passed_over() -> None:
    turns = Turns(1)
    turns.take(0)
    with ThreadPoolExecutor(2) as pool:
        impatient = pool.submit(turns.take, 0.1)
        patient = pool.submit(turns.take, 10)
        assert not impatient.result()
        turns.give_back()
        assert patient.result()


def test_one_that_needs_no_place_any_more_leaves() -> None:
    turns = Turns(1)
    turns.take(0)
    began = time.monotonic()

    assert not turns.take(60, needless=lambda: True)

    assert time.monotonic() - began < 5


@pytest.mark.parametrize("overtaken", [0.0, 0.05])
def test_a_place_has_one_owner_and_none_is_lost(overtaken: float) -> None:
    turns, inside, most = Turns(3, overtaken=overtaken), [], []

    def use() -> None:
        for _ in range(50):
            if turns.take(0.002):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()
                turns.give_back()

    with ThreadPoolExecutor(12) as pool:
        for use_one in [pool.submit(use) for _ in range(12)]:
            use_one.result()

    assert max(most) <= 3
    assert [turns.take(0) for _ in range(4)] == [True, True, True, False]


def _until(condition: Callable[[], Any]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("in vain")


def _is_long(turns: Turns, length: int) -> bool:
    return len(turns._queue) == length
