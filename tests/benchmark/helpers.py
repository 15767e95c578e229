"""Reduced sizes of reference operations for the tests of benchmarks."""

import pytest

from mdnrnn.benchmark import limits


def shrink_benchmarks(patch: pytest.MonkeyPatch) -> None:
    """Reduce what benchmarks run beside the measured functions: pauses, warm-up, the matrix product, many drawings."""
    patch.setattr("mdnrnn.benchmark.timing._PAUSE", 0.0)
    patch.setitem(limits._SIDE, "cpu", 256)
    patch.setattr("mdnrnn.benchmark.live._WARM_UP", 200)
    patch.setattr("mdnrnn.benchmark.generate._SHEEP", 20)
