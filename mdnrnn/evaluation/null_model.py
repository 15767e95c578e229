"""Null model: one Gaussian with full covariance for all motions, and the marginal frequencies of the events.

The likelihood of the null model is the baseline for the likelihood of a trained model. Time features are represented by
their logarithms.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import CERTAIN_BIN_WIDTH, Normalizer
from mdnrnn.pen_events import END

_QUADRATURE_NODES = 4
"""Number of nodes per dimension of the Gauss-Legendre quadrature over a bin."""
_SEED = 180310122
"""Random seed for sampling motions from the Gaussian posteriors that a corpus stores instead of motions."""


def null_model_nll(corpus: Corpus, split: str, normalizer: Normalizer, raw: bool = True) -> float:
    """Return the total negative log-likelihood of a split under the null model, in nats.

    The null model is fitted to the split "train", or to `split` if the corpus has no split "train". The likelihood of a
    feature with a bin width is the probability of its bin, computed by Gauss-Legendre quadrature. The likelihood of a
    continuous feature is its density. `mdnrnn.evaluate` uses the same kinds of likelihood.

    Args:
        corpus: the corpus.
        split: name of the split to evaluate.
        normalizer: conversion between raw and normalized units.
        raw: whether densities are in raw units; otherwise they are in normalized units.
    """
    if corpus.logvar is not None:  # use one sample of each posterior, like evaluation batches of a model
        noise = np.random.default_rng(_SEED).standard_normal(corpus.motion.shape)
        corpus = replace(corpus, motion=corpus.motion + np.exp(0.5 * corpus.logvar) * noise, logvar=None)
    first, last = corpus.splits.get("train", (0, 0))
    train_rows, rows = corpus.rows("train" if first < last else split), corpus.rows(split)
    mean, covariance = motion_moments(corpus, train_rows, normalizer)
    log_event = _log_event_frequencies(corpus, train_rows)
    bin_widths = [normalizer.bin_widths(corpus.metadata, first) for first in (False, True)]
    log_likelihood = 0.0
    for block in corpus.row_blocks(rows):
        log_likelihood += float(log_event[corpus.event[block]].sum()) if corpus.events else 0.0
        # If there are time features, first rows are treated separately, because time is undefined in a first row.
        is_first = corpus.is_first_row(block) if normalizer.logs else np.zeros(block.stop - block.start, bool)
        for selected, bin_width in zip((~is_first, is_first), bin_widths, strict=True):
            raw_motion, counts = _count_distinct(np.ascontiguousarray(corpus.motion[block][selected]))
            motion = normalizer.normalize(raw_motion, np.flatnonzero(is_first[selected]), np.float64)
            log_prob = _gaussian_log_prob(motion, mean, covariance, bin_width)
            if raw:
                log_prob = log_prob - normalizer.log_abs_det_jacobian(motion, bin_width)
            log_likelihood += float(log_prob @ counts)
    corpus.release_memory()
    return -log_likelihood


def motion_moments(corpus: Corpus, rows: slice, normalizer: Normalizer) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean, shape (D,), and the covariance, shape (D, D), of normalized motions.

    If there are time features, the first row of each sequence is omitted, because its time is undefined.

    Args:
        corpus: the corpus.
        rows: range of rows of the corpus.
        normalizer: conversion between raw and normalized units.
    """

    def motions() -> Iterator[np.ndarray]:
        for block in corpus.row_blocks(rows):
            motion = corpus.motion[block]
            yield normalizer.normalize(
                motion[~corpus.is_first_row(block)] if normalizer.logs else motion, None, np.float64
            )

    count = sum(map(len, motions()))
    features = len(normalizer.scale)
    mean = sum((motion.sum(0) for motion in motions()), np.zeros(features)) / max(1, count)
    squares = sum(((motion - mean).T @ (motion - mean) for motion in motions()), np.zeros((features, features)))
    return mean, squares / max(1, count)


def _log_event_frequencies(corpus: Corpus, rows: slice) -> np.ndarray:
    """Return the log of the relative frequencies of the events 0 to e, where e is the largest event that occurs.

    The counts are increased by one (add-one smoothing).
    """
    blocks = corpus.row_blocks(rows)
    counts = np.sum([np.bincount(corpus.event[block], minlength=END + 1) for block in blocks], axis=0)
    counts = counts[: int(np.flatnonzero(counts)[-1]) + 1] + 1.0
    return np.log(counts / counts.sum())


def _gaussian_log_prob(
    motion: np.ndarray, mean: np.ndarray, covariance: np.ndarray, bin_width: np.ndarray | None
) -> np.ndarray:
    """Return the log-likelihoods of N motions under a Gaussian, shape (N,).

    The likelihood is the bin probability of all features with a bin width times the density of all continuous features.
    Features whose bin width is `CERTAIN_BIN_WIDTH` are ignored, because their bin probability is 1.

    Args:
        motion: normalized motions, shape (N, D).
        mean: mean of the Gaussian, shape (D,).
        covariance: covariance of the Gaussian, shape (D, D).
        bin_width: bin widths, 0 for continuous features, shape (D,); None if all features are continuous.
    """
    bin_width = np.zeros(len(mean)) if bin_width is None else bin_width.astype(np.float64)
    used = bin_width < CERTAIN_BIN_WIDTH
    motion, mean, covariance, bin_width = motion[:, used], mean[used], covariance[np.ix_(used, used)], bin_width[used]
    # Add the variance of a uniform distribution over a bin, or 1e-9 for a continuous feature. This also ensures that
    # the covariance is positive definite.
    covariance = covariance + np.diag(np.where(bin_width > 0, np.square(bin_width) / 12, 1e-9))
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    log_normalization = np.log(np.diag(whiten)).sum() - 0.5 * len(mean) * math.log(2 * math.pi)

    def log_density(points: np.ndarray) -> np.ndarray:
        return log_normalization - 0.5 * np.square((points - mean) @ whiten.T).sum(1)

    if not bin_width.any():
        return log_density(motion)
    return _log_bin_mean(log_density, motion, bin_width) + np.log(bin_width[bin_width > 0]).sum()


def _log_bin_mean(
    log_density: Callable[[np.ndarray], np.ndarray], points: np.ndarray, bin_width: np.ndarray
) -> np.ndarray:
    """Return the log of the mean density over the bin around each point, shape (N,).

    Args:
        log_density: function that maps points (N, D) to log-densities (N,).
        points: centers of the bins, shape (N, D).
        bin_width: bin widths, shape (D,). In a dimension of width 0 the density is evaluated at the center.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_QUADRATURE_NODES)
    total = np.full(len(points), -np.inf)
    for indices in itertools.product(range(_QUADRATURE_NODES), repeat=int((bin_width > 0).sum())):
        offset = np.zeros(len(bin_width))
        offset[bin_width > 0] = nodes[list(indices)] * bin_width[bin_width > 0] / 2
        weight = math.log(math.prod(weights[i] / 2 for i in indices))
        total = np.logaddexp(total, log_density(points + offset) + weight)
    return total


def _count_distinct(motion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct rows of integer motions of shape (N, 2), and their counts.

    Other motions are returned unchanged, with counts of 1.
    """
    if motion.shape[1] != 2 or motion.dtype.kind != "i" or motion.itemsize > 4:
        return motion, np.ones(len(motion))
    pairs, counts = np.unique(motion.view(f"i{2 * motion.itemsize}"), return_counts=True)
    return pairs.view(motion.dtype).reshape(-1, 2), counts
