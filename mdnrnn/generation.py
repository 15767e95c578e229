"""The only autoregressive loop: every sequence that any model draws is drawn here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mdnrnn.device import exactly
from mdnrnn.distributions import END, Noise, Step, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.models.base import Condition, SequenceModel, take

_CHUNK = 16
"""Steps between looks at which sequences are finished: noise goes in and results come out a chunk at a time, so
that the steps within one need no traffic between host and device."""

Policy = Callable[[Tensor, Any, Tensor], Tensor]
"""What acts while a world is dreamt: of the motions before, (B, D), normalised, the model's state and the numbers of
the sequences, (B,), it makes the inputs (B, A) beside which the next steps are drawn, each from its own row alone. It
may be asked a few steps more of a sequence that has ended."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How steps are drawn."""

    temperature: float = 1.0
    """Below 1: closer to the most probable drawing; 0: that one. See GaussianMixture.tempered."""
    scale_temperature: float | None = None
    """The temperature of the scales alone, if another."""
    bias: float = 0.0
    """Graves' probability bias: above 0, neater. See GaussianMixture.biased."""
    endless: bool = False
    """Whether what would end goes on, for as many steps as are asked for."""

    def __post_init__(self) -> None:
        for name in ("temperature", "scale_temperature"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value >= 0):
                raise InputError(f"{name} is {value}; expected 0 or more")
        if not np.isfinite(self.bias):
            raise InputError(f"bias is {self.bias}; expected a finite number, 0 for none")

    def __call__(self, steps: StepDistribution) -> StepDistribution:
        """The distribution to draw from."""
        steps = steps.endless() if self.endless else steps  # before temperature 0 puts all on END
        if self.bias:
            steps = steps.biased(self.bias)
        if self.temperature != 1 or self.scale_temperature not in (None, 1):
            steps = steps.tempered(self.temperature, self.scale_temperature)
        return steps


class Drawn(NamedTuple):
    """One generated sequence, its prefix first: motion (T, D), normalised, event (T,), and the inputs (T, A) beside
    which it was drawn, or None."""

    motion: np.ndarray
    event: np.ndarray
    inputs: np.ndarray | None = None


@exactly()
@torch.inference_mode()
def generate(
    model: SequenceModel,
    n: int,
    condition: Condition | None = None,
    prefix: Step | None = None,
    *,
    policy: Policy | None = None,
    sampling: Sampling | None = None,
    seed: int = 0,
    max_steps: int | np.ndarray = 500,
    cell: Tensor | None = None,
    first_cell: Tensor | None = None,
    bounds: Tensor | None = None,
    batch_size: int = 256,
    shared_noise: bool = False,
) -> list[Drawn]:
    """Draw n sequences of at most `max_steps` new steps, of each or (n,); the last event is END unless that cut one
    short.

    All the noise of sequence i comes from (seed, i): it is the same drawing whatever batch it is drawn in.

    Args:
        condition: label (n,) and inputs (n, T, A), for the models that take them; the inputs' T bounds the steps.
            Its latent (n, Z) comes from the prior where a model needs one and there is none.
        prefix: an unfinished sequence, motion (P, D), normalised, and event (P,), that all of them go on from; for a
            policy with the inputs (P, A) that led to its steps.
        policy: makes the inputs as it goes, where none are given; those of first steps, which nothing led to, are 0.
        sampling: temperatures and bias; the model's own distribution by default.
        cell: widths (D,) of the grid's cells, normalised. Motions are rounded to that grid: so they are drawn with
            the probabilities of its cells, and the model goes on from what is kept. 0 where a feature is continuous;
            None where all are.
        first_cell: the same of a sequence's first step, by default as the others'.
        bounds: least and greatest places (2, P), normalised: a step beyond ends there, and the model goes on from that.
        batch_size: sequences drawn at once.
        shared_noise: all sequences have the noise of (seed, 0): only their conditions tell them apart.
    """
    check_request(n, seed, int(np.min(max_steps, initial=1 << 30)))
    if np.ndim(max_steps) and np.shape(max_steps) != (n,):
        raise InputError(f"max_steps: received shape {np.shape(max_steps)}, expected a number or ({n},)")
    limits = np.broadcast_to(max_steps, n)
    _check_label(model, condition)
    device, training = next(model.parameters()).device, model.training
    condition = Condition(*(None if given is None else given.to(device) for given in condition or Condition()))
    first_cell = cell if first_cell is None else first_cell
    cell, first_cell, bounds = (None if given is None else given.to(device) for given in (cell, first_cell, bounds))
    model.eval()
    try:
        drawn: list[Drawn] = []
        for first in range(0, n, batch_size):
            rows = slice(first, min(n, first + batch_size))
            part = Condition(*(None if given is None else given[rows] for given in condition))
            keys = ([seed, 0 if shared_noise else i] for i in range(rows.start, rows.stop))
            noises = [np.random.Generator(np.random.Philox(key)) for key in keys]
            if model.latent and part.latent is None:
                part = part._replace(latent=_from_prior(noises, model.latent, device))
            batch = _Batch(model, part, policy, rows, bounds)
            if prefix is not None:
                batch.follow(Step(*(None if given is None else given.to(device) for given in prefix)))  # type: ignore[arg-type]
            drawn += batch.draw(noises, sampling or Sampling(), limits[rows], cell, first_cell)
        return drawn
    finally:
        model.train(training)


