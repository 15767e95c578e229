"""Schedules of the learning rate and of validations."""

from itertools import pairwise

import pytest

from mdnrnn.training.config import TrainConfig
from mdnrnn.training.schedule import Schedule


def test_learning_rate_rises_during_warmup_and_falls_to_the_final_rate() -> None:
    schedule = Schedule(TrainConfig(steps=1000, warmup=99, learning_rate=1.0, final_rate=0.1))
    rates = [schedule.learning_rate(step, 0) for step in range(1001)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(1.0, abs=0.03)
    assert all(later > earlier for earlier, later in pairwise(rates[:99]))
    assert all(later < earlier for earlier, later in pairwise(rates[99:]))
    assert rates[1000] == pytest.approx(0.1)


def test_budget_in_minutes_is_measured_in_seconds() -> None:
    schedule = Schedule(TrainConfig(minutes=2))
    assert schedule.progress(10**6, 60) == pytest.approx(0.5)
    assert schedule.learning_rate(10**6, 60) == pytest.approx(TrainConfig().learning_rate * 0.51)


def test_validations_are_evenly_spaced() -> None:
    schedule = Schedule(TrainConfig(steps=100, validations=4))
    due = [schedule.validations_due(step, 0) for step in range(101)]
    assert [due.index(n) for n in (1, 2, 3, 4)] == [25, 50, 75, 100]
