"""What the C library keeps, and gives back when it is asked to."""

import subprocess
import sys

import pytest

from mdnrnn.training.memory import _glibc

_SCRIPT = """
import torch
from mdnrnn.training import memory
memory.keep_freed_memory()
memory._GROWN = int(input())
before = memory.resident_bytes()
parts = [torch.ones(1 << 18) for _ in range(400)]  # 1 MB each
live = parts[::40]
del parts
freed = memory.resident_bytes()
memory.return_freed_memory()
print((freed - before) >> 20, (memory.resident_bytes() - before) >> 20, int(sum(part.sum() for part in live)) >> 18)
"""


@pytest.mark.skipif(_glibc() is None, reason="concerns glibc's allocator")
@pytest.mark.parametrize(("grown", "least", "most"), [(0, 10, 60), (1 << 50, 390, 500)])
def test_freed_memory_is_kept_until_it_is_returned(grown: int, least: int, most: int) -> None:
    """400 MB, of which 10 stay in use: all are kept below the threshold, above it those in use, and they are whole."""
    run = subprocess.run(
        [sys.executable, "-c", _SCRIPT], input=str(grown), capture_output=True, text=True, check=True, timeout=120
    )
    freed, after, live = map(int, run.stdout.split())
    assert freed >= 390
    assert least <= after <= most
    assert live == 10
