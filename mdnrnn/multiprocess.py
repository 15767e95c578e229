"""Worker processes on one machine that share the sequences of a generation."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, TypeVar

from mdnrnn.errors import InputError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
R = TypeVar("R")


def check_workers(workers: int, device: torch.device, policy: object) -> None:
    """Raise `InputError` unless `workers` is 1, or more than 1 on a CPU and without a policy."""
    if workers < 1:
        raise InputError(f"workers: received {workers}, expected 1 or more")
    if workers > 1 and device.type != "cpu":
        raise InputError(f"workers: received {workers} on {device}, expected 1: worker processes share CPU cores only")
    if workers > 1 and policy is not None:
        raise InputError(f"workers: received {workers} with a policy, expected 1: a policy runs in one process")


def map_in_processes(function: Callable[[T], R], items: Sequence[T], workers: int) -> list[R]:
    """Return the results of `function` for all items, in order, computed by `workers` processes.

    Processes are spawned, not forked, because PyTorch and other libraries run threads. The workers share this process's
    number of PyTorch threads.

    Args:
        function: a module-level function, so that it can be pickled.
        items: its arguments; can be pickled.
        workers: number of processes.

    Raises:
        InputError: a worker process was killed.
    """
    import torch

    threads = max(1, torch.get_num_threads() // workers)
    # Pickled here, because the pool's own pickling would move all tensors, weights included, to shared memory.
    pickled = [pickle.dumps((function, item)) for item in items]
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        try:
            return list(pool.map(_call_pickled, pickled))
        except BrokenProcessPool as error:
            raise InputError(
                f"one of {workers} worker processes was killed, perhaps for lack of memory; use fewer workers"
            ) from error


def _call_pickled(pickled: bytes) -> Any:
    function, item = pickle.loads(pickled)  # noqa: S301  made by `map_in_processes`
    return function(item)
