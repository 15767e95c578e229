"""Device, precision and thread settings of PyTorch. Importing this module does not import torch."""

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
    """Return the device of the given name: "cpu", "cuda", or "auto" for CUDA if available, otherwise the CPU.

    Raises:
        InputError: the name is "cuda" and CUDA is not available.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "device: received cuda, but CUDA is not available (no GPU, or a CPU build of torch); use --device cpu"
        )
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether the device accelerates bfloat16 matrix products.

    GPUs of compute capability 8.0 (Ampere) or higher and CPUs with AVX512-BF16 or AMX-BF16 accelerate them.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    flags = _cpu_flags()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def choose_precision(name: str, device: torch.device) -> str:
    """Return the precision of the given name: "bfloat16" or "float32".

    "auto" selects "bfloat16" if the device accelerates it, otherwise "float32".
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
    """Disable TensorFloat-32 on CUDA within the context, so that matrix products in float32 have full precision."""
    import torch

    if not torch.cuda.is_available():
        yield
        return
    with _TF32_LOCK:  # the settings are global: no other thread may change them while this context is active
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
