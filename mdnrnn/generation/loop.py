"""Autoregressive generation: `generate` samples sequences from any sequence model."""

from __future__ import annotations

from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mdnrnn.device import full_precision
from mdnrnn.distributions import Step
from mdnrnn.generation.arguments import check_generation_arguments, check_label
from mdnrnn.generation.constraints import BinWidths, SamplingConstraints
from mdnrnn.generation.prefix import Policy, SequenceInitializer
from mdnrnn.generation.sampling import Sampling
from mdnrnn.generation.slots import GeneratedSequence, SlotGenerator
from mdnrnn.models.base import Condition, SequenceModel
from mdnrnn.multiprocess import check_workers, map_in_processes


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
    """Generate n sequences.

    The last event of a sequence is END, unless the sequence reached its maximum number of steps. All noise of sequence
    i depends on (seed, i) only, so the sequence does not depend on `batch_size`, `n` or `workers`.

    Args:
        model: any sequence model.
        n: number of sequences.
        condition: label (n,) or (n, classes), inputs (n, T, A), latent (n, Z) and text (n, U), if the model takes them.
            T limits the number of steps. A missing latent is sampled from the prior.
        prefix: unfinished sequence that all sequences continue: motion (P, D), normalized, and event (P,); with a
            policy also the inputs (P, A) of its steps.
        policy: chooses the inputs of each step if the condition has none; the inputs of the first step of a sequence
            are 0.
        sampling: sampling options; by default, samples of the model's distribution.
        seed: random seed.
        max_steps: maximum number of new steps, a number or shape (n,).
        bin_width: bin widths of the grid of the motions, normalized, shape (D,), 0 for a continuous feature; None
            without a grid. Sampled motions are rounded to the grid, so grid points have the probabilities of their
            bins, and the model reads the rounded motions.
        first_bin_width: bin widths of the first step of a sequence, shape (D,); default: `bin_width`.
        bounds: lower and upper bounds of the position's first P features, normalized, shape (2, P). Motions that would
            leave the bounds are shortened, and the model reads the shortened motions.
        batch_size: number of sequences generated at the same time.
        shared_noise: whether all sequences use the noise of sequence 0, so that they differ by their conditions only.
        workers: number of worker processes; more than 1 requires a model on a CPU and no policy.

    Raises:
        InputError: an argument is invalid.
    """
    check_generation_arguments(n, seed, max_steps)
    check_label(None if condition is None else condition.label, model.shape.classes)
    like = next(model.parameters())
    check_workers(workers, like.device, policy)
    condition = Condition(*(None if part is None else part.to(like.device) for part in condition or Condition()))
    if prefix is not None:
        prefix = Step(*(None if part is None else part.to(like.device) for part in prefix))  # type: ignore[arg-type]
    initializer = SequenceInitializer(
        model=model, condition=condition, prefix=prefix, policy=policy, seed=seed, shared_noise=shared_noise
    )
    constraints = SamplingConstraints(
        sampling or Sampling(),
        BinWidths.from_arguments(bin_width, first_bin_width, like),
        None if bounds is None else bounds.to(like),
    )
    job = _Job(initializer, constraints, initializer.limit_steps(np.broadcast_to(max_steps, n)), batch_size)
    training = model.training
    model.eval()
    try:
        sequences = job.run() if workers == 1 else _run_in_processes(job, workers)
    finally:
        model.train(training)
    if prefix is not None:
        sequences = [[start, *parts] for start, parts in zip(_prefixes(initializer, n), sequences, strict=True)]
    return [_concatenate(parts) for parts in sequences if parts]


class _Job(NamedTuple):
    """Sequences to generate and their maximum numbers of new steps, `limits` (n,)."""

    initializer: SequenceInitializer
    constraints: SamplingConstraints
    limits: np.ndarray
    batch_size: int

    @full_precision()
    @torch.inference_mode()
    def run(self) -> list[list[GeneratedSequence]]:
        """Generate all sequences; return each as a list of consecutive parts."""
        if not self.limits.any():
            return [[] for _ in self.limits]
        slots = min(len(self.limits), self.batch_size)
        return SlotGenerator(self.initializer, self.constraints, self.limits, slots).generate()


def _run_in_processes(job: _Job, workers: int) -> list[list[GeneratedSequence]]:
    """Divide the sequences evenly among worker processes; return each as a list of consecutive parts."""
    ends = np.linspace(0, len(job.limits), workers + 1).astype(int)
    shares = [slice(first, last) for first, last in pairwise(ends) if first < last]
    jobs = [job._replace(initializer=job.initializer.select(rows), limits=job.limits[rows]) for rows in shares]
    return list(chain.from_iterable(map_in_processes(_Job.run, jobs, workers)))


def _prefixes(initializer: SequenceInitializer, n: int) -> list[GeneratedSequence]:
    """Return the prefix of each of n sequences."""
    assert initializer.prefix is not None
    motion, event = initializer.prefix.motion.cpu().numpy(), initializer.prefix.event.cpu().numpy()
    if initializer.known_inputs is None:
        return [GeneratedSequence(motion, event)] * n
    inputs = initializer.known_inputs[:, : initializer.prefix_length].expand(n, -1, -1).cpu().numpy()
    return [GeneratedSequence(motion, event, row) for row in inputs]


def _concatenate(parts: list[GeneratedSequence]) -> GeneratedSequence:
    motion, event, inputs = zip(*parts, strict=True)
    known = [part for part in inputs if part is not None]
    return GeneratedSequence(np.concatenate(motion), np.concatenate(event), np.concatenate(known) if known else None)
