"""Likelihood of models with a latent vector: variational bound, importance sampling, random numbers."""

import copy
import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch

from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputError
from mdnrnn.evaluation.likelihood import evaluate
from mdnrnn.models.base import negative_log_likelihood
from mdnrnn.models.sketch import SketchRNN
from tests.helpers import make_model, make_sketch_model, random_corpus, to_float64

CORPUS = random_corpus([4, 6, 3, 1] * 6)
DATA = Batches(CORPUS, "test", Normalizer.from_corpus(CORPUS))
LARGE_CORPUS = random_corpus([4, 6, 3, 1] * 24)
"""Batches of many sequences: fewer passes than with many seeds."""
LARGE_DATA = Batches(LARGE_CORPUS, "test", Normalizer.from_corpus(LARGE_CORPUS))


def make_latent_model(corpus: Corpus, **config: Any) -> SketchRNN:
    """Return a model in float32 that depends strongly on its latent vector, by default of size 1.

    Its posteriors are shifted from the prior and wider than it, so that importance weights are bounded.
    """
    model = make_sketch_model(corpus, **{"latent": 1, **config}).float()
    with torch.no_grad():
        model.posterior.weight[model.latent :] *= 0.3
        model.posterior.bias[model.latent :] = 0.3
        model.initial_layer.weight[:, : model.latent] *= 2
        weight = model.decoder.core.layers[0].get_parameter("weight_ih_l0")
        weight[:, model.decoder.features.width :][:, : model.latent] *= 2
    return model


@torch.no_grad()
def integrate_nll(model: SketchRNN, data: Batches) -> list[float]:
    """Return -log p of each sequence in float64, by a sum over 321 latents from -8 to 8."""
    model, grid = copy.deepcopy(model).double().eval(), torch.linspace(-8, 8, 321, dtype=torch.float64)
    log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(grid) + torch.log(grid[1] - grid[0])
    nll = []
    for i in data.corpus.indices(data.split):
        batch = to_float64(data.batch(np.full(len(grid), i)))
        motion, event = negative_log_likelihood(model.decode(batch, grid.unsqueeze(-1)), batch)
        nll.append(-float(torch.logsumexp(log_prior - (motion + event).view(len(grid), -1).sum(1), 0)))
    return nll


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize("bin_width", [1.0, None], ids=["discretized", "density"])
def test_importance_sampling_estimates_the_integral(bin_width: float | None, covariance: str) -> None:
    """96 sequences with 100 samples each, within 5 standard errors: false-failure probability below 1e-6."""
    corpus = random_corpus([4, 6, 3, 1] * 24, bin_width=bin_width)
    data = Batches(corpus, "test", Normalizer.from_corpus(corpus))
    model = make_latent_model(corpus, covariance=covariance)
    to_raw_units = 0.0 if bin_width else 3.5 * float(np.log(data.normalizer.scale).sum())
    exact = float(np.mean(integrate_nll(model, data))) + to_raw_units
    result = evaluate(model, data, importance=100)
    assert result.importance_nll_per_sequence is not None
    assert result.importance_standard_error is not None
    assert result.importance_standard_error < 0.02
    assert result.importance_nll_per_sequence == pytest.approx(exact, abs=5 * result.importance_standard_error)
    assert result.nll_per_sequence > exact + 0.3  # the bound is not tight


def test_standard_error_is_the_standard_deviation_over_seeds() -> None:
    """30 seeds with 10 samples, within a factor of 1.7.

    A chi-square variable with 29 degrees of freedom is 2.9 times larger or smaller than its mean with a probability
    below 1e-4.
    """
    model = make_latent_model(LARGE_CORPUS)
    results = [evaluate(model, LARGE_DATA, seed=seed, importance=10) for seed in range(30)]
    deviation = float(np.std([result.importance_nll_per_sequence or 0 for result in results], ddof=1))
    stated = math.sqrt(np.mean([(result.importance_standard_error or 0) ** 2 for result in results]))
    assert stated / 1.7 < deviation < stated * 1.7


