"""Which device and which precision this machine trains fastest with."""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch

from mdnrnn.errors import InputError

_SETTINGS = threading.RLock()


def choose_device(name: str) -> torch.device:
    """ "auto", "cpu" or "cuda" as a device; an error where there is no such."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for; this machine or this build of torch has no CUDA; use --device cpu")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 matrix products outrun float32 ones: CUDA from Ampere on, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    flags = _cpu_flags()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def choose_precision(name: str, device: torch.device) -> str:
    """ "auto" resolved to "bfloat16" or "float32"."""
    if name != "auto":
        return name
    return "bfloat16" if has_fast_bfloat16(device) else "float32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context to run a model in."""
    if precision == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """The context for likelihoods and drawings: CUDA keeps float32 whole, where it would round to TensorFloat-32."""
    if not torch.cuda.is_available():
        yield
        return
    with _SETTINGS:  # of the whole process: another thread must not set them back in the middle
        matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """PyTorch computes in one thread meanwhile, as far as the CPU goes."""
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
