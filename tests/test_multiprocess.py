"""Tests of ordered maps over worker processes."""

import os
from collections.abc import Iterator
from operator import neg

import pytest

from mdnrnn.errors import InputError
from mdnrnn.multiprocess import imap_in_processes


def test_results_are_in_the_order_of_the_items() -> None:
    assert list(imap_in_processes(neg, range(20), 2)) == [-number for number in range(20)]


@pytest.mark.parametrize("workers", [1, 2])
def test_items_are_taken_as_needed(workers: int) -> None:
    """At most 2 * workers items are in memory, and none is taken after the generator is closed."""
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = imap_in_processes(neg, items(), workers)
    for count in range(1, 6):
        next(results)
        assert len(taken) <= count + 2 * workers
    results.close()
    assert len(taken) <= 5 + 2 * workers


def test_error_of_the_function_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(imap_in_processes((1).__truediv__, [1, 0], 2))


def test_killed_process_is_reported() -> None:
    with pytest.raises(InputError, match="one of 2 worker processes was killed, possibly because memory ran out"):
        list(imap_in_processes(os._exit, [1, 1], 2))
