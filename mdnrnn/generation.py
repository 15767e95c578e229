"""The only autoregressive loop: every sequence that any model draws is drawn here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mdnrnn.distributions import END, Noise, Step, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.models.base import Condition, SequenceModel, take

_CHUNK = 16
"""Steps between looks at which sequences are finished: noise goes in and results come out a chunk at a time, so
that the steps within one need no traffic between host and device."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How steps are drawn."""

    temperature: float = 1.0
    """Below 1: closer to the most probable drawing; 0: that one. See GaussianMixture.tempered."""
    scale_temperature: float | None = None
    """The temperature of the scales alone, if another."""
    bias: float = 0.0
    """Graves' probability bias: above 0, neater. See GaussianMixture.biased."""

    def __post_init__(self) -> None:
        for name in ("temperature", "scale_temperature"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value >= 0):
                raise InputError(f"{name} is {value}; expected 0 or more")
        if not np.isfinite(self.bias):
            raise InputError(f"bias is {self.bias}; expected a finite number, 0 for none")

    def __call__(self, steps: StepDistribution) -> StepDistribution:
        """The distribution to draw from."""
        if self.bias:
            steps = steps.biased(self.bias)
        if self.temperature != 1 or self.scale_temperature not in (None, 1):
            steps = steps.tempered(self.temperature, self.scale_temperature)
        return steps


class Drawn(NamedTuple):
    """One generated sequence, its prefix first: motion (T, D), normalised, and event (T,)."""

    motion: np.ndarray
    event: np.ndarray


@torch.inference_mode()
def generate(
    model: SequenceModel,
    n: int,
    condition: Condition | None = None,
    prefix: Step | None = None,
    *,
    sampling: Sampling | None = None,
    seed: int = 0,
    max_steps: int = 500,
    cell: Tensor | None = None,
    batch_size: int = 256,
) -> list[Drawn]:
    """Draw n sequences of at most `max_steps` new steps; the last event is END unless that cut one short.

    All the noise of sequence i comes from (seed, i): it is the same drawing whatever batch it is drawn in.

    Args:
        condition: label (n,) and inputs (n, T, A), for the models that take them; the inputs' T bounds the steps.
        prefix: an unfinished sequence, motion (P, D), normalised, and event (P,), that all of them go on from.
        sampling: temperatures and bias; the model's own distribution by default.
        cell: widths (D,) of the grid's cells, normalised. Motions are rounded to that grid: so they are drawn with
            the probabilities of its cells, and the model goes on from what is kept. None for continuous data.
        batch_size: sequences drawn at once.
    """
    if n < 0 or max_steps < 1:
        raise InputError(f"{n} sequences of {max_steps} steps were asked for; expected 0 or more of 1 or more")
    condition, training = condition or Condition(), model.training
    model.eval()
    try:
        drawn: list[Drawn] = []
        for first in range(0, n, batch_size):
            indices = range(first, min(n, first + batch_size))
            part = Condition(*(None if given is None else given[indices.start : indices.stop] for given in condition))
            drawn += _generate_batch(model, indices, part, prefix, sampling or Sampling(), seed, max_steps, cell)
        return drawn
    finally:
        model.train(training)


def _generate_batch(
    model: SequenceModel,
    indices: range,
    condition: Condition,
    prefix: Step | None,
    sampling: Sampling,
    seed: int,
    max_steps: int,
    cell: Tensor | None,
) -> list[Drawn]:
    device = next(model.parameters()).device
    inputs = None if condition.inputs is None else condition.inputs.to(device)
    previous, state = model.start(len(indices)), model.initial_state(len(indices), condition)
    motions: list[list[np.ndarray]] = [[] for _ in indices]
    events: list[list[np.ndarray]] = [[] for _ in indices]
    done = 0
    if prefix is not None:
        for motion, event in zip(prefix.motion.to(device), prefix.event.to(device), strict=True):
            _, state = model.step(_with_inputs(previous, inputs, done), state)
            previous, done = (
                Step(motion.expand_as(previous.motion), event.expand_as(previous.event)),
                done + 1,
            )
        for kept, array in ((motions, prefix.motion), (events, prefix.event)):
            for parts in kept:
                parts.append(array.cpu().numpy())
    last = done + max_steps if inputs is None else min(done + max_steps, inputs.shape[1])
    noises = [np.random.Generator(np.random.Philox([seed, index])) for index in indices]
    alive = np.arange(len(indices))
    while done < last and len(alive):
        chunk: list[Step] = []
        for noise in _noise([noises[i] for i in alive], previous.motion, min(_CHUNK, last - done)):
            steps, state = model.step(_with_inputs(previous, inputs, done), state)
            previous = sampling(steps).transform(noise)
            if cell is not None:
                previous = previous._replace(motion=torch.round(previous.motion / cell) * cell)
            chunk.append(previous)
            done += 1
        motion = torch.stack([step.motion for step in chunk], 1).cpu().numpy()
        event = torch.stack([step.event for step in chunk], 1).cpu().numpy()
        ended = event == END
        lengths = np.where(ended.any(1), ended.argmax(1) + 1, len(chunk))
        for row, i in enumerate(alive):
            motions[i].append(motion[row, : lengths[row]])
            events[i].append(event[row, : lengths[row]])
        going = np.flatnonzero(~ended.any(1))
        if len(going) < len(alive):
            alive, rows = alive[going], torch.from_numpy(going).to(device)
            previous, state = Step(previous.motion[rows], previous.event[rows]), take(state, rows)
            inputs = None if inputs is None else inputs[rows]
    return [Drawn(np.concatenate(motion), np.concatenate(event)) for motion, event in zip(motions, events, strict=True)]


def _with_inputs(step: Step, inputs: Tensor | None, time: int) -> Step:
    return step if inputs is None else step._replace(inputs=inputs[:, time])


def _noise(generators: list[np.random.Generator], like: Tensor, steps: int) -> Iterator[Noise]:
    """The next chunk of noise of each sequence, step by step; always drawn whole, so that streams stay aligned."""
    uniform = np.stack([generator.random((2, _CHUNK), np.float32) for generator in generators], 2)
    shape = (_CHUNK, like.shape[-1])
    normal = np.stack([generator.standard_normal(shape, np.float32) for generator in generators], 1)
    uniforms, normals = torch.from_numpy(uniform).to(like.device), torch.from_numpy(normal).to(like.device)
    for time in range(steps):
        yield Noise(uniforms[0, time], uniforms[1, time], normals[time])
