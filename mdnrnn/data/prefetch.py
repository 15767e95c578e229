"""Compute the items of an iterator in a background thread, ahead of their use."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetch(items: Iterator[T], depth: int = 2) -> Iterator[T]:
    """Yield the same items in the same order, computing up to `depth` of them in advance in one background thread.

    An error of the iterator is raised at the position of the item that failed.
    """
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as executor:
        pending: deque[Future[T | object]] = deque(executor.submit(next, items, end) for _ in range(depth))
        while (item := pending.popleft().result()) is not end:
            pending.append(executor.submit(next, items, end))
            yield item  # type: ignore[misc]