def check_request(n: int, seed: int, max_steps: int = 1) -> None:
    """InputError where so many sequences cannot be drawn, or not from this seed."""
    if n < 0 or max_steps < 1:
        raise InputError(f"{n} sequences of {max_steps} steps were asked for; expected 0 or more of 1 or more")
    if seed < 0:
        raise InputError(f"the seed is {seed}; expected 0 or more")


def _check_label(model: SequenceModel, condition: Condition | None) -> None:
    label, classes = None if condition is None else condition.label, model.shape.classes
    if classes and label is not None and not label.is_floating_point() and not ((label >= 0) & (label < classes)).all():
        raise InputError(f"label: received {label.min()} to {label.max()}, expected 0 to {classes - 1}")


class _Batch:
    """Sequences that are drawn side by side: what stands before their next step, and what is drawn already."""

    def __init__(
        self, model: SequenceModel, condition: Condition, policy: Policy | None, rows: slice, bounds: Tensor | None
    ) -> None:
        n = rows.stop - rows.start
        self.model, self.inputs, self.policy = model, condition.inputs, policy
        self.previous, self.state = model.start(n), model.initial_state(n, condition)
        self.alive = np.arange(n)
        self.numbers = torch.arange(rows.start, rows.stop, device=self.previous.motion.device)
        self.parts: list[list[Drawn]] = [[] for _ in range(n)]
        self.done = 0
        self.bounds, self.place = bounds, torch.zeros_like(self.previous.motion)
        self.beside: Tensor | None = None
        """The inputs (B, A) beside the step that is drawn."""

    def follow(self, prefix: Step) -> None:
        """Go through the steps of `prefix`, motion (P, D), event (P,) and inputs (P, A) or None, in every sequence."""
        n, policy = len(self.alive), self.policy
        if prefix.inputs is not None and self.inputs is None:
            self.inputs, self.policy = prefix.inputs.expand(n, -1, -1), None
        for motion, event in zip(prefix.motion, prefix.event, strict=True):
            self._distribution()
            self.previous = Step(motion.expand_as(self.previous.motion), event.expand_as(self.previous.event))
            self.place = self.place + motion
        acts = [None] * n if self.inputs is None else self.inputs[:, : len(prefix.event)].cpu().numpy()
        for parts, own in zip(self.parts, acts, strict=True):
            parts.append(Drawn(prefix.motion.cpu().numpy(), prefix.event.cpu().numpy(), own))
        if policy is not None:
            self.inputs, self.policy = None, policy

    def draw(
        self,
        noises: list[np.random.Generator],
        sampling: Sampling,
        limits: np.ndarray,
        cell: Tensor | None,
        first_cell: Tensor | None,
    ) -> list[Drawn]:
        """Go on until all have ended, each for at most so many steps, limits (B,); the whole sequences."""
        lasts = self.done + (limits if self.inputs is None else np.minimum(limits, self.inputs.shape[1] - self.done))
        while len(self.alive) and self.done < (last := int(lasts[self.alive].max())):
            chunk: list[Step] = []
            left = min(_CHUNK, last - self.done)
            for noise in steps_of_noise(
                [noises[i] for i in self.alive], self.previous.motion, self.model.choices, left
            ):
                steps = sampling(self._distribution())
                step = steps.transform(noise, first_cell if self.done == 1 else cell)._replace(inputs=self.beside)
                if self.bounds is not None:
                    step = step._replace(motion=within(step.motion, self.place, self.bounds))
                    self.place = self.place + step.motion
                over = self.model.finished(self.state)
                if over is not None:
                    step = step._replace(event=torch.where(over, END, step.event))
                self.previous = step
                chunk.append(step)
            self._keep(chunk, lasts[self.alive] - self.done)
        return [_joined(parts) for parts in self.parts if parts]

    def _distribution(self) -> StepDistribution:
        self.beside = None if self.inputs is None else self.inputs[:, self.done]
        if self.policy is not None:
            motion = self.previous.motion
            acts = self.policy(motion, self.state, self.numbers) if self.done else None
            self.beside = motion.new_zeros(len(motion), self.model.shape.inputs) if acts is None else acts
        steps, self.state = self.model.step(self.previous._replace(inputs=self.beside), self.state)
        self.done += 1
        return steps

    def _keep(self, chunk: list[Step], left: np.ndarray) -> None:
        """Take a chunk's steps to the host, each sequence's up to its END or its limit, `left` (B,) steps after the
        chunk's; go on with those that reached neither."""
        motion = torch.stack([step.motion for step in chunk], 1).cpu().numpy()
        event = torch.stack([step.event for step in chunk], 1).cpu().numpy()
        inputs = [step.inputs for step in chunk if step.inputs is not None]
        acts = torch.stack(inputs, 1).cpu().numpy() if inputs else None
        ended = (event == END).any(1)
        lengths = np.where(ended, (event == END).argmax(1) + 1, len(chunk))
        lengths, ended = np.minimum(lengths, len(chunk) + left), ended | (left <= 0)
        for row, i in enumerate(self.alive):
            rows = slice(lengths[row])
            self.parts[i].append(Drawn(motion[row, rows], event[row, rows], None if acts is None else acts[row, rows]))
        if ended.any():
            going = np.flatnonzero(~ended)
            left_rows = torch.from_numpy(going).to(self.previous.motion.device)
            self.alive, self.state = self.alive[going], take(self.state, left_rows)
            self.numbers, self.place = self.numbers[left_rows], self.place[left_rows]
            self.previous = Step(self.previous.motion[left_rows], self.previous.event[left_rows])
            self.inputs = None if self.inputs is None else self.inputs[left_rows]


