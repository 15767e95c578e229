"""Latency and memory of live steps are measured."""

import pytest

from mdnrnn.benchmark import benchmark_live
from mdnrnn.errors import InputError
from tests.benchmark.helpers import shrink_benchmarks


def test_live_steps_do_not_accumulate_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory grows by less than 500 bytes per step over 1,000 steps; a retained state would be 2 kB.

    Smaller objects are counted exactly in the tests of `Performer`.
    """
    shrink_benchmarks(monkeypatch)
    figures = benchmark_live(preset="gesture-s", steps=1000)
    assert (figures.layers, figures.hidden, figures.steps) == (2, 64, 1000)
    assert 0 < figures.median_ms <= figures.p99_ms <= figures.p999_ms <= figures.worst_ms
    assert figures.grown_bytes < 500 * 1000


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
