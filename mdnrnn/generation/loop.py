"""The only autoregressive loop: every sequence that any model draws is drawn here."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mdnrnn.device import full_precision, single_thread
from mdnrnn.distributions import Step
from mdnrnn.errors import InputError
from mdnrnn.events import END
from mdnrnn.generation.constraints import BinWidths, SamplingConstraints, clip_to_bounds
from mdnrnn.generation.cuda_graph import GraphedFunction
from mdnrnn.generation.fused_sampler import FusedSampler
from mdnrnn.generation.noise import NOISE_CHUNK, fill_noise
from mdnrnn.generation.numpy_stepper import OneRow
from mdnrnn.generation.prefix import Policy as Policy
from mdnrnn.generation.prefix import SequenceInitializer
from mdnrnn.generation.sampling import Sampling as Sampling
from mdnrnn.generation.steppers import PackedStepper, Stepper, stepper
from mdnrnn.models.base import Condition, SequenceModel
from mdnrnn.multiprocess import check_workers, map_in_processes

_GROUP = 8
"""Sequences begin in place of those that have ended once that is one in so many: to begin takes a while."""


class GeneratedSequence(NamedTuple):
    """One generated sequence, its prefix first: motion (T, D), normalized, event (T,), and the inputs (T, A) beside
    which it was drawn, or None."""

    motion: np.ndarray
    event: np.ndarray
    inputs: np.ndarray | None = None


@full_precision()
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
    bin_width: Tensor | None = None,
    first_bin_width: Tensor | None = None,
    bounds: Tensor | None = None,
    batch_size: int = 256,
    shared_noise: bool = False,
    workers: int = 1,
) -> list[GeneratedSequence]:
    """Draw n sequences of at most `max_steps` new steps, of each or (n,); the last event is END unless that cut one
    short.

    All the noise of sequence i comes from (seed, i): it is the same drawing whatever batch it is drawn in.

    Args:
        condition: label (n,) and inputs (n, T, A), for the models that take them; the inputs' T bounds the steps.
            Its latent (n, Z) comes from the prior where a model needs one and there is none.
        prefix: an unfinished sequence, motion (P, D), normalized, and event (P,), that all of them go on from; for a
            policy with the inputs (P, A) that led to its steps.
        policy: makes the inputs as it goes, where none are given; those of first steps, which nothing led to, are 0.
        sampling: temperatures and bias; the model's own distribution by default.
        bin_width: widths (D,) of the grid's bin_widths, normalized. Motions are rounded to that grid: so they are drawn with
            the probabilities of its bin_widths, and the model goes on from what is kept. 0 where a feature is continuous;
            None where all are.
        first_bin_width: the same of a sequence's first step, by default as the others'.
        bounds: least and greatest places (2, P), normalized: a step beyond ends there, and the model goes on from that.
        batch_size: sequences drawn at once.
        shared_noise: all sequences have the noise of (seed, 0): only their conditions tell them apart.
        workers: processes that share the sequences, on a CPU; they draw the same.
    """
    check_generation_arguments(n, seed, int(np.min(max_steps, initial=1 << 30)))
    if np.ndim(max_steps) and np.shape(max_steps) != (n,):
        raise InputError(f"max_steps: received shape {np.shape(max_steps)}, expected a number or ({n},)")
    _check_label(model, condition)
    like, training = next(model.parameters()), model.training
    condition = Condition(*(None if given is None else given.to(like.device) for given in condition or Condition()))
    if prefix is not None:
        prefix = Step(*(None if part is None else part.to(like.device) for part in prefix))  # type: ignore[arg-type]
    check_workers(workers, like.device, policy)
    begin = SequenceInitializer(
        model=model, condition=condition, prefix=prefix, policy=policy, seed=seed, shared_noise=shared_noise
    )
    how = SamplingConstraints(
        sampling or Sampling(),
        BinWidths.of(bin_width, first_bin_width, like),
        None if bounds is None else bounds.to(like),
    )
    work = _Work(begin, how, begin.lengths(np.broadcast_to(max_steps, n)), batch_size)
    model.eval()
    try:
        parts = work.draw() if workers == 1 else _shared(work, workers)
    finally:
        model.train(training)
    if prefix is not None:
        parts = [[before, *after] for before, after in zip(_prefixes(begin, n), parts, strict=True)]
    return [_joined(each) for each in parts if each]


def check_generation_arguments(n: int, seed: int, max_steps: int = 1) -> None:
    """InputError where so many sequences cannot be drawn, or not from this seed."""
    if n < 0 or max_steps < 1:
        raise InputError(f"{n} sequences of {max_steps} steps were asked for; expected 0 or more of 1 or more")
    if seed < 0:
        raise InputError(f"the seed is {seed}; expected 0 or more")


def _check_label(model: SequenceModel, condition: Condition | None) -> None:
    label, classes = None if condition is None else condition.label, model.shape.classes
    if classes and label is not None and not label.is_floating_point() and not ((label >= 0) & (label < classes)).all():
        raise InputError(f"label: received {label.min()} to {label.max()}, expected 0 to {classes - 1}")


class _Chunk:
    """So many steps of B sequences, from buffers that stay where they are: nothing in it waits for the host."""

    def __init__(
        self, begin: SequenceInitializer, how: SamplingConstraints, steps: Stepper, place: Tensor, alone: bool = False
    ) -> None:
        self.begin, self.how, self.stepper, self.position = begin, how, steps, place
        model, batch = begin.model, len(place)
        self.draw = FusedSampler(model.decoder.head, how.sampling, batch)
        self.host = [
            torch.empty(batch, *shape, pin_memory=place.is_cuda)
            for shape in ((model.component_choices + 1, NOISE_CHUNK), (NOISE_CHUNK, model.shape.features))
        ]
        self.noise = [part.to(self.draw.bias, copy=False) for part in self.host]
        self.uniforms = self.noise[0][:, : self.draw.groups].permute(2, 0, 1).unsqueeze(-1).unbind(0)
        self.normals = self.noise[1].unbind(1)
        self.numbers = torch.zeros(batch, dtype=torch.long, device=place.device)
        self.fresh = torch.zeros(batch, 1, dtype=torch.bool, device=place.device)
        """Whose first step is the chunk's first."""
        self.beside = place.new_zeros(NOISE_CHUNK, batch, model.shape.inputs)
        self.finishes = model.finished(steps.state) is not None
        self.alone = OneRow(steps, self.draw) if alone and isinstance(steps, PackedStepper) else None

    def prepare(self, noises: list[np.random.Generator | None], numbers: np.ndarray, done: np.ndarray) -> None:
        """Bring up what the next steps need: of the sequences in the slots, their noise, or None where a slot stands
        empty, their numbers (B,), and how many steps they have (B,)."""
        for row, noise in enumerate(noises):
            if noise is not None:
                fill_noise(noise, self.host[0][row].numpy(), self.host[1][row].numpy())
        for own, part in zip(self.noise, self.host, strict=True):
            if own is not part:
                own.copy_(part, non_blocking=True)
        self.numbers.copy_(torch.from_numpy(numbers))
        self.fresh.copy_(torch.from_numpy(done == 0).unsqueeze(1))
        known = self.begin.condition.inputs
        if known is not None:
            times = np.minimum(done + np.arange(NOISE_CHUNK)[:, None], known.shape[1] - 1)
            self.beside.copy_(known[self.numbers, torch.from_numpy(times).to(known.device)])

    def run_alone(self, alone: OneRow, steps: int) -> list[np.ndarray]:
        """As `run`, of one sequence on the host."""
        widths, uniforms, normals = self.how.widths, self.host[0][0].numpy(), self.host[1][0].tolist()
        uniforms = uniforms[: self.draw.groups].T[..., None]
        bin_width = None if widths.bin_width is None else widths.bin_width.tolist()
        motion, event = np.empty((steps, 1, len(normals[0])), np.float32), np.empty((steps, 1), np.int64)
        for time in range(steps):
            first = time == 0 and widths.first is not None and bool(self.fresh)
            given = widths.first.tolist() if first and widths.first is not None else bin_width
            motion[time, 0], event[time, 0] = alone.step(uniforms[time], normals[time], given)
        return [motion, event]

    def run(self, steps: int) -> list[Tensor]:
        """The steps that are drawn: motion (T, B, D), event (T, B), and inputs (T, B, A) if there are any."""
        drawn: list[tuple[Tensor, ...]] = []
        for time in range(steps):
            beside = self._inputs(time)
            features, widths, bounds = self.stepper.step_hidden(beside), self.how.widths, self.how.bounds
            bin_width = widths.bin_width
            if time == 0 and bin_width is not None and widths.first is not None:
                bin_width = torch.where(self.fresh, widths.first, bin_width)
            motion, event = self.draw(features, self.uniforms[time], self.normals[time], bin_width, widths.whole)
            if bounds is not None:
                motion = clip_to_bounds(motion, self.position, bounds)
                self.position.add_(motion)
            event = event.clone()
            if self.finishes and (over := self.begin.model.finished(self.stepper.state)) is not None:
                event.masked_fill_(over, END)
            self.stepper.set_previous(motion, event)
            drawn.append((motion, event) if beside is None else (motion, event, beside))
        return [torch.stack(part) for part in zip(*drawn, strict=True)]

    def _inputs(self, time: int) -> Tensor | None:
        policy = self.begin.policy
        if self.begin.condition.inputs is not None:
            return self.beside[time]
        if policy is None:
            return None
        if time == 0 and bool(self.fresh.all()):
            return self.beside[0]
        acts = policy(self.stepper.motion.clone(), self.stepper.state, self.numbers)
        return torch.where(self.fresh, 0, acts) if time == 0 else acts


