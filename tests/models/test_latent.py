"""Posteriors and the bound against torch.distributions."""

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


def posterior(batch: int = 6, latent: int = 5) -> Posterior:
    generator = torch.Generator().manual_seed(0)
    mean, log_scale = torch.randn(2, batch, latent, generator=generator, dtype=torch.float64)
    return Posterior(2 * mean, 0.6 * log_scale - 0.5)


def theirs(ours: Posterior) -> Distribution:
    return Independent(Normal(ours.mean, ours.log_scale.exp()), 1)


def prior(like: Tensor) -> Distribution:
    return Independent(Normal(torch.zeros_like(like), torch.ones_like(like)), 1)


def test_kl_is_that_of_torch_distributions() -> None:
    ours = posterior()
    torch.testing.assert_close(ours.kl(), kl_divergence(theirs(ours), prior(ours.mean)))
    nothing = Posterior(torch.zeros(3, 2), torch.zeros(3, 2))
    assert torch.equal(nothing.kl(), torch.zeros(3))


@pytest.mark.parametrize("shape", [(), (7,), (2, 3)], ids=["one draw", "seven draws", "two times three"])
def test_log_ratio_is_that_of_torch_distributions(shape: tuple[int, ...]) -> None:
    ours = posterior()
    z = 3 * torch.randn(*shape, 6, 5, dtype=torch.float64)
    expected = theirs(ours).log_prob(z) - prior(ours.mean).log_prob(z)
    torch.testing.assert_close(ours.log_ratio(z), expected)


def test_draws_are_those_of_the_posterior() -> None:
    """A draw's standard score is its noise; the mean of 20,000 draws' log ratio is the KL divergence, for six
    posteriors within 5 standard errors: false failure below 4e-6."""
    ours = posterior()
    noise = torch.randn(20_000, 6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z = ours.sample(noise)
    torch.testing.assert_close(Normal(ours.mean, ours.log_scale.exp()).cdf(z), Normal(0, 1).cdf(noise))
    ratios = ours.log_ratio(z)
    error = ratios.std(0) / math.sqrt(len(z))
    assert (error < 0.05).all()
    assert ((ratios.mean(0) - ours.kl()).abs() < 5 * error).all()


def test_forward_is_decode_of_a_draw_of_each_sequences_own_posterior() -> None:
    model, batch = make_sketch_model(CORPUS).eval(), to_float64(make_batches(CORPUS).batch(np.arange(5)))
    torch.manual_seed(3)
    found = model(batch)
    own = model.encode(batch)
    torch.manual_seed(3)
    expected = model.decode(batch, own.sample(torch.randn_like(own.mean)))
    torch.testing.assert_close(found.log_prob(batch.target), expected.log_prob(batch.target))
    assert not torch.equal(model(batch).log_prob(batch.target), found.log_prob(batch.target))


@pytest.mark.parametrize("bin_width", [1.0, None], ids=["cells", "densities"])
def test_the_loss_is_the_bound_a_point_by_its_terms(bin_width: float | None) -> None:
    corpus = random_corpus([5, 9, 2, 7, 1], bin_width=bin_width)
    model, batch = make_sketch_model(corpus).eval(), to_float64(make_batches(corpus).batch(np.arange(5)))
    own = model.encode(batch)
    torch.manual_seed(3)
    z = own.sample(torch.randn_like(own.mean))
    motion, event = negative_log_likelihood(model.decode(batch, z), batch)
    torch.manual_seed(3)
    loss = model.loss(batch)
    assert set(loss.terms) == {"motion", "event", "kl"}
    torch.testing.assert_close(loss.total, sum(loss.terms.values(), torch.zeros(()).double()))
    torch.testing.assert_close(loss.terms["motion"], motion.sum() / 24)
    torch.testing.assert_close(loss.terms["event"], event.sum() / 24)
    torch.testing.assert_close(loss.terms["kl"], kl_divergence(theirs(own), prior(own.mean)).sum() / 24)


def test_without_a_latent_the_loss_has_no_kl_and_no_chance() -> None:
    model, batch = make_sketch_model(CORPUS, latent=0).eval(), to_float64(make_batches(CORPUS).batch(np.arange(5)))
    loss = model.loss(batch)
    assert set(loss.terms) == {"motion", "event"}
    assert torch.equal(loss.total, model.loss(batch).total)


def test_models_without_an_encoder_are_told_from_those_with_one() -> None:
    model = make_sketch_model(CORPUS)
    assert require_encoder(model) is model
    for other in (make_sketch_model(CORPUS, latent=0), make_sketch_model(CORPUS, kl_weight=0.0), make_model(CORPUS)):
        with pytest.raises(InputError, match="the run has no encoder; expected one of a variational model"):
            require_encoder(other)
