"""The null model against direct computations with SciPy, and on data with a known value."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.corpus import Sequence, pack
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.evaluation.null_model import null_model_nll
from mdnrnn.pen_events import END, UP
from tests.helpers import make_touches


def log_frequencies(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the log of the add-one smoothed frequencies in `train` of the events in `test`."""
    counts = np.bincount(train) + 1
    return np.log(counts / counts.sum())[test]


def test_null_model_is_a_gaussian_times_event_frequencies() -> None:
    """Bins of width 1 are small relative to the Gaussian: a bin probability is close to the density at its center."""
    rng = np.random.default_rng(0)
    motion = rng.multivariate_normal([1, -2], [[90, 30], [30, 60]], 4000).round().astype(np.int16)
    event = np.where(np.arange(4000) % 40 == 39, END, rng.random(4000) < 0.2).astype(np.uint8)
    sequences = [Sequence(motion[i : i + 40], event[i : i + 40]) for i in range(0, 4000, 40)]
    corpus = pack(Metadata(name="x", bin_width=1.0), {"train": sequences[:60], "test": sequences[60:]})
    train, test = motion[:2400], motion[2400:]
    gaussian = multivariate_normal(train.mean(0), np.cov(train, rowvar=False))
    expected = -gaussian.logpdf(test).sum() - log_frequencies(event[:2400], event[2400:]).sum()
    assert null_model_nll(corpus, "test", Normalizer.from_corpus(corpus)) == pytest.approx(expected, rel=1e-3)


def test_null_model_of_touches_is_a_gaussian_of_log_times() -> None:
    """The undefined time of a sequence's first row contributes nothing; the density of times is in raw units."""
    corpus = make_touches(200, bin_width=None)
    train, test = (
        corpus.select_split(split).motion.reshape(-1, 30, 3).astype(np.float64) for split in ("train", "test")
    )

    def log_times(motion: np.ndarray) -> np.ndarray:
        return np.concatenate([motion[..., :2], np.log(np.maximum(motion[..., 2:], 1e-9))], -1)

    later_rows = log_times(train)[:, 1:].reshape(-1, 3)
    mean, covariance = later_rows.mean(0), np.cov(later_rows, rowvar=False)
    expected = -multivariate_normal(mean, covariance).logpdf(log_times(test)[:, 1:]).sum()
    expected -= multivariate_normal(mean[:2], covariance[:2, :2]).logpdf(test[:, 0, :2]).sum()
    expected += np.log(test[:, 1:, 2]).sum()
    expected -= log_frequencies(*(corpus.select_split(split).event for split in ("train", "test"))).sum()
    assert null_model_nll(corpus, "test", Normalizer.from_corpus(corpus)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.shared
def test_null_model_of_sheep_drawings_has_its_known_value(shared_data: Path) -> None:
    """1138.3 nats per sequence with two events, END counted as UP; a third event adds 3.4 nats."""
    corpus = open_corpus(str(shared_data / "sketchrnn" / "aaron_sheep.npz"))
    normalizer = Normalizer.from_corpus(corpus)
    two_events = replace(corpus, event=np.minimum(corpus.event, UP))
    assert null_model_nll(two_events, "test", normalizer) / 300 == pytest.approx(1138.3, abs=0.1)
    assert null_model_nll(corpus, "test", normalizer) / 300 == pytest.approx(1141.7, abs=0.1)


def test_null_model_of_posteriors_is_evaluated_on_samples() -> None:
    """Means with standard deviation 3 and posteriors with 3 give samples of variance 18.

    The entropy of such a Gaussian is log(18 * 2 pi e) / 2 per number. With 60,000 numbers the mean has a standard error
    of 0.0032; the tolerance is 6 standard errors (false-failure probability below 1e-8; fixed seed).
    """
    rng = np.random.default_rng(0)
    motion, logvar = rng.normal(0, 3, (20_000, 3)).astype(np.float32), np.full((20_000, 3), np.log(9), np.float32)
    metadata = Metadata(name="x", features=("z1", "z2", "z3"))
    corpus = pack(metadata, {"train": [Sequence(motion, np.zeros(20_000, np.uint8), logvar=logvar)]})
    nll = null_model_nll(corpus, "train", Normalizer.from_corpus(corpus)) / motion.size
    assert nll == pytest.approx(0.5 * np.log(18 * 2 * np.pi * np.e), abs=0.02)
