"""RoboJam sees touches as it was published, and its likelihood in our units is one."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from mdnrnn.benchmark.robojam import RoboJam, log_moving, log_probs, nll, taps
from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.normalizer import WIDE
from mdnrnn.distributions import GaussianMixture
from mdnrnn.errors import InputError
from mdnrnn.events import UP
from mdnrnn.training.config import TrainConfig
from mdnrnn.training.trainer import fit
from tests.helpers import batches_of, random_corpus, touches


def uneven() -> Corpus:
    """Performances of 1 to 30 touches, in every split the same."""
    full = touches()
    lengths = [30, 1, 7, 2, 19]
    parts = [Sequence(full[i].motion[-n:].copy(), full[i].event[-n:].copy()) for i, n in enumerate(lengths)]
    for part in parts:
        part.motion[0, 2] = 0
    return pack(full.metadata, dict.fromkeys(("train", "valid", "test"), parts))


def small(corpus: Corpus) -> RoboJam:
    """A small RoboJam in float64, whose `moving` is sure of nothing."""
    torch.manual_seed(0)
    model = RoboJam(corpus.metadata, batches_of(corpus).normalizer, 12, 2, scale_floor=1).double()
    torch.nn.init.normal_(model.head.linear.weight, std=0.5)
    torch.nn.init.normal_(model.head.linear.bias, 1, 2)
    return model


def raw_rows(sequence: Sequence) -> np.ndarray:
    """x, y, dt, moving (T, 4), from the touches as they are."""
    place = np.cumsum(sequence.motion[:, :2].astype(np.float64), 0)
    moving = np.concatenate([[0], sequence.event[:-1] != UP])
    return np.column_stack([place, sequence.motion[:, 2], moving])


def random_mixture(rows: int) -> GaussianMixture:
    """In float64, of ten times a row's columns."""
    means = torch.tensor([5.0, 5, 0.3, 5]) + torch.randn(rows, 5, 4).double() * torch.tensor([3, 3, 0.2, 6])
    scales = torch.rand(rows, 5, 4).double() * torch.tensor([2, 2, 0.3, 5]) + 0.02
    return GaussianMixture(torch.randn(rows, 5).double(), means, scales.log())


def random_rows(rows: int) -> Tensor:
    """Ten times x, y, dt, moving, in float64."""
    moving = torch.randint(2, (rows,))
    places = torch.randint(1024, (rows, 2)) / 1024
    return 10 * torch.column_stack([places, 0.02 + 0.1 * torch.rand(rows), moving]).double()


CELLS = torch.tensor([10 / 1024, 10 / 1024, 0]).double()


def test_rows_are_the_touches_as_they_are() -> None:
    corpus = uneven()
    model = small(corpus)
    for batch in batches_of(corpus, 3):
        expected = np.concatenate([raw_rows(corpus[int(index)]) for index in batch.indices])
        np.testing.assert_allclose(model.rows(batch).numpy() / 10, expected, rtol=1e-5, atol=1e-6)


def test_moving_and_not_are_all_there_is() -> None:
    mixture, rows = random_mixture(200), random_rows(200)
    joint = log_probs(mixture, rows, CELLS.expand(200, 3))
    marginal = mixture.marginal([0, 1, 2]).discretized_log_prob(rows[:, :3], CELLS) + np.log(10)
    torch.testing.assert_close(joint.logsumexp(-1), marginal, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_moving(mixture).logsumexp(-1), torch.zeros(200, 5).double())


def test_probabilities_of_all_cells_and_times_sum_to_one() -> None:
    """A coarse grid over the places, a fine one over the times, for one mixture."""
    mixture = random_mixture(1)
    places, times = torch.arange(-18, 30, 4).double(), torch.linspace(-2, 3, 251).double()
    bin_widths = torch.tensor([4.0, 4.0, 0]).double()
    grid = torch.cartesian_prod(places, places, times)
    rows = torch.nn.functional.pad(grid, (0, 1))
    density = log_probs(mixture, rows, bin_widths.expand(len(rows), 3)).exp().sum(-1)
    seconds = 0.02 / 10
    assert float(density.sum()) * seconds == pytest.approx(1, abs=1e-3)


def test_a_first_row_is_its_place_alone() -> None:
    mixture, rows = random_mixture(50), random_rows(50)
    bin_widths = torch.cat([CELLS[:2], torch.tensor([WIDE])]).double().expand(50, 3)
    place = mixture.marginal([0, 1]).discretized_log_prob(rows[:, :2], CELLS[:2])
    torch.testing.assert_close(log_probs(mixture, rows, bin_widths).logsumexp(-1), place)


def by_hand(mixture: GaussianMixture, row: np.ndarray, first: bool) -> float:
    """Nats of one row x, y, dt, moving, of places on a grid of 1 / 1024, in units of the screen and seconds."""
    mean, scale = mixture.means[0].numpy() / 10, mixture.log_scales[0].exp().numpy() / 10
    logs = mixture.log_weights[0].numpy().copy()
    for k, (x, s) in itertools.product(range(len(logs)), enumerate(row[:2])):
        below = -abs(s - mean[k, x])  # where a difference of two numbers near 1 is none
        outer, inner = norm.cdf([below - 0.5 / 1024, below + 0.5 / 1024], 0, scale[k, x])
        logs[k] += np.log(inner - outer)
    if not first:
        logs += norm.logpdf(row[2], mean[:, 2], scale[:, 2])
        tail = norm.logsf if row[3] else norm.logcdf
        logs += tail(0.5, mean[:, 3], scale[:, 3])
    return -float(logsumexp(logs))


