"""Likelihoods: END scored once, bin_widths and densities in their units, the null model against a direct sum."""

import copy
import dataclasses
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from mdnrnn.data.batches import Batches
from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.corpus import Corpus, Sequence, mark_end, pack
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.distributions import Step
from mdnrnn.errors import InputError
from mdnrnn.evaluation.likelihood import evaluate
from mdnrnn.evaluation.null_model import null_model_nll
from mdnrnn.events import END, UP
from mdnrnn.models.base import Condition, negative_log_likelihood
from mdnrnn.models.sketch import SketchRNN
from tests.helpers import random_corpus, small_model, small_sketch, touches, widened


def test_nats_are_summed_step_by_step_over_each_sequence() -> None:
    """Against the plainest loop there is: one sequence, one step at a time."""
    corpus = random_corpus([6, 3, 9, 1])
    normalizer = Normalizer.from_corpus(corpus)
    model = small_model(corpus).float().eval()
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
    result = evaluate(model, Batches(corpus, "test", normalizer))
    assert result.sequences == 4
    assert result.points == 19
    assert result.nll_per_sequence == pytest.approx(total / 4, rel=1e-5)
    assert result.nll_per_point == pytest.approx(total / 19, rel=1e-5)
    assert result.nll_per_point == pytest.approx(result.motion_nll_per_point + result.event_nll_per_point)


def test_batch_size_changes_nothing() -> None:
    corpus = random_corpus([6, 3, 9, 1, 30])
    normalizer, model = Normalizer.from_corpus(corpus), small_model(corpus).float()
    one, many = (evaluate(model, Batches(corpus, "test", normalizer, size)) for size in (1, 100))
    assert one.nll_per_sequence == pytest.approx(many.nll_per_sequence, rel=1e-6)
    assert one.paper_L_R == pytest.approx(many.paper_L_R, rel=1e-6)


def test_cells_do_not_depend_on_the_units() -> None:
    """The same drawings in units of a tenth, with a bin_width of ten of them: the same bin_widths, the same nats."""
    corpus = random_corpus([6, 8])
    scaled = Corpus(
        Metadata(name="scaled", bin_width=10.0),
        corpus.motion * np.float32(10),
        corpus.event,
        corpus.offsets,
        corpus.splits,
    )
    results = [evaluate(small_model(corpus).float(), Batches(c, "test", Normalizer.from_corpus(c))) for c in (corpus, scaled)]
    assert results[0].nll_per_sequence == pytest.approx(results[1].nll_per_sequence, rel=1e-5)
    assert results[0].null_nll_per_sequence == pytest.approx(results[1].null_nll_per_sequence, rel=1e-5)


def test_densities_are_reported_in_raw_units() -> None:
    """Without a bin_width: in units of a tenth each motion's density falls by 10 x 10, its nats rise by 2 log 10."""
    corpora = []
    for factor in (1.0, 10.0):
        base = random_corpus([6, 8], bin_width=None)
        motion = base.motion.astype(np.float32) * np.float32(factor)
        corpora.append(Corpus(Metadata(name="x"), motion, base.event, base.offsets, base.splits))
    results = [evaluate(small_model(c).float(), Batches(c, "test", Normalizer.from_corpus(c))) for c in corpora]
    assert results[0].measure == "density"
    gap = results[1].nll_per_point - results[0].nll_per_point
    assert gap == pytest.approx(2 * math.log(10), abs=1e-4)
    gap = results[1].null_nll_per_point - results[0].null_nll_per_point
    assert gap == pytest.approx(2 * math.log(10), abs=1e-4)
    assert results[0].density_nll_per_point == pytest.approx(results[1].density_nll_per_point, abs=1e-4)


