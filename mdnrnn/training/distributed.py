"""Distributed training with torchrun: process group, ranks and collective operations.

    torchrun --nproc-per-node 2 -m mdnrnn train stroke --data aaron_sheep --out RUN

torchrun starts several processes, on one or several machines. Each process has a number, its rank. Without torchrun
there is one process, with rank 0, and no communication.
"""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from mdnrnn.device import choose_device
from mdnrnn.errors import InputError

T = TypeVar("T")

_VARIABLES = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
"""Environment variables that torchrun sets, and that describe the process group."""
_groups = itertools.count()
"""Counter that numbers the process groups of this process. All ranks form the same groups, so the numbers are equal."""


def world_size() -> int:
    """Return the number of processes that train together; 1 without torchrun."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return the rank of this process, 0 to world_size - 1; 0 without torchrun. Only rank 0 writes files."""
    return distributed.get_rank() if distributed.is_initialized() else 0


@contextmanager
def process_group() -> Iterator[None]:
    """Return a context manager in which the processes that torchrun started form a process group.

    The backend is gloo for CPU tensors and NCCL for CUDA tensors. If the process group exists already, the context
    manager uses it and does not destroy it. It does nothing if the environment variables of torchrun are missing or
    describe a single process.

    Raises:
        InputError: the connection to another rank was lost because that rank ended. All remaining ranks raise this
            error within seconds. This applies to process groups that this function has formed.
    """
    if distributed.is_initialized() or not os.environ.keys() >= _VARIABLES or os.environ["WORLD_SIZE"] == "1":
        yield
        return
    torch_distributed: Any = distributed  # PyTorch's type hints lack `rendezvous` and `PrefixStore`
    store, number, ranks = next(torch_distributed.rendezvous("env://"))
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        # torchrun keeps the store: without a new prefix, a second group would find the addresses of the first one.
        store=torch_distributed.PrefixStore(f"mdnrnn {next(_groups)}", store),
        rank=number,
        world_size=ranks,
    )
    try:
        yield
    except RuntimeError as error:
        if any(name in str(error).lower() for name in ("gloo", "nccl", "connection")):
            raise InputError(
                f"rank {rank()} lost the connection to another rank, which has ended; see the error of that rank, then "
                "continue with --resume"
            ) from error
        raise
    finally:
        distributed.destroy_process_group()


def _collective_device() -> torch.device:
    """Return the device of tensors that are sent to other ranks: CUDA if NCCL is the only backend, else the CPU."""
    return choose_device("cuda") if distributed.get_backend() == "nccl" else torch.device("cpu")


def all_reduce_sum(*values: float) -> list[float]:
    """Return the sums over all ranks: one sum for each argument, in order. All ranks must call this together."""
    if world_size() == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float64, device=_collective_device())
    distributed.all_reduce(total)
    return total.tolist()


def from_rank_zero(function: Callable[[], T]) -> T:
    """Call `function` on rank 0 only and return its result on all ranks. All ranks must call this together.

    The result must consist of tensors and plain Python values. If `function` raises `InputError`, rank 0 raises it and
    the other ranks exit with status 2 without a message. The error is thus reported once.
    """
    if world_size() == 1:
        return function()
    message: dict[str, Any] = {}
    if rank() == 0:
        try:
            message = {"result": function()}
        except InputError:
            _broadcast({"failed": True})
            raise
    message = _broadcast(message)
    if "failed" in message:
        raise SystemExit(2)
    return message["result"]


def gather_objects(value: T) -> list[T]:
    """Return the values of all ranks, ordered by rank. All ranks must call this together.

    The values must consist of tensors and plain Python values.
    """
    if world_size() == 1:
        return [value]
    data = _serialize(value)
    size = torch.tensor(len(data), device=data.device)
    sizes = [torch.zeros_like(size) for _ in range(world_size())]
    distributed.all_gather(sizes, size)
    longest = int(max(sizes))
    parts = [data.new_zeros(longest) for _ in sizes]
    distributed.all_gather(parts, torch.nn.functional.pad(data, (0, longest - len(data))))
    return [_deserialize(part[: int(size)]) for part, size in zip(parts, sizes, strict=True)]


def _broadcast(value: T) -> T:
    """Return the value of rank 0 on all ranks; `value` is ignored on other ranks."""
    data = _serialize(value)
    size = torch.tensor(len(data), device=data.device)
    distributed.broadcast(size, 0)
    data = data if rank() == 0 else data.new_zeros(int(size))
    distributed.broadcast(data, 0)
    return _deserialize(data)


def _serialize(value: Any) -> Tensor:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8).to(_collective_device())


def _deserialize(data: Tensor) -> Any:
    return torch.load(io.BytesIO(data.cpu().numpy().tobytes()), map_location="cpu", weights_only=True)
