"""Exact likelihoods of held-out sequences, the null model beside them, and the sketch-rnn paper's convention."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mdnrnn.data.batches import Batch, Batches
from mdnrnn.data.corpus import Corpus, Normalizer, pieces
from mdnrnn.device import exactly
from mdnrnn.distributions import END, StepDistribution
from mdnrnn.models.base import SequenceModel, negative_log_likelihood

_QUADRATURE = 4


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """Negative log-likelihoods of a split, natural logarithm, means over its sequences or its points.

    `measure` says what the nats of a motion are: "cell", the probability of its cell of one quantum, or "density",
    in raw units.
    """

    sequences: int
    points: int
    measure: str
    nats_per_sequence: float
    nats_per_point: float
    motion_nats_per_point: float
    event_nats_per_point: float
    null_nats_per_sequence: float
    null_nats_per_point: float
    density_nats_per_sequence: float
    """With the density in normalised units, at points with uniform noise of one quantum where there is one."""
    density_nats_per_point: float
    paper_L_R: float
    """Ha and Eck's L_R (arXiv:1704.03477): density in normalised units without noise, over N_max, not over T."""


@exactly()
@torch.no_grad()
def evaluate(model: SequenceModel, data: Batches, seed: int = 0) -> Likelihood:
    """The likelihood of one split, in float32; `seed` fixes the noise of the density."""
    device, training = next(model.parameters()).device, model.training
    generator = torch.Generator().manual_seed(seed)
    model.eval()
    sums = np.zeros(4)
    for batch in data:
        noise = torch.rand(batch.target.motion.shape, generator=generator) - 0.5
        batch = batch.to(device)
        sums += _sums(model(batch), batch, noise.to(device))
    model.train(training)
    corpus = data.corpus
    motion, event, density, bare = sums
    sequences = len(corpus.indices(data.split))
    rows = corpus.rows(data.split)
    points = rows.stop - rows.start
    if corpus.facts.quantum is None:  # densities are computed normalised and reported in raw units
        motion += points * data.normalizer.log_volume
    longest = max(
        int(corpus.lengths[slice(*bounds)].max()) for bounds in corpus.splits.values() if bounds[0] < bounds[1]
    )
    null = null_nats(corpus, data.split, data.normalizer)
    return Likelihood(
        sequences=sequences,
        points=points,
        measure="density" if corpus.facts.quantum is None else "cell",
        nats_per_sequence=(motion + event) / sequences,
        nats_per_point=(motion + event) / points,
        motion_nats_per_point=motion / points,
        event_nats_per_point=event / points,
        null_nats_per_sequence=null / sequences,
        null_nats_per_point=null / points,
        density_nats_per_sequence=(density + event) / sequences,
        density_nats_per_point=(density + event) / points,
        paper_L_R=(bare + event) / (sequences * longest),
    )


def _sums(steps: StepDistribution, batch: Batch, noise: Tensor) -> np.ndarray:
    """Nats of a batch: its motions, its events, the density with noise and without."""
    motion, event = negative_log_likelihood(steps, batch)
    bare = -steps.motion.log_prob(batch.target.motion)
    density = bare
    if batch.cell is not None:
        density = -steps.motion.log_prob(batch.target.motion + noise * batch.cell)
    return np.array([float(nats.double().sum()) for nats in (motion, event, density, bare)])


def null_nats(corpus: Corpus, split: str, normalizer: Normalizer) -> float:
    """Nats of a split under the null model: one Gaussian with full covariance and the marginal event.

    Both are those of "train", or of the split itself where there is none. Measured as `evaluate` measures: cells by
    Gauss-Legendre quadrature over each cell, or the density in raw units.
    """
    first, last = corpus.splits.get("train", (0, 0))
    train, rows = corpus.rows("train" if first < last else split), corpus.rows(split)
    cell = normalizer.cell(corpus.facts.quantum)
    mean, covariance = _moments(corpus, train, normalizer)
    # What a cell hides is spread over it: it adds the variance of a uniform, and keeps the Gaussian from vanishing.
    covariance += (1e-9 if cell is None else np.square(cell) / 12) * np.eye(len(mean))
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    constant = np.log(np.diag(whiten)).sum() - 0.5 * len(mean) * math.log(2 * math.pi)

    def log_density(points: np.ndarray) -> np.ndarray:
        return constant - 0.5 * np.square((points - mean) @ whiten.T).sum(1)

    counts = np.sum([np.bincount(corpus.event[part], minlength=END + 1) for part in pieces(train)], axis=0)
    counts = counts[: int(np.flatnonzero(counts)[-1]) + 1] + 1.0
    log_event, total = np.log(counts / counts.sum()), 0.0
    for part in pieces(rows):
        motion, times = _distinct(np.ascontiguousarray(corpus.motion[part]))
        motion = motion / np.asarray(normalizer.scale)
        if cell is None:
            logs = log_density(motion) - normalizer.log_volume
        else:
            logs = _log_cell_mean(log_density, motion, cell) + np.log(cell).sum()
        total -= float(logs @ times) + float(log_event[corpus.event[part]].sum())
    corpus.release()
    return total


def _distinct(motion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different rows of motion (n, D), and how often each comes; pairs of integers repeat, others are left so."""
    if motion.shape[1] != 2 or motion.dtype.kind != "i" or motion.itemsize > 4:
        return motion, np.ones(len(motion))
    pairs, times = np.unique(motion.view(f"i{2 * motion.itemsize}"), return_counts=True)
    return pairs.view(motion.dtype).reshape(-1, 2), times


def _moments(corpus: Corpus, rows: slice, normalizer: Normalizer) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and covariance (D, D) of motions in units of the normalizer's scale."""
    count, scale = rows.stop - rows.start, np.asarray(normalizer.scale)
    mean = sum(corpus.motion[part].sum(0, dtype=np.float64) for part in pieces(rows)) / count
    squares = np.zeros((len(scale), len(scale)))
    for part in pieces(rows):
        centred = (corpus.motion[part] - mean) / scale
        squares += centred.T @ centred
    return mean / scale, squares / count


def _log_cell_mean(log_density: Callable[[np.ndarray], np.ndarray], points: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Log of the mean density over the cell around each point (N, D)."""
    nodes, weights = np.polynomial.legendre.leggauss(_QUADRATURE)
    total = np.full(len(points), -np.inf)
    for corner in itertools.product(range(_QUADRATURE), repeat=points.shape[1]):
        offset = np.array([nodes[i] for i in corner]) * cell / 2
        weight = math.log(math.prod(weights[i] / 2 for i in corner))
        total = np.logaddexp(total, log_density(points + offset) + weight)
    return total
