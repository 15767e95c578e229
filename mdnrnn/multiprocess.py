"""Map a function over items in worker processes of one machine, with results in the order of the items."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, TypeVar

from mdnrnn.errors import InputError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
R = TypeVar("R")


def check_workers(workers: int, device: torch.device, *, policy: object, stop: object) -> None:
    """Raise `InputError` if generation cannot run in `workers` processes.

    Args:
        workers: number of processes, at least 1. If it is larger than 1, the model must be on a CPU, and `policy` and
            `stop` must be None.
        device: device of the model.
        policy: policy that chooses the inputs of each step, or None.
        stop: stopping rule of the sampling options, or None.
    """
    if workers < 1:
        raise InputError(f"workers: received {workers}, expected 1 or more")
    if workers > 1 and device.type != "cpu":
        raise InputError(f"workers: received {workers} on {device}, expected 1: worker processes run on the CPU only")
    if workers > 1 and policy is not None:
        raise InputError(f"workers: received {workers} with a policy, expected 1: a policy runs in one process")
    if workers > 1 and stop is not None:
        raise InputError(f"workers: received {workers} with a stopping rule, expected 1: it runs in one process")


def map_in_processes(function: Callable[[T], R], items: Sequence[T], workers: int) -> list[R]:
    """Return the results of `function` in the order of the items, computed in `workers` processes.

    The PyTorch threads of this process are divided equally among the workers, with at least one thread per worker.

    Args:
        function: a module-level function, so that it can be pickled.
        items: arguments of the function; must be picklable.
        workers: number of processes.

    Raises:
        InputError: a worker process was killed.
    """
    import torch

    threads = max(1, torch.get_num_threads() // workers)
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        return list(_imap_in_pool(pool, function, items, workers))


def imap_in_processes(function: Callable[[T], R], items: Iterable[T], workers: int) -> Generator[R, None, None]:
    """Yield the results of `function` in the order of the items, computed in `workers` processes.

    At most 2 * `workers` items are read ahead and held in memory. If `workers` is 1, the function runs in this process.
    Closing the generator stops the workers.

    Args:
        function: a module-level function, so that it can be pickled.
        items: arguments of the function; must be picklable.
        workers: number of processes.

    Raises:
        InputError: a worker process was killed.
    """
    if workers == 1:
        yield from map(function, items)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"))
    try:
        yield from _imap_in_pool(pool, function, items, workers)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


# Processes are spawned: forking can deadlock in a process with threads, which NumPy and PyTorch start.


def _imap_in_pool(
    pool: ProcessPoolExecutor, function: Callable[[T], R], items: Iterable[T], workers: int
) -> Iterator[R]:
    remaining = iter(items)
    pending: deque[Future[R]] = deque()
    try:
        while True:
            for item in islice(remaining, 2 * workers - len(pending)):
                # Pickle here: the pool's own pickling would move all tensors, including weights, to shared memory.
                pending.append(pool.submit(_call_pickled, pickle.dumps((function, item))))
            if not pending:
                return
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        raise InputError(
            f"one of {workers} worker processes was killed, possibly because memory ran out; use fewer workers"
        ) from error


def _call_pickled(pickled: bytes) -> Any:
    function, item = pickle.loads(pickled)  # noqa: S301  made by `_imap_in_pool`
    return function(item)