def latent_noise(sequence: int, samples: int, latent: int, seed: int = 0) -> torch.Tensor:
    """Return the noise (samples, 1, Z) of a sequence, which depends only on the seed and the sequence's index."""
    generator = np.random.Generator(np.random.Philox([seed, sequence]))
    return torch.from_numpy(generator.standard_normal((samples, latent), np.float32)).unsqueeze(1)


@pytest.mark.parametrize("samples", [1, 2, 12])
@torch.no_grad()
def test_bound_and_importance_estimate_equal_direct_sums(samples: int) -> None:
    """Reference: one sequence and one sample at a time.

    The bound is the mean reconstruction plus the exact KL divergence. The estimate is the log of the mean weight, which
    is at least the mean of the log weights.
    """
    model = make_latent_model(CORPUS, latent=3).eval()
    reconstruction, divergence, importance, mean_log_weights = [], [], [], []
    for i in CORPUS.indices("test"):
        batch = DATA.batch(np.array([i]))
        encoded = model.encode(batch)
        posterior = torch.distributions.Normal(encoded.mean, encoded.log_scale.exp())
        prior = torch.distributions.Normal(torch.zeros(1, 3), torch.ones(1, 3))
        nlls, log_ratios = [], []
        for noise in latent_noise(i, samples, 3):
            z = posterior.loc + posterior.scale * noise
            motion, event = negative_log_likelihood(model.decode(batch, z), batch)
            nlls.append((motion + event).double().sum())
            log_ratios.append((posterior.log_prob(z) - prior.log_prob(z)).double().sum())
        log_weights = -torch.stack(nlls) - torch.stack(log_ratios)
        reconstruction.append(float(torch.stack(nlls).mean()))
        divergence.append(float(torch.distributions.kl_divergence(posterior, prior).sum()))
        importance.append(float(math.log(samples) - log_weights.logsumexp(0)))
        mean_log_weights.append(float(-log_weights.mean()))
    result = evaluate(model, DATA, importance=samples)
    assert result.reconstruction_nll_per_sequence == pytest.approx(np.mean(reconstruction), rel=1e-5)
    assert result.kl_per_sequence == pytest.approx(np.mean(divergence), rel=1e-5)
    assert result.nll_per_sequence == pytest.approx(np.mean(reconstruction) + np.mean(divergence), rel=1e-5)
    assert result.importance_nll_per_sequence == pytest.approx(np.mean(importance), rel=1e-5)
    assert result.importance_nll_per_sequence is not None
    assert result.importance_nll_per_sequence <= np.mean(mean_log_weights) + 1e-4
    assert samples > 1 or result.importance_nll_per_sequence == pytest.approx(np.mean(mean_log_weights), rel=1e-5)
    assert result.paper_L_KL == pytest.approx(np.mean(divergence) / 3, rel=1e-5)
    without_kl = result.motion_nll_per_point + result.event_nll_per_point
    assert result.nll_per_point == pytest.approx(without_kl + np.mean(divergence) / 3.5, rel=1e-5)


def test_importance_estimate_decreases_with_the_number_of_samples() -> None:
    """Means over 16 seeds with 1, 4 and 16 samples.

    Each mean is below the previous one by 5 standard errors of the difference, and the last one is above the integral
    minus 5 standard errors: false-failure probability below 1e-3 (Student's t with 15 degrees of freedom).
    """
    model = make_latent_model(LARGE_CORPUS, covariance="diagonal")
    means, errors = [], []
    for samples in (1, 4, 16):
        results = [evaluate(model, LARGE_DATA, seed=seed, importance=samples) for seed in range(16)]
        estimates = [result.importance_nll_per_sequence or 0 for result in results]
        means.append(float(np.mean(estimates)))
        errors.append(float(np.std(estimates, ddof=1)) / math.sqrt(16))
    for few, many in ((0, 1), (1, 2)):
        assert means[few] - means[many] > 5 * math.hypot(errors[few], errors[many])
    assert means[2] > np.mean(integrate_nll(model, LARGE_DATA)) - 5 * errors[2]


