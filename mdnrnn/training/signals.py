"""Handling of SIGINT and SIGTERM: training finishes its current step and saves a checkpoint before it stops."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def catch_signals(repeated: bool = False) -> Iterator[list[signal.Signals]]:
    """Collect SIGINT and SIGTERM in a list instead of ending the process.

    Outside the main thread, where Python does not deliver signals, nothing is collected.

    Args:
        repeated: whether to collect all signals of the same kind, because torchrun forwards signals that its processes
            may have received already. By default only the first is collected; the previous handler handles the second.
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
    except ValueError:  # not in the main thread
        pass
    try:
        yield received
    finally:
        for caught, handler in previous.items():
            signal.signal(caught, handler)
