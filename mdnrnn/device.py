"""Device, precision and thread settings of PyTorch. Importing this module does not import torch."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING, Any

from mdnrnn.errors import InputError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")
"""Accepted device names. cuda:N is the GPU with index N, for example cuda:1; mps is the GPU of an Apple processor."""
_NAME = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")
_REDUCED = frozenset({"tf32", "bf16"})
"""Values of `fp32_precision` that reduce the precision of float32."""


def check_device_name(name: str) -> None:
    """Raise `InputError` if a device name is not one of `DEVICES`. The device itself need not exist."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"device: received {str(name)[:60]!r}, expected one of {', '.join(DEVICES)}")


def choose_device(name: str) -> torch.device:
    """Return the device of the given name, one of `DEVICES`; "auto" is CUDA if available, otherwise the CPU.

    A returned CUDA device has an index. For the names "cuda" and "auto", the index is that of the current CUDA device
    if the current device is not device 0. Otherwise the index is the environment variable LOCAL_RANK, modulo the number
    of GPUs. torchrun sets LOCAL_RANK, so that each process on a machine uses its own GPU.

    Raises:
        InputError: the name is unknown, the device does not exist, or the name selects one GPU for several processes.
    """
    import torch

    check_device_name(name)
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(
            f"device: received {name}, but CUDA is not available (no GPU, or a CPU build of torch); use --device cpu"
        )
    if name == "mps" and not torch.backends.mps.is_available():
        raise InputError(
            "device: received mps, but PyTorch finds no GPU of an Apple processor on this machine; use --device cpu"
        )
    if (name == "mps" or name.startswith("cuda:")) and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1:
        raise InputError(f"device: received {name} with several processes, expected cuda or cpu; use --device cuda")
    if name.startswith("cuda:"):
        index, count = int(name.removeprefix("cuda:")), torch.cuda.device_count()
        if index >= count:
            raise InputError(
                f"device: received {name}, expected cuda:0 to cuda:{count - 1}; PyTorch finds {count} GPUs"
            )
        return torch.device("cuda", index)
    if name == "cuda" or (name == "auto" and torch.cuda.is_available()):
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        return torch.device("cuda", torch.cuda.current_device() or local_rank % torch.cuda.device_count())
    return torch.device("cpu" if name == "auto" else name)


