"""Live steps: equality with `Run.generate`, predictions, threads, inputs, and errors."""

import gc
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from mdnrnn.data.corpus import Corpus
from mdnrnn.errors import InputError
from mdnrnn.generation.sampling import Sampling
from mdnrnn.pen_events import END, UP
from mdnrnn.runs.run import Run
from mdnrnn.tasks.performer import Performer
from tests.helpers import make_controls, make_episodes, make_run, make_sketch_model, make_touches, random_corpus

CORPORA = {
    "strokes": random_corpus([30, 45]),
    "labeled strokes": random_corpus([30, 45], classes=("a", "b")),
    "touches": make_touches(),
    "controls": make_controls(),
}
ENDLESS, MOST_PROBABLE = Sampling(endless=True), Sampling(temperature=0)
TOUCH, STREAM = make_run(CORPORA["touches"]), make_run(CORPORA["controls"])
WORLD = make_run(make_episodes(), covariance="per-dimension")


def last_class(corpus: Corpus) -> str | None:
    """Return the name of the last class, or None if there are no classes."""
    return corpus.metadata.classes[-1] if corpus.metadata.classes else None


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA.keys())
def test_played_steps_equal_a_generated_sequence(corpus: Corpus) -> None:
    run, label = make_run(corpus), last_class(corpus)
    expected = run.generate(1, labels=label and [label], sampling=ENDLESS, seed=3, max_steps=40)[0]
    performer = Performer(run, sampling=ENDLESS, seed=3, label=label)
    steps = [performer.play() for _ in range(40)]
    np.testing.assert_allclose([step.motion for step in steps], expected.motion, atol=1e-5)
    assert [step.event for step in steps] == expected.event.tolist()


def test_played_steps_retain_no_objects() -> None:
    """In one of three rounds of 50 steps, fewer than 50 memory blocks are added; an object per step has one or more.

    The free lists of the interpreter grow, too, by up to 31 blocks per round.
    """
    performer = Performer(STREAM)
    blocks = []
    for _ in range(4):
        for _ in range(50):
            performer.play()
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    assert np.diff(blocks).min() < 50


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA.keys())
def test_observed_steps_are_a_prefix(corpus: Corpus) -> None:
    run, label, call = make_run(corpus), last_class(corpus), corpus[0]
    expected = run.generate(1, labels=label and [label], prefix=call, sampling=ENDLESS, seed=3, max_steps=20)[0]
    performer = Performer(run, sampling=ENDLESS, seed=3, label=label)
    for motion, event in zip(call.motion, call.event, strict=True):
        performer.observe(motion, int(event))
    steps = [performer.play() for _ in range(20)]
    np.testing.assert_allclose([step.motion for step in steps], expected.motion[len(call.event) :], atol=1e-5)


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA.keys())
def test_predictions_do_not_change_the_state(corpus: Corpus) -> None:
    run, label, call = make_run(corpus), last_class(corpus), corpus[0]
    sampling = Sampling(temperature=0, endless=True)
    predicting = Performer(run, sampling=sampling, seed=3, label=label)
    observing = Performer(run, sampling=sampling, seed=4, label=label)
    for motion, event in zip(call.motion, call.event, strict=True):
        predicting.predict()
        predicting.observe(motion, int(event))
        predicting.predict()
        observing.observe(motion, int(event))
    np.testing.assert_array_equal(predicting.play().motion, observing.play().motion)


def test_reset_starts_a_new_sequence() -> None:
    performer, fresh = Performer(STREAM, sampling=MOST_PROBABLE), Performer(STREAM, sampling=MOST_PROBABLE)
    first = performer.play()
    for _ in range(5):
        performer.play()
    performer.reset()
    np.testing.assert_array_equal(performer.play().motion, first.motion)
    np.testing.assert_array_equal(fresh.play().motion, first.motion)


