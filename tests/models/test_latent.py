"""Tests of posteriors and the evidence lower bound against torch.distributions."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from mdnrnn.errors import InputError
from mdnrnn.models.base import negative_log_likelihood
from mdnrnn.models.latent import Posterior, require_encoder
from tests.helpers import make_batches, make_model, make_sketch_model, random_corpus, to_float64

CORPUS = random_corpus([5, 9, 2, 7, 1])


def make_posterior(batch: int = 6, latent: int = 5) -> Posterior:
    generator = torch.Generator().manual_seed(0)
    mean, log_scale = torch.randn(2, batch, latent, generator=generator, dtype=torch.float64)
    return Posterior(2 * mean, 0.6 * log_scale - 0.5)


def reference_posterior(posterior: Posterior) -> Distribution:
    return Independent(Normal(posterior.mean, posterior.log_scale.exp()), 1)


def standard_normal(like: Tensor) -> Distribution:
    return Independent(Normal(torch.zeros_like(like), torch.ones_like(like)), 1)


def test_kl_equals_torch_distributions() -> None:
    posterior = make_posterior()
    expected = kl_divergence(reference_posterior(posterior), standard_normal(posterior.mean))
    torch.testing.assert_close(posterior.kl(), expected)
    equal_to_prior = Posterior(torch.zeros(3, 2), torch.zeros(3, 2))
    assert torch.equal(equal_to_prior.kl(), torch.zeros(3))


@pytest.mark.parametrize("shape", [(), (7,), (2, 3)], ids=["one sample", "7 samples", "2 x 3 samples"])
def test_log_ratio_equals_torch_distributions(shape: tuple[int, ...]) -> None:
    posterior = make_posterior()
    z = 3 * torch.randn(*shape, 6, 5, dtype=torch.float64)
    expected = reference_posterior(posterior).log_prob(z) - standard_normal(posterior.mean).log_prob(z)
    torch.testing.assert_close(posterior.log_ratio(z), expected)


def test_samples_follow_the_posterior() -> None:
    """Quantiles of samples are those of their noise. The mean log ratio of 20,000 samples is the KL divergence within 5
    standard errors, for six posteriors; false failure below 4e-6."""
    posterior = make_posterior()
    noise = torch.randn(20_000, 6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z = posterior.sample(noise)
    torch.testing.assert_close(Normal(posterior.mean, posterior.log_scale.exp()).cdf(z), Normal(0, 1).cdf(noise))
    ratios = posterior.log_ratio(z)
    error = ratios.std(0) / math.sqrt(len(z))
    assert (error < 0.05).all()
    assert ((ratios.mean(0) - posterior.kl()).abs() < 5 * error).all()


def test_forward_decodes_one_posterior_sample_per_sequence() -> None:
    model, batch = make_sketch_model(CORPUS).eval(), to_float64(make_batches(CORPUS).batch(np.arange(5)))
    torch.manual_seed(3)
    steps = model(batch)
    posterior = model.encode(batch)
    torch.manual_seed(3)
    expected = model.decode(batch, posterior.sample(torch.randn_like(posterior.mean)))
    torch.testing.assert_close(steps.log_prob(batch.target), expected.log_prob(batch.target))
    assert not torch.equal(model(batch).log_prob(batch.target), steps.log_prob(batch.target))


@pytest.mark.parametrize("bin_width", [1.0, None], ids=["bins", "densities"])
def test_loss_is_the_negative_bound_per_point(bin_width: float | None) -> None:
    corpus = random_corpus([5, 9, 2, 7, 1], bin_width=bin_width)
    model, batch = make_sketch_model(corpus).eval(), to_float64(make_batches(corpus).batch(np.arange(5)))
    posterior = model.encode(batch)
    torch.manual_seed(3)
    z = posterior.sample(torch.randn_like(posterior.mean))
    motion, event = negative_log_likelihood(model.decode(batch, z), batch)
    kl = kl_divergence(reference_posterior(posterior), standard_normal(posterior.mean))
    torch.manual_seed(3)
    loss = model.loss(batch)
    assert set(loss.terms) == {"motion", "event", "kl"}
    torch.testing.assert_close(loss.total, sum(loss.terms.values(), torch.zeros(()).double()))
    torch.testing.assert_close(loss.terms["motion"], motion.sum() / 24)
    torch.testing.assert_close(loss.terms["event"], event.sum() / 24)
    torch.testing.assert_close(loss.terms["kl"], kl.sum() / 24)


def test_loss_without_latent_has_no_kl_and_no_noise() -> None:
    model, batch = make_sketch_model(CORPUS, latent=0).eval(), to_float64(make_batches(CORPUS).batch(np.arange(5)))
    loss = model.loss(batch)
    assert set(loss.terms) == {"motion", "event"}
    assert torch.equal(loss.total, model.loss(batch).total)


def test_models_without_encoder_are_an_error() -> None:
    model = make_sketch_model(CORPUS)
    assert require_encoder(model) is model
    for other in (make_sketch_model(CORPUS, latent=0), make_sketch_model(CORPUS, kl_weight=0.0), make_model(CORPUS)):
        with pytest.raises(InputError, match="received a model without an encoder"):
            require_encoder(other)
