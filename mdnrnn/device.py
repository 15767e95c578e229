"""Device, precision and thread settings of PyTorch; this module imports torch inside its functions only."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from mdnrnn.errors import InputError

if TYPE_CHECKING:
    import torch

_TF32_LOCK = threading.RLock()


def choose_device(name: str) -> torch.device:
    """Return the device called "auto" (CUDA if available), "cpu" or "cuda".

    Raises:
        InputError: "cuda" is not available.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device: received cuda, but this machine or this build of torch has no CUDA; use --device cpu")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether bfloat16 matrix products are accelerated: CUDA since Ampere, CPUs with AVX512-BF16 or AMX."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    flags = _cpu_flags()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def choose_precision(name: str, device: torch.device) -> str:
    """Return "bfloat16" or "float32"; "auto" is bfloat16 if the device accelerates it."""
    if name != "auto":
        return name
    return "bfloat16" if has_fast_bfloat16(device) else "float32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return a context manager for forward passes in the given precision."""
    import torch

    if precision == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Disable TensorFloat-32 on CUDA within the context, so that float32 products have full precision."""
    import torch

    if not torch.cuda.is_available():
        yield
        return
    with _TF32_LOCK:  # the settings are global: another thread must not restore them inside this context
        matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """Limit PyTorch to one CPU thread within the context."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _cpu_flags() -> frozenset[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            line = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return frozenset()
    return frozenset(line.split())
