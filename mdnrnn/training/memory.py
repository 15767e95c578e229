"""Keeping freed memory in the process, within limits: a third of a step on a CPU can go into getting it back."""

import ctypes
import os
import sys
from pathlib import Path

# Options of glibc's mallopt, from malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_GROWN = 4 << 30


def keep_freed_memory() -> None:
    """Let the C library keep what tensors free, instead of returning it to the system page by page.

    Every step of a training allocates the same tensors again; by glibc's defaults each large one is mapped anew, and
    the system zeroes its pages (measured: a step of an LSTM of 512 takes 0.19 s so, 0.13 s with this). The price is
    memory: batches of all lengths leave gaps, and the process grows; see `return_freed_memory`. One arena for all
    threads, so that one takes what another has freed. Concerns the whole process; does nothing where the C library is
    another.
    """
    library = _glibc()
    if library is not None:
        for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 << 20), (_ARENA_MAX, 1)):
            library.mallopt(option, value)


def return_freed_memory() -> None:
    """Give the system back what the process has freed, where it has grown past 4 GB; to be called now and then.

    Costs about a second, that of getting the memory again; without it the drawings of up to 250 points of a Sketch-RNN
    grow the process to 10 GB in half an hour. Does nothing where the C library is not glibc.
    """
    library = _glibc()
    if library is not None and resident_bytes() > _GROWN:
        library.malloc_trim(0)


def resident_bytes() -> int:
    """Bytes of memory that the process holds; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def peak_bytes() -> int:
    """The most bytes of memory that the process has held since it began."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss counts what the parent held when it started this process
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 2**10
    import resource  # not on every system

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 2**10)


def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    return library if library is not None and hasattr(library, "malloc_trim") else None
