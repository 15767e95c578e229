"""Responses to touch performances: form, duration, conditioning on the call, and errors."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdnrnn.data.corpus import Sequence
from mdnrnn.errors import InputError
from mdnrnn.generation.sampling import Sampling
from mdnrnn.pen_events import DOWN, END, UP
from mdnrnn.runs.run import Run
from mdnrnn.tasks.performance import RESPONSE_SAMPLING, respond
from tests.helpers import make_controls, make_run, make_touches

CORPUS = make_touches()
TOUCH, STREAM = make_run(CORPUS), make_run(make_controls())


@given(seed=st.integers(0, 50), seconds=st.floats(0.05, 2.0))
@settings(max_examples=15)
def test_response_begins_with_a_tap_and_lasts_as_long_as_requested(seed: int, seconds: float) -> None:
    """A longer response with the same seed has the same touches up to the duration, and the next one after it."""
    responses = respond(TOUCH, CORPUS[0], 3, seconds=seconds, seed=seed)
    longer = respond(TOUCH, CORPUS[0], 3, seconds=4 * seconds, seed=seed)
    responses.check()
    for i in range(3):
        time, longer_time = responses[i].motion[:, 2], longer[i].motion[:, 2]
        assert time[0] == 0
        assert (time[1:] > 0).all()
        assert time.astype(np.float64).sum() <= seconds + 1e-6
        np.testing.assert_array_equal(longer_time[: len(time)], time)
        following = longer_time[: len(time) + 1].astype(np.float64).sum()
        assert following > seconds or len(longer_time) == len(time)
        positions = responses[i].motion[:, :2].cumsum(0)
        assert -1e-6 < positions.min() <= positions.max() < 1 + 1e-6
        assert responses[i].event[-1] == END
        assert END not in responses[i].event[:-1]


def test_response_depends_on_the_call() -> None:
    sampling = Sampling(temperature=0)
    first, second = (respond(TOUCH, CORPUS[i], 1, seconds=0.2, sampling=sampling)[0] for i in (0, 1))
    assert first.motion.shape != second.motion.shape or np.abs(first.motion - second.motion).max() > 1e-3


def test_last_touch_of_the_call_is_lifted() -> None:
    """The response is the same whether the call ends with the pen down or up."""
    down = CORPUS[0]._replace(event=np.full(30, DOWN, np.uint8))
    up = down._replace(event=np.array([*[DOWN] * 29, UP], np.uint8))
    first, second = (respond(TOUCH, call, 1, seconds=0.2, seed=1)[0] for call in (down, up))
    np.testing.assert_array_equal(first.motion, second.motion)


def test_response_has_no_early_end_at_temperature_0() -> None:
    """END is by far the most probable event of the model."""
    run = make_run(CORPUS)
    bias = run.model.get_submodule("decoder.head.linear").get_parameter("bias").detach()
    bias[-1] = 100
    generated = run.generate(2, sampling=Sampling(temperature=0, endless=True), max_steps=30)
    assert generated.lengths.tolist() == [30, 30]
    responses = respond(run, CORPUS[0], 2, seconds=0.3, sampling=Sampling(temperature=0))
    assert (responses.lengths > 1).all()


def test_stroke_limit_and_stopping_rule_end_responses_before_their_duration() -> None:
    """Responses equal the beginnings of those without a limit. Strokes of the call do not count."""
    plain = respond(TOUCH, CORPUS[0], 4, seconds=2.0, seed=1)
    limited = respond(TOUCH, CORPUS[0], 4, seconds=2.0, seed=1, sampling=replace(RESPONSE_SAMPLING, max_strokes=2))
    rule = replace(RESPONSE_SAMPLING, stop=lambda history: history.length >= len(CORPUS[0].event) + 7)
    stopped = respond(TOUCH, CORPUS[0], 4, seconds=2.0, seed=1, sampling=rule)
    assert all((plain[i].event != DOWN).sum() > 2 for i in range(4))
    for i in range(4):
        assert (limited[i].event != DOWN).sum() == 2
        assert len(stopped[i].event) == 7
        for shorter in (limited[i], stopped[i]):
            assert shorter.event[-1] == END
            np.testing.assert_array_equal(shorter.motion, plain[i].motion[: len(shorter.event)])


def test_times_that_are_not_finite_are_an_error() -> None:
    run = make_run(CORPUS)
    run.model.get_submodule("decoder.head.linear").get_parameter("bias").detach().fill_(np.nan)
    with pytest.raises(InputError, match="the model generates times that are NaN or infinite"):
        respond(run, CORPUS[0], 1, seconds=0.2)


def make_call(motion: np.ndarray) -> Sequence:
    """Make a performance with all events DOWN."""
    return Sequence(motion, np.zeros(len(motion), np.uint8))


@pytest.mark.parametrize(
    ("run", "call", "seconds", "message"),
    [
        (TOUCH, make_call(np.zeros((0, 3))), 5.0, "call: received an empty performance"),
        (TOUCH, make_call(np.zeros((3, 2))), 5.0, "prefix: received 2 features per step, expected 3"),
        (TOUCH, make_call(np.full((3, 3), -0.5)), 5.0, "expected finite numbers"),
        (TOUCH, make_call(np.full((3, 3), np.nan)), 5.0, "expected finite numbers"),
        (TOUCH, CORPUS[0], 0.0, "seconds: received 0.0, expected more than 0 and at most 600"),
        (STREAM, CORPUS[0], 5.0, r"received steps \(dt, x1, x2, x3\), expected touches"),
    ],
    ids=["empty", "two features", "negative times", "NaN", "no time", "controls"],
)
def test_invalid_call_is_refused(run: Run, call: Sequence, seconds: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        respond(run, call, seconds=seconds)
