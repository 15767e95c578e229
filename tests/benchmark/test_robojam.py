"""RoboJam receives touches as published, and its discretized likelihood is normalized."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from mdnrnn.benchmark.robojam import RoboJam, log_moving, log_probs, nll, predict_taps
from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.normalizer import CERTAIN_BIN_WIDTH
from mdnrnn.distributions import GaussianMixture
from mdnrnn.errors import InputError
from mdnrnn.pen_events import UP
from mdnrnn.training.config import TrainConfig
from mdnrnn.training.trainer import fit
from tests.helpers import make_batches, make_touches, random_corpus


def uneven() -> Corpus:
    """Return performances of 1 to 30 touches, identical in every split."""
    full = make_touches()
    lengths = [30, 1, 7, 2, 19]
    parts = [Sequence(full[i].motion[-n:].copy(), full[i].event[-n:].copy()) for i, n in enumerate(lengths)]
    for part in parts:
        part.motion[0, 2] = 0
    return pack(full.metadata, dict.fromkeys(("train", "valid", "test"), parts))


def small(corpus: Corpus) -> RoboJam:
    """Return a small RoboJam in float64 with uncertain predictions of `moving`."""
    torch.manual_seed(0)
    model = RoboJam(corpus.metadata, make_batches(corpus).normalizer, 12, 2, scale_floor=1).double()
    torch.nn.init.normal_(model.head.linear.weight, std=0.5)
    torch.nn.init.normal_(model.head.linear.bias, 1, 2)
    return model


def raw_rows(sequence: Sequence) -> np.ndarray:
    """Return x, y, dt, moving (T, 4) of a sequence."""
    position = np.cumsum(sequence.motion[:, :2].astype(np.float64), 0)
    moving = np.concatenate([[0], sequence.event[:-1] != UP])
    return np.column_stack([position, sequence.motion[:, 2], moving])


def random_mixture(rows: int) -> GaussianMixture:
    """Return random mixtures over multiplied rows, in float64."""
    means = torch.tensor([5.0, 5, 0.3, 5]) + torch.randn(rows, 5, 4).double() * torch.tensor([3, 3, 0.2, 6])
    scales = torch.rand(rows, 5, 4).double() * torch.tensor([2, 2, 0.3, 5]) + 0.02
    return GaussianMixture(torch.randn(rows, 5).double(), means, scales.log())


def random_rows(rows: int) -> Tensor:
    """Return random multiplied rows, in float64."""
    moving = torch.randint(2, (rows,))
    positions = torch.randint(1024, (rows, 2)) / 1024
    return 10 * torch.column_stack([positions, 0.02 + 0.1 * torch.rand(rows), moving]).double()


BIN_WIDTHS = torch.tensor([10 / 1024, 10 / 1024, 0]).double()


def test_rows_contain_the_touches() -> None:
    corpus = uneven()
    model = small(corpus)
    for batch in make_batches(corpus, 3):
        expected = np.concatenate([raw_rows(corpus[int(index)]) for index in batch.indices])
        np.testing.assert_allclose(model.rows(batch).numpy() / 10, expected, rtol=1e-5, atol=1e-6)


def test_probabilities_of_moving_sum_to_one() -> None:
    mixture, rows = random_mixture(200), random_rows(200)
    joint = log_probs(mixture, rows, BIN_WIDTHS.expand(200, 3))
    marginal = mixture.marginal([0, 1, 2]).discretized_log_prob(rows[:, :3], BIN_WIDTHS) + np.log(10)
    torch.testing.assert_close(joint.logsumexp(-1), marginal, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_moving(mixture).logsumexp(-1), torch.zeros(200, 5).double())


def test_probability_of_all_bins_and_times_is_one() -> None:
    """Sums over a coarse grid of positions and integrates over a fine grid of times."""
    mixture = random_mixture(1)
    positions, times = torch.arange(-18, 30, 4).double(), torch.linspace(-2, 3, 251).double()
    bin_widths = torch.tensor([4.0, 4.0, 0]).double()
    grid = torch.cartesian_prod(positions, positions, times)
    rows = torch.nn.functional.pad(grid, (0, 1))
    density = log_probs(mixture, rows, bin_widths.expand(len(rows), 3)).exp().sum(-1)
    seconds = 0.02 / 10
    assert float(density.sum()) * seconds == pytest.approx(1, abs=1e-3)


def test_first_row_depends_on_the_position_only() -> None:
    mixture, rows = random_mixture(50), random_rows(50)
    bin_widths = torch.cat([BIN_WIDTHS[:2], torch.tensor([CERTAIN_BIN_WIDTH])]).double().expand(50, 3)
    expected = mixture.marginal([0, 1]).discretized_log_prob(rows[:, :2], BIN_WIDTHS[:2])
    torch.testing.assert_close(log_probs(mixture, rows, bin_widths).logsumexp(-1), expected)


def reference_nll(mixture: GaussianMixture, row: np.ndarray, first: bool) -> float:
    """Return the negative log-likelihood of a row x, y, dt, moving with positions on a grid of 1/1024, by SciPy."""
    mean, scale = mixture.means[0].numpy() / 10, mixture.log_scales[0].exp().numpy() / 10
    logs = mixture.log_weights[0].numpy().copy()
    for k, (x, s) in itertools.product(range(len(logs)), enumerate(row[:2])):
        below = -abs(s - mean[k, x])  # the lower tail, since differences of numbers near 1 cancel
        outer, inner = norm.cdf([below - 0.5 / 1024, below + 0.5 / 1024], 0, scale[k, x])
        logs[k] += np.log(inner - outer)
    if not first:
        logs += norm.logpdf(row[2], mean[:, 2], scale[:, 2])
        tail = norm.logsf if row[3] else norm.logcdf
        logs += tail(0.5, mean[:, 3], scale[:, 3])
    return -float(logsumexp(logs))


def test_nats_are_those_computed_reference_nll() -> None:
    corpus = make_touches(51)
    corpus = replace(corpus, splits={"test": (50, 51), "train": (0, 40)})
    model, total = small(corpus), 0.0
    rows = raw_rows(corpus[50])
    state, before = model.lstm.initial_state(1), torch.zeros(1, 4).double()
    for t, row in enumerate(rows):
        hidden, state = model.lstm.step(before, state)
        with torch.no_grad():
            total += reference_nll(model.head(hidden), row, t == 0)
        before = torch.from_numpy(10 * row)[None]
    data = replace(make_batches(corpus), split="test")
    assert nll(model, data) == pytest.approx(total / len(rows), rel=1e-5)


def test_loss_is_the_joint_density_of_all_columns() -> None:
    corpus = uneven()
    model, batch = small(corpus), make_batches(corpus).batch(np.arange(5))
    rows = model.rows(batch)
    mixture = model(batch, rows)
    parts = Independent(Normal(mixture.means, mixture.log_scales.exp()), 1)
    truth = MixtureSameFamily(Categorical(logits=mixture.logits), parts)
    torch.testing.assert_close(model.loss(batch).total, -truth.log_prob(rows).mean())


def test_taps_follow_from_the_probabilities() -> None:
    corpus = uneven()
    model, data = small(corpus), make_batches(corpus, 2)
    past, seen, true = [], [], []
    for i in sorted(range(5), key=lambda i: len(corpus[i].event)):
        batch, rows = data.batch(np.array([i])), raw_rows(corpus[i])
        mixture = model(batch, model.rows(batch))
        for t in range(1, len(rows)):
            row_mixture = select_row(mixture, t)
            tap, move = (-reference_nll(row_mixture, np.append(rows[t, :3], moving), False) for moving in (0, 1))
            mean, scale = row_mixture.means[0, :, 3], row_mixture.log_scales[0, :, 3].exp()
            past.append(float(row_mixture.log_weights[0].exp() @ Normal(mean, scale).cdf(torch.tensor(5.0))) > 0.5)
            seen.append(tap > move)
            true.append(rows[t, 3] == 0)
    found = predict_taps(model, data)
    np.testing.assert_array_equal(np.stack(found), [past, seen, true])
    assert 0 < sum(past) < len(past)
    assert past != seen


def select_row(mixture: GaussianMixture, t: int) -> GaussianMixture:
    """Return the mixture (1,) of row t, detached."""
    logits, means, log_scales = (part[t, None].detach() for part in (mixture.logits, mixture.means, mixture.log_scales))
    return GaussianMixture(logits, means, log_scales)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_results_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    corpus = uneven()
    model = small(corpus)
    together, apart = make_batches(corpus, 5), make_batches(corpus, batch_size)
    assert nll(model, apart) == pytest.approx(nll(model, together), rel=1e-10)
    np.testing.assert_array_equal(np.stack(predict_taps(model, apart)), np.stack(predict_taps(model, together)))


def test_predictions_depend_on_previous_rows_only() -> None:
    corpus = uneven()
    model, batch = small(corpus), make_batches(corpus).batch(np.array([0]))
    rows = model.rows(batch)
    other = rows.clone()
    other[11:] += 1
    before, after = model(batch, rows).means, model(batch, other).means
    torch.testing.assert_close(before[:12], after[:12], rtol=0, atol=0)
    assert not torch.equal(before[12:], after[12:])


def test_training_lowers_loss_and_nll() -> None:
    corpus = make_touches()
    train = make_batches(corpus, 10)
    held_out = Batches(corpus, "valid", train.normalizer, 10)
    torch.manual_seed(0)
    model = RoboJam(corpus.metadata, train.normalizer, 16, 1)
    batch = train.batch(np.arange(10))
    loss, start = model.loss(batch).total.item(), nll(model, held_out)
    fit(model, train, config=TrainConfig(steps=60, learning_rate=0.03, warmup=5, device="cpu"))
    assert model.loss(batch).total.item() < loss - 1
    assert nll(model, held_out) < start - 1


def test_autocast_does_not_change_the_loss() -> None:
    corpus = uneven()
    model, batch = small(corpus).float(), make_batches(corpus).batch(np.arange(5))
    with torch.autocast("cpu", torch.bfloat16):
        narrow = model.loss(batch).total
    torch.testing.assert_close(narrow, model.loss(batch).total, rtol=0, atol=0)


def test_other_data_is_refused() -> None:
    corpus = random_corpus([3, 4])
    with pytest.raises(InputError, match="expected touch performances"):
        RoboJam(corpus.metadata, make_batches(corpus).normalizer)
