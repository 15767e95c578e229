"""Tap inference, distances between distributions, and responses of the null model."""

import numpy as np
import pytest
import torch
from scipy import stats

from mdnrnn.benchmark import touch
from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Sequence
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.distributions import Step
from mdnrnn.pen_events import DOWN, UP
from tests.helpers import make_run, make_touches


def test_taps_are_inferred_with_bayes_rule() -> None:
    """Agrees with a step-by-step computation that evaluates the model after both possible previous events."""
    corpus = make_touches()
    run = make_run(corpus, covariance="full")
    data = Batches(corpus, "test", run.config.normalizer)
    found = touch.predict_taps(run, data)
    batch = data.batch(np.asarray(corpus.indices("test")))
    assert batch.bin_width is not None
    target, bin_width = batch.target, batch.bin_width
    predicted, inferred, true = [], [], []
    with torch.no_grad():
        for first in range(0, batch.points, 30):  # every performance has 30 rows
            state, previous = run.model.initial_state(1), run.model.initial_step(1)
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


def test_tap_figures() -> None:
    predicted, true = np.array([True, True, False, False]), np.array([True, False, True, False])
    figures = touch.TapFigures.from_predictions(predicted, true)
    assert (figures.accuracy, figures.recall, figures.precision) == (0.5, 0.5, 0.5)


def test_wasserstein_distance_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=4000), rng.gamma(2, size=3000)
    assert touch._wasserstein(first, second) == pytest.approx(stats.wasserstein_distance(first, second), rel=0.02)
    assert touch._wasserstein(first, first + 3) == pytest.approx(3)


def test_null_responses_have_the_moments_of_the_data() -> None:
    """Compares the log times of 200 responses with the training split; offsets are clipped to the screen."""
    corpus = make_touches()
    null = touch._null_answers([corpus[0]], corpus, Normalizer.from_corpus(corpus), seed=0)
    assert len(null) == 200
    assert all(map(touch._is_complete, null, null))
    rows = corpus.rows("train")
    times = corpus.motion[rows][~corpus.is_first_row(rows)][:, 2]
    log_times = np.log(np.concatenate([performance.motion[1:, 2] for performance in null]))
    assert log_times.mean() == pytest.approx(np.log(times).mean(), abs=0.05)
    assert log_times.std() == pytest.approx(np.log(times).std(), rel=0.05)
    positions = np.concatenate([performance.motion[:, :2].cumsum(0) for performance in null])
    assert -1e-9 < positions.min() < positions.max() < 1 + 1e-9


@pytest.mark.parametrize(
    ("times", "complete"),
    [([0, 1, 4], True), ([0, 1, 4.1], False), ([0.1, 1], False), ([0, 0, 1], False)],
    ids=["five seconds", "too long", "late start", "zero time"],
)
def test_complete_responses_are_recognized(times: list[float], complete: bool) -> None:
    motion = np.column_stack([np.zeros((len(times), 2)), times])
    answer = Sequence(motion, np.zeros(len(times), np.uint8))
    assert touch._is_complete(answer, answer) == complete
    longer, too_soon = (answer._replace(motion=np.vstack([motion, [0, 0, wait]])) for wait in (3.0, 0.0))
    assert touch._is_complete(answer, longer) == (complete and sum(times) + 3 > 5)
    if sum(times) < 5:
        assert not touch._is_complete(answer, too_soon)


def test_performances_are_cut_to_the_duration_of_a_response() -> None:
    motion = np.array([[0.5, 0.5, 3.0], [0.1, 0, 4.0], [0, 0.1, 1.0], [0, 0.2, 0.5]])
    start = touch._first_seconds(Sequence(motion, np.array([0, 0, 1, 2], np.uint8)))
    np.testing.assert_array_equal(start.motion[:, 2], [0, 4, 1])
    assert start.event.tolist() == [0, 0, 2]
