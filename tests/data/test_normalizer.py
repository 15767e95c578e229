"""Normalizing: inverse, by the features' names, with the Jacobian of the logs of times."""

import numpy as np
import pytest
from scipy import integrate, stats

from mdnrnn.data.corpus import Metadata, Sequence, pack
from mdnrnn.data.normalizer import WIDE, Normalizer
from mdnrnn.errors import InputError
from tests.helpers import touches


def test_offsets_have_one_scale_and_times_the_moments_of_their_logs() -> None:
    corpus = touches()
    normalizer = Normalizer.of(corpus)
    train = corpus.part("train").motion.reshape(40, 30, 3).astype(np.float64)
    spread = train[..., :2].std()
    logs = np.log(train[:, 1:, 2])
    np.testing.assert_allclose(normalizer.scale, [spread, spread, logs.std()], rtol=1e-6)
    np.testing.assert_allclose(normalizer.mean, [0, 0, logs.mean()], rtol=1e-6)
    assert normalizer.logs == (2,)


def test_values_of_a_stream_are_centred_each() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal([3, -1], [2, 0.1], (50, 2))
    motion = np.column_stack([rng.lognormal(-3, 1, 50), values]).astype(np.float32)
    corpus = pack(
        Metadata(name="x", start="up", features=("dt", "x1", "x2")), {"train": [Sequence(motion, np.zeros(50))]}
    )
    normalizer = Normalizer.of(corpus)
    np.testing.assert_allclose(normalizer.mean[1:], motion[:, 1:].mean(0), rtol=1e-5)
    np.testing.assert_allclose(normalizer.scale[1:], motion[:, 1:].std(0), rtol=1e-5)


def test_what_lies_on_a_grid_lies_on_one_through_0_when_it_is_normalized() -> None:
    rng = np.random.default_rng(2)
    motion = np.column_stack([rng.lognormal(-3, 1, 80), rng.integers(20, 90, 80) / 128]).astype(np.float32)
    metadata = Metadata(name="x", start="up", bin_width=1 / 128, features=("dt", "x1"))
    corpus = pack(metadata, {"train": [Sequence(motion, np.zeros(80))]})
    normalizer = Normalizer.of(corpus)
    bin_widths = normalizer.bin_widths(metadata)
    assert bin_widths is not None
    steps = normalizer.normalize(motion, 0)[:, 1] / bin_widths[1]
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
    assert abs(steps.mean()) < 1


def test_normalizing_and_restoring_are_inverse_with_times_above_0() -> None:
    corpus = touches()
    normalizer, motion = Normalizer.of(corpus), corpus.motion[:30]
    normalized = normalizer.normalize(motion, 0)
    assert normalized[0, 2] == 0
    np.testing.assert_allclose(normalizer.restore(normalized)[1:], motion[1:], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(normalizer.restore(normalized)[0, :2], motion[0, :2], atol=1e-6)
    anything = np.random.default_rng(0).normal(0, 30, (1000, 3))
    assert (normalizer.restore(anything)[:, 2] > 0).all()


def test_a_density_of_logs_integrates_to_1_over_raw_times() -> None:
    normalizer = Normalizer((-3.0,), (0.7,), (0,))

    def density(raw: float) -> float:
        normalized = normalizer.normalize(np.array([[raw]]), None, np.float64)
        return float(np.exp(stats.norm.logpdf(normalized[0, 0]) - normalizer.log_volume(normalized, None)[0]))

    assert integrate.quad(density, 1e-12, 5, limit=500)[0] == pytest.approx(1, abs=1e-6)


def test_what_lies_in_a_cell_has_no_volume() -> None:
    corpus = touches()
    normalizer = Normalizer.of(corpus)
    motion = normalizer.normalize(corpus.motion[:30], 0)
    usual, first = (normalizer.bin_widths(corpus.metadata, begins) for begins in (False, True))
    assert usual is not None
    assert first is not None
    bin_widths = np.tile(usual, (30, 1))
    bin_widths[0] = first
    np.testing.assert_allclose(bin_widths[1], [1 / 1024 / normalizer.scale[0]] * 2 + [0], rtol=1e-6)
    assert bin_widths[0, 2] == WIDE
    volume = normalizer.log_volume(motion, bin_widths)
    assert volume[0] == 0
    np.testing.assert_allclose(volume[1:], np.log(normalizer.scale[2]) + np.log(corpus.motion[1:30, 2]), rtol=1e-5)


def test_a_normalizer_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"has scales \(0\.0,\); expected a positive number"):
        Normalizer((0.0,), (0.0,))
    with pytest.raises(InputError, match=r"takes logs of features \(1,\); expected some of 1"):
        Normalizer((0.0,), (1.0,), (1,))


def test_the_features_of_streams_and_worlds_are_no_offsets() -> None:
    """Only dx and dy are summed, stretched, left out: what they are called says so."""
    names = {(): 2, ("dx", "dy", "dt"): 2, ("dt", "x1", "x2"): 0, ("z1", "z2", "reward"): 0}
    for features, offsets in names.items():
        assert len(Metadata(name="x", features=features).offset_features(len(features) or 2)) == offsets
    assert Metadata(name="x").offset_features(5) == (0, 1, 2, 3, 4)
