"""Latency and memory of live steps are measured."""

import pytest

from mdnrnn.benchmark import benchmark_live
from mdnrnn.errors import InputError


def test_live_steps_do_not_accumulate_memory() -> None:
    """Memory grows by less than 100 bytes per step over 5,000 steps; a retained state would be 2 kB."""
    figures = benchmark_live(preset="gesture-s", steps=5000)
    assert (figures.layers, figures.hidden, figures.steps) == (2, 64, 5000)
    assert 0 < figures.median_ms <= figures.p99_ms <= figures.p999_ms <= figures.worst_ms
    assert figures.grown_bytes < 100 * 5000


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"preset": "handwriting"}, "expected an MDN-RNN preset"),
        ({"steps": 5}, "expected 100 or more"),
    ],
)
def test_invalid_live_benchmark_is_refused(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        benchmark_live(**settings)  # type: ignore[arg-type]