class _Work(NamedTuple):
    """Sequences to draw, of at most `lengths` (n,) new steps."""

    begin: SequenceInitializer
    how: SamplingConstraints
    lengths: np.ndarray
    batch_size: int

    @full_precision()
    @torch.inference_mode()
    def draw(self) -> list[list[GeneratedSequence]]:
        """The parts of each."""
        if not self.lengths.any():
            return [[] for _ in self.lengths]
        slots = min(len(self.lengths), self.batch_size)
        alone = slots == 1 and self._goes_alone()
        with single_thread() if alone else nullcontext():
            return _Slots(self.begin, self.how, self.lengths, slots, alone).draw()

    def _goes_alone(self) -> bool:
        """Whether one sequence at a time is drawn by NumPy."""
        begin, how = self.begin, self.how
        usual = begin.policy is None and how.bounds is None
        return usual and OneRow.covers(begin.model.decoder, how.sampling)


def _shared(work: _Work, workers: int) -> list[list[GeneratedSequence]]:
    """The same by several processes, an even share each."""
    ends = np.linspace(0, len(work.lengths), workers + 1).astype(int)
    shares = [slice(first, last) for first, last in pairwise(ends) if first < last]
    works = [work._replace(begin=work.begin.some(rows), lengths=work.lengths[rows]) for rows in shares]
    return list(chain.from_iterable(map_in_processes(_Work.draw, works, workers)))


