"""Rollouts: their law beside SciPy's, what is drawn beside their law, and that it takes a memory to know it."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import trapezoid
from scipy.special import expit

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native
from mdnrnn.data.synthetic import rollouts
from mdnrnn.data.synthetic.corpora import make_rollouts
from mdnrnn.data.synthetic.rollouts import FEATURES, SUPPORT, Law, Noise, Past, law, pasts, simulate, true_nll
from mdnrnn.errors import InputError
from mdnrnn.events import END
from tests.helpers import random_corpus

GRID = np.linspace(-9, 9, 6001)
Z1, Z2, Z3, Z4 = range(len(FEATURES))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_rollouts({"train": 20, "valid": 1, "test": 150})


def actions(rng: np.random.Generator, episodes: int, steps: int) -> np.ndarray:
    return rollouts.policy(rng.normal(size=(episodes, steps, rollouts.ACTIONS)))


def truth_of(corpus: Corpus) -> Law:
    """The law of every row of a corpus."""
    assert corpus.inputs is not None
    return law(pasts(corpus.motion, corpus.offsets), corpus.inputs)


def densities(truth: Law) -> np.ndarray:
    """exp(-nats) of B rows on the grid (G,), shape (B, G, D)."""
    widened = Law(*(np.repeat(array, len(GRID), axis=0) for array in truth))
    points = np.tile(GRID, len(truth.done))[:, None].repeat(len(FEATURES), axis=1)
    return np.exp(-widened.nll(points)).reshape(-1, len(GRID), len(FEATURES))


def one_past(last: tuple[float, ...], before: tuple[float, ...], trace: float) -> Past:
    return Past(np.array([last]), np.array([before]), np.array([trace]))


def test_the_law_is_the_one_that_is_told() -> None:
    """One row by hand, with SciPy's densities."""
    x1, x2, x3, _ = x = (0.7, -0.4, 1.1, 0.2)
    y3, h, a1, a2 = -0.9, 0.5, 0.3, -0.8
    truth = law(one_past(x, (5.0, 5.0, y3, 5.0), h), np.array([[a1, a2]]))
    z = np.array([0.1, -0.2, 1.9, -0.6])
    hop, flee = expit(1.5 * a1 + x3), 1 - expit(1.5 - x2)
    center, reach = 1.5 * np.tanh(x1 / 2), 0.9 * np.tanh(1.2 * h)
    near = stats.norm.pdf
    expected = [
        hop * near(z[0], center + 0.8, 0.24) + (1 - hop) * near(z[0], center - 0.8, 0.24),
        near(z[1], 1.2 * np.tanh(0.8 * x2 + 0.8 * a1), np.exp(-1.2 + 0.5 * np.tanh(x1))),
        near(z[2], 1.6 * np.tanh(0.9 * x3 - 0.5 * y3 + 0.5 * a2), 0.3),
        (1 - flee) * near(z[3], reach, 0.3) + flee * near(z[3], -reach, 0.3),
    ]
    np.testing.assert_allclose(np.exp(-truth.nll(z[None]))[0], expected)
    done = expit(-6.5 + x1 + x3)
    for happened, probability in ((True, done), (False, 1 - done)):
        np.testing.assert_allclose(truth.event_nll(np.array([happened])), -np.log(probability))


def test_densities_integrate_to_one(corpus: Corpus) -> None:
    truth = Law(*(array[::250] for array in truth_of(corpus)))
    np.testing.assert_allclose(trapezoid(densities(truth), GRID, axis=1), 1, atol=1e-9)


def test_rows_are_drawn_from_their_law(corpus: Corpus) -> None:
    """Each value's rank among all that it might have been is uniform, wherever the odds are high or low, by Kolmogorov
    and Smirnov; as normal scores they have variance 1, and do not correlate with the other features' or with the ranks
    one row before. False failures: 4 x 5 x 1e-5, 4 x 7e-6, 22 x 7e-6."""
    truth = truth_of(corpus)
    ranks = stats.norm.cdf((corpus.motion[..., None] - truth.mean) / truth.deviation)
    rank = (ranks * np.stack([expit(truth.odds), expit(-truth.odds)], axis=-1)).sum(-1)
    assert len(rank) > 15_000
    for feature, odds in zip(rank.T, truth.odds.T, strict=True):
        for part in np.array_split(np.argsort(odds, kind="stable"), 5):
            assert stats.kstest(feature[part], "uniform").pvalue > 1e-5
    scores = stats.norm.ppf(rank)
    assert np.abs(np.square(scores).mean(0) - 1).max() < 4.5 * (2 / len(scores)) ** 0.5
    correlations = np.corrcoef(np.concatenate([scores[1:], scores[:-1]], axis=1).T) - np.eye(2 * len(FEATURES))
    assert np.abs(correlations).max() < 4.5 / len(scores) ** 0.5


