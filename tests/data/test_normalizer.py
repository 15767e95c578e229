"""Tests of normalization: fitted moments, inverse, bin widths and the Jacobian."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

from mdnrnn.data.corpus import Sequence, pack
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.normalizer import CERTAIN_BIN_WIDTH, Normalizer
from mdnrnn.errors import InputError
from tests.helpers import make_touches, random_corpus


def test_offsets_share_one_scale_and_times_have_the_moments_of_their_logs() -> None:
    corpus = make_touches()
    normalizer = Normalizer.from_corpus(corpus)
    train = corpus.select_split("train").motion.reshape(40, 30, 3).astype(np.float64)
    offset_scale = train[..., :2].std()
    logs = np.log(train[:, 1:, 2])
    np.testing.assert_allclose(normalizer.scale, [offset_scale, offset_scale, logs.std()], rtol=1e-6)
    np.testing.assert_allclose(normalizer.mean, [0, 0, logs.mean()], rtol=1e-6)
    assert normalizer.logs == (2,)


def test_values_of_a_stream_are_standardized_one_by_one() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal([3, -1], [2, 0.1], (50, 2))
    motion = np.column_stack([rng.lognormal(-3, 1, 50), values]).astype(np.float32)
    corpus = pack(
        Metadata(name="x", start="up", features=("dt", "x1", "x2")), {"train": [Sequence(motion, np.zeros(50))]}
    )
    normalizer = Normalizer.from_corpus(corpus)
    np.testing.assert_allclose(normalizer.mean[1:], motion[:, 1:].mean(0), rtol=1e-5)
    np.testing.assert_allclose(normalizer.scale[1:], motion[:, 1:].std(0), rtol=1e-5)


def test_normalized_values_of_a_grid_lie_on_a_grid_through_0() -> None:
    rng = np.random.default_rng(2)
    motion = np.column_stack([rng.lognormal(-3, 1, 80), rng.integers(20, 90, 80) / 128]).astype(np.float32)
    metadata = Metadata(name="x", start="up", bin_width=1 / 128, features=("dt", "x1"))
    corpus = pack(metadata, {"train": [Sequence(motion, np.zeros(80))]})
    normalizer = Normalizer.from_corpus(corpus)
    bin_widths = normalizer.bin_widths(metadata)
    assert bin_widths is not None
    multiples = normalizer.normalize(motion, 0)[:, 1] / bin_widths[1]
    np.testing.assert_allclose(multiples, np.rint(multiples), atol=1e-4)
    assert abs(multiples.mean()) < 1


def test_denormalize_inverts_normalize() -> None:
    corpus = random_corpus([30, 20])
    normalizer = Normalizer.from_corpus(corpus)
    normalized = normalizer.normalize(corpus.motion)
    assert normalized.std() == pytest.approx(1, rel=0.05)
    np.testing.assert_allclose(normalizer.denormalize(normalized), corpus.motion, atol=1e-4)
    bin_width = normalizer.bin_widths(replace(corpus.metadata, bin_width=2.0))
    assert bin_width is not None
    np.testing.assert_allclose(bin_width, [2 / scale for scale in normalizer.scale], rtol=1e-6)


def test_denormalize_inverts_normalize_and_gives_positive_times() -> None:
    corpus = make_touches()
    normalizer, motion = Normalizer.from_corpus(corpus), corpus.motion[:30]
    normalized = normalizer.normalize(motion, 0)
    assert normalized[0, 2] == 0
    np.testing.assert_allclose(normalizer.denormalize(normalized)[1:], motion[1:], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(normalizer.denormalize(normalized)[0, :2], motion[0, :2], atol=1e-6)
    random_motion = np.random.default_rng(0).normal(0, 30, (1000, 3))
    assert (normalizer.denormalize(random_motion)[:, 2] > 0).all()


def test_density_of_a_time_integrates_to_1_in_raw_units() -> None:
    normalizer = Normalizer((-3.0,), (0.7,), (0,))

    def density(raw: float) -> float:
        normalized = normalizer.normalize(np.array([[raw]]), None, np.float64)
        log_jacobian = normalizer.log_abs_det_jacobian(normalized, None)[0]
        return float(np.exp(stats.norm.logpdf(normalized[0, 0]) - log_jacobian))

    assert integrate.quad(density, 1e-12, 5, limit=500)[0] == pytest.approx(1, abs=1e-6)


def test_features_with_bins_do_not_count_in_the_jacobian() -> None:
    corpus = make_touches()
    normalizer = Normalizer.from_corpus(corpus)
    motion = normalizer.normalize(corpus.motion[:30], 0)
    inner, first = (normalizer.bin_widths(corpus.metadata, first) for first in (False, True))
    assert inner is not None
    assert first is not None
    bin_widths = np.tile(inner, (30, 1))
    bin_widths[0] = first
    np.testing.assert_allclose(bin_widths[1], [1 / 1024 / normalizer.scale[0]] * 2 + [0], rtol=1e-6)
    assert bin_widths[0, 2] == CERTAIN_BIN_WIDTH
    log_jacobian = normalizer.log_abs_det_jacobian(motion, bin_widths)
    assert log_jacobian[0] == 0
    expected = np.log(normalizer.scale[2]) + np.log(corpus.motion[1:30, 2])
    np.testing.assert_allclose(log_jacobian[1:], expected, rtol=1e-5)


def test_invalid_scales_and_log_features_raise() -> None:
    with pytest.raises(InputError, match=r"scale: received \(0\.0,\), expected 1 positive number: one per feature"):
        Normalizer((0.0,), (0.0,))
    with pytest.raises(InputError, match=r"logs: received \(1,\), expected indices of features from 0 to 0"):
        Normalizer((0.0,), (1.0,), (1,))
