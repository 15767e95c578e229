"""Call and response on a touch screen, and a live step: what a run answers to what is played."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mdnrnn.data.corpus import Corpus, Sequence, mark_end, pack
from mdnrnn.data.metadata import Metadata
from mdnrnn.device import full_precision
from mdnrnn.distributions import Noise, Step, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.events import DOWN, END, UP
from mdnrnn.generation.constraints import clip_to_bounds
from mdnrnn.generation.sampling import Sampling
from mdnrnn.generation.noise import NOISE_CHUNK, fill_noise, noise_stream
from mdnrnn.models.base import Condition
from mdnrnn.runs.run import Run

RESPONSE_SAMPLING = Sampling(temperature=1.0, scale_temperature=0.5)
"""How answers are drawn unless they are asked for otherwise. Without END to stop them performances spread over the
screen: at 0.5 they come nearer to held-out ones than at 1, in extent and in time (`mdnrnn benchmark touch`)."""
_LONGEST = 600.0
_EVENTS_A_SECOND = 80
"""To begin with: most performances have fewer. Where one has more, it is drawn again, longer."""
_MOST_STEPS = 1 << 20
_SHORTEST = np.nextafter(0, 1)
"""Times are above 0."""


def respond(
    run: Run,
    call: Sequence,
    n: int = 1,
    *,
    seconds: float = 5.0,
    sampling: Sampling | None = None,
    seed: int = 0,
) -> Corpus:
    """n answers to a call (RoboJam, Martin and Torresen 2018): each goes on from the state that the call leaves, begins
    with a tap and lasts so long.

    Args:
        call: a performance, raw units.
        seconds: from the tap on; what the model would end earlier goes on.
        sampling: by default RESPONSE_SAMPLING.
    """
    metadata = run.config.metadata
    check_touches(metadata)
    if not 0 < seconds <= _LONGEST:
        raise InputError(f"an answer of {seconds} s was asked for; expected more than 0, at most {_LONGEST:g}")
    if not len(call.event):
        raise InputError("the call is empty; expected a performance of one touch at least")
    call = call._replace(event=mark_end(call.event))  # lifted where it ends, so that what follows is a tap
    endless, steps = replace(sampling or RESPONSE_SAMPLING, endless=True), int(np.ceil(seconds * _EVENTS_A_SECOND)) + 1
    while True:
        drawn = run.generate(n, prefix=call, sampling=endless, seed=seed, max_steps=steps)
        whole = [drawn[i] for i in range(n)]
        times = [_times(sequence, len(call.event)) for sequence in whole]
        if all(of[-1] > seconds for of in times) or steps >= _MOST_STEPS:
            break
        steps *= 2
    answers = [_answer(sequence, len(call.event), of <= seconds) for sequence, of in zip(whole, times, strict=True)]
    return pack(replace(drawn.metadata, name=f"{metadata.name} (answers)"), {"test": answers})


def check_touches(metadata: Metadata) -> None:
    """An error where steps are no touches."""
    if not metadata.is_touch:
        raise InputError(
            f"{metadata.name}: received steps ({', '.join(metadata.features or ('dx', 'dy'))}), expected touches "
            "(dx, dy, dt); train a run with: mdnrnn train touch"
        )


def _times(whole: Sequence, given: int) -> np.ndarray:
    """When the touches after `given` are, in seconds from the first of them, (T,)."""
    time = whole.motion[given:, 2].astype(np.float64).cumsum()
    return np.asarray(time - time[0])


def _answer(whole: Sequence, given: int, within: np.ndarray) -> Sequence:
    """What was drawn after `given` steps and is `within` the time, (T,): a performance of its own."""
    places = whole.motion[:, :2].astype(np.float64).cumsum(0)[given:][within].clip(0, 1)
    offsets, time = np.diff(places, axis=0, prepend=0.0), whole.motion[given:, 2:][within].copy()
    time[0] = 0
    return Sequence(np.column_stack([offsets, time]), mark_end(whole.event[given:][within]))


class PlayedStep(NamedTuple):
    """A step, motion (D,), raw units as in the run's data, and its event."""

    motion: np.ndarray
    event: int


class _Ahead(NamedTuple):
    """What the model makes of the step before, given inputs, (A,) or None: the next one's distribution, the state."""

    steps: StepDistribution
    state: Any
    given: Any


