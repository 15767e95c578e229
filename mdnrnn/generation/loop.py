"""Autoregressive generation: `generate` samples sequences from any sequence model."""

from __future__ import annotations

from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mdnrnn.device import full_precision
from mdnrnn.distributions import Step
from mdnrnn.errors import InputError
from mdnrnn.generation.arguments import check_bin_width, check_bounds, check_generation_arguments
from mdnrnn.generation.condition import check_condition, check_prefix
from mdnrnn.generation.constraints import BinWidths, SamplingConstraints
from mdnrnn.generation.prefix import Policy, SequenceInitializer
from mdnrnn.generation.sampling import Sampling
from mdnrnn.generation.slots import GeneratedSequence, SlotGenerator
from mdnrnn.generation.stopping import check_stroke_limits
from mdnrnn.models.base import Condition, SequenceModel
from mdnrnn.multiprocess import check_workers, map_in_processes
from mdnrnn.nn.evaluation_mode import evaluation_mode


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

    A sequence ends with the event END or at its maximum number of steps. All noise of sequence i depends on (seed, i)
    only, so the sequence does not depend on `batch_size`, `n` or `workers`.

    Args:
        model: any sequence model.
        n: number of sequences.
        condition: label (n,) or (n, classes), inputs (n, T, A), latent (n, Z), text (n, U) and context
            (n, C), if the model takes them.
            With inputs, a sequence has at most T steps, including its prefix. If a model needs latent vectors and the
            condition has none, they are sampled from the prior.
        prefix: unfinished sequence that all sequences continue: normalized motion (P, D) and event (P,). With a policy,
            the prefix may contain inputs (P, A). If the prefix contains no inputs, the policy also chooses the inputs
            of the steps of the prefix.
        policy: function that chooses the inputs of each step except the first, whose inputs are 0; see `Policy`. If the
            condition has inputs, the policy is not used.
        sampling: sampling options; by default steps are sampled from the model's distribution. Stroke limits count the
            strokes of the prefix. A stopping rule receives normalized motions.
        seed: random seed, a whole number >= 0 of any size.
        max_steps: maximum number of new steps: one number for all sequences, or an array (n,) with one per sequence.
        bin_width: normalized bin widths of a grid, shape (D,); 0 for a continuous feature. Sampled motions are rounded
            to the grid before the model reads them. The probability of a grid point is therefore the probability of its
            bin. None: motions are not rounded.
        first_bin_width: bin widths for the first step of a sequence, shape (D,); by default `bin_width`.
        bounds: normalized lower and upper bounds of the first P features of the position (the sum of the motions),
            shape (2, P). Motions that would lead out of the bounds are shortened before the model reads them.
        batch_size: number of sequences generated at the same time.
        shared_noise: whether all sequences use the noise of sequence 0; they then differ by their conditions only.
        workers: number of worker processes; more than 1 requires a model on a CPU, no policy and no stopping rule.

    Returns:
        The generated sequences, including the prefix.

    Raises:
        InputError: an argument is invalid or does not fit the model.
    """
    check_generation_arguments(n, seed, max_steps, batch_size)
    like, features = next(model.parameters()), model.shape.features
    sampling = sampling or Sampling()
    check_workers(workers, like.device, policy=policy, stop=getattr(sampling, "stop", None))
    if policy is not None and not model.shape.inputs:
        raise InputError("policy: received a policy for a model without inputs; omit the policy")
    condition = check_condition(condition, model, n)
    prefix = check_prefix(prefix, model, condition.inputs)
    check_stroke_limits(sampling, model.shape.events, prefix)
    bin_width = check_bin_width("bin_width", bin_width, features)
    first_bin_width = check_bin_width("first_bin_width", first_bin_width, features)
    bounds = check_bounds(bounds, features)
    initializer = SequenceInitializer(
        model=model, condition=condition, prefix=prefix, policy=policy, seed=seed, shared_noise=shared_noise
    )
    constraints = SamplingConstraints(
        sampling,
        BinWidths.from_arguments(bin_width, first_bin_width, like),
        None if bounds is None else bounds.to(like),
    )
    job = _Job(initializer, constraints, initializer.limit_steps(np.broadcast_to(max_steps, n)), batch_size)
    with evaluation_mode(model):
        sequences = job.run() if workers == 1 else _run_in_processes(job, workers)
    if prefix is not None:
        sequences = [[start, *parts] for start, parts in zip(_prefixes(initializer, n), sequences, strict=True)]
    return [_concatenate(parts) for parts in sequences if parts]


class _Job(NamedTuple):
    """Sequences that one process generates.

    `limits`: maximum number of new steps of each sequence, shape (n,).
    """

    initializer: SequenceInitializer
    constraints: SamplingConstraints
    limits: np.ndarray
    batch_size: int

    @full_precision()
    @torch.inference_mode()
    def run(self) -> list[list[GeneratedSequence]]:
        """Generate all sequences. Return, for each sequence, a list of its consecutive parts."""
        if not self.limits.any():
            return [[] for _ in self.limits]
        slots = min(len(self.limits), self.batch_size)
        return SlotGenerator(self.initializer, self.constraints, self.limits, slots).generate()


def _run_in_processes(job: _Job, workers: int) -> list[list[GeneratedSequence]]:
    """Divide the sequences among worker processes. Return, for each sequence, a list of its consecutive parts."""
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
