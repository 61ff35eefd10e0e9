"""Places that are taken in turn."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from inventory.fair_places import FairPlaces


def test_there_are_so_many_places() -> None:
    places = FairPlaces(2)

    assert [places.take(0) for _ in range(3)] == [True, True, False]
    places.give_back()
    assert places.take(0)


def test_who_came_first_comes_first() -> None:
    places, order = FairPlaces(1), []
    places.take(0)
    with ThreadPoolExecutor(5) as pool:

        def wait(number: int) -> None:
            places.take(10)
            order.append(number)
            places.give_back()

        for number in range(5):
            pool.submit(wait, number)
            _until(partial(_is_long, places, number + 1))
        places.give_back()

    assert order == [0, 1, 2, 3, 4]


def test_one_that_takes_again_and_again_does_not_keep_the_others_out() -> None:
    places, over = FairPlaces(1, overtaken=0.02), threading.Event()

    def greedy() -> None:
        while not over.is_set():
            places.take(10)
            time.sleep(0.001)
            places.give_back()

    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            pool.submit(greedy)
        waited = []
        for _ in range(5):
            began = time.monotonic()
            assert places.take(10)
            waited.append(time.monotonic() - began)
            places.give_back()
        over.set()

    assert max(waited) < 2


def test_one_that_gave_up_waiting_is_passed_over() -> None:
    places = FairPlaces(1)
    places.take(0)
    with ThreadPoolExecutor(2) as pool:
        impatient = pool.submit(places.take, 0.1)
        patient = pool.submit(places.take, 10)
        assert not impatient.result()
        places.give_back()
        assert patient.result()


def test_one_that_needs_no_place_any_more_leaves() -> None:
    places = FairPlaces(1)
    places.take(0)
    began = time.monotonic()

    assert not places.take(60, needless=lambda: True)

    assert time.monotonic() - began < 5


@pytest.mark.parametrize("overtaken", [0.0, 0.05])
def test_a_place_has_one_owner_and_none_is_lost(overtaken: float) -> None:
    places, inside, most = FairPlaces(3, overtaken=overtaken), [], []

    def use() -> None:
        for _ in range(50):
            if places.take(0.002):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()
                places.give_back()

    with ThreadPoolExecutor(12) as pool:
        for use_one in [pool.submit(use) for _ in range(12)]:
            use_one.result()

    assert max(most) <= 3
    assert [places.take(0) for _ in range(4)] == [True, True, True, False]


def _until(condition: Callable[[], Any]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("in vain")


def _is_long(places: FairPlaces, length: int) -> bool:
    return len(places._queue) == length