class Performer:
    """A run that plays along, step by step: what a bridge to OSC, MIDI or a web socket calls.

    To answer a call, `observe` its steps, then `play`: each step goes on from the one played before. To play beside
    somebody, `observe` each step of theirs and `predict` what might follow: nothing goes on from that. What is played
    is what `generate` draws from the same seed. Threads may share one: each call is whole.

    Args:
        run: of any model whose steps need no text and no latent.
        label: the class that it plays, where the run has classes.
    """

    def __init__(self, run: Run, *, sampling: Sampling | None = None, seed: int = 0, label: str | None = None) -> None:
        if run.model.uses_text or run.model.latent:
            raise InputError("the run draws given a text or a latent; expected one that needs none to play along")
        self.run, self.sampling = run, sampling or Sampling()
        self._lock, self._noise = threading.Lock(), _endless_noise(run, seed)
        device = next(run.model.parameters()).device
        weights = run.label_weights(1, None if label is None else [label])
        self._condition = Condition(None if weights is None else torch.from_numpy(weights).to(device))
        self._cell, self._first_cell, self._bounds = (
            None if given is None else given.to(device) for given in (*run.bin_widths(), run.bounds())
        )
        run.model.eval()
        self.reset()

    def reset(self) -> None:
        """Forget what was played: the next step is a first one."""
        with self._lock, torch.inference_mode():
            self._previous = self.run.model.initial_step(1)
            self._place = torch.zeros_like(self._previous.motion)
            self._state = self.run.model.initial_state(1, self._condition)
            self._ahead: _Ahead | None = None
            self._first = True

    def observe(self, motion: np.ndarray, event: int = DOWN, inputs: np.ndarray | None = None) -> None:
        """Go on from a step that was played: motion (D,), raw units, as in the run's data; its event.

        inputs (A,): what was done at the step before, and led to this one, for a run that takes them; by default what
        was given to `predict`.
        """
        with self._lock, full_precision(), torch.inference_mode():
            step = self._checked(motion, event)
            self._look(inputs)
            self._go_on(step)

    def predict(self, inputs: np.ndarray | None = None) -> PlayedStep:
        """A step that may follow: drawn anew at every call, and not gone on from.

        inputs (A,): what is done now, for a run that takes them.
        """
        with self._lock, full_precision(), torch.inference_mode():
            return self._raw(self._draw(inputs))

    def play(self, inputs: np.ndarray | None = None) -> PlayedStep:
        """As `predict`, and go on from it."""
        with self._lock, full_precision(), torch.inference_mode():
            step = self._draw(inputs)
            raw = self._raw(step)
            self._go_on(step)
            return raw

    def _draw(self, inputs: np.ndarray | None) -> Step:
        steps = self.sampling(self._look(inputs))
        step = steps.transform(next(self._noise), self._first_cell if self._first else self._cell)
        if self._bounds is None:
            return step
        return step._replace(motion=clip_to_bounds(step.motion, self._place, self._bounds))

    def _look(self, inputs: np.ndarray | None) -> StepDistribution:
        """The distribution of the next step; the model steps once, however often it is asked the same."""
        if self._ahead is not None and (inputs is None or np.array_equal(inputs, self._ahead.given)):
            return self._ahead.steps
        previous = self._previous
        if self.run.config.shape.inputs:
            previous = previous._replace(inputs=self._checked_inputs(inputs))
        elif inputs is not None:
            raise InputError(f"inputs {inputs} were given beside a step; the run takes none; leave them out")
        steps, state = self.run.model.step(previous, self._state)
        self._ahead = _Ahead(steps, state, None if inputs is None else np.array(inputs))
        return steps

    def _go_on(self, step: Step) -> None:
        assert self._ahead is not None
        event = torch.where(step.event == END, UP, step.event) if self.run.config.shape.events == 3 else step.event
        self._previous, self._state = step._replace(event=event), self._ahead.state
        self._place = self._place + step.motion
        self._ahead, self._first = None, False

    def _checked(self, motion: np.ndarray, event: int) -> Step:
        motion, features = _numbers(motion), self.run.config.shape.features
        times = list(self.run.config.metadata.time_features)
        if motion.shape != (features,):
            raise InputError(f"a step of shape {motion.shape} was observed; the run expects ({features},)")
        if not np.isfinite(motion).all() or (motion[times] < (0 if self._first else _SHORTEST)).any():
            above = ", times above 0" if times else ""
            raise InputError(f"a step of {motion.tolist()} was observed; expected finite numbers{above}")
        if event not in (DOWN, UP, END):
            raise InputError(f"a step with event {event} was observed; expected {DOWN}, {UP} or {END}")
        like = self._previous.motion
        row = self.run.config.normalizer.normalize(motion[None], 0 if self._first else None)
        return Step(torch.from_numpy(row).to(like), torch.full((1,), event, device=like.device))

    def _checked_inputs(self, inputs: np.ndarray | None) -> Tensor:
        width, like = self.run.config.shape.inputs, self._previous.motion
        if inputs is None and self._first:
            return like.new_zeros(1, width)
        inputs = _numbers(inputs if inputs is not None else np.nan).astype(np.float32)
        if inputs.shape != (width,) or not np.isfinite(inputs).all():
            raise InputError(f"inputs {inputs} were given beside a step; the run expects {width} finite numbers")
        return torch.from_numpy(inputs[None]).to(like)

    def _raw(self, step: Step) -> PlayedStep:
        motion = self.run.to_raw(step.motion.cpu().numpy(), begins=self._first)[0]
        return PlayedStep(motion, int(step.event))


def _numbers(values: Any) -> np.ndarray:
    """What was given as float64."""
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{values!r} was given as a step's numbers; expected a row of numbers") from error


def _endless_noise(run: Run, seed: int) -> Iterator[Noise]:
    """That of the first sequence of `generate`, step by step."""
    generator, like, component_choices = noise_stream(seed, 0), run.model.initial_step(1).motion, run.model.component_choices
    while True:
        uniform = np.empty((component_choices + 1, NOISE_CHUNK), np.float32)
        normal = np.empty((NOISE_CHUNK, like.shape[1]), np.float32)
        fill_noise(generator, uniform, normal)
        there, moves = (torch.from_numpy(part).to(like.device) for part in (uniform, normal))
        for time in range(NOISE_CHUNK):
            component = there[:1, time] if component_choices == 1 else there[None, :component_choices, time]
            yield Noise(component, there[component_choices:, time], moves[None, time])