def to_float64(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in float64, on the same device, or on the CPU if its device is MPS, which has no float64."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def current_device(device: torch.device) -> AbstractContextManager[object]:
    """Return a context manager that makes a CUDA device the current device of the thread; others are unchanged."""
    import torch

    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether the device accelerates bfloat16 matrix products.

    GPUs of compute capability 8.0 (Ampere) or higher and CPUs with AVX512-BF16 or AMX-BF16 accelerate them. For MPS
    the result is False, because not all of its versions support bfloat16.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "mps":
        return False
    flags = _cpu_flags()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def choose_precision(name: str, device: torch.device) -> str:
    """Return the precision "bfloat16" or "float32" that a name selects.

    "auto" selects "bfloat16" if the device accelerates bfloat16, otherwise "float32". Other names are returned
    unchanged.
    """
    if name != "auto":
        return name
    return "bfloat16" if has_fast_bfloat16(device) else "float32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return a context manager in which forward passes use the precision "bfloat16" (autocast) or "float32"."""
    import torch

    if precision == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Compute in full float32 precision within the context: without autocast and, on CUDA, without TensorFloat-32.

    TensorFloat-32 is a setting of the whole process. It is off while at least one thread is in this context. The last
    thread that leaves the context restores the setting. Threads do not wait for each other.
    """
    import torch

    with contextlib.ExitStack() as stack:
        for device in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.cuda.is_available():
            stack.enter_context(_PRECISE_PRODUCTS)
            stack.enter_context(_PRECISE_CUDNN)
        yield


class _SharedChange:
    """Context manager that changes a setting of the process while at least one thread is in the context.

    A lock is held only while the setting is changed or restored, so that several threads can be in the context.

    Args:
        change: function that changes the setting and returns a function that restores it.
    """

    def __init__(self, change: Callable[[], Callable[[], None]]) -> None:
        self._change, self._lock, self._active = change, threading.Lock(), 0
        self._restore: Callable[[], None] | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._active:
                self._restore = self._change()
            self._active += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._active -= 1
            if not self._active and self._restore is not None:
                self._restore()


# PyTorch has two kinds of settings for the precision of float32: flags such as `allow_tf32` and, since version 2.9,
# strings `fp32_precision`. Setting a flag also sets the strings. If the program has set the strings to values that
# contradict the flag, reading the flag raises `RuntimeError`. In this case only the strings are changed here. If the
# program allows a reduced precision while a thread is in the context, the settings are not restored.


def _make_products_precise() -> Callable[[], None]:
    """Disable reduced precision in matrix products of float32, and return a function that restores the settings."""
    import torch

    backends: Any = torch.backends  # PyTorch's type hints lack `fp32_precision`
    matmul = backends.cuda.matmul
    strings = _Strings([matmul, backends.mkldnn.matmul] if _has_strings() else [])
    flag = _read_flag(lambda: matmul.allow_tf32)
    if strings.were_precise and not flag:
        return _restore_nothing
    name = _read_flag(torch.get_float32_matmul_precision)
    if name is not None:
        torch.set_float32_matmul_precision("highest")
    elif flag is not None:
        matmul.allow_tf32 = False
    strings.make_precise()

    def restore() -> None:
        if strings.are_precise() and not _read_flag(lambda: matmul.allow_tf32):
            if name is not None:
                torch.set_float32_matmul_precision(name)
            elif flag is not None:
                matmul.allow_tf32 = flag
            strings.restore()

    return restore


def _make_cudnn_precise() -> Callable[[], None]:
    """Disable TensorFloat-32 in cuDNN (LSTMs and convolutions), and return a function that restores the settings."""
    import torch

    cudnn: Any = torch.backends.cudnn
    strings = _Strings([cudnn.rnn, cudnn.conv] if _has_strings() else [])
    flag = _read_flag(lambda: cudnn.allow_tf32)
    if strings.were_precise and not flag:
        return _restore_nothing
    if flag is not None:
        cudnn.allow_tf32 = False
    strings.make_precise()

    def restore() -> None:
        if strings.are_precise() and not _read_flag(lambda: cudnn.allow_tf32):
            if flag is not None:
                cudnn.allow_tf32 = flag
            strings.restore()

    return restore


@cache
def _has_strings() -> bool:
    import torch

    return hasattr(torch.backends.cuda.matmul, "fp32_precision")


class _Strings:
    """Settings `fp32_precision` of several backends: read, change and restore them."""

    def __init__(self, owners: list[Any]) -> None:
        self._owners = owners
        self._saved = self._read()
        self.were_precise = _REDUCED.isdisjoint(self._saved)

    def _read(self) -> list[str]:
        return [owner.fp32_precision for owner in self._owners]

    def are_precise(self) -> bool:
        """Return whether all settings require the full precision of float32."""
        return _REDUCED.isdisjoint(self._read())

    def make_precise(self) -> None:
        """Set full precision."""
        for owner in self._owners:
            owner.fp32_precision = "ieee"

    def restore(self) -> None:
        """Set the values that the settings had when this object was created."""
        for owner, value in zip(self._owners, self._saved, strict=True):
            owner.fp32_precision = value


def _restore_nothing() -> None:
    pass


def _read_flag(read: Callable[[], Any]) -> Any:
    """Return the result of `read`, or None if it raises `RuntimeError`."""
    try:
        return read()
    except RuntimeError:
        return None


_PRECISE_PRODUCTS, _PRECISE_CUDNN = _SharedChange(_make_products_precise), _SharedChange(_make_cudnn_precise)


class _ThreadCount:
    """Limits the number of PyTorch threads in a `single_thread` context, and restores the number afterwards.

    Each Python thread has its own number of PyTorch threads. A new Python thread starts with the number that was set
    last in any Python thread.
    """

    def __init__(self) -> None:
        self._lock, self._active, self._outer = threading.Lock(), 0, 1
        self._local = threading.local()

    def limit(self) -> None:
        """Limit the calling Python thread to one PyTorch thread."""
        import torch

        depth = getattr(self._local, "depth", 0)
        if not depth:
            with self._lock:
                threads = torch.get_num_threads()
                if not self._active:
                    self._outer = threads
                # A Python thread that starts while another one is limited starts with 1 PyTorch thread. On exit it
                # therefore gets the number that was set before the limit.
                self._local.threads = self._outer if threads == 1 else threads
                self._active += 1
                torch.set_num_threads(1)
        self._local.depth = depth + 1

    def restore(self) -> None:
        """Undo one call of `limit` in the calling Python thread."""
        import torch

        self._local.depth -= 1
        if not self._local.depth:
            with self._lock:
                self._active -= 1
                torch.set_num_threads(self._local.threads)


_THREAD_COUNT = _ThreadCount()


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """Limit PyTorch operations of the calling Python thread to one CPU thread within the context.

    Several Python threads may be in the context at the same time.
    """
    _THREAD_COUNT.limit()
    try:
        yield
    finally:
        _THREAD_COUNT.restore()


def _cpu_flags() -> frozenset[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            line = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return frozenset()
    return frozenset(line.split())