class _Slots:
    """Sequences that are drawn side by side, a slot each: where one has ended, the next begins."""

    def __init__(
        self, begin: SequenceInitializer, how: SamplingConstraints, lengths: np.ndarray, slots: int, alone: bool
    ) -> None:
        self.begin, self.how, self.lengths = begin, how, lengths
        self.parts: list[list[GeneratedSequence]] = [[] for _ in lengths]
        self.numbers, self.next = np.arange(slots), slots
        self.done, self.left = np.full(slots, begin.given), lengths[:slots].copy()
        begun = begin(self.numbers)
        self.noises: list[np.random.Generator | None] = list(begun.noises)
        steps = stepper(begin.model.decoder, begun.previous, begun.state)
        self.chunk = _Chunk(begin, how, steps, begun.position, alone)
        self.replayed: GraphedFunction[list[Tensor]] | None = None
        if begun.position.is_cuda and begin.policy is None:  # what a policy does, nobody knows
            self.replayed = GraphedFunction(partial(self.chunk.run, NOISE_CHUNK), begun.position.device)

    def draw(self) -> list[list[GeneratedSequence]]:
        """Draw all sequences to their ends, a chunk of steps at a time; their parts."""
        while self.left.any():
            self.chunk.prepare(self.noises, self.numbers, self.done)
            steps = min(NOISE_CHUNK, int(self.left.max()))
            self._keep(self._drawn(steps))
            self._begin_others()
        return self.parts

    def _drawn(self, steps: int) -> list[np.ndarray]:
        """A chunk of so many steps, on the host."""
        if self.chunk.alone is not None:
            return self.chunk.run_alone(self.chunk.alone, steps)
        return _down(self.chunk.run(steps) if self.replayed is None else self.replayed())

    def _keep(self, drawn: list[np.ndarray]) -> None:
        """Take what was drawn, each sequence's up to its END or its limit."""
        ends, steps = drawn[1] == END, len(drawn[1])
        lengths = np.minimum(np.where(ends.any(0), ends.argmax(0) + 1, steps), self.left)
        for row in np.flatnonzero(self.left):
            self.parts[self.numbers[row]].append(GeneratedSequence(*(part[: lengths[row], row] for part in drawn)))
        self.done += steps
        self.left = np.where(ends.any(0), 0, np.maximum(self.left - steps, 0))

    def _begin_others(self) -> None:
        """The next sequences in the slots of those that have ended; where no more wait, the others go on alone."""
        free = np.flatnonzero(self.left == 0)
        for row in free:
            self.noises[row] = None
        waiting = len(self.lengths) - self.next
        if waiting and len(free) >= max(1, min(len(self.left) // _GROUP, waiting)):
            self._put(free[:waiting])
        elif not waiting and len(free) and self.left.any() and self.replayed is None:
            self._leave(np.flatnonzero(self.left))

    def _put(self, rows: np.ndarray) -> None:
        numbers = np.arange(self.next, self.next + len(rows))
        begun, where = self.begin(numbers), torch.from_numpy(rows).to(self.chunk.position.device)
        self.chunk.stepper.replace_rows(where, begun.previous, begun.state)
        self.chunk.position[where] = begun.position
        for row, noise in zip(rows, begun.noises, strict=True):
            self.noises[row] = noise
        self.numbers[rows], self.done[rows], self.left[rows] = numbers, self.begin.given, self.lengths[numbers]
        self.next += len(rows)

    def _leave(self, rows: np.ndarray) -> None:
        where = torch.from_numpy(rows).to(self.chunk.position.device)
        self.chunk = _Chunk(self.begin, self.how, self.chunk.stepper.select_rows(where), self.chunk.position[where])
        self.noises = [self.noises[row] for row in rows]
        self.numbers, self.done, self.left = self.numbers[rows], self.done[rows], self.left[rows]


def _down(parts: list[Tensor]) -> list[np.ndarray]:
    """On the host, waiting once for all of them."""
    if not parts[0].is_cuda:
        return [part.numpy() for part in parts]
    pinned = [part.to("cpu", non_blocking=True) for part in parts]
    torch.cuda.current_stream(parts[0].device).synchronize()
    return [part.numpy().copy() for part in pinned]


def _prefixes(begin: SequenceInitializer, n: int) -> list[GeneratedSequence]:
    """The steps that each of n sequences goes on from."""
    assert begin.prefix is not None
    motion, event = begin.prefix.motion.cpu().numpy(), begin.prefix.event.cpu().numpy()
    if begin.inputs is None:
        return [GeneratedSequence(motion, event)] * n
    acts = begin.inputs[:, : begin.given].expand(n, -1, -1).cpu().numpy()
    return [GeneratedSequence(motion, event, own) for own in acts]


def _joined(parts: list[GeneratedSequence]) -> GeneratedSequence:
    motion, event, inputs = zip(*parts, strict=True)
    acts = [part for part in inputs if part is not None]
    return GeneratedSequence(np.concatenate(motion), np.concatenate(event), np.concatenate(acts) if acts else None)