def test_the_null_model_is_a_gaussian_beside_the_events_shares() -> None:
    rng = np.random.default_rng(0)
    motion = rng.multivariate_normal([1, -2], [[90, 30], [30, 60]], 4000).round().astype(np.int16)
    event = np.where(np.arange(4000) % 40 == 39, END, rng.random(4000) < 0.2).astype(np.uint8)
    sequences = [Sequence(motion[i : i + 40], event[i : i + 40]) for i in range(0, 4000, 40)]
    corpus = pack(Metadata(name="x", bin_width=1.0), {"train": sequences[:60], "test": sequences[60:]})
    train, test = motion[:2400], motion[2400:]
    gaussian = multivariate_normal(train.mean(0), np.cov(train, rowvar=False))
    # Cells are small beside the Gaussian here: the density at the center times an area of 1 is near enough.
    counts = np.bincount(event[:2400]) + 1
    expected = -gaussian.logpdf(test).sum() - np.log(counts / counts.sum())[event[2400:]].sum()
    assert null_model_nll(corpus, "test", Normalizer.from_corpus(corpus)) == pytest.approx(expected, rel=1e-3)


def test_the_papers_convention_divides_by_the_longest() -> None:
    corpus = random_corpus([5, 10, 20], bin_width=None)
    result = evaluate(small_model(corpus).float(), Batches(corpus, "test", Normalizer.from_corpus(corpus)))
    # Without a bin_width there is no noise: L_R is the normalized density over 20 steps instead of the 35 / 3 real.
    assert result.paper_L_R == pytest.approx(result.density_nll_per_sequence / 20, rel=1e-6)


def test_graves_counts_unit_offsets_and_one_bit() -> None:
    """By hand: density of offsets over their own deviations along each axis, and whether the pen is lifted, END too."""
    rng = np.random.default_rng(0)
    sequences = [
        Sequence(np.rint(rng.normal(0, (30, 4), (n, 2))), mark_end((rng.random(n) < 0.3).astype(np.uint8)))
        for n in (7, 12, 9)
    ]
    corpus = pack(Metadata(name="x", bin_width=1.0), {"train": sequences[:2], "test": sequences[2:]})
    normalizer = Normalizer.from_corpus(corpus)
    model = small_model(corpus).float()
    batches = Batches(corpus, "test", normalizer)
    result = evaluate(model, batches)
    with torch.no_grad():
        steps = model(next(iter(batches)))
    raw = np.concatenate([sequence.motion for sequence in sequences[:2]])
    deviations = raw.std(0)
    target, event = next(iter(batches)).target.motion, sequences[2].event
    density = steps.motion.log_prob(target).double().sum() - 9 * np.log(normalizer.scale[0] ** 2)  # of raw offsets
    density += 9 * np.log(deviations.prod())  # of offsets over their deviations
    chances = torch.softmax(steps.event_logits.double(), -1)
    bits = torch.where(torch.from_numpy(event == 0), chances[:, 0], chances[:, 1] + chances[:, 2]).log().sum()
    assert result.graves_nll_per_sequence == pytest.approx(-float(density + bits), rel=1e-4)


@pytest.mark.shared
def test_the_sheep_null_model_has_the_known_value(shared_data: Path) -> None:
    """1138.3 nats a sequence with a pen of two states, END counting as UP; three states cost 3.4 nats more."""
    corpus = open_corpus(str(shared_data / "sketchrnn" / "aaron_sheep.npz"))
    normalizer = Normalizer.from_corpus(corpus)
    two_states = replace(corpus, event=np.minimum(corpus.event, UP))
    assert null_model_nll(two_states, "test", normalizer) / 300 == pytest.approx(1138.3, abs=0.1)
    assert null_model_nll(corpus, "test", normalizer) / 300 == pytest.approx(1141.7, abs=0.1)


def sketch_for(corpus: Corpus, strength: float = 2.0, **config: Any) -> SketchRNN:
    """In float32; what it draws depends on its latent strongly, by default of one number. Its posteriors are off, and
    wider than the prior: so no importance weight is without bound."""
    model = small_sketch(corpus, **{"latent": 1, **config}).float()
    with torch.no_grad():
        model.posterior.weight[model.latent :] *= 0.3
        model.posterior.bias[model.latent :] = 0.3
        model.start_of.weight[:, : model.latent] *= strength
        core = model.decoder.lstm.layers[0].get_parameter("weight_ih_l0")
        core[:, model.decoder.features.width :][:, : model.latent] *= strength
    return model


