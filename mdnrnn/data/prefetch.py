"""Compute the items of an iterator in advance, in a background thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import torch

T = TypeVar("T")


def prefetch(items: Iterator[T], depth: int = 2) -> Iterator[T]:
    """Yield the items of an iterator in order. A background thread computes up to `depth` items in advance.

    The thread has the current CUDA device of the calling thread. By itself, a new thread would begin with device 0.

    If the computation of an item fails, the error is raised when that item is requested.
    """
    end, select_device = object(), None
    if torch.cuda.is_initialized():
        select_device = partial(torch.cuda.set_device, torch.cuda.current_device())
    with ThreadPoolExecutor(1, "prefetch", select_device) as executor:
        pending: deque[Future[T | object]] = deque(executor.submit(next, items, end) for _ in range(depth))
        while (item := pending.popleft().result()) is not end:
            pending.append(executor.submit(next, items, end))
            yield item  # type: ignore[misc]
