"""One training in several processes, on one machine or on many: torchrun starts them, and they join here.

    torchrun --nproc-per-node 2 -m mdnrnn train stroke --data aaron_sheep --out RUN

Where there is one process, as ever without torchrun, it is the first and the only one: nothing is sent.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from mdnrnn.errors import InputError

T = TypeVar("T")


def world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this is: the first, 0, alone writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that torchrun has started, if it has: through gloo, tensors on a GPU through NCCL.

    Where one of them ends before its time the others end with an error, within seconds.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield
    except RuntimeError as error:
        if any(name in str(error).lower() for name in ("gloo", "nccl", "connection")):
            raise InputError(
                f"process {rank()} has lost the others, one of which has ended; see its own error, then go on with "
                "--resume"
            ) from error
        raise
    finally:
        distributed.destroy_process_group()


def all_reduce_sum(*values: float) -> list[float]:
    """Each of these numbers summed over all processes."""
    if world_size() == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(total)
    return total.tolist()


def from_rank_zero(work: Callable[[], T]) -> T:
    """What `work` returns in the first process, in all of them: plain values and tensors.

    The others do not work, they wait; where it meets an error they end with it, without a word of their own.
    """
    if world_size() == 1:
        return work()
    told: dict[str, Any] = {}
    if rank() == 0:
        try:
            told = {"result": work()}
        except InputError:
            _spread({"failed": True})
            raise
    told = _spread(told)
    if "failed" in told:
        raise SystemExit(2)
    return told["result"]


def gather_objects(value: T) -> list[T]:
    """The values, plain or tensors, of all processes, in order."""
    if world_size() == 1:
        return [value]
    data = _packed(value)
    sizes = [torch.zeros_like(torch.tensor(0)) for _ in range(world_size())]
    distributed.all_gather(sizes, torch.tensor(len(data)))
    room = int(max(sizes))
    parts = [torch.zeros(room, dtype=torch.uint8) for _ in sizes]
    distributed.all_gather(parts, torch.nn.functional.pad(data, (0, room - len(data))))
    return [_unpacked(part[: int(size)]) for part, size in zip(parts, sizes, strict=True)]


def _spread(value: T) -> T:
    """The first process's value, in all of them."""
    data = _packed(value)
    size = torch.tensor(len(data))
    distributed.broadcast(size, 0)
    data = data if rank() == 0 else torch.zeros(int(size), dtype=torch.uint8)
    distributed.broadcast(data, 0)
    return _unpacked(data)


def _packed(value: Any) -> Tensor:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)


def _unpacked(data: Tensor) -> Any:
    return torch.load(io.BytesIO(data.numpy().tobytes()), map_location="cpu", weights_only=True)