def test_nats_are_those_computed_by_hand() -> None:
    """One performance, one step of an LSTM after the other."""
    corpus = touches(51)
    corpus = replace(corpus, splits={"test": (50, 51), "train": (0, 40)})
    model, total = small(corpus), 0.0
    rows = raw_rows(corpus[50])
    state, before = model.lstm.initial_state(1), torch.zeros(1, 4).double()
    for t, row in enumerate(rows):
        hidden, state = model.lstm.step(before, state)
        with torch.no_grad():
            total += by_hand(model.head(hidden), row, t == 0)
        before = torch.from_numpy(10 * row)[None]
    data = replace(batches_of(corpus), split="test")
    assert nll(model, data) == pytest.approx(total / len(rows), rel=1e-5)


def test_it_is_trained_on_the_density_of_all_columns() -> None:
    corpus = uneven()
    model, batch = small(corpus), batches_of(corpus).batch(np.arange(5))
    rows = model.rows(batch)
    mixture = model(batch, rows)
    parts = Independent(Normal(mixture.means, mixture.log_scales.exp()), 1)
    truth = MixtureSameFamily(Categorical(logits=mixture.logits), parts)
    torch.testing.assert_close(model.loss(batch).total, -truth.log_prob(rows).mean())


def test_taps_are_what_the_probabilities_say() -> None:
    corpus = uneven()
    model, data = small(corpus), batches_of(corpus, 2)
    past, seen, true = [], [], []
    for i in sorted(range(5), key=lambda i: len(corpus[i].event)):
        batch, rows = data.batch(np.array([i])), raw_rows(corpus[i])
        mixture = model(batch, model.rows(batch))
        for t in range(1, len(rows)):
            own = of_row(mixture, t)
            tap, move = (-by_hand(own, np.append(rows[t, :3], moving), False) for moving in (0, 1))
            mean, scale = own.means[0, :, 3], own.log_scales[0, :, 3].exp()
            past.append(float(own.log_weights[0].exp() @ Normal(mean, scale).cdf(torch.tensor(5.0))) > 0.5)
            seen.append(tap > move)
            true.append(rows[t, 3] == 0)
    found = taps(model, data)
    np.testing.assert_array_equal(np.stack(found), [past, seen, true])
    assert 0 < sum(past) < len(past)
    assert past != seen


def of_row(mixture: GaussianMixture, t: int) -> GaussianMixture:
    """The mixture (1,) of row t, without gradient."""
    logits, means, log_scales = (part[t, None].detach() for part in (mixture.logits, mixture.means, mixture.log_scales))
    return GaussianMixture(logits, means, log_scales)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_nats_and_taps_are_the_same_whatever_the_batch(batch_size: int) -> None:
    corpus = uneven()
    model = small(corpus)
    together, apart = batches_of(corpus, 5), batches_of(corpus, batch_size)
    assert nll(model, apart) == pytest.approx(nll(model, together), rel=1e-10)
    np.testing.assert_array_equal(np.stack(taps(model, apart)), np.stack(taps(model, together)))


def test_a_row_is_predicted_from_the_rows_before() -> None:
    corpus = uneven()
    model, batch = small(corpus), batches_of(corpus).batch(np.array([0]))
    rows = model.rows(batch)
    other = rows.clone()
    other[11:] += 1
    before, after = model(batch, rows).means, model(batch, other).means
    torch.testing.assert_close(before[:12], after[:12], rtol=0, atol=0)
    assert not torch.equal(before[12:], after[12:])


def test_a_short_training_lowers_loss_and_nats() -> None:
    corpus = touches()
    train = batches_of(corpus, 10)
    held_out = Batches(corpus, "valid", train.normalizer, 10)
    torch.manual_seed(0)
    model = RoboJam(corpus.metadata, train.normalizer, 16, 1)
    batch = train.batch(np.arange(10))
    loss, start = model.loss(batch).total.item(), nll(model, held_out)
    fit(model, train, config=TrainConfig(steps=60, learning_rate=0.03, warmup=5, device="cpu"))
    assert model.loss(batch).total.item() < loss - 1
    assert nll(model, held_out) < start - 1


def test_half_precision_is_not_for_places() -> None:
    corpus = uneven()
    model, batch = small(corpus).float(), batches_of(corpus).batch(np.arange(5))
    with torch.autocast("cpu", torch.bfloat16):
        narrow = model.loss(batch).total
    torch.testing.assert_close(narrow, model.loss(batch).total, rtol=0, atol=0)


def test_only_touches_are_taken() -> None:
    corpus = random_corpus([3, 4])
    with pytest.raises(InputError, match="expected touches"):
        RoboJam(corpus.metadata, batches_of(corpus).normalizer)
