"""Call and response, and the live step: what is played is what generate draws, whoever else is playing."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdnrnn.data.corpus import Corpus, Sequence
from mdnrnn.errors import InputError
from mdnrnn.events import DOWN, END, UP
from mdnrnn.generation.sampling import Sampling
from mdnrnn.runs.run import Run
from mdnrnn.tasks.performance import respond
from mdnrnn.tasks.performer import Performer
from tests.helpers import controls, episodes, random_corpus, run_of, small_sketch, touches

CORPORA = {
    "strokes": random_corpus([30, 45]),
    "classes": random_corpus([30, 45], classes=("a", "b")),
    "touches": touches(),
    "a stream": controls(),
}
ENDLESS = Sampling(endless=True)


def label_of(corpus: Corpus) -> str | None:
    return corpus.metadata.classes[1] if corpus.metadata.classes else None


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA.keys())
def test_what_is_played_is_what_is_generated(corpus: Corpus) -> None:
    run, label = run_of(corpus), label_of(corpus)
    whole = run.generate(1, labels=label and [label], sampling=ENDLESS, seed=3, max_steps=40)[0]
    player = Performer(run, sampling=ENDLESS, seed=3, label=label)
    played = [player.play() for _ in range(40)]
    np.testing.assert_allclose([step.motion for step in played], whole.motion, atol=1e-5)
    assert [step.event for step in played] == whole.event.tolist()


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA.keys())
def test_what_is_observed_is_gone_on_from_as_a_prefix_is(corpus: Corpus) -> None:
    """Whatever was predicted in between, but for the noise that it took: nothing goes on from a prediction."""
    run, label, call = run_of(corpus), label_of(corpus), corpus[0]
    whole = run.generate(1, labels=label and [label], prefix=call, sampling=ENDLESS, seed=3, max_steps=20)[0]
    player = Performer(run, sampling=ENDLESS, seed=3, label=label)
    for motion, event in zip(call.motion, call.event, strict=True):
        player.observe(motion, int(event))
    played = [player.play() for _ in range(20)]
    np.testing.assert_allclose([step.motion for step in played], whole.motion[len(call.event) :], atol=1e-5)
    again = Performer(run, sampling=Sampling(temperature=0, endless=True), seed=3, label=label)
    still = Performer(run, sampling=Sampling(temperature=0, endless=True), seed=4, label=label)
    for motion, event in zip(call.motion, call.event, strict=True):
        again.predict()
        again.observe(motion, int(event))
        again.predict()
        still.observe(motion, int(event))
    np.testing.assert_array_equal(again.play().motion, still.play().motion)


def test_a_reset_forgets() -> None:
    run = run_of(controls())
    sampling = Sampling(temperature=0)
    player, fresh = Performer(run, sampling=sampling), Performer(run, sampling=sampling)
    first = player.play()
    for _ in range(5):
        player.play()
    player.reset()
    np.testing.assert_array_equal(player.play().motion, first.motion)
    np.testing.assert_array_equal(fresh.play().motion, first.motion)


def test_threads_that_share_a_performer_play_one_sequence() -> None:
    """Four threads together play the steps that one plays alone, each once: no call sees half of another's state."""
    run = run_of(controls())
    alone, shared, played = Performer(run, seed=5), Performer(run, seed=5), []

    def play() -> None:
        for _ in range(100):
            step = shared.play()
            played.append(tuple(step.motion.tolist()))

    threads = [threading.Thread(target=play) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(played) == sorted(tuple(alone.play().motion.tolist()) for _ in range(400))


def test_what_ended_is_gone_on_from_as_lifted() -> None:
    run = run_of(touches())
    ended, lifted = Performer(run), Performer(run)
    ended.observe(np.array([0.5, 0.5, 0.0]), END)
    lifted.observe(np.array([0.5, 0.5, 0.0]), UP)
    np.testing.assert_array_equal(ended.play().motion, lifted.play().motion)


def test_inputs_make_the_prediction_and_may_be_changed_until_it_is_gone_on_from() -> None:
    run, sampling = run_of(episodes(), covariance="per-dimension"), Sampling(temperature=0)
    player, other = Performer(run, sampling=sampling), Performer(run, sampling=sampling)
    player.play()
    other.play()
    left, right = player.predict(np.array([-1.0, 0.0])), player.predict(np.array([1.0, 2.0]))
    assert np.abs(left.motion - right.motion).max() > 1e-3
    np.testing.assert_array_equal(other.play(np.array([1.0, 2.0])).motion, right.motion)
    np.testing.assert_array_equal(player.play(np.array([1.0, 2.0])).motion, right.motion)


STREAM, TOUCH, WORLD = run_of(controls()), run_of(touches()), run_of(episodes())


@pytest.mark.parametrize(
    ("run", "motion", "complaint"),
    [
        (STREAM, [0.1, 0.5, 0.5], r"of shape \(3,\) was observed; the run expects \(4,\)"),
        (STREAM, [-0.1, 0.5, 0.5, 0.5], "expected finite numbers, times above 0"),
        (STREAM, [np.nan, 0.5, 0.5, 0.5], "expected finite numbers, times above 0"),
        (TOUCH, [0.1, 0.5, 0.0], "expected finite numbers, times above 0"),
        (WORLD, [0.1, np.inf, 0.0], "expected finite numbers"),
    ],
    ids=["a value missing", "a negative time", "no number", "no time", "infinite"],
)
def test_a_step_that_cannot_be_is_refused(run: Run, motion: list[float], complaint: str) -> None:
    player = Performer(run)
    player.play()
    with pytest.raises(InputError, match=complaint):
        player.observe(np.array(motion), inputs=np.zeros(2) if run is WORLD else None)


@pytest.mark.parametrize(
    "inputs", [None, np.zeros(3), np.array([0.0, np.nan])], ids=["missing", "of another size", "no numbers"]
)
def test_actions_that_cannot_be_are_refused(inputs: np.ndarray | None) -> None:
    player = Performer(WORLD)
    player.play()
    with pytest.raises(InputError, match="the run expects 2 finite numbers"):
        player.play(inputs)


def test_actions_that_nothing_takes_are_refused() -> None:
    with pytest.raises(InputError, match="the run takes none"):
        Performer(STREAM).play(np.zeros(2))


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(InputError, match="a step with event 3 was observed"):
        Performer(STREAM).observe(np.array([0.1, 0.5, 0.5, 0.5]), 3)


def test_a_run_that_needs_a_latent_does_not_play_along() -> None:
    corpus = random_corpus([30])
    whole = run_of(corpus)
    with pytest.raises(InputError, match="expected one that needs none"):
        Performer(Run(Path(), whole.config, small_sketch(corpus)))


@given(seed=st.integers(0, 50), seconds=st.floats(0.05, 2.0))
@settings(max_examples=15, deadline=None)
def test_an_answer_begins_with_a_tap_and_lasts_as_long_as_asked(seed: int, seconds: float) -> None:
    """Within one step: the same answer asked for longer has a touch after the time, and begins alike."""
    call = touches()[0]
    answers = respond(TOUCH, call, 3, seconds=seconds, seed=seed)
    longer = respond(TOUCH, call, 3, seconds=4 * seconds, seed=seed)
    answers.check()
    for i in range(3):
        time, later = answers[i].motion[:, 2], longer[i].motion[:, 2]
        assert time[0] == 0
        assert (time[1:] > 0).all()
        assert time.astype(np.float64).sum() <= seconds + 1e-6
        np.testing.assert_array_equal(later[: len(time)], time)
        assert later[: len(time) + 1].astype(np.float64).sum() > seconds or len(later) == len(time)
        places = answers[i].motion[:, :2].cumsum(0)
        assert -1e-6 < places.min() <= places.max() < 1 + 1e-6
        assert answers[i].event[-1] == END
        assert END not in answers[i].event[:-1]


def test_the_call_conditions_the_answer() -> None:
    sampling = Sampling(temperature=0)
    corpus = touches()
    one, other = (respond(TOUCH, corpus[i], 1, seconds=0.2, sampling=sampling)[0] for i in (0, 1))
    assert one.motion.shape != other.motion.shape or np.abs(one.motion - other.motion).max() > 1e-3


@pytest.mark.parametrize(
    ("run", "call", "seconds", "complaint"),
    [
        (TOUCH, Sequence(np.zeros((0, 3)), np.zeros(0, np.uint8)), 5.0, "the call is empty"),
        (TOUCH, Sequence(np.zeros((3, 2)), np.zeros(3, np.uint8)), 5.0, "the prefix has 2 features per step"),
        (
            TOUCH,
            Sequence(np.full((3, 3), -0.5), np.zeros(3, np.uint8)),
            5.0,
            "in row 0; expected finite numbers, times",
        ),
        (TOUCH, Sequence(np.full((3, 3), np.nan), np.zeros(3, np.uint8)), 5.0, "in row 0; expected finite numbers"),
        (TOUCH, touches()[0], 0.0, "an answer of 0.0 s was asked for; expected more than 0, at most 600"),
        (STREAM, touches()[0], 5.0, r"\(dt, x1, x2, x3\), expected touches"),
    ],
    ids=["empty", "of another width", "negative times", "no numbers", "no time", "no touches"],
)
def test_a_call_that_cannot_be_answered_is_refused(run: Run, call: Sequence, seconds: float, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        respond(run, call, seconds=seconds)


def test_the_last_of_a_call_is_lifted_so_that_a_tap_follows() -> None:
    """Events of the prefix that the model has seen: none goes on into the answer."""
    call = touches()[0]._replace(event=np.full(30, DOWN, np.uint8))
    lifted = call._replace(event=np.array([*[DOWN] * 29, UP], np.uint8))
    one, other = (respond(TOUCH, each, 1, seconds=0.2, seed=1)[0] for each in (call, lifted))
    np.testing.assert_array_equal(one.motion, other.motion)


def test_an_endless_sampling_does_not_end_at_temperature_0_either() -> None:
    """END the most probable event of all, by far."""
    run = run_of(touches())
    bias = run.model.get_submodule("decoder.head.linear").get_parameter("bias").detach()
    bias[-1] = 100
    drawn = run.generate(2, sampling=Sampling(temperature=0, endless=True), max_steps=30)
    assert drawn.lengths.tolist() == [30, 30]
    answers = respond(run, touches()[0], 2, seconds=0.3, sampling=Sampling(temperature=0))
    assert (answers.lengths > 1).all()


def test_inputs_that_are_changed_in_place_are_other_inputs() -> None:
    player, buffer = Performer(WORLD, sampling=Sampling(temperature=0)), np.zeros(2)
    player.play()
    before = player.predict(buffer).motion
    buffer[:] = 3
    assert np.abs(player.predict(buffer).motion - before).max() > 1e-3


def test_words_are_no_step() -> None:
    with pytest.raises(InputError, match="expected a row of numbers"):
        Performer(STREAM).observe(np.array(["a", "b", "c", "d"]))


def test_a_first_step_has_no_negative_time() -> None:
    with pytest.raises(InputError, match="times above 0"):
        Performer(STREAM).observe(np.array([-1.0, 0.5, 0.5, 0.5]))