def test_without_a_latent_vector_bound_and_estimate_equal_the_likelihood() -> None:
    corpus = random_corpus([6, 3, 9, 1], bin_width=None)
    data = Batches(corpus, "test", Normalizer.from_corpus(corpus))
    for model in (make_model(corpus).float(), make_sketch_model(corpus, latent=0).float()):
        exact, estimated = evaluate(model, data), evaluate(model, data, importance=7)
        assert estimated.importance_nll_per_sequence == pytest.approx(exact.nll_per_sequence, rel=1e-12)
        assert estimated.importance_standard_error == 0
        assert exact.importance_nll_per_sequence is None
        assert exact.importance_standard_error is None
        assert exact.kl_per_sequence == exact.paper_L_KL == 0
        assert exact.reconstruction_nll_per_sequence == exact.nll_per_sequence
        assert replace(estimated, importance_nll_per_sequence=None, importance_standard_error=None) == exact


@pytest.mark.parametrize("importance", [0, 5])
def test_latent_samples_do_not_depend_on_the_batch_size(importance: int) -> None:
    corpus = random_corpus([6, 3, 9, 1, 30], classes=("a", "b"))
    model, normalizer = make_sketch_model(corpus).float(), Normalizer.from_corpus(corpus)
    one, many = (
        asdict(evaluate(model, Batches(corpus, "test", normalizer, batch_size), 3, importance))
        for batch_size in (1, 100)
    )
    classes = one.pop("by_class"), many.pop("by_class")
    for name, value in one.items():
        if isinstance(value, float):
            assert many[name] == pytest.approx(value, rel=1e-5, abs=1e-7), name
    assert classes[0].keys() == classes[1].keys() == {"a", "b"}
    for name, likelihood in classes[0].items():
        assert classes[1][name] == pytest.approx(likelihood, rel=1e-5)


def test_seed_determines_the_samples() -> None:
    model = make_sketch_model(CORPUS).float()
    assert evaluate(model, DATA, seed=1) == evaluate(model, DATA, seed=1)
    assert evaluate(model, DATA, seed=1).nll_per_sequence != evaluate(model, DATA, seed=2).nll_per_sequence


def test_densities_are_in_raw_units_but_the_kl_divergence_has_no_unit() -> None:
    """In units of a tenth the NLL of a motion rises by 2 log 10, in bound and estimate; the posterior is the same."""
    results = []
    for factor in (1.0, 10.0):
        base = random_corpus([6, 8], bin_width=None)
        motion = base.motion.astype(np.float32) * np.float32(factor)
        corpus = Corpus(Metadata(name="x"), motion, base.event, base.offsets, base.splits)
        data = Batches(corpus, "test", Normalizer.from_corpus(corpus))
        results.append(evaluate(make_sketch_model(corpus).float(), data, 0, 5))
    for name in ("nll_per_sequence", "reconstruction_nll_per_sequence", "importance_nll_per_sequence"):
        difference = getattr(results[1], name) - getattr(results[0], name)
        assert difference == pytest.approx(7 * 2 * math.log(10), abs=1e-3), name
    assert results[0].kl_per_sequence == pytest.approx(results[1].kl_per_sequence, abs=1e-5)
    assert results[0].importance_standard_error == pytest.approx(results[1].importance_standard_error, rel=1e-3)


def test_negative_number_of_samples_is_rejected() -> None:
    with pytest.raises(InputError, match=r"importance: received -1, expected a number of samples >= 0"):
        evaluate(make_sketch_model(CORPUS).float(), DATA, importance=-1)


def test_evaluation_restores_training_mode_and_random_state() -> None:
    """The model is evaluated without dropout, even if it is in training mode."""
    model = make_sketch_model(CORPUS, dropout=0.5, recurrent_dropout=0.5).float().train()
    before = torch.get_rng_state()
    result = evaluate(model, DATA, importance=2)
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)
    assert result == evaluate(model.eval(), DATA, importance=2)
    assert not model.training
