"""Batches: every sequence once an epoch, nearly no padding, reproducible; augmentation keeps the grid honest."""

import numpy as np
import pytest
import torch

from mdnrnn.data.batches import Augment, Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.distributions import END, START
from tests.conftest import batches_of, random_corpus

LENGTHS = [int(n) for n in np.random.default_rng(0).integers(5, 200, 500)]


def test_an_epoch_holds_every_sequence_once() -> None:
    seen = torch.cat([batch.indices for batch in batches_of(random_corpus(LENGTHS), 32).epoch(3)])
    assert sorted(seen.tolist()) == list(range(500))


def test_at_least_95_percent_of_the_steps_are_real() -> None:
    corpus = random_corpus([int(n) for n in np.random.default_rng(0).normal(125, 45, 7400).clip(20, 250)])
    batches = list(batches_of(corpus).epoch(0))
    assert sum(b.points for b in batches) / sum(b.steps * b.size for b in batches) >= 0.95


def test_epochs_differ_and_the_same_seed_gives_the_same() -> None:
    data = Batches(corpus := random_corpus(LENGTHS), "train", Normalizer.of(corpus), 32, augment=Augment())
    first, again, other = (next(data.epoch(number)) for number in (0, 0, 1))
    assert torch.equal(first.target.motion, again.target.motion)
    assert first.indices.tolist() != other.indices.tolist()


def test_an_epoch_goes_on_in_the_middle_as_it_would_have() -> None:
    data = Batches(corpus := random_corpus(LENGTHS), "train", Normalizer.of(corpus), 32, augment=Augment())
    for whole, rest in zip(list(data.epoch(2))[7:], data.epoch(2, start=7), strict=True):
        assert torch.equal(whole.target.motion, rest.target.motion)


def test_rows_are_the_corpus_normalised_each_after_the_one_before() -> None:
    corpus = random_corpus([4, 2, 3])
    batch = batches_of(corpus).batch(np.array([1, 0]))
    expected = np.concatenate([corpus[1].motion, corpus[0].motion]) / Normalizer.of(corpus).scale
    np.testing.assert_allclose(batch.target.motion, expected, rtol=1e-6)
    assert batch.previous.event.tolist()[0] == START
    assert batch.previous.event.tolist()[2] == START
    np.testing.assert_array_equal(batch.previous.motion[0], [0, 0])
    np.testing.assert_array_equal(batch.previous.motion[3:6], batch.target.motion[2:5])
    assert batch.target.event.tolist()[1] == END


def test_padding_and_unpadding_are_inverse() -> None:
    batch = batches_of(random_corpus([4, 1, 3])).batch(np.array([0, 1, 2]))
    padded = batch.pad(batch.target.motion)
    assert padded.shape == (4, 3, 2)
    assert float(padded[1:, 1].abs().sum()) == 0
    assert torch.equal(batch.unpad(padded), batch.target.motion)


def test_stretching_moves_the_cells_with_the_points() -> None:
    corpus = random_corpus([40, 40])
    normalizer = Normalizer.of(corpus)
    data = Batches(corpus, "train", normalizer, augment=Augment(scale=0.3))
    batch = data.batch(np.array([0, 1]), np.random.default_rng(0))
    assert batch.cell is not None
    steps = batch.target.motion / batch.cell
    np.testing.assert_allclose(steps, np.concatenate([corpus[0].motion, corpus[1].motion]), atol=1e-3)
    ratio = batch.cell[:, 0] * normalizer.scale[0]
    assert ratio[0] == ratio[39] != ratio[40]


def test_a_plain_pass_is_not_augmented(doodles: Corpus) -> None:
    data = Batches(doodles, "train", Normalizer.of(doodles), augment=Augment(scale=0.3, drop=0.5))
    total = sum(batch.points for batch in data)
    assert total == doodles.rows("train").stop - doodles.rows("train").start


@pytest.mark.parametrize("settings", [{"scale": 1.0}, {"drop": -0.1}])
def test_impossible_augmentation_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected 0 up to"):
        Augment(**settings)


def test_a_part_of_a_split_is_spread_evenly_over_it() -> None:
    corpus = random_corpus([3, 1, 2] * 10)
    some = Batches(corpus, "valid", Normalizer.of(corpus), 4, most=5)
    first = corpus.splits["valid"][0]
    assert sorted(i for batch in some for i in batch.indices.tolist()) == [first + i for i in (0, 6, 12, 18, 24)]