@torch.no_grad()
def marginals(model: SketchRNN, data: Batches) -> list[float]:
    """Exact -log p of each sequence, by a sum over 321 latents from -8 to 8, in float64."""
    model, grid = copy.deepcopy(model).double().eval(), torch.linspace(-8, 8, 321, dtype=torch.float64)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(grid) + torch.log(grid[1] - grid[0])
    found = []
    for i in data.corpus.indices(data.split):
        copies = widened(data.batch(np.full(len(grid), i)))
        motion, event = negative_log_likelihood(model.decode(copies, grid.unsqueeze(-1)), copies)
        found.append(-float(torch.logsumexp(prior - (motion + event).view(len(grid), -1).sum(1), 0)))
    return found


LATENT = random_corpus([4, 6, 3, 1] * 6)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize("bin_width", [1.0, None], ids=["bin_widths", "densities"])
def test_importance_sampling_estimates_the_marginal_likelihood(bin_width: float | None, covariance: str) -> None:
    """24 sequences, 400 draws each: within 5 of its standard errors, which are below 0.02 nats, of the integral; false
    failure below 1e-6. The bound is above that."""
    corpus = random_corpus([4, 6, 3, 1] * 6, bin_width=bin_width)
    data = Batches(corpus, "test", Normalizer.from_corpus(corpus))
    model = sketch_for(corpus, covariance=covariance)
    exact = float(np.mean(marginals(model, data))) + (
        0.0 if bin_width else 3.5 * float(np.log(data.normalizer.scale).sum())
    )
    result = evaluate(model, data, importance=400)
    assert result.importance_nll_per_sequence is not None
    assert result.importance_standard_error is not None
    assert result.importance_standard_error < 0.02
    assert result.importance_nll_per_sequence == pytest.approx(exact, abs=5 * result.importance_standard_error)
    assert result.nll_per_sequence > exact + 0.3


def test_the_standard_error_of_importance_sampling_is_its_spread_over_seeds() -> None:
    """30 seeds of 100 draws: the estimates' standard deviation is the stated error but for a factor of 1.7; chi-square
    of 29 degrees beyond 2.9 times its mean or its inverse: false failure below 1e-4."""
    data, model = Batches(LATENT, "test", Normalizer.from_corpus(LATENT)), sketch_for(LATENT)
    results = [evaluate(model, data, seed=seed, importance=100) for seed in range(30)]
    spread = float(np.std([result.importance_nll_per_sequence or 0 for result in results], ddof=1))
    stated = math.sqrt(np.mean([(result.importance_standard_error or 0) ** 2 for result in results]))
    assert stated / 1.7 < spread < stated * 1.7


def noise_for(sequence: int, draws: int, latent: int, seed: int = 0) -> torch.Tensor:
    """The noise of a sequence's latents (draws, 1, Z), by its number and the seed alone."""
    generator = np.random.Generator(np.random.Philox([seed, sequence]))
    return torch.from_numpy(generator.standard_normal((draws, latent), np.float32)).unsqueeze(1)


