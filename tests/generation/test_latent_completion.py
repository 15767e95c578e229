"""Latents given an unfinished sequence, against the exact posterior of one number on a grid."""

import copy
import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from mdnrnn.data.batches import Batch, Batches
from mdnrnn.data.corpus import Sequence, pack
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.events import END, UP
from mdnrnn.generation.latent_completion import sample_latents_given_prefix
from mdnrnn.models.base import negative_log_likelihood
from mdnrnn.models.latent import Posterior
from mdnrnn.models.sketch import SketchRNN
from tests.helpers import make_sketch_model, random_corpus, to_float64

PROPOSALS, DRAWS = 4096, 20_000
GRID = torch.linspace(-8, 8, 1601, dtype=torch.float64)
CORPUS = random_corpus([6, 4, 9], classes=("a", "b"))


def sketch() -> SketchRNN:
    """In float32, with a latent of one number that motions and events depend on strongly."""
    model = make_sketch_model(CORPUS, seed=6, latent=1).float().eval()
    with torch.no_grad():
        model.start_of.weight[:, :1] *= 4
        model.decoder.head.linear.weight[model.decoder.head.shape.size :] *= 6
    return model


def copies(prefix: Sequence, number: int) -> Batch:
    """Of a prefix, normalized as the corpus is."""
    data = Batches(pack(CORPUS.metadata, {"test": [prefix]}), "test", Normalizer.from_corpus(CORPUS))
    return data.batch(np.zeros(number, np.int64))


def prefix_of(index: int, points: int, last: int) -> Sequence:
    """The beginning of a sequence; its last event is another."""
    motion, event, label = CORPUS[index][:3]
    return Sequence(motion[:points], np.append(event[: points - 1], last).astype(np.uint8), label)


class Exact(NamedTuple):
    """p(z | prefix) on the grid, and what the proposals are drawn by, both densities."""

    density: Tensor
    proposal: Tensor

    def error(self, of: Tensor) -> tuple[float, float]:
        """Of a function of z on the grid: its mean, and the standard error of that over resampled proposals."""
        step = GRID[1] - GRID[0]
        mean = float((self.density * of).sum() * step)
        spread = self.density * (of - mean).square()
        variance = (spread * self.density / self.proposal).sum() / PROPOSALS + spread.sum() / DRAWS
        return mean, math.sqrt(float(variance * step))


@torch.no_grad()
def exact(model: SketchRNN, prefix: Sequence, end_counts: bool = False) -> Exact:
    model, batch = copy.deepcopy(model).double(), to_float64(copies(prefix, len(GRID)))
    motion, event = negative_log_likelihood(model.decode(batch, GRID.unsqueeze(-1)), batch)
    if not end_counts:
        event = event.masked_fill(batch.target.event == END, 0)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(GRID)
    density = torch.softmax(prior - (motion + event).view(len(GRID), -1).sum(1), 0) / (GRID[1] - GRID[0])
    own = Posterior(*(part[:1] for part in model.encode(batch)))
    encoded = torch.distributions.Normal(own.mean[0], own.log_scale[0].exp()).log_prob(GRID)
    return Exact(density, 0.5 * (prior.exp() + encoded.exp()))


PREFIXES = {
    "one point": prefix_of(0, 1, END),
    "four points": prefix_of(2, 4, END),
    "nine points": prefix_of(2, 9, END),
    "of another class": prefix_of(2, 4, END)._replace(label=0),
    "not ended": prefix_of(2, 4, UP),
}


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES.keys())
def test_latents_come_from_the_exact_posterior(prefix: Sequence) -> None:
    """4,096 proposals, 20,000 draws: mean, square and the shares of ten bins within 5 standard errors of what a grid
    says; false failure below 1e-5 a prefix. Draws from the prior, or from the encoder's own, would be told."""
    model = sketch()
    truth = exact(model, prefix)
    drawn = sample_latents_given_prefix(model, copies(prefix, PROPOSALS), DRAWS, seed=1)
    assert drawn.shape == (DRAWS, 1)
    z = drawn[:, 0].double()
    edges = torch.linspace(-2, 2, 9, dtype=torch.float64)
    told = {"prior": False, "encoder": False}
    encoded = 2 * truth.proposal - torch.distributions.Normal(0.0, 1.0).log_prob(GRID).exp()
    pairs = [(z, GRID), (z.square(), GRID.square())]
    pairs += [
        ((torch.bucketize(z, edges) == k).double(), (torch.bucketize(GRID, edges) == k).double()) for k in range(10)
    ]
    for found, expected in pairs:
        mean, error = truth.error(expected)
        assert float(found.mean()) == pytest.approx(mean, abs=5 * error + 1e-4)
        for name, density in (("prior", 2 * truth.proposal - encoded), ("encoder", encoded)):
            other = float((density * expected).sum() * (GRID[1] - GRID[0]))
            told[name] |= abs(other - mean) > 10 * error + 1e-3
    assert told == {"prior": True, "encoder": True}


def test_where_a_prefix_ends_is_no_event_of_it() -> None:
    """An END that counted would move the mean by more than 20 standard errors."""
    model, prefix = sketch(), PREFIXES["one point"]
    counted, (mean, error) = exact(model, prefix, end_counts=True), exact(model, prefix).error(GRID)
    assert abs(counted.error(GRID)[0] - mean) > 20 * error
    z = sample_latents_given_prefix(model, copies(prefix, PROPOSALS), DRAWS, seed=2)
    assert float(z.mean()) == pytest.approx(mean, abs=5 * error)


def test_the_first_latents_do_not_depend_on_how_many_are_asked_for() -> None:
    model, batch = sketch(), copies(PREFIXES["four points"], 256)
    few, many = (sample_latents_given_prefix(model, batch, n) for n in (3, 50))
    assert few.shape == (3, 1)
    assert torch.equal(few, many[:3])
    assert sample_latents_given_prefix(model, batch, 0).shape == (0, 1)


def test_seeds_make_other_latents_and_nobodys_numbers_change() -> None:
    model, batch = sketch(), copies(PREFIXES["four points"], 256)
    before = torch.get_rng_state()
    one, same, other = (sample_latents_given_prefix(model, batch, 20, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert len(one.unique()) > 5


def test_a_prefix_that_no_proposal_explains_still_has_latents() -> None:
    """A motion of 30,000 units: likelihoods of e^-1e9 and less."""
    prefix = Sequence(np.full((3, 2), 30_000, np.int16), np.array([0, 0, END], np.uint8), 0)
    drawn = sample_latents_given_prefix(sketch(), copies(prefix, 256), 20)
    assert drawn.isfinite().all()
