"""Prefetching: the next item is made in a second thread while this one is worked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@contextmanager
def prefetch(items: Iterable[T]) -> Iterator[Iterator[T]]:
    """``items`` in their order, one ahead of the consumer, so that no more than two are held.

    An exception of ``items`` comes where its item would have come. At the end nothing runs any more.
    """
    with ThreadPoolExecutor(1, "prefetch") as pool:
        yield _prefetched(iter(items), pool)


def _prefetched(items: Iterator[T], pool: ThreadPoolExecutor) -> Iterator[T]:
    end: Any = object()
    upcoming = pool.submit(next, items, end)
    while (item := upcoming.result()) is not end:
        upcoming = pool.submit(next, items, end)
        yield item