@pytest.mark.parametrize("draws", [1, 2, 50])
@torch.no_grad()
def test_bound_and_importance_are_those_of_each_sequence_alone(draws: int) -> None:
    """Written out, sequence by sequence, draw by draw: reconstruction as the draws' mean, the divergence exact, and of
    the same draws the log of the weights' mean, which is never below the mean of their logs."""
    data, model = Batches(LATENT, "test", Normalizer.from_corpus(LATENT)), sketch_for(LATENT, latent=3).eval()
    reconstruction, divergence, importance, sampled = [], [], [], []
    for i in LATENT.indices("test"):
        batch = data.batch(np.array([i]))
        posterior = model.encode(batch)
        own = torch.distributions.Normal(posterior.mean, posterior.log_scale.exp())
        prior = torch.distributions.Normal(torch.zeros(1, 3), torch.ones(1, 3))
        nats, ratios = [], []
        for noise in noise_for(i, draws, 3):
            z = own.loc + own.scale * noise
            motion, event = negative_log_likelihood(model.decode(batch, z), batch)
            nats.append((motion + event).double().sum())
            ratios.append((own.log_prob(z) - prior.log_prob(z)).double().sum())
        weights = -torch.stack(nats) - torch.stack(ratios)
        reconstruction.append(float(torch.stack(nats).mean()))
        divergence.append(float(torch.distributions.kl_divergence(own, prior).sum()))
        importance.append(float(math.log(draws) - weights.logsumexp(0)))
        sampled.append(float(-weights.mean()))
    result = evaluate(model, data, importance=draws)
    assert result.reconstruction_nll_per_sequence == pytest.approx(np.mean(reconstruction), rel=1e-5)
    assert result.kl_per_sequence == pytest.approx(np.mean(divergence), rel=1e-5)
    assert result.nll_per_sequence == pytest.approx(np.mean(reconstruction) + np.mean(divergence), rel=1e-5)
    assert result.importance_nll_per_sequence == pytest.approx(np.mean(importance), rel=1e-5)
    assert result.importance_nll_per_sequence is not None
    assert result.importance_nll_per_sequence <= np.mean(sampled) + 1e-4
    assert draws > 1 or result.importance_nll_per_sequence == pytest.approx(np.mean(sampled), rel=1e-5)
    assert result.paper_L_KL == pytest.approx(np.mean(divergence) / 3, rel=1e-5)
    share = result.motion_nll_per_point + result.event_nll_per_point
    assert result.nll_per_point == pytest.approx(share + np.mean(divergence) / 3.5, rel=1e-5)


def test_importance_is_the_closer_the_more_draws() -> None:
    """On average over 40 seeds: of 1, of 6 and of 36 draws, each mean below the one before by 5 standard errors of the
    difference, and the last above the integral but for as many: false failure below 1e-5."""
    data, model = Batches(LATENT, "test", Normalizer.from_corpus(LATENT)), sketch_for(LATENT, covariance="diagonal")
    means, errors = [], []
    for draws in (1, 6, 36):
        results = [evaluate(model, data, seed=seed, importance=draws) for seed in range(40)]
        found = [result.importance_nll_per_sequence or 0 for result in results]
        means.append(float(np.mean(found)))
        errors.append(float(np.std(found, ddof=1)) / math.sqrt(40))
    for few, many in ((0, 1), (1, 2)):
        assert means[few] - means[many] > 5 * math.hypot(errors[few], errors[many])
    assert means[2] > np.mean(marginals(model, data)) - 5 * errors[2]


def test_without_a_latent_bound_and_importance_are_the_likelihood_itself() -> None:
    corpus = random_corpus([6, 3, 9, 1], bin_width=None)
    data = Batches(corpus, "test", Normalizer.from_corpus(corpus))
    for model in (small_model(corpus).float(), small_sketch(corpus, latent=0).float()):
        plain, asked = evaluate(model, data), evaluate(model, data, importance=7)
        assert asked.importance_nll_per_sequence == pytest.approx(plain.nll_per_sequence, rel=1e-12)
        assert asked.importance_standard_error == 0
        assert plain.importance_nll_per_sequence is None
        assert plain.importance_standard_error is None
        assert plain.kl_per_sequence == plain.paper_L_KL == 0
        assert plain.reconstruction_nll_per_sequence == plain.nll_per_sequence
        rest = {"importance_nll_per_sequence": None, "importance_standard_error": None}
        assert replace(asked, **rest) == plain  # type: ignore[arg-type]


@pytest.mark.parametrize("importance", [0, 5])
def test_batch_size_changes_no_latents_noise(importance: int) -> None:
    corpus = random_corpus([6, 3, 9, 1, 30], classes=("a", "b"))
    model = small_sketch(corpus).float()
    one, many = (
        dataclasses.asdict(evaluate(model, Batches(corpus, "test", Normalizer.from_corpus(corpus), size), 3, importance))
        for size in (1, 100)
    )
    for classes in (one.pop("by_class"), many.pop("by_class")):
        for name, figures in classes.items():
            one.update({f"{name} {key}": value for key, value in figures.items()} if classes is one else {})
    for name, value in one.items():
        if isinstance(value, float):
            assert many[name] == pytest.approx(value, rel=1e-5, abs=1e-7), name


