"""Items made ahead: the same, in order, their errors in their place, and no more of them than are asked for."""

import threading
from collections.abc import Iterator

import pytest

from mdnrnn.data.prefetch import ahead


def test_items_come_in_order_and_all() -> None:
    assert list(ahead(iter(range(57)))) == list(range(57))
    assert list(ahead(iter([]))) == []


def test_they_are_made_in_another_thread_and_no_more_than_two_before_their_use() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(20):
            made.append(threading.get_ident())
            yield i

    for i in ahead(items()):
        assert len(made) <= i + 4  # the one in use, two that wait, one that is being made
    assert threading.get_ident() not in made


def test_an_error_comes_where_its_item_would() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("no third")

    made = ahead(items())
    assert [next(made), next(made)] == [1, 2]
    with pytest.raises(ValueError, match="no third"):
        next(made)


def test_nothing_is_left_running_when_it_is_closed() -> None:
    items = ahead(iter(range(10**9)))
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
