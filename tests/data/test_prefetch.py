"""Tests of `prefetch`: order, depth, errors and clean-up."""

import threading
from collections.abc import Iterator

import pytest
import torch

from mdnrnn.data.prefetch import prefetch


def test_all_items_are_yielded_in_order() -> None:
    assert list(prefetch(iter(range(57)))) == list(range(57))
    assert list(prefetch(iter([]))) == []


def test_items_are_computed_in_another_thread_at_most_two_ahead() -> None:
    threads: list[int] = []

    def items() -> Iterator[int]:
        for i in range(20):
            threads.append(threading.get_ident())
            yield i

    for i in prefetch(items()):
        assert len(threads) <= i + 4  # the item in use, two that are ready, one in progress
    assert threading.get_ident() not in threads


def test_error_is_raised_at_the_position_of_its_item() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("no third")

    prefetched = prefetch(items())
    assert [next(prefetched), next(prefetched)] == [1, 2]
    with pytest.raises(ValueError, match="no third"):
        next(prefetched)


def test_thread_has_the_current_device_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself it would begin with device 0, also in the processes of other ranks."""
    devices: dict[int, int] = {}
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: devices.get(threading.get_ident(), 3))
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: devices.update({threading.get_ident(): device}))
    assert set(prefetch(torch.cuda.current_device() for _ in range(5))) == {3}
    assert list(devices.values()) == [3]
    assert threading.get_ident() not in devices


def test_closing_stops_the_thread() -> None:
    items = prefetch(iter(range(10**9)))
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]
