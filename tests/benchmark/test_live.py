"""The live step is measured as it is played, and takes no more memory as it goes on."""

import pytest

from mdnrnn.benchmark import benchmark_live
from mdnrnn.errors import InputError


def test_a_live_step_is_timed_and_takes_no_more_memory() -> None:
    """5,000 steps: less than a tenth of a kilobyte each, where a state kept would be two."""
    figures = benchmark_live(preset="gesture-s", steps=5000)
    assert (figures.layers, figures.hidden, figures.steps) == (2, 64, 5000)
    assert 0 < figures.median_ms <= figures.p99_ms <= figures.p999_ms <= figures.worst_ms
    assert figures.grown_bytes < 100 * 5000


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [({"preset": "handwriting"}, "does not play along"), ({"steps": 5}, "expected 100 or more")],
)
def test_what_cannot_be_measured_is_refused(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        benchmark_live(**settings)  # type: ignore[arg-type]
