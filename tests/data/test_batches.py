"""Tests of batches: coverage, padding, reproducibility, augmentation, posterior samples and sharding."""

import numpy as np
import pytest
import torch

from mdnrnn.data.batches import Augment, Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputError
from mdnrnn.models.base import StepShape
from mdnrnn.pen_events import END, START
from tests.helpers import make_batches, make_controls, make_episodes, random_corpus

LENGTHS = [int(n) for n in np.random.default_rng(0).integers(5, 200, 500)]


def test_epoch_holds_every_sequence_once() -> None:
    indices = torch.cat([batch.indices for batch in make_batches(random_corpus(LENGTHS), 32).epoch(3)])
    assert sorted(indices.tolist()) == list(range(500))


def test_at_least_95_percent_of_the_padded_steps_are_real() -> None:
    corpus = random_corpus([int(n) for n in np.random.default_rng(0).normal(125, 45, 7400).clip(20, 250)])
    batches = list(make_batches(corpus).epoch(0))
    assert sum(b.points for b in batches) / sum(b.steps * b.size for b in batches) >= 0.95


def test_epochs_differ_and_are_reproducible() -> None:
    data = Batches(corpus := random_corpus(LENGTHS), "train", Normalizer.from_corpus(corpus), 32, augment=Augment())
    first, again, other = (next(data.epoch(number)) for number in (0, 0, 1))
    assert torch.equal(first.target.motion, again.target.motion)
    assert first.indices.tolist() != other.indices.tolist()


def test_epoch_resumes_at_any_batch() -> None:
    data = Batches(corpus := random_corpus(LENGTHS), "train", Normalizer.from_corpus(corpus), 32, augment=Augment())
    for complete, resumed in zip(list(data.epoch(2))[7:], data.epoch(2, start=7), strict=True):
        assert torch.equal(complete.target.motion, resumed.target.motion)


@pytest.mark.parametrize("by_points", [False, True])
def test_epoch_in_pools_holds_every_sequence_once_and_resumes_at_any_batch(by_points: bool) -> None:
    """500 sequences in pools of 64: similar lengths within a pool, different pools in each epoch."""
    normalizer = Normalizer.from_corpus(corpus := random_corpus(LENGTHS))
    data = Batches(corpus, "train", normalizer, 16, by_points=by_points, pool=64)
    complete = list(data.epoch(2))
    assert sorted(torch.cat([batch.indices for batch in complete]).tolist()) == list(range(500))
    first = torch.cat([batch.indices for batch in complete[:4]])
    assert len(first) == 64 or by_points
    assert first.tolist() != torch.cat([batch.indices for batch in list(data.epoch(3))[:4]]).tolist()
    for start in (0, 3, 4, 17, len(complete)):
        resumed = list(data.epoch(2, start))
        assert [batch.indices.tolist() for batch in resumed] == [batch.indices.tolist() for batch in complete[start:]]
    real = sum(batch.points for batch in complete) / sum(batch.steps * batch.size for batch in complete)
    assert real > 0.75  # in random order it would be 0.55


def test_rows_are_normalized_motions_with_their_previous_rows() -> None:
    corpus = random_corpus([4, 2, 3])
    batch = make_batches(corpus).batch(np.array([1, 0]))
    expected = np.concatenate([corpus[1].motion, corpus[0].motion]) / Normalizer.from_corpus(corpus).scale
    np.testing.assert_allclose(batch.target.motion, expected, rtol=1e-6)
    assert batch.previous.event.tolist()[0] == START
    assert batch.previous.event.tolist()[2] == START
    np.testing.assert_array_equal(batch.previous.motion[0], [0, 0])
    np.testing.assert_array_equal(batch.previous.motion[3:6], batch.target.motion[2:5])
    assert batch.target.event.tolist()[1] == END


def test_unpad_inverts_pad() -> None:
    batch = make_batches(random_corpus([4, 1, 3])).batch(np.array([0, 1, 2]))
    padded = batch.pad(batch.target.motion)
    assert padded.shape == (4, 3, 2)
    assert float(padded[1:, 1].abs().sum()) == 0
    assert torch.equal(batch.unpad(padded), batch.target.motion)


def test_slots_of_reversed_sequences_and_of_last_rows() -> None:
    batch = make_batches(random_corpus([4, 1, 3])).batch(np.array([0, 1, 2]))
    rows = torch.arange(8.0).unsqueeze(1)
    backward = batch.pad(rows, batch.backward_slots())
    assert backward[:, :, 0].T.tolist() == [[3, 2, 1, 0], [4, 0, 0, 0], [7, 6, 5, 0]]
    assert batch.pad(rows).flatten()[batch.last_slots()].tolist() == [3, 4, 7]
    assert backward.flatten()[batch.last_slots()].tolist() == [0, 4, 5]


