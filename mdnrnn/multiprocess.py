"""Work that is shared by several processes of this machine."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

import torch

from mdnrnn.errors import InputError

Work = TypeVar("Work")
Result = TypeVar("Result")


def check_workers(workers: int, device: torch.device, policy: object) -> None:
    """InputError where so many processes cannot share the drawing."""
    if workers < 1:
        raise InputError(f"{workers} workers were asked for; expected 1 or more")
    if workers > 1 and device.type != "cpu":
        raise InputError(f"{workers} workers were asked for on {device}; they share the cores of a CPU; expected 1")
    if workers > 1 and policy is not None:
        raise InputError(f"{workers} workers were asked for beside a policy, which acts in one process; expected 1")


def map_in_processes(work: Callable[[Work], Result], parts: Sequence[Work], workers: int) -> list[Result]:
    """What becomes of the parts, in their order; the processes share this one's threads.

    Not forked: the libraries here have threads of their own. `work` is a function that a module has by name.
    """
    threads = max(1, torch.get_num_threads() // workers)
    # Pickled here: on their own way to another process tensors would move to shared memory, weights and all.
    packed = [pickle.dumps((work, part)) for part in parts]
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        try:
            return list(pool.map(_done, packed))
        except BrokenProcessPool as error:
            raise InputError(
                f"one of {workers} processes was ended from outside, for want of memory perhaps; try fewer workers"
            ) from error


def _done(packed: bytes) -> Any:
    work, part = pickle.loads(packed)  # noqa: S301  it comes from `map_in_processes`
    return work(part)
