"""Being asked to stop: signals are noted, and the training ends where it can go on from."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def catch_signals(again: bool = False) -> Iterator[list[signal.Signals]]:
    """Collect SIGINT and SIGTERM instead of dying of them; a second one of the same kind works as ever, unless it is
    to be expected `again`: torchrun passes on what its processes may have received already."""
    received: list[signal.Signals] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))
        if not again:
            signal.signal(number, before[number])

    before: dict[int, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.getsignal(number)
            signal.signal(number, note)
    except ValueError:  # not in the main thread: signals are somebody else's
        pass
    try:
        yield received
    finally:
        for caught, handler in before.items():
            signal.signal(caught, handler)
