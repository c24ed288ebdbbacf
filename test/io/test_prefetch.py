"""Prefetching keeps the order, holds one item, and hands on what goes wrong."""

import threading
from collections.abc import Iterator

import pytest

from zmask_ros.io.prefetch import prefetch


def test_items_keep_their_order_and_are_made_elsewhere() -> None:
    makers = set()

    def items() -> Iterator[int]:
        for number in range(50):
            makers.add(threading.get_ident())
            yield number

    with prefetch(items()) as taken:
        assert list(taken) == list(range(50))
    assert len(makers) == 1
    assert makers != {threading.get_ident()}


def test_no_more_than_one_is_made_prefetch() -> None:
    made, asked = [], threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            if number == 3:
                asked.set()
            yield number

    with prefetch(items()) as taken:
        for _ in range(3):
            item = next(taken)
        assert asked.wait(10.0)
        assert (item, len(made)) == (2, 4)


def test_an_exception_comes_where_its_item_would_have_come() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("torn")

    with prefetch(items()) as taken:
        assert next(taken) == 1
        with pytest.raises(OSError, match="torn"):
            next(taken)


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    with prefetch(range(1000)) as taken:
        assert next(taken) == 0
    assert threading.active_count() == before


def test_nothing_is_nothing() -> None:
    with prefetch([]) as taken:
        assert list(taken) == []