def test_random_scale_scales_the_bins_with_the_motions() -> None:
    corpus = random_corpus([40, 40])
    normalizer = Normalizer.from_corpus(corpus)
    data = Batches(corpus, "train", normalizer, augment=Augment(scale=0.3))
    batch = data.batch(np.array([0, 1]), np.random.default_rng(0))
    assert batch.bin_width is not None
    multiples = batch.target.motion / batch.bin_width
    np.testing.assert_allclose(multiples, np.concatenate([corpus[0].motion, corpus[1].motion]), atol=1e-3)
    factor = batch.bin_width[:, 0] * normalizer.scale[0]
    assert factor[0] == factor[39] != factor[40]


def test_evaluation_pass_is_not_augmented(doodles: Corpus) -> None:
    data = Batches(doodles, "train", Normalizer.from_corpus(doodles), augment=Augment(scale=0.3, drop=0.5))
    total = sum(batch.points for batch in data)
    assert total == doodles.rows("train").stop - doodles.rows("train").start


@pytest.mark.parametrize("settings", [{"scale": 1.0}, {"drop": -0.1}])
def test_invalid_augmentation_raises(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected numbers >= 0 and < 1"):
        Augment(**settings)


def test_limited_sequences_are_evenly_spread_over_the_split() -> None:
    corpus = random_corpus([3, 1, 2] * 10)
    data = Batches(corpus, "valid", Normalizer.from_corpus(corpus), 4, max_sequences=5)
    first = corpus.splits["valid"][0]
    indices = sorted(i for batch in data for i in batch.indices.tolist())
    assert indices == [first + i for i in (0, 6, 12, 18, 24)]


def test_posterior_samples_differ_between_epochs_and_are_fixed_in_evaluation() -> None:
    corpus = make_episodes((40, 25), posteriors=True)
    data = Batches(corpus, "train", Normalizer.from_corpus(corpus))
    one, other = (next(data.epoch(number)) for number in (0, 1))
    order = [torch.argsort(batch.indices) for batch in (one, other)]
    assert not torch.equal(data.batch(np.array([0, 1])).target.motion, one.target.motion)
    assert one.target.motion.shape == other.target.motion.shape
    assert order[0].tolist() != order[1].tolist() or not torch.equal(one.target.motion, other.target.motion)
    first, second = (next(iter(data)).target.motion for _ in range(2))
    assert torch.equal(first, second)


def test_posterior_samples_have_the_means_and_variances_of_the_posteriors() -> None:
    """2,000 samples of 195 numbers: means within 5 standard errors, false-failure probability below 1e-3 (fixed seed).

    The fitted scale is the standard deviation of the samples; a sampled target is the previous motion of the next row.
    """
    corpus = make_episodes((40, 25), posteriors=True)
    assert corpus.logvar is not None
    normalizer = Normalizer.from_corpus(corpus)
    data = Batches(corpus, "train", normalizer)
    rng = np.random.default_rng(0)
    batches = [data.batch(np.array([0, 1]), rng) for _ in range(2000)]
    samples = np.stack([normalizer.denormalize(batch.target.motion.numpy()) for batch in batches])
    rows = corpus.rows("train")
    mean, deviation = corpus.motion[rows], np.exp(0.5 * corpus.logvar[rows])
    assert (np.abs(samples.mean(0) - mean) < 5 * deviation / 2000**0.5).all()
    np.testing.assert_allclose(samples.std(0), deviation, rtol=0.1)
    np.testing.assert_allclose(samples.reshape(-1, 3).std(0), normalizer.scale, rtol=0.02)
    previous, target = batches[0].previous.motion, batches[0].target.motion
    assert torch.equal(previous[1:40], target[:39])


@pytest.mark.parametrize(
    ("corpus", "events"),
    [
        (random_corpus([5, 9]), 3),
        (make_episodes(), 2),
        (make_episodes(ends=False), 0),
        (make_controls(), 0),
    ],
    ids=["strokes", "world-with-ends", "world-without-ends", "stream"],
)
def test_number_of_event_classes(corpus: Corpus, events: int) -> None:
    assert corpus.events == StepShape.from_corpus(corpus).events == events


def test_batches_by_points_differ_by_at_most_the_longest_sequence() -> None:
    """Every point then has the same weight in the mean over a batch, up to one sequence.

    With equal numbers of sequences the points per batch differ by a factor above 20.
    """
    corpus = random_corpus([int(n) for n in np.random.default_rng(0).lognormal(4, 1.2, 600).clip(2, 900)])
    points = {}
    for by_points in (False, True):
        data = Batches(corpus, "train", Normalizer.from_corpus(corpus), 32, by_points=by_points)
        batches = list(data.epoch(0))
        assert sorted(torch.cat([batch.indices for batch in batches]).tolist()) == list(range(600))
        points[by_points] = [batch.points for batch in batches]
    mean = sum(points[True]) / len(points[True])
    assert all(abs(count - mean) <= 900 for count in points[True])
    assert max(points[False]) > 20 * min(points[False])
    assert len(points[True]) == len(points[False])
