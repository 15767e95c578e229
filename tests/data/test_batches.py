"""Batches: every sequence once an epoch, nearly no padding, reproducible; augmentation keeps the grid honest."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mdnrnn.data.batches import Augment, Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputError
from mdnrnn.events import END, START, UP
from mdnrnn.models.base import StepShape
from tests.helpers import batches_of, controls, episodes, random_corpus

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


@pytest.mark.parametrize("by_points", [False, True])
def test_an_epoch_in_pools_holds_every_sequence_once_and_goes_on_from_any_batch(by_points: bool) -> None:
    """500 sequences in pools of 64: batches of like length within a pool, other pools in every epoch."""
    data = Batches(corpus := random_corpus(LENGTHS), "train", Normalizer.of(corpus), 16, by_points=by_points, pool=64)
    whole = list(data.epoch(2))
    assert sorted(torch.cat([batch.indices for batch in whole]).tolist()) == list(range(500))
    first = torch.cat([batch.indices for batch in whole[:4]])
    assert len(first) == 64 or by_points
    assert first.tolist() != torch.cat([batch.indices for batch in list(data.epoch(3))[:4]]).tolist()
    for start in (0, 3, 4, 17, len(whole)):
        rest = list(data.epoch(2, start))
        assert [batch.indices.tolist() for batch in rest] == [batch.indices.tolist() for batch in whole[start:]]
    real = sum(batch.points for batch in whole) / sum(batch.steps * batch.size for batch in whole)
    assert real > 0.75  # 64 of such lengths in four batches; by chance it would be 0.55


def test_rows_are_the_corpus_normalized_each_after_the_one_before() -> None:
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
    assert batch.bin_width is not None
    steps = batch.target.motion / batch.bin_width
    np.testing.assert_allclose(steps, np.concatenate([corpus[0].motion, corpus[1].motion]), atol=1e-3)
    ratio = batch.bin_width[:, 0] * normalizer.scale[0]
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


def test_posteriors_are_drawn_anew_in_every_epoch_and_alike_in_a_plain_pass() -> None:
    corpus = episodes((40, 25), posteriors=True)
    data = Batches(corpus, "train", Normalizer.of(corpus))
    one, other = (next(data.epoch(number)) for number in (0, 1))
    order = [torch.argsort(batch.indices) for batch in (one, other)]
    assert not torch.equal(data.batch(np.array([0, 1])).target.motion, one.target.motion)
    assert one.target.motion.shape == other.target.motion.shape
    assert order[0].tolist() != order[1].tolist() or not torch.equal(one.target.motion, other.target.motion)
    plain = [next(iter(data)).target.motion for _ in range(2)]
    assert torch.equal(*plain)


def test_draws_have_the_means_and_variances_of_the_posteriors() -> None:
    """2,000 epochs: means within 5 standard errors of 195 numbers, false failure below 1e-3; the normalizer's scale is
    that of what is drawn. What is drawn as a target is what stands before the next one."""
    corpus = episodes((40, 25), posteriors=True)
    assert corpus.logvar is not None
    normalizer = Normalizer.of(corpus)
    data = Batches(corpus, "train", normalizer)
    rng = np.random.default_rng(0)
    batches = [data.batch(np.array([0, 1]), rng) for _ in range(2000)]
    drawn = np.stack([normalizer.restore(batch.target.motion.numpy()) for batch in batches])
    rows = corpus.rows("train")
    mean, deviation = corpus.motion[rows], np.exp(0.5 * corpus.logvar[rows])
    assert (np.abs(drawn.mean(0) - mean) < 5 * deviation / 2000**0.5).all()
    np.testing.assert_allclose(drawn.std(0), deviation, rtol=0.1)
    np.testing.assert_allclose(drawn.reshape(-1, 3).std(0), normalizer.scale, rtol=0.02)
    before, after = batches[0].previous.motion, batches[0].target.motion
    assert torch.equal(before[1:40], after[:39])


def test_log_variances_of_another_shape_are_refused() -> None:
    corpus = episodes(posteriors=True)
    assert corpus.logvar is not None
    with pytest.raises(InputError, match=r"logvar \(84, 2\); expected \(84, 3\)"):
        replace(corpus, logvar=corpus.logvar[:, :2])


@pytest.mark.parametrize("name", ["inputs", "logvar"])
def test_what_is_no_number_is_told_of(name: str) -> None:
    corpus = episodes(posteriors=True)
    array = np.array(getattr(corpus, name))
    array[10, 0] = np.nan
    what = {"inputs": "inputs", "logvar": "log variances"}[name]
    changed: Any = {name: array}
    spoilt = replace(corpus, **changed)
    with pytest.raises(InputError, match=rf"episodes: sequence 1 has {what} .* in row 1; expected finite numbers"):
        spoilt.check()


def test_inputs_of_another_length_are_refused() -> None:
    corpus = episodes()
    assert corpus.inputs is not None
    with pytest.raises(InputError, match=r"inputs \(83, 2\); expected \(84, A\)"):
        replace(corpus, inputs=corpus.inputs[:-1])


def test_a_world_has_no_lifted_pen() -> None:
    corpus = episodes()
    event = np.array(corpus.event)
    event[2] = UP
    with pytest.raises(InputError, match=r"sequence 0 has motion .* and event 1 in row 2"):
        replace(corpus, event=event).check()


@pytest.mark.parametrize(
    ("corpus", "events"),
    [(random_corpus([5, 9]), 3), (episodes(), 2), (episodes(ends=False), 0), (controls(), 0)],
    ids=["strokes", "a world that ends", "one that does not", "a stream"],
)
def test_events_are_those_that_there_can_be(corpus: Corpus, events: int) -> None:
    assert corpus.events == StepShape.of(corpus).events == events


def test_batches_by_points_have_as_many_each_but_for_a_sequence() -> None:
    """So every point counts alike in a mean over a batch: with as many sequences each, those of the shortest count 24
    times as much as those of the longest."""
    corpus = random_corpus([int(n) for n in np.random.default_rng(0).lognormal(4, 1.2, 600).clip(2, 900)])
    points = {}
    for by_points in (False, True):
        data = Batches(corpus, "train", Normalizer.of(corpus), 32, by_points=by_points)
        batches = list(data.epoch(0))
        assert sorted(torch.cat([batch.indices for batch in batches]).tolist()) == list(range(600))
        points[by_points] = [batch.points for batch in batches]
    even = sum(points[True]) / len(points[True])
    assert all(abs(number - even) <= 900 for number in points[True])
    assert max(points[False]) > 20 * min(points[False])
    assert len(points[True]) == len(points[False])
