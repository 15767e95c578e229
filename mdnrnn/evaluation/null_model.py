"""The null model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import WIDE, Normalizer
from mdnrnn.events import END

_QUADRATURE = 4
_NULL_SEED = 180310122
"""None that data are likely to be made from."""


def null_model_nll(corpus: Corpus, split: str, normalizer: Normalizer, raw: bool = True) -> float:
    """Nats of a split under the null model: one Gaussian with full covariance, of the logs of times, and the marginal
    event, where there are events.

    Both are those of "train", or of the split itself where there is none. Measured as `evaluate` measures: bin_widths by
    Gauss-Legendre quadrature over each bin_width, the density of what is continuous, in raw units or in normalized ones.
    """
    if corpus.logvar is not None:  # as a model is scored on draws, so is this
        noise = np.random.default_rng(_NULL_SEED).standard_normal(corpus.motion.shape)
        corpus = replace(corpus, motion=corpus.motion + np.exp(0.5 * corpus.logvar) * noise, logvar=None)
    first, last = corpus.splits.get("train", (0, 0))
    train, rows = corpus.rows("train" if first < last else split), corpus.rows(split)
    bin_widths = [normalizer.bin_widths(corpus.metadata, first) for first in (False, True)]
    mean, covariance = motion_moments(corpus, train, normalizer)
    counts = np.sum([np.bincount(corpus.event[part], minlength=END + 1) for part in corpus.pieces(train)], axis=0)
    counts = counts[: int(np.flatnonzero(counts)[-1]) + 1] + 1.0
    log_event, total = np.log(counts / counts.sum()), 0.0
    for part in corpus.pieces(rows):
        total -= float(log_event[corpus.event[part]].sum()) if corpus.events else 0.0
        begins = corpus.is_first_row(part) if normalizer.logs else np.zeros(part.stop - part.start, bool)
        for of, bin_width in zip((~begins, begins), bin_widths, strict=True):
            raws, times = _distinct(np.ascontiguousarray(corpus.motion[part][of]))
            motion = normalizer.normalize(raws, np.flatnonzero(begins[of]), np.float64)
            logs = _log_null(motion, mean, covariance, bin_width)
            total -= float((logs - (normalizer.log_abs_det_jacobian(motion, bin_width) if raw else 0)) @ times)
    corpus.release_memory()
    return total


def _log_null(motion: np.ndarray, mean: np.ndarray, covariance: np.ndarray, bin_width: np.ndarray | None) -> np.ndarray:
    """Log probability of bin_widths, or density, of motions (n, D) under a Gaussian; without features that are no news."""
    bin_width = np.zeros(len(mean)) if bin_width is None else bin_width.astype(np.float64)
    news = bin_width < WIDE
    motion, mean, covariance, bin_width = motion[:, news], mean[news], covariance[np.ix_(news, news)], bin_width[news]
    # What a bin_width hides is spread over it: it adds the variance of a uniform, and keeps the Gaussian from vanishing.
    covariance = covariance + np.diag(np.where(bin_width > 0, np.square(bin_width) / 12, 1e-9))
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    constant = np.log(np.diag(whiten)).sum() - 0.5 * len(mean) * math.log(2 * math.pi)

    def log_density(points: np.ndarray) -> np.ndarray:
        return constant - 0.5 * np.square((points - mean) @ whiten.T).sum(1)

    if not bin_width.any():
        return log_density(motion)
    return _log_cell_mean(log_density, motion, bin_width) + np.log(bin_width[bin_width > 0]).sum()


def _distinct(motion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different rows of motion (n, D), and how often each comes; pairs of integers repeat, others are left so."""
    if motion.shape[1] != 2 or motion.dtype.kind != "i" or motion.itemsize > 4:
        return motion, np.ones(len(motion))
    pairs, times = np.unique(motion.view(f"i{2 * motion.itemsize}"), return_counts=True)
    return pairs.view(motion.dtype).reshape(-1, 2), times


def motion_moments(corpus: Corpus, rows: slice, normalizer: Normalizer) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and covariance (D, D) of normalized motions, without first rows where these lack a time."""

    def motions() -> Iterator[np.ndarray]:
        for part in corpus.pieces(rows):
            motion = corpus.motion[part]
            yield normalizer.normalize(
                motion[~corpus.is_first_row(part)] if normalizer.logs else motion, None, np.float64
            )

    count = sum(map(len, motions()))
    width = len(normalizer.scale)
    mean = sum((motion.sum(0) for motion in motions()), np.zeros(width)) / max(1, count)
    squares = sum(((motion - mean).T @ (motion - mean) for motion in motions()), np.zeros((width, width)))
    return mean, squares / max(1, count)


def _log_cell_mean(
    log_density: Callable[[np.ndarray], np.ndarray], points: np.ndarray, bin_width: np.ndarray
) -> np.ndarray:
    """Log of the mean density over the bin_width (D,) around each point (N, D); where a width is 0, at the point."""
    nodes, weights = np.polynomial.legendre.leggauss(_QUADRATURE)
    total = np.full(len(points), -np.inf)
    for corner in itertools.product(range(_QUADRATURE), repeat=int((bin_width > 0).sum())):
        offset = np.zeros(len(bin_width))
        offset[bin_width > 0] = nodes[list(corner)] * bin_width[bin_width > 0] / 2
        weight = math.log(math.prod(weights[i] / 2 for i in corner))
        total = np.logaddexp(total, log_density(points + offset) + weight)
    return total