def test_the_trace_is_a_moving_average_of_the_first_feature() -> None:
    rows = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    past = pasts(rows, np.array([0, 6]))
    weights = 0.2 * 0.8 ** np.arange(5)[::-1]
    assert past.trace[5] == pytest.approx(weights @ rows[:5, Z1].astype(float))
    np.testing.assert_array_equal(past.last[1:], rows[:-1])
    np.testing.assert_array_equal(past.before[2:], rows[:-2])
    assert not any(array[0].any() for array in past)


def test_episodes_end_as_often_as_they_should() -> None:
    """In each fifth of the rows by their probability, the count against Poisson's; false failures: 5 x 2e-5."""
    rng = np.random.default_rng(0)
    inputs = actions(rng, 300, 400)
    rows, done, _ = simulate(inputs, Noise.drawn(rng, 300, 400))
    past = pasts(rows.reshape(-1, len(FEATURES)), np.arange(301) * 400)
    probability = expit(law(past, inputs.reshape(-1, rollouts.ACTIONS)).done)
    assert 0.003 < probability.mean() < 0.01
    order = np.argsort(probability)
    for part in np.split(order, 5):
        expected = probability[part].sum()
        count = done.reshape(-1)[part].sum()
        assert min(stats.poisson.cdf(count, expected), stats.poisson.sf(count - 1, expected)) > 1e-5


@pytest.mark.parametrize("push", ["at random", "to one side"])
def test_it_stays_in_its_support_for_20_000_steps(push: str) -> None:
    rng = np.random.default_rng(1)
    inputs = actions(rng, 8, 20_000) if push == "at random" else np.ones((8, 20_000, rollouts.ACTIONS), np.float32)
    rows, _, _ = simulate(inputs, Noise.drawn(rng, 8, 20_000))
    assert (np.abs(rows) < SUPPORT).all()
    assert (np.abs(rows).max((0, 1)) > 0.6 * SUPPORT).all()
    assert (rows[:, -1000:].std(1) > 0.2).all()


def test_the_mean_is_within_the_support_after_any_past() -> None:
    extremes = np.array(np.meshgrid(*[[-1e3, 0, 1e3]] * 7)).reshape(7, -1).T
    past = Past(extremes[:, :4], np.tile(extremes[:, 4:5], 4), extremes[:, 5])
    truth = law(past, np.sign(extremes[:, 5:]))
    assert (np.abs(truth.mean) + 6 * truth.deviation <= SUPPORT[:, None] + 1e-12).all()


def test_the_same_seed_makes_the_same_corpus(corpus: Corpus) -> None:
    counts = {"train": 20, "valid": 1, "test": 150}
    again, other = make_rollouts(counts), make_rollouts(counts, seed=1)
    assert again.fingerprint == corpus.fingerprint
    assert not np.array_equal(corpus[0].motion[:1], other[0].motion[:1])
    assert len(np.unique(corpus.motion[corpus.offsets[:-1]], axis=0)) == len(corpus)
    corpus.check()


@pytest.mark.parametrize(("episodes", "steps"), [(5, 200), (20, 60)], ids=["fewer episodes", "fewer steps"])
def test_an_episode_is_the_same_whatever_else_is_made(corpus: Corpus, episodes: int, steps: int) -> None:
    fewer = make_rollouts({"test": episodes, "train": episodes}, steps)
    for split in ("train", "test"):
        for i, j in zip(fewer.indices(split), corpus.indices(split), strict=False):
            for part, whole in zip(fewer[i][:2], corpus[j][:2], strict=True):
                np.testing.assert_array_equal(part, whole[:steps])
            np.testing.assert_array_equal(fewer[i].inputs, np.asarray(corpus[j].inputs)[:steps])


def test_an_episode_has_an_end_or_is_cut(corpus: Corpus) -> None:
    ended = corpus.event[corpus.offsets[1:] - 1] == END
    assert ended.sum() == (corpus.event == END).sum() == (corpus.event != 0).sum()
    np.testing.assert_array_equal(corpus.lengths[~ended], 200)
    assert 0.4 < ended.mean() < 0.9
    assert corpus.inputs is not None
    assert (corpus.inputs[corpus.offsets[:-1]] == 0).all()
    assert np.abs(corpus.inputs).max() <= 1


def test_a_whole_number_of_episodes_is_divided() -> None:
    corpus = make_rollouts(20, steps=3)
    assert dict(corpus.splits) == {"train": (0, 16), "valid": (16, 18), "test": (18, 20)}
    assert corpus.motion.dtype == np.float32
    assert (corpus.metadata.features, corpus.metadata.bin_width) == (FEATURES, None)