def test_seeds_make_other_draws() -> None:
    model, data = small_sketch(LATENT).float(), Batches(LATENT, "test", Normalizer.from_corpus(LATENT))
    assert evaluate(model, data, seed=1) == evaluate(model, data, seed=1)
    assert evaluate(model, data, seed=1).nll_per_sequence != evaluate(model, data, seed=2).nll_per_sequence


def test_the_measure_by_class_sums_back_to_the_whole() -> None:
    corpus = random_corpus([6, 3, 9, 1, 30, 4, 8, 2], classes=("a", "b", "none of it", "c"))
    corpus = replace(corpus, label=np.array([0, 3, 1, 1, 3, 0, 1, 3] * 3, np.int32))
    data = Batches(corpus, "test", Normalizer.from_corpus(corpus))
    for model in (small_model(corpus).float(), small_sketch(corpus).float()):
        result = evaluate(model, data)
        assert list(result.by_class) == ["a", "b", "c"]
        parts = list(result.by_class.values())
        assert sum(part.sequences for part in parts) == result.sequences == 8
        assert sum(part.points for part in parts) == result.points
        total = sum(part.nll_per_sequence * part.sequences for part in parts)
        assert total / 8 == pytest.approx(result.nll_per_sequence)
        for part in parts:
            assert part.nll_per_point * part.points == pytest.approx(part.nll_per_sequence * part.sequences)


@pytest.mark.parametrize("bin_width", [1.0, None], ids=["bin_widths", "densities"])
def test_a_class_measures_what_it_does_alone(bin_width: float | None) -> None:
    corpus = random_corpus([6, 3, 9, 1, 30, 4, 8, 2], classes=("a", "b"), bin_width=bin_width)
    normalizer, model = Normalizer.from_corpus(corpus), small_model(corpus).float()
    result = evaluate(model, Batches(corpus, "test", normalizer))
    for number, name in enumerate(("a", "b")):
        own = [corpus[i] for i in corpus.indices("test") if corpus[i].label == number]
        alone = evaluate(model, Batches(pack(corpus.metadata, {"test": own}), "test", normalizer))
        assert result.by_class[name].sequences == len(own)
        assert result.by_class[name].nll_per_sequence == pytest.approx(alone.nll_per_sequence, rel=1e-6)
        assert result.by_class[name].nll_per_point == pytest.approx(alone.nll_per_point, rel=1e-6)
    assert evaluate(small_model(LATENT).float(), Batches(LATENT, "test", normalizer)).by_class == {}


def test_with_a_latent_densities_are_in_raw_units_and_the_divergence_in_none() -> None:
    """In units of a tenth a motion's nats rise by 2 log 10, in the bound as in the estimate; the posterior stays."""
    results = []
    for factor in (1.0, 10.0):
        base = random_corpus([6, 8], bin_width=None)
        motion = base.motion.astype(np.float32) * np.float32(factor)
        corpus = Corpus(Metadata(name="x"), motion, base.event, base.offsets, base.splits)
        results.append(evaluate(small_sketch(corpus).float(), Batches(corpus, "test", Normalizer.from_corpus(corpus)), 0, 5))
    for name in ("nll_per_sequence", "reconstruction_nll_per_sequence", "importance_nll_per_sequence"):
        gap = getattr(results[1], name) - getattr(results[0], name)
        assert gap == pytest.approx(7 * 2 * math.log(10), abs=1e-3), name
    assert results[0].kl_per_sequence == pytest.approx(results[1].kl_per_sequence, abs=1e-5)
    assert results[0].importance_standard_error == pytest.approx(results[1].importance_standard_error, rel=1e-3)


