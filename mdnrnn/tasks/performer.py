"""Live generation with a run, one step at a time, for programs that connect a run to OSC, MIDI or web sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mdnrnn.device import full_precision
from mdnrnn.distributions import Noise, Step, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.generation.constraints import clip_to_bounds
from mdnrnn.generation.noise import NOISE_CHUNK, check_seed, fill_noise, noise_stream
from mdnrnn.generation.sampling import Sampling
from mdnrnn.generation.stopping import EndRules, check_stroke_limits
from mdnrnn.models.base import Condition
from mdnrnn.pen_events import DOWN, END, UP
from mdnrnn.runs import generation_arguments as arguments
from mdnrnn.runs.raw_stop import stop_in_raw_units
from mdnrnn.runs.run import Run

_MIN_TIME = np.nextafter(0, 1)
"""Smallest positive number: lower bound of the time since the previous step, except in the first step."""


class PlayedStep(NamedTuple):
    """Motion (D,) of one step, in raw units, and its event."""

    motion: np.ndarray
    event: int


class _Prediction(NamedTuple):
    """Prediction of the next step, cached for repeated calls with the same inputs.

    `distribution`: distribution of the next step. `state`: state of the model after it has read the previous step.
    `inputs`: inputs (A,) on which the prediction is conditioned, or None.
    """

    distribution: StepDistribution
    state: Any
    inputs: np.ndarray | None


class Performer:
    """Live generation of a sequence, step by step.

    To respond to another player, call `observe` for each step of the player, then `play` for each step of the response.
    To accompany another player, call `observe` for each step of the player and `predict` for the next step; `predict`
    does not append the step to the sequence. If only `play` is called, it returns the steps of sequence 0 of
    `Run.generate` with the same seed. All methods are thread-safe.
    """

    def __init__(
        self,
        run: Run,
        *,
        sampling: Sampling | None = None,
        seed: int = 0,
        label: str | None = None,
        context: np.ndarray | None = None,
    ) -> None:
        """Start a sequence.

        Args:
            run: run of a model that needs neither a text nor a latent vector.
            sampling: sampling options. Stroke limits and stopping rules count the observed steps, too. When they end
                the sequence, the event of the step is END; call `reset` to start a new sequence.
            seed: random seed.
            label: class of the sequence; by default the first class.
            context: context vector (C,), for a model with a context vector.

        Raises:
            InputError: the model needs a text or a latent vector, the label is unknown, the context does not fit the
                model, the seed is negative, or there are stroke limits and the data have no strokes.
        """
        if run.model.uses_text or run.model.latent:
            raise InputError(
                "run: received a model that needs a text or a latent vector, expected one that needs neither; use "
                "another run"
            )
        check_seed(seed)
        self.run, self.sampling = run, stop_in_raw_units(run, sampling) or Sampling()
        check_stroke_limits(self.sampling, run.config.shape.events, None)
        self._lock, self._noise = threading.Lock(), _noise_of_first_sequence(run, seed)
        device = next(run.model.parameters()).device
        weights = run.label_weights(1, None if label is None else [label])
        vectors = arguments.check_context(None if context is None else context[None], 1, run.config.shape.context)
        self._condition = Condition(
            None if weights is None else torch.from_numpy(weights).to(device, torch.float32),
            context=None if vectors is None else vectors.to(device),
        )
        self._bin_width, self._first_bin_width, self._bounds = (
            None if tensor is None else tensor.to(device) for tensor in (*run.bin_widths(), run.bounds())
        )
        run.model.eval()
        self.reset()

    def reset(self) -> None:
        """Start a new sequence. The noise stream continues: it does not restart from the seed."""
        with self._lock, torch.inference_mode():
            self._previous = self.run.model.initial_step(1)
            self._position = torch.zeros_like(self._previous.motion)
            self._rules = EndRules(self.sampling, Step(self._position[:0], self._previous.event[:0]), 1)
            self._state = self.run.model.initial_state(1, self._condition)
            self._prediction: _Prediction | None = None
            self._is_first = True

    def observe(self, motion: np.ndarray, event: int = DOWN, inputs: np.ndarray | None = None) -> None:
        """Append a step that was not generated by this object, for example one of another player.

        Args:
            motion: motion (D,) in raw units, as in the run's data.
            event: event of the step: DOWN, UP or END.
            inputs: inputs (A,) on which the prediction of this step is conditioned; see `predict`.

        Raises:
            InputError: a shape or an event is wrong, inputs are missing, a number is NaN, infinite or too large for
                float32 arithmetic, or a time is invalid: negative, or 0 after the first step. After an error, the
                sequence is unchanged.
        """
        with self._lock, full_precision(), torch.inference_mode():
            step = self._normalize(motion, event)
            self._predict(inputs)
            self._append(step)

    def predict(self, inputs: np.ndarray | None = None) -> PlayedStep:
        """Sample the next step without appending it; every call draws a new sample.

        Args:
            inputs: inputs (A,) on which the next step is conditioned, for a model with inputs. By default the inputs of
                the last call of `predict` for the same step. If `predict` was not called for this step, inputs can be
                omitted only in the first step, and are then zeros.

        Raises:
            InputError: the inputs do not fit the model.
        """
        with self._lock, full_precision(), torch.inference_mode():
            return self._to_raw(self._sample(inputs))

    def play(self, inputs: np.ndarray | None = None) -> PlayedStep:
        """Sample the next step and append it. The arguments and errors are those of `predict`."""
        with self._lock, full_precision(), torch.inference_mode():
            step = self._sample(inputs)
            raw = self._to_raw(step)
            self._append(step)
            return raw

    def _sample(self, inputs: np.ndarray | None) -> Step:
        distribution = self.sampling(self._predict(inputs))
        bin_width = self._first_bin_width if self._is_first else self._bin_width
        step = distribution.transform(next(self._noise), bin_width)
        assert self._prediction is not None
        motion, event = step.motion, self._rules.limit_strokes(step.event)
        if self._bounds is not None:
            motion = clip_to_bounds(motion, self._position, self._bounds)
        finished = self.run.model.finished(self._prediction.state)
        for mask in (finished, self._rules.stopped(motion, event)):
            event = event if mask is None else torch.where(mask, END, event)
        return Step(motion, event)

    def _predict(self, inputs: np.ndarray | None) -> StepDistribution:
        """Return the distribution of the next step. It is cached for repeated calls with the same inputs."""
        known = self._prediction
        if known is not None and (
            inputs is None or (known.inputs is not None and np.array_equal(inputs, known.inputs))
        ):
            return known.distribution
        previous = self._previous
        if self.run.config.shape.inputs:
            previous = previous._replace(inputs=self._check_inputs(inputs))
        elif inputs is not None:
            raise InputError(f"inputs: received {inputs}, expected none for a model without inputs")
        distribution, state = self.run.model.step(previous, self._state)
        self._prediction = _Prediction(distribution, state, None if inputs is None else np.array(inputs))
        return distribution

    def _append(self, step: Step) -> None:
        assert self._prediction is not None
        event = torch.where(step.event == END, UP, step.event) if self.run.config.shape.events == 3 else step.event
        self._rules.append(step.motion, event)
        self._previous, self._state = step._replace(event=event), self._prediction.state
        self._position = self._position + step.motion
        self._prediction, self._is_first = None, False

    def _normalize(self, motion: np.ndarray, event: int) -> Step:
        """Check an observed step and return it in normalized units."""
        motion, features = _to_array(motion), self.run.config.shape.features
        times = list(self.run.config.metadata.time_features)
        if motion.shape != (features,):
            raise InputError(f"motion: received shape {motion.shape}, expected ({features},)")
        if not np.isfinite(motion).all() or (motion[times] < (0 if self._is_first else _MIN_TIME)).any():
            positive = " and times above 0" if times else ""
            raise InputError(f"motion: received {motion.tolist()}, expected finite numbers{positive}")
        if event not in (DOWN, UP, END):
            raise InputError(f"event: received {event}, expected {DOWN}, {UP} or {END}")
        like = self._previous.motion
        row = arguments.normalize(self.run.config, "motion", motion[None], 0 if self._is_first else None)
        return Step(torch.from_numpy(row).to(like), torch.full((1,), event, device=like.device))

    def _check_inputs(self, inputs: np.ndarray | None) -> Tensor:
        """Check inputs and return them as a tensor (1, A). In the first step, None is replaced by zeros."""
        width, like = self.run.config.shape.inputs, self._previous.motion
        if inputs is None and self._is_first:
            return like.new_zeros(1, width)
        inputs = _to_array(inputs if inputs is not None else np.nan)
        if inputs.shape != (width,) or not np.isfinite(inputs).all():
            raise InputError(f"inputs: received {inputs}, expected {width} finite numbers")
        arguments.check_magnitude("inputs", inputs, inputs)
        return torch.from_numpy(inputs[None]).to(like)

    def _to_raw(self, step: Step) -> PlayedStep:
        motion = self.run.to_raw(step.motion.cpu().numpy(), starts_sequence=self._is_first)[0]
        return PlayedStep(motion, int(step.event))


def _to_array(values: Any) -> np.ndarray:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"received {values!r}, expected an array of numbers") from error


def _noise_of_first_sequence(run: Run, seed: int) -> Iterator[Noise]:
    """Yield the noise of sequence 0 of `generate`, one step at a time, indefinitely."""
    generator, like, choices = noise_stream(seed, 0), run.model.initial_step(1).motion, run.model.component_choices
    while True:
        uniform = np.empty((choices + 1, NOISE_CHUNK), np.float32)
        normal = np.empty((NOISE_CHUNK, like.shape[1]), np.float32)
        fill_noise(generator, uniform, normal)
        choice, motion = (torch.from_numpy(array).to(like.device) for array in (uniform, normal))
        for time in range(NOISE_CHUNK):
            component = choice[:1, time] if choices == 1 else choice[None, :choices, time]
            yield Noise(component, choice[choices:, time], motion[None, time])