def test_threads_play_the_steps_of_one_sequence() -> None:
    """Four threads together play the steps of one performer, each step once."""
    alone, shared, played = Performer(STREAM, seed=5), Performer(STREAM, seed=5), []

    def play() -> None:
        for _ in range(100):
            played.append(tuple(shared.play().motion.tolist()))

    threads = [threading.Thread(target=play) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(played) == sorted(tuple(alone.play().motion.tolist()) for _ in range(400))


def test_observed_end_is_followed_like_a_lifted_pen() -> None:
    after_end, after_up = Performer(TOUCH), Performer(TOUCH)
    after_end.observe(np.array([0.5, 0.5, 0.0]), END)
    after_up.observe(np.array([0.5, 0.5, 0.0]), UP)
    np.testing.assert_array_equal(after_end.play().motion, after_up.play().motion)


def test_step_depends_on_the_latest_inputs() -> None:
    performer, other = Performer(WORLD, sampling=MOST_PROBABLE), Performer(WORLD, sampling=MOST_PROBABLE)
    performer.play()
    other.play()
    left, right = performer.predict(np.array([-1.0, 0.0])), performer.predict(np.array([1.0, 2.0]))
    assert np.abs(left.motion - right.motion).max() > 1e-3
    np.testing.assert_array_equal(other.play(np.array([1.0, 2.0])).motion, right.motion)
    np.testing.assert_array_equal(performer.play(np.array([1.0, 2.0])).motion, right.motion)


def test_inputs_changed_in_place_change_the_prediction() -> None:
    performer, inputs = Performer(WORLD, sampling=MOST_PROBABLE), np.zeros(2)
    performer.play()
    before = performer.predict(inputs).motion
    inputs[:] = 3
    assert np.abs(performer.predict(inputs).motion - before).max() > 1e-3


@pytest.mark.parametrize(
    ("run", "motion", "message"),
    [
        (STREAM, [0.1, 0.5, 0.5], r"motion: received shape \(3,\), expected \(4,\)"),
        (STREAM, [-0.1, 0.5, 0.5, 0.5], "expected finite numbers and times above 0"),
        (STREAM, [np.nan, 0.5, 0.5, 0.5], "expected finite numbers and times above 0"),
        (TOUCH, [0.1, 0.5, 0.0], "expected finite numbers and times above 0"),
        (WORLD, [0.1, np.inf, 0.0], "expected finite numbers"),
        (STREAM, ["a", "b", "c", "d"], "expected an array of numbers"),
    ],
    ids=["missing feature", "negative time", "NaN", "zero time", "infinity", "strings"],
)
def test_invalid_motion_is_refused(run: Run, motion: list[float], message: str) -> None:
    performer = Performer(run)
    performer.play()
    with pytest.raises(InputError, match=message):
        performer.observe(np.array(motion), inputs=np.zeros(2) if run is WORLD else None)


def test_negative_time_of_the_first_step_is_refused() -> None:
    with pytest.raises(InputError, match="times above 0"):
        Performer(STREAM).observe(np.array([-1.0, 0.5, 0.5, 0.5]))


def test_unknown_event_is_refused() -> None:
    with pytest.raises(InputError, match="event: received 3, expected 0, 1 or 2"):
        Performer(STREAM).observe(np.array([0.1, 0.5, 0.5, 0.5]), 3)


@pytest.mark.parametrize("inputs", [None, np.zeros(3), np.array([0.0, np.nan])], ids=["missing", "three", "NaN"])
def test_invalid_inputs_are_refused(inputs: np.ndarray | None) -> None:
    performer = Performer(WORLD)
    performer.play()
    with pytest.raises(InputError, match=r"inputs: received .*, expected 2 finite numbers"):
        performer.play(inputs)


def test_inputs_are_refused_by_a_model_without_inputs() -> None:
    with pytest.raises(InputError, match="expected none for a model without inputs"):
        Performer(STREAM).play(np.zeros(2))


def test_model_with_a_latent_vector_is_refused() -> None:
    corpus = random_corpus([30])
    run = Run(Path(), make_run(corpus).config, make_sketch_model(corpus))
    with pytest.raises(InputError, match="expected one that needs neither"):
        Performer(run)


@pytest.mark.parametrize("run", [make_run(CORPORA["strokes"]), TOUCH, STREAM, WORLD])
@pytest.mark.parametrize("value", [1e20, -3e38, 1e38, 1e300])
def test_motion_that_overflows_is_refused_and_leaves_the_state_unchanged(run: Run, value: float) -> None:
    """A world's inputs are 0 in the first step; the offending value is in the last feature that is not a time."""
    motion = np.full(run.config.shape.features, 0.25)
    large = motion.copy()
    large[[i for i in range(len(motion)) if i not in run.config.metadata.time_features][-1]] = value
    inputs = np.ones(run.config.shape.inputs) if run.config.shape.inputs else None
    expected, performer = Performer(run, sampling=MOST_PROBABLE), Performer(run, sampling=MOST_PROBABLE)
    for each in (expected, performer):
        each.observe(motion, inputs=inputs)
    with pytest.raises(InputError, match=r"motion: received .* too large for the model; expected numbers on the scale"):
        performer.observe(large, inputs=inputs)
    for _ in range(3):
        first, second = expected.play(inputs), performer.play(inputs)
        assert np.isfinite(first.motion).all()
        np.testing.assert_array_equal(second.motion, first.motion)
        assert second.event == first.event


def test_large_motion_that_is_accepted_keeps_predictions_finite() -> None:
    performer = Performer(STREAM)
    for _ in range(50):
        performer.observe(np.array([0.1, *[9e11 * STREAM.config.normalizer.scale[1]] * 3]))
    assert np.isfinite(performer.play().motion).all()


def test_inputs_that_overflow_are_refused_and_leave_the_state_unchanged() -> None:
    performer = Performer(WORLD)
    performer.play()
    for value in (1e38, 1e300):
        with pytest.raises(InputError, match=r"inputs: received .* too large for the model"):
            performer.predict(np.array([value, 0.0]))
    assert np.isfinite(performer.play(np.zeros(2)).motion).all()