def test_a_part_of_a_split_is_measured_as_that_part() -> None:
    """`most`: every second of the sequences."""
    normalizer, model = Normalizer.from_corpus(LATENT), small_model(LATENT).float()
    part = pack(LATENT.metadata, {"test": [LATENT[i] for i in list(LATENT.indices("test"))[::2]]})
    whole = evaluate(model, Batches(LATENT, "test", normalizer, max_sequences=12))
    expected = evaluate(model, Batches(part, "test", normalizer))
    assert whole.sequences == expected.sequences == 12
    assert whole.nll_per_sequence == pytest.approx(expected.nll_per_sequence)


def test_fewer_draws_than_none_are_refused() -> None:
    data = Batches(LATENT, "test", Normalizer.from_corpus(LATENT))
    with pytest.raises(InputError, match=r"importance is -1; expected a number of draws, 0 for none"):
        evaluate(small_sketch(LATENT).float(), data, importance=-1)


def test_evaluation_leaves_a_model_with_a_latent_as_it_was() -> None:
    """In training or not, and so measures it without dropout; nobody else's random numbers change."""
    data = Batches(LATENT, "test", Normalizer.from_corpus(LATENT))
    model = small_sketch(LATENT, dropout=0.5, recurrent_dropout=0.5).float().train()
    before = torch.get_rng_state()
    result = evaluate(model, data, importance=2)
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)
    assert result == evaluate(model.eval(), data, importance=2)
    assert not model.training


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_cells_of_places_and_the_density_of_times_are_one_product(covariance: str) -> None:
    """Against the plainest loop, which leaves out the time of each first row: it is no news."""
    corpus = touches(bin_width=1 / 1024)
    normalizer = Normalizer.from_corpus(corpus)
    model = small_model(corpus, covariance=covariance).float().eval()
    width = 1 / 1024 / normalizer.scale[0]
    total = 0.0
    for i in corpus.indices("test"):
        motion = torch.from_numpy(normalizer.normalize(corpus[i].motion, 0))
        previous, state = model.initial_step(1), model.initial_state(1, Condition())
        for t, event in enumerate(corpus[i].event.tolist()):
            steps, state = model.step(previous, state)
            previous = Step(motion[t : t + 1], torch.tensor([event]))
            places = steps.motion.marginal([0, 1]).discretized_log_prob(previous.motion[:, :2], torch.full((2,), width))
            total -= float((places + steps.event_log_prob(previous.event)).detach())
            if t:
                time = steps.motion.log_prob(previous.motion) - steps.motion.marginal([0, 1]).log_prob(
                    previous.motion[:, :2]
                )
                total -= float(time.detach()) - math.log(corpus[i].motion[t, 2] * normalizer.scale[2])
    result = evaluate(model, Batches(corpus, "test", normalizer))
    assert result.measure == "mixed"
    assert result.paper_L_R is None
    assert result.nll_per_sequence == pytest.approx(total / 10, rel=2e-4)


def test_the_null_model_of_touches_is_a_gaussian_over_the_logs_of_times() -> None:
    corpus = touches(200, bin_width=None)
    train, test = (corpus.select_split(split).motion.reshape(-1, 30, 3).astype(np.float64) for split in ("train", "test"))
    logged = lambda motion: np.concatenate([motion[..., :2], np.log(np.maximum(motion[..., 2:], 1e-9))], -1)  # noqa: E731
    known = logged(train)[:, 1:].reshape(-1, 3)
    mean, covariance = known.mean(0), np.cov(known, rowvar=False)
    expected = -multivariate_normal(mean, covariance).logpdf(logged(test)[:, 1:]).sum()
    expected -= multivariate_normal(mean[:2], covariance[:2, :2]).logpdf(test[:, 0, :2]).sum()
    expected += np.log(test[:, 1:, 2]).sum()
    events = [corpus.select_split(split).event for split in ("train", "test")]
    counts = np.bincount(events[0]) + 1
    expected -= np.log(counts / counts.sum())[events[1]].sum()
    assert null_model_nll(corpus, "test", Normalizer.from_corpus(corpus)) == pytest.approx(expected, rel=1e-3)
