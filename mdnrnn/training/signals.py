"""Handling of SIGINT and SIGTERM: training completes the current step and saves a checkpoint before it stops."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def catch_signals(repeated: bool = False) -> Iterator[list[signal.Signals]]:
    """Return a context manager in which SIGINT and SIGTERM are appended to a list and do not end the process.

    The list is the value of `with ... as`. By default only the first signal of each kind is appended. A second signal
    of the same kind is passed to the previous handler, which usually ends the process. Outside the main thread the list
    remains empty, because Python runs signal handlers in the main thread only.

    Args:
        repeated: whether to append all signals. Use this with torchrun, which forwards a signal to its processes even
            if they have received it already.
    """
    received: list[signal.Signals] = []
    previous: dict[int, Any] = {}

    def collect(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))
        if not repeated:
            signal.signal(number, previous[number])

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.getsignal(number)
            signal.signal(number, collect)
    except ValueError:  # raised outside the main thread
        pass
    try:
        yield received
    finally:
        for caught, handler in previous.items():
            signal.signal(caught, handler)