def within(motion: Tensor, place: Tensor, bounds: Tensor) -> Tensor:
    """Motions (B, D) from a place (B, D), cut short where they would lead beyond the bounds (2, P) of its first P."""
    wide = bounds.shape[1]
    kept = (place + motion)[:, :wide].clamp(*bounds) - place[:, :wide]
    return torch.cat([kept, motion[:, wide:]], 1)


def _from_prior(generators: list[np.random.Generator], latent: int, device: torch.device) -> Tensor:
    rows = [generator.standard_normal(latent, np.float32) for generator in generators]
    return torch.from_numpy(np.stack(rows)).to(device)


def _joined(parts: list[Drawn]) -> Drawn:
    motion, event, inputs = zip(*parts, strict=True)
    acts = [part for part in inputs if part is not None]
    return Drawn(np.concatenate(motion), np.concatenate(event), np.concatenate(acts) if acts else None)


def steps_of_noise(
    generators: list[np.random.Generator], like: Tensor, choices: int = 1, steps: int = _CHUNK
) -> Iterator[Noise]:
    """The next chunk of noise of each sequence, step by step; always drawn whole, so that streams stay aligned.

    `like` (B, D) tells the features, `choices` how many components a step is drawn from.
    """
    uniform = [generator.random((choices + 1, _CHUNK), np.float32) for generator in generators]
    shape = (_CHUNK, like.shape[-1])
    normal = np.stack([generator.standard_normal(shape, np.float32) for generator in generators], 1)
    component = np.stack([own[:choices].T for own in uniform], 1)
    components, events, normals = (
        torch.from_numpy(part).to(like.device)
        for part in (component, np.stack([own[choices] for own in uniform], 1), normal)
    )
    for time in range(steps):
        yield Noise(components[time, :, 0] if choices == 1 else components[time], events[time], normals[time])
