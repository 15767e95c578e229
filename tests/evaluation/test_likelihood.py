"""Likelihood of models without a latent vector: sums over steps, units, conventions of papers, classes, splits."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus, Sequence, mark_end, pack
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.distributions import Step
from mdnrnn.evaluation.likelihood import Likelihood, evaluate
from mdnrnn.models.base import Condition
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.pen_events import DOWN, END
from tests.helpers import make_model, make_sketch_model, make_touches, random_corpus


def evaluate_test(model: MDNRNN, corpus: Corpus, batch_size: int = 100) -> Likelihood:
    """Return the likelihood of the test split, with a normalizer fitted to the train split."""
    return evaluate(model, Batches(corpus, "test", Normalizer.from_corpus(corpus), batch_size))


def make_float_model(corpus: Corpus, covariance: str = "diagonal") -> MDNRNN:
    return make_model(corpus, covariance=covariance).float()


def test_nll_is_the_sum_over_single_steps_and_scores_end_once() -> None:
    """Reference: one sequence and one step at a time."""
    corpus = random_corpus([6, 3, 9, 1])
    normalizer = Normalizer.from_corpus(corpus)
    model = make_float_model(corpus).eval()
    bin_width = torch.from_numpy(normalizer.bin_widths(corpus.metadata))
    total = 0.0
    for i in corpus.indices("test"):
        motion, event = torch.from_numpy(normalizer.normalize(corpus[i].motion)), torch.from_numpy(corpus[i].event)
        assert (event == END).sum() == 1
        previous, state = model.initial_step(1), model.initial_state(1, Condition())
        for t in range(len(event)):
            steps, state = model.step(previous, state)
            target = Step(motion[t : t + 1], event[t : t + 1].long())
            total -= float(steps.discretized_log_prob(target, bin_width).detach())
            previous = target
    result = evaluate_test(model, corpus)
    assert result.sequences == 4
    assert result.points == 19
    assert result.nll_per_sequence == pytest.approx(total / 4, rel=1e-5)
    assert result.nll_per_point == pytest.approx(total / 19, rel=1e-5)
    assert result.nll_per_point == pytest.approx(result.motion_nll_per_point + result.event_nll_per_point)


def test_likelihood_does_not_depend_on_the_batch_size() -> None:
    corpus = random_corpus([6, 3, 9, 1, 30])
    model = make_float_model(corpus)
    one, many = (evaluate_test(model, corpus, batch_size) for batch_size in (1, 100))
    assert one.nll_per_sequence == pytest.approx(many.nll_per_sequence, rel=1e-6)
    assert one.paper_L_R == pytest.approx(many.paper_L_R, rel=1e-6)


def scale_corpus(corpus: Corpus, factor: float, bin_width: float | None) -> Corpus:
    """Return the same drawings in units that are smaller by a factor."""
    motion = corpus.motion.astype(np.float32) * np.float32(factor)
    return Corpus(Metadata(name="scaled", bin_width=bin_width), motion, corpus.event, corpus.offsets, corpus.splits)


def test_bin_probabilities_do_not_depend_on_the_units() -> None:
    corpus = random_corpus([6, 8])
    results = [
        evaluate_test(make_float_model(corpus), other) for other in (corpus, scale_corpus(corpus, 10, bin_width=10.0))
    ]
    assert results[0].nll_per_sequence == pytest.approx(results[1].nll_per_sequence, rel=1e-5)
    assert results[0].null_nll_per_sequence == pytest.approx(results[1].null_nll_per_sequence, rel=1e-5)


def test_densities_are_in_raw_units() -> None:
    """In units of a tenth the density of a motion falls by 10 x 10, so its NLL rises by 2 log 10."""
    corpora = [scale_corpus(random_corpus([6, 8]), factor, bin_width=None) for factor in (1.0, 10.0)]
    results = [evaluate_test(make_float_model(corpus), corpus) for corpus in corpora]
    assert results[0].measure == "density"
    difference = results[1].nll_per_point - results[0].nll_per_point
    assert difference == pytest.approx(2 * math.log(10), abs=1e-4)
    difference = results[1].null_nll_per_point - results[0].null_nll_per_point
    assert difference == pytest.approx(2 * math.log(10), abs=1e-4)
    assert results[0].density_nll_per_point == pytest.approx(results[1].density_nll_per_point, abs=1e-4)


def test_l_r_of_the_sketch_rnn_paper_divides_by_the_longest_length() -> None:
    """Without a bin width there is no noise: L_R is the normalized density over 20 steps instead of 35 / 3 steps."""
    corpus = random_corpus([5, 10, 20], bin_width=None)
    result = evaluate_test(make_float_model(corpus), corpus)
    assert result.paper_L_R == pytest.approx(result.density_nll_per_sequence / 20, rel=1e-6)


def test_graves_convention_has_unit_offsets_and_a_binary_event() -> None:
    """Reference: density of offsets divided by their standard deviations, and probability of pen down or not."""
    rng = np.random.default_rng(0)
    sequences = [
        Sequence(np.rint(rng.normal(0, (30, 4), (n, 2))), mark_end((rng.random(n) < 0.3).astype(np.uint8)))
        for n in (7, 12, 9)
    ]
    corpus = pack(Metadata(name="x", bin_width=1.0), {"train": sequences[:2], "test": sequences[2:]})
    normalizer = Normalizer.from_corpus(corpus)
    model = make_float_model(corpus)
    result = evaluate_test(model, corpus)
    batch = next(iter(Batches(corpus, "test", normalizer)))
    with torch.no_grad():
        steps = model(batch)
    deviations = np.concatenate([sequence.motion for sequence in sequences[:2]]).std(0)
    density = steps.motion.log_prob(batch.target.motion).double().sum()
    density += 9 * (np.log(deviations.prod()) - np.log(normalizer.scale[0] ** 2))
    probabilities = torch.softmax(steps.event_logits.double(), -1)
    is_down = torch.from_numpy(sequences[2].event == DOWN)
    pen = torch.where(is_down, probabilities[:, 0], probabilities[:, 1] + probabilities[:, 2]).log().sum()
    assert result.graves_nll_per_sequence == pytest.approx(-float(density + pen), rel=1e-4)


def test_likelihoods_of_classes_sum_to_the_whole() -> None:
    corpus = random_corpus([6, 3, 9, 1, 30, 4, 8, 2], classes=("a", "b", "empty", "c"))
    corpus = replace(corpus, label=np.array([0, 3, 1, 1, 3, 0, 1, 3] * 3, np.int32))
    data = Batches(corpus, "test", Normalizer.from_corpus(corpus))
    for model in (make_float_model(corpus), make_sketch_model(corpus).float()):
        result = evaluate(model, data)
        assert list(result.by_class) == ["a", "b", "c"]
        parts = list(result.by_class.values())
        assert sum(part.sequences for part in parts) == result.sequences == 8
        assert sum(part.points for part in parts) == result.points
        total = sum(part.nll_per_sequence * part.sequences for part in parts)
        assert total / 8 == pytest.approx(result.nll_per_sequence)
        for part in parts:
            assert part.nll_per_point * part.points == pytest.approx(part.nll_per_sequence * part.sequences)


@pytest.mark.parametrize("bin_width", [1.0, None], ids=["discretized", "density"])
def test_likelihood_of_a_class_is_that_of_its_sequences_alone(bin_width: float | None) -> None:
    corpus = random_corpus([6, 3, 9, 1, 30, 4, 8, 2], classes=("a", "b"), bin_width=bin_width)
    normalizer, model = Normalizer.from_corpus(corpus), make_float_model(corpus)
    result = evaluate(model, Batches(corpus, "test", normalizer))
    for index, name in enumerate(("a", "b")):
        sequences = [corpus[i] for i in corpus.indices("test") if corpus[i].label == index]
        alone = evaluate(model, Batches(pack(corpus.metadata, {"test": sequences}), "test", normalizer))
        assert result.by_class[name].sequences == len(sequences)
        assert result.by_class[name].nll_per_sequence == pytest.approx(alone.nll_per_sequence, rel=1e-6)
        assert result.by_class[name].nll_per_point == pytest.approx(alone.nll_per_point, rel=1e-6)


def test_corpus_without_classes_has_no_likelihood_by_class() -> None:
    corpus = random_corpus([4, 6])
    assert evaluate_test(make_float_model(corpus), corpus).by_class == {}


def test_max_sequences_selects_evenly_spaced_sequences() -> None:
    corpus = random_corpus([4, 6, 3, 1] * 6)
    normalizer, model = Normalizer.from_corpus(corpus), make_float_model(corpus)
    half = pack(corpus.metadata, {"test": [corpus[i] for i in list(corpus.indices("test"))[::2]]})
    result = evaluate(model, Batches(corpus, "test", normalizer, max_sequences=12))
    expected = evaluate(model, Batches(half, "test", normalizer))
    assert result.sequences == expected.sequences == 12
    assert result.nll_per_sequence == pytest.approx(expected.nll_per_sequence)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_touches_multiply_bin_probabilities_of_positions_by_the_density_of_times(covariance: str) -> None:
    """Reference: one step at a time. The time of a sequence's first row is undefined and left out."""
    corpus = make_touches(bin_width=1 / 1024)
    normalizer = Normalizer.from_corpus(corpus)
    model = make_float_model(corpus, covariance).eval()
    bin_width = torch.full((2,), 1 / 1024 / normalizer.scale[0])
    total = 0.0
    sequences = [corpus[i] for i in corpus.indices("test")]
    raw = np.stack([sequence.motion for sequence in sequences], 1)
    motion = torch.from_numpy(np.stack([normalizer.normalize(sequence.motion, 0) for sequence in sequences], 1))
    event = torch.from_numpy(np.stack([sequence.event for sequence in sequences], 1)).long()
    previous, state = model.initial_step(10), model.initial_state(10, Condition())
    for t in range(30):
        steps, state = model.step(previous, state)
        previous = Step(motion[t], event[t])
        offsets, offset_value = steps.motion.marginal([0, 1]), previous.motion[:, :2]
        log_bin = offsets.discretized_log_prob(offset_value, bin_width)
        total -= float((log_bin + steps.event_log_prob(previous.event)).sum().detach())
        if t:
            log_time = steps.motion.log_prob(previous.motion) - offsets.log_prob(offset_value)
            total -= float(log_time.sum().detach()) - float(np.log(raw[t, :, 2] * normalizer.scale[2]).sum())
    result = evaluate_test(model, corpus)
    assert result.measure == "mixed"
    assert result.paper_L_R is None
    assert result.graves_nll_per_sequence is None
    assert result.nll_per_sequence == pytest.approx(total / 10, rel=2e-4)
