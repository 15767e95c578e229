"""Tests of latent vectors given a prefix, against the exact posterior of a one-dimensional latent on a grid."""

import copy
import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from mdnrnn.data.batch import Batch
from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Sequence, pack
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.generation.latent_completion import sample_latents_given_prefix
from mdnrnn.models.base import negative_log_likelihood
from mdnrnn.models.latent import Posterior
from mdnrnn.models.sketch import SketchRNN
from mdnrnn.pen_events import END, UP
from tests.helpers import make_sketch_model, random_corpus, to_float64

PROPOSALS, SAMPLES = 4096, 20_000
GRID = torch.linspace(-8, 8, 1601, dtype=torch.float64)
SPACING = float(GRID[1] - GRID[0])
CORPUS = random_corpus([6, 4, 9], classes=("a", "b"))


def make_model() -> SketchRNN:
    """Make a model with a one-dimensional latent that strongly affects motions and events."""
    model = make_sketch_model(CORPUS, seed=6, latent=1).float().eval()
    with torch.no_grad():
        model.initial_layer.weight[:, :1] *= 4
        model.decoder.head.linear.weight[model.decoder.head.shape.size :] *= 6
    return model


def copy_prefix(prefix: Sequence, n: int) -> Batch:
    """Make a batch of n copies of a prefix, with the normalizer of the corpus."""
    data = Batches(pack(CORPUS.metadata, {"test": [prefix]}), "test", Normalizer.from_corpus(CORPUS))
    return data.batch(np.zeros(n, np.int64))


def make_prefix(index: int, points: int, last_event: int) -> Sequence:
    """Make a prefix from the first points of a sequence of the corpus."""
    motion, event, label = CORPUS[index][:3]
    return Sequence(motion[:points], np.append(event[: points - 1], last_event).astype(np.uint8), label)


class ExactPosterior(NamedTuple):
    """Densities of p(z | prefix) and of the proposals on the grid."""

    density: Tensor
    proposal: Tensor

    def mean_and_error(self, values: Tensor) -> tuple[float, float]:
        """Return the mean of a function of z, given on the grid, and the standard error of its resampled estimate."""
        mean = float((self.density * values).sum() * SPACING)
        spread = self.density * (values - mean).square()
        variance = (spread * self.density / self.proposal).sum() / PROPOSALS + spread.sum() / SAMPLES
        return mean, math.sqrt(float(variance * SPACING))


@torch.no_grad()
def compute_exact(model: SketchRNN, prefix: Sequence, score_end: bool = False) -> ExactPosterior:
    model, batch = copy.deepcopy(model).double(), to_float64(copy_prefix(prefix, len(GRID)))
    motion, event = negative_log_likelihood(model.decode(batch, GRID.unsqueeze(-1)), batch)
    if not score_end:
        event = event.masked_fill(batch.target.event == END, 0)
    prior = Normal(0.0, 1.0).log_prob(GRID)
    density = torch.softmax(prior - (motion + event).view(len(GRID), -1).sum(1), 0) / SPACING
    posterior = Posterior(*(part[:1] for part in model.encode(batch)))
    encoder = Normal(posterior.mean[0], posterior.log_scale[0].exp()).log_prob(GRID)
    return ExactPosterior(density, 0.5 * (prior.exp() + encoder.exp()))


PREFIXES = {
    "one point": make_prefix(0, 1, END),
    "four points": make_prefix(2, 4, END),
    "nine points": make_prefix(2, 9, END),
    "other class": make_prefix(2, 4, END)._replace(label=0),
    "last event UP": make_prefix(2, 4, UP),
}


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES.keys())
def test_samples_follow_the_exact_posterior(prefix: Sequence) -> None:
    """With 4,096 proposals and 20,000 samples, the mean of z, of z squared and the fractions in ten bins are within 5
    standard errors; false failure below 1e-5 per prefix. Samples of the prior or of the encoder would fail."""
    model = make_model()
    exact = compute_exact(model, prefix)
    samples = sample_latents_given_prefix(model, copy_prefix(prefix, PROPOSALS), SAMPLES, seed=1)
    assert samples.shape == (SAMPLES, 1)
    z = samples[:, 0].double()
    edges = torch.linspace(-2, 2, 9, dtype=torch.float64)
    encoder = 2 * exact.proposal - Normal(0.0, 1.0).log_prob(GRID).exp()
    is_rejected = {"prior": False, "encoder": False}
    pairs = [(z, GRID), (z.square(), GRID.square())]
    pairs += [
        ((torch.bucketize(z, edges) == k).double(), (torch.bucketize(GRID, edges) == k).double()) for k in range(10)
    ]
    for values, grid_values in pairs:
        mean, error = exact.mean_and_error(grid_values)
        assert float(values.mean()) == pytest.approx(mean, abs=5 * error + 1e-4)
        for name, density in (("prior", 2 * exact.proposal - encoder), ("encoder", encoder)):
            other_mean = float((density * grid_values).sum() * SPACING)
            is_rejected[name] |= abs(other_mean - mean) > 10 * error + 1e-3
    assert is_rejected == {"prior": True, "encoder": True}


def test_end_of_the_prefix_is_not_scored() -> None:
    """If it were, the mean would change by more than 20 standard errors."""
    model, prefix = make_model(), PREFIXES["one point"]
    mean, error = compute_exact(model, prefix).mean_and_error(GRID)
    scored_mean, _ = compute_exact(model, prefix, score_end=True).mean_and_error(GRID)
    assert abs(scored_mean - mean) > 20 * error
    z = sample_latents_given_prefix(model, copy_prefix(prefix, PROPOSALS), SAMPLES, seed=2)
    assert float(z.mean()) == pytest.approx(mean, abs=5 * error)


def test_first_samples_do_not_depend_on_the_number_of_samples() -> None:
    model, batch = make_model(), copy_prefix(PREFIXES["four points"], 256)
    few, many = (sample_latents_given_prefix(model, batch, n) for n in (3, 50))
    assert few.shape == (3, 1)
    assert torch.equal(few, many[:3])
    assert sample_latents_given_prefix(model, batch, 0).shape == (0, 1)


def test_samples_depend_on_the_seed_and_not_on_the_global_generator() -> None:
    model, batch = make_model(), copy_prefix(PREFIXES["four points"], 256)
    before = torch.get_rng_state()
    one, same, other = (sample_latents_given_prefix(model, batch, 20, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert len(one.unique()) > 5


def test_samples_are_finite_if_all_proposals_are_improbable() -> None:
    """A motion of 30,000 units has a likelihood of at most e^-1e9."""
    prefix = Sequence(np.full((3, 2), 30_000, np.int16), np.array([0, 0, END], np.uint8), 0)
    assert sample_latents_given_prefix(make_model(), copy_prefix(prefix, 256), 20).isfinite().all()