def test_it_goes_on_from_any_past() -> None:
    rng = np.random.default_rng(2)
    inputs, noise = actions(rng, 3, 50), Noise.drawn(rng, 3, 50)
    rows, done, last = simulate(inputs, noise)
    first, _, past = simulate(inputs[:, :20], Noise(*(array[:, :20] for array in noise)))
    rest, later, end = simulate(inputs[:, 20:], Noise(*(array[:, 20:] for array in noise)), past)
    np.testing.assert_array_equal(rows, np.concatenate([first, rest], axis=1))
    np.testing.assert_array_equal(done[:, 20:], later)
    for whole, found in zip(last, end, strict=True):
        np.testing.assert_array_equal(whole, found)


def test_the_first_feature_has_two_modes(corpus: Corpus) -> None:
    """Wherever neither side is below a tenth, both sides are peaks, the density between them under half the lower."""
    truth = truth_of(corpus)
    open_to_both = np.abs(truth.odds[:, Z1]) < np.log(9)
    assert open_to_both.mean() > 0.5
    truth = Law(*(array[open_to_both][::200] for array in truth))
    for density, mean in zip(densities(truth)[..., Z1], truth.mean[:, Z1], strict=True):
        at_sides, between = np.interp(mean, GRID, density), np.interp(mean.mean(), GRID, density)
        assert between < 0.5 * at_sides.min()
        assert ((density[1:-1] > density[:-2]) & (density[1:-1] > density[2:])).sum() == 2


def test_the_second_is_loud_or_quiet_and_actions_count(corpus: Corpus) -> None:
    truth = truth_of(corpus)
    low, high = np.percentile(truth.deviation[:, Z2, 0], [10, 90])
    assert high > 2 * low
    pushed = [law(Past.rest(1), np.array([[a, a]])) for a in (-0.8, 0.8)]
    assert pushed[1].odds[0, Z1] - pushed[0].odds[0, Z1] > 2
    assert (pushed[1].mean - pushed[0].mean)[0, [Z2, Z3], 0].min() > 1


@pytest.mark.parametrize(("feature", "forgotten"), [(Z3, "before"), (Z4, "trace")])
def test_it_takes_a_memory(corpus: Corpus, feature: int, forgotten: str) -> None:
    """Rows as they are told apart by what came before the last row: two pasts alike in all but that differ, and
    whoever takes a past's typical value for it pays more than a tenth of a nat a row."""
    past, split = pasts(corpus.motion, corpus.offsets), corpus.rows("test")
    typical = past._replace(**{forgotten: np.zeros_like(getattr(past, forgotten))})
    assert corpus.inputs is not None
    cost = (law(typical, corpus.inputs).nll(corpus.motion) - truth_of(corpus).nll(corpus.motion))[split]
    assert cost[:, feature].mean() > 0.1
    np.testing.assert_array_equal(np.delete(cost, feature, axis=1), 0)
    spread = getattr(past, forgotten).std()
    last = (0.5, 0.0, 0.5, 0.0)
    low, high = (one_past(last, (side,) * 4, side) for side in (-spread, spread))
    left, right = densities(law(low, np.zeros((1, 2)))), densities(law(high, np.zeros((1, 2))))
    assert 0.5 * trapezoid(np.abs(left - right), GRID, axis=1)[0, feature] > 0.5


@pytest.mark.parametrize("name", ["rollouts", "rollouts.npz"])
def test_rollouts_are_kept_whole(corpus: Corpus, tmp_path: Path, name: str) -> None:
    native.write(corpus, tmp_path / name)
    again = native.read(tmp_path / name)
    assert again.fingerprint == corpus.fingerprint
    np.testing.assert_array_equal(again.inputs, corpus.inputs)


def test_every_row_is_measured_after_its_own_past(corpus: Corpus) -> None:
    """A split's rows as each of its episodes alone, and as they come out of the simulation itself."""
    whole = true_nll(corpus, "test")
    rows = corpus.rows("test")
    assert whole.motion.shape == (rows.stop - rows.start, len(FEATURES))
    first = 0
    for i in corpus.indices("test")[:10]:
        motion, event, _, inputs = corpus[i][:4]
        past = Past.rest(1)
        for t in range(len(event)):
            assert inputs is not None
            truth = law(past, inputs[t : t + 1])
            np.testing.assert_allclose(whole.motion[first + t], truth.nll(motion[t : t + 1])[0])
            np.testing.assert_allclose(whole.event[first + t], truth.event_nll(event[t : t + 1] == END)[0])
            past = past.after(motion[t : t + 1])
        first += len(event)


def test_what_is_no_rollout_has_no_true_nats() -> None:
    with pytest.raises(InputError, match="expected rollouts"):
        true_nll(random_corpus([3], inputs=2), "train")


@pytest.mark.parametrize(("episodes", "steps"), [({"train": -1}, 5), ({"all": 5}, 5), (10, 0), (2, 5), ({}, 5)])
def test_odd_numbers_are_refused(episodes: int | dict[str, int], steps: int) -> None:
    with pytest.raises(InputError, match="expected 1 or more of each, of train, valid, test"):
        make_rollouts(episodes, steps)
