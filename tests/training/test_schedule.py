"""The schedule: a rise, a fall, a budget."""

from itertools import pairwise

import pytest

from mdnrnn.training.config import SequenceTrainConfig, TrainConfig
from mdnrnn.training.schedule import Schedule


def test_the_rate_rises_over_the_warm_up_and_falls_to_the_final() -> None:
    schedule = Schedule(TrainConfig(steps=1000, warmup=99, learning_rate=1.0, final_rate=0.1))
    rates = [schedule.learning_rate(step, 0) for step in range(1001)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(1.0, abs=0.03)
    assert all(later > earlier for earlier, later in pairwise(rates[:99]))
    assert all(later < earlier for earlier, later in pairwise(rates[99:]))
    assert rates[1000] == pytest.approx(0.1)


def test_a_budget_of_minutes_counts_seconds() -> None:
    schedule = Schedule(TrainConfig(minutes=2))
    assert schedule.progress(10**6, 60) == pytest.approx(0.5)
    assert schedule.learning_rate(10**6, 60) == pytest.approx(TrainConfig().learning_rate * 0.51)


def test_validations_are_spread_over_the_budget() -> None:
    schedule = Schedule(TrainConfig(steps=100, validations=4))
    due = [schedule.validations_due(step, 0) for step in range(101)]
    assert [due.index(n) for n in (1, 2, 3, 4)] == [25, 50, 75, 100]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"steps": 3, "minutes": 1.0}, "both steps and minutes"),
        ({"steps": 0}, "budget is 0"),
        ({"minutes": -1.0}, "budget is -1"),
        ({"learning_rate": -1.0}, "learning_rate is -1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"augment_scale": 1.0}, "augment_scale is 1"),
    ],
)
def test_impossible_configs_are_refused(settings: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        SequenceTrainConfig(**settings)  # type: ignore[arg-type]
