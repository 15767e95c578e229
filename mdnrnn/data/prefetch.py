"""Compute the items of an iterator in advance, in a background thread."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetch(items: Iterator[T], depth: int = 2) -> Iterator[T]:
    """Yield the items of an iterator in order. A background thread computes up to `depth` items in advance.

    If the computation of an item fails, the error is raised when that item is requested.
    """
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as executor:
        pending: deque[Future[T | object]] = deque(executor.submit(next, items, end) for _ in range(depth))
        while (item := pending.popleft().result()) is not end:
            pending.append(executor.submit(next, items, end))
            yield item  # type: ignore[misc]
