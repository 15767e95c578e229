"""Freed memory: kept in the process, and returned to the system above a threshold."""

import subprocess
import sys

import pytest

from mdnrnn.training.memory import _glibc

_SCRIPT = """
import torch
from mdnrnn.training import memory
memory.keep_freed_memory()
memory._TRIM_ABOVE_BYTES = int(input())
before = memory.resident_bytes()
parts = [torch.ones(1 << 18) for _ in range(400)]  # 1 MB each
used = parts[::40]
del parts
freed = memory.resident_bytes()
memory.return_freed_memory()
print((freed - before) >> 20, (memory.resident_bytes() - before) >> 20, int(sum(part.sum() for part in used)) >> 18)
"""


@pytest.mark.skipif(_glibc() is None, reason="needs glibc")
@pytest.mark.parametrize(
    ("threshold", "low", "high"), [(0, 10, 60), (1 << 50, 390, 500)], ids=["above threshold", "below threshold"]
)
def test_freed_memory_is_returned_above_the_threshold_only(threshold: int, low: int, high: int) -> None:
    """Frees 390 of 400 MB: above the threshold the process keeps the 10 MB in use, intact; below it, everything."""
    process = subprocess.run(
        [sys.executable, "-c", _SCRIPT], input=str(threshold), capture_output=True, text=True, check=True, timeout=300
    )
    freed, after, used = map(int, process.stdout.split())
    assert freed >= 390
    assert low <= after <= high
    assert used == 10
