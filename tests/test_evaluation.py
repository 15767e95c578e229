"""Likelihoods: END scored once, cells and densities in their units, the null model against a direct sum."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from mdnrnn.data.batches import Batches
from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.corpus import Corpus, Facts, Normalizer, Sequence, pack
from mdnrnn.distributions import END, UP, Step
from mdnrnn.evaluation import evaluate, null_nats
from mdnrnn.models.base import Condition
from tests.conftest import random_corpus, small_model


def test_nats_are_summed_step_by_step_over_each_sequence() -> None:
    """Against the plainest loop there is: one sequence, one step at a time."""
    corpus = random_corpus([6, 3, 9, 1])
    normalizer = Normalizer.of_strokes(corpus)
    model = small_model(corpus).float().eval()
    cell = torch.from_numpy(normalizer.cell(1.0))
    total = 0.0
    for i in corpus.indices("test"):
        motion, event = torch.from_numpy(normalizer.normalise(corpus[i].motion)), torch.from_numpy(corpus[i].event)
        assert (event == END).sum() == 1
        previous, state = model.start(1), model.initial_state(1, Condition())
        for t in range(len(event)):
            steps, state = model.step(previous, state)
            target = Step(motion[t : t + 1], event[t : t + 1].long())
            total -= float(steps.log_cell_prob(target, cell).detach())
            previous = target
    result = evaluate(model, Batches(corpus, "test", normalizer))
    assert result.sequences == 4
    assert result.points == 19
    assert result.nats_per_sequence == pytest.approx(total / 4, rel=1e-5)
    assert result.nats_per_point == pytest.approx(total / 19, rel=1e-5)
    assert result.nats_per_point == pytest.approx(result.motion_nats_per_point + result.event_nats_per_point)


def test_batch_size_changes_nothing() -> None:
    corpus = random_corpus([6, 3, 9, 1, 30])
    normalizer, model = Normalizer.of_strokes(corpus), small_model(corpus).float()
    one, many = (evaluate(model, Batches(corpus, "test", normalizer, size)) for size in (1, 100))
    assert one.nats_per_sequence == pytest.approx(many.nats_per_sequence, rel=1e-6)
    assert one.paper_L_R == pytest.approx(many.paper_L_R, rel=1e-6)


def test_cells_do_not_depend_on_the_units() -> None:
    """The same drawings in units of a tenth, with a quantum of ten of them: the same cells, the same nats."""
    corpus = random_corpus([6, 8])
    scaled = Corpus(
        Facts(name="scaled", quantum=10.0), corpus.motion * np.float32(10), corpus.event, corpus.offsets, corpus.splits
    )
    results = [
        evaluate(small_model(corpus).float(), Batches(c, "test", Normalizer.of_strokes(c))) for c in (corpus, scaled)
    ]
    assert results[0].nats_per_sequence == pytest.approx(results[1].nats_per_sequence, rel=1e-5)
    assert results[0].null_nats_per_sequence == pytest.approx(results[1].null_nats_per_sequence, rel=1e-5)


def test_densities_are_reported_in_raw_units() -> None:
    """Without a quantum: in units of a tenth each motion's density falls by 10 x 10, its nats rise by 2 log 10."""
    corpora = []
    for factor in (1.0, 10.0):
        base = random_corpus([6, 8], quantum=None)
        motion = base.motion.astype(np.float32) * np.float32(factor)
        corpora.append(Corpus(Facts(name="x"), motion, base.event, base.offsets, base.splits))
    results = [evaluate(small_model(c).float(), Batches(c, "test", Normalizer.of_strokes(c))) for c in corpora]
    assert results[0].measure == "density"
    gap = results[1].nats_per_point - results[0].nats_per_point
    assert gap == pytest.approx(2 * math.log(10), abs=1e-4)
    gap = results[1].null_nats_per_point - results[0].null_nats_per_point
    assert gap == pytest.approx(2 * math.log(10), abs=1e-4)
    assert results[0].density_nats_per_point == pytest.approx(results[1].density_nats_per_point, abs=1e-4)


def test_the_null_model_is_a_gaussian_beside_the_events_shares() -> None:
    rng = np.random.default_rng(0)
    motion = rng.multivariate_normal([1, -2], [[90, 30], [30, 60]], 4000).round().astype(np.int16)
    event = np.where(np.arange(4000) % 40 == 39, END, rng.random(4000) < 0.2).astype(np.uint8)
    sequences = [Sequence(motion[i : i + 40], event[i : i + 40]) for i in range(0, 4000, 40)]
    corpus = pack(Facts(name="x", quantum=1.0), {"train": sequences[:60], "test": sequences[60:]})
    train, test = motion[:2400], motion[2400:]
    gaussian = multivariate_normal(train.mean(0), np.cov(train, rowvar=False))
    # Cells are small beside the Gaussian here: the density at the centre times an area of 1 is near enough.
    counts = np.bincount(event[:2400]) + 1
    expected = -gaussian.logpdf(test).sum() - np.log(counts / counts.sum())[event[2400:]].sum()
    assert null_nats(corpus, "test", Normalizer.of_strokes(corpus)) == pytest.approx(expected, rel=1e-3)


def test_the_papers_convention_divides_by_the_longest() -> None:
    corpus = random_corpus([5, 10, 20], quantum=None)
    result = evaluate(small_model(corpus).float(), Batches(corpus, "test", Normalizer.of_strokes(corpus)))
    # Without a quantum there is no noise: L_R is the normalised density over 20 steps instead of the 35 / 3 real.
    assert result.paper_L_R == pytest.approx(result.density_nats_per_sequence / 20, rel=1e-6)


@pytest.mark.shared
def test_the_sheep_null_model_has_the_known_value(shared_data: Path) -> None:
    """1138.3 nats a sequence with a pen of two states, END counting as UP; three states cost 3.4 nats more."""
    corpus = open_corpus(str(shared_data / "sketchrnn" / "aaron_sheep.npz"))
    normalizer = Normalizer.of_strokes(corpus)
    two_states = replace(corpus, event=np.minimum(corpus.event, UP))
    assert null_nats(two_states, "test", normalizer) / 300 == pytest.approx(1138.3, abs=0.1)
    assert null_nats(corpus, "test", normalizer) / 300 == pytest.approx(1141.7, abs=0.1)
