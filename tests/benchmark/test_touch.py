"""What is measured of touches: taps by Bayes' rule, distances of distributions, the null model's performances."""

import numpy as np
import pytest
import torch
from scipy import stats

from mdnrnn.benchmark import touch
from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Sequence
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.distributions import Step
from mdnrnn.events import DOWN, UP
from tests.helpers import run_of, touches


def test_taps_are_inferred_by_bayes_rule() -> None:
    """By hand, of every event of a performance: both events before it, each with what the model makes of them."""
    corpus = touches()
    run = run_of(corpus, covariance="full")
    data = Batches(corpus, "test", run.config.normalizer)
    found = touch.taps(run, data)
    batch = data.batch(np.asarray(corpus.indices("test")))
    assert batch.bin_width is not None
    target, bin_width = batch.target, batch.bin_width
    predicted, inferred, true = [], [], []
    with torch.no_grad():
        for first in range(0, batch.points, 30):  # every performance has 30 rows
            state, previous = run.model.initial_state(1), run.model.start(1)
            before, _ = run.model.step(previous, state)
            for t in range(first, first + 30):
                steps, after = run.model.step(previous, state)
                if t > first:
                    events = torch.log_softmax(before.event_logits[0, [DOWN, UP]], -1)
                    moved = []
                    for kind in (DOWN, UP):
                        other, _ = run.model.step(previous._replace(event=torch.tensor([kind])), state)
                        moved.append(other.motion.discretized_log_prob(target.motion[t : t + 1], bin_width[t : t + 1]))
                    predicted.append(bool(events[UP] > events[DOWN]))
                    inferred.append(bool(events[UP] + moved[UP] > events[DOWN] + moved[DOWN]))
                    true.append(bool(target.event[t - 1] == UP))
                state, previous, before = after, Step(target.motion[t : t + 1], target.event[t : t + 1]), steps
    np.testing.assert_array_equal(found.predicted, predicted)
    np.testing.assert_array_equal(found.inferred, inferred)
    np.testing.assert_array_equal(found.true, true)
    assert 0 < np.mean(true) < 1
    assert len(set(inferred)) == 2


def test_taps_are_counted() -> None:
    taken, true = np.array([True, True, False, False]), np.array([True, False, True, False])
    figures = touch.TapFigures.of(taken, true)
    assert (figures.accuracy, figures.found, figures.right) == (0.5, 0.5, 0.5)


def test_the_distance_of_distributions_is_wassersteins() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=4000), rng.gamma(2, size=3000)
    assert touch._wasserstein(one, other) == pytest.approx(stats.wasserstein_distance(one, other), rel=0.02)
    assert touch._wasserstein(one, one + 3) == pytest.approx(3)


def test_the_null_models_performances_have_its_moments() -> None:
    """Offsets and logs of times of 200 performances against the train split's: within a tenth of a deviation, where the
    edge of the screen does not cut offsets short, of which there is none in times."""
    corpus = touches()
    null = touch._null_answers([corpus[0]], corpus, Normalizer.of(corpus), seed=0)
    assert len(null) == 200
    assert all(map(touch._is_whole, null, null))
    rows = corpus.rows("train")
    times = corpus.motion[rows][~corpus.begins(rows)][:, 2]
    drawn = np.log(np.concatenate([performance.motion[1:, 2] for performance in null]))
    assert drawn.mean() == pytest.approx(np.log(times).mean(), abs=0.05)
    assert drawn.std() == pytest.approx(np.log(times).std(), rel=0.05)
    places = np.concatenate([performance.motion[:, :2].cumsum(0) for performance in null])
    assert -1e-9 < places.min() < places.max() < 1 + 1e-9


@pytest.mark.parametrize(
    ("times", "whole"),
    [([0, 1, 4], True), ([0, 1, 4.1], False), ([0.1, 1], False), ([0, 0, 1], False)],
    ids=["five seconds", "too long", "late", "a time of none"],
)
def test_an_answer_is_whole_or_not(times: list[float], whole: bool) -> None:
    motion = np.column_stack([np.zeros((len(times), 2)), times])
    answer = Sequence(motion, np.zeros(len(times), np.uint8))
    assert touch._is_whole(answer, answer) == whole
    longer, too_soon = (answer._replace(motion=np.vstack([motion, [0, 0, wait]])) for wait in (3.0, 0.0))
    assert touch._is_whole(answer, longer) == (whole and sum(times) + 3 > 5)
    if sum(times) < 5:
        assert not touch._is_whole(answer, too_soon)


def test_a_performance_is_compared_in_as_long_as_an_answer_lasts() -> None:
    motion = np.array([[0.5, 0.5, 3.0], [0.1, 0, 4.0], [0, 0.1, 1.0], [0, 0.2, 0.5]])
    begun = touch._begun(Sequence(motion, np.array([0, 0, 1, 2], np.uint8)))
    np.testing.assert_array_equal(begun.motion[:, 2], [0, 4, 1])
    assert begun.event.tolist() == [0, 0, 2]
