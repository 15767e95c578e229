"""Tests of rollouts: transition densities against SciPy, samples against the densities, dependence on the past."""

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
from mdnrnn.data.synthetic.rollouts import (
    FEATURES,
    SUPPORT,
    Noise,
    Past,
    Transition,
    compute_pasts,
    simulate,
    smooth_actions,
    transition,
    true_nll,
)
from mdnrnn.errors import InputError
from mdnrnn.pen_events import END
from tests.helpers import random_corpus

GRID = np.linspace(-9, 9, 6001)
Z1, Z2, Z3, Z4 = range(len(FEATURES))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_rollouts({"train": 20, "valid": 1, "test": 150})


def sample_actions(rng: np.random.Generator, episodes: int, steps: int) -> np.ndarray:
    return smooth_actions(rng.normal(size=(episodes, steps, rollouts.ACTIONS)))


def true_transition(corpus: Corpus) -> Transition:
    """Return the true distribution of every row of a corpus."""
    assert corpus.inputs is not None
    return transition(compute_pasts(corpus.motion, corpus.offsets), corpus.inputs)


def densities(truth: Transition) -> np.ndarray:
    """Return the densities of B rows on the grid (G,), shape (B, G, D)."""
    repeated = Transition(*(np.repeat(array, len(GRID), axis=0) for array in truth))
    points = np.tile(GRID, len(truth.done))[:, None].repeat(len(FEATURES), axis=1)
    return np.exp(-repeated.nll(points)).reshape(-1, len(GRID), len(FEATURES))


def make_past(last: tuple[float, ...], before: tuple[float, ...], trace: float) -> Past:
    return Past(np.array([last]), np.array([before]), np.array([trace]))


def test_transition_has_the_documented_densities() -> None:
    """One row, computed from the equations with SciPy's densities."""
    x1, x2, x3, _ = x = (0.7, -0.4, 1.1, 0.2)
    y3, h, a1, a2 = -0.9, 0.5, 0.3, -0.8
    truth = transition(make_past(x, (5.0, 5.0, y3, 5.0), h), np.array([[a1, a2]]))
    z = np.array([0.1, -0.2, 1.9, -0.6])
    upper, minus = expit(1.5 * a1 + x3), 1 - expit(1.5 - x2)
    center, mean = 1.5 * np.tanh(x1 / 2), 0.9 * np.tanh(1.2 * h)
    density = stats.norm.pdf
    expected = [
        upper * density(z[0], center + 0.8, 0.24) + (1 - upper) * density(z[0], center - 0.8, 0.24),
        density(z[1], 1.2 * np.tanh(0.8 * x2 + 0.8 * a1), np.exp(-1.2 + 0.5 * np.tanh(x1))),
        density(z[2], 1.6 * np.tanh(0.9 * x3 - 0.5 * y3 + 0.5 * a2), 0.3),
        (1 - minus) * density(z[3], mean, 0.3) + minus * density(z[3], -mean, 0.3),
    ]
    np.testing.assert_allclose(np.exp(-truth.nll(z[None]))[0], expected)
    done = expit(-6.5 + x1 + x3)
    for ends, probability in ((True, done), (False, 1 - done)):
        np.testing.assert_allclose(truth.event_nll(np.array([ends])), -np.log(probability))


def test_densities_integrate_to_one(corpus: Corpus) -> None:
    truth = Transition(*(array[::250] for array in true_transition(corpus)))
    np.testing.assert_allclose(trapezoid(densities(truth), GRID, axis=1), 1, atol=1e-9)


def test_rows_are_samples_of_the_true_distribution(corpus: Corpus) -> None:
    """The cumulative probability of each value is uniform in each fifth of the rows by odds (Kolmogorov-Smirnov test).

    The corresponding normal scores have variance 1 and are uncorrelated, across features and with the preceding row.
    False-failure probabilities, with a fixed seed: 4 x 5 x 1e-5, 4 x 7e-6, 22 x 7e-6.
    """
    truth = true_transition(corpus)
    components = stats.norm.cdf((corpus.motion[..., None] - truth.mean) / truth.deviation)
    probability = (components * np.stack([expit(truth.odds), expit(-truth.odds)], axis=-1)).sum(-1)
    assert len(probability) > 15_000
    for feature, odds in zip(probability.T, truth.odds.T, strict=True):
        for part in np.array_split(np.argsort(odds, kind="stable"), 5):
            assert stats.kstest(feature[part], "uniform").pvalue > 1e-5
    scores = stats.norm.ppf(probability)
    assert np.abs(np.square(scores).mean(0) - 1).max() < 4.5 * (2 / len(scores)) ** 0.5
    correlations = np.corrcoef(np.concatenate([scores[1:], scores[:-1]], axis=1).T) - np.eye(2 * len(FEATURES))
    assert np.abs(correlations).max() < 4.5 / len(scores) ** 0.5


def test_trace_is_an_exponential_average_of_the_first_feature() -> None:
    rows = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    past = compute_pasts(rows, np.array([0, 6]))
    weights = 0.2 * 0.8 ** np.arange(5)[::-1]
    assert past.trace[5] == pytest.approx(weights @ rows[:5, Z1].astype(float))
    np.testing.assert_array_equal(past.last[1:], rows[:-1])
    np.testing.assert_array_equal(past.before[2:], rows[:-2])
    assert not any(array[0].any() for array in past)


def test_episodes_end_with_the_true_probability() -> None:
    """Count of ends in each fifth of the rows by probability, against a Poisson distribution.

    False-failure probability 5 x 2e-5, with a fixed seed.
    """
    rng = np.random.default_rng(0)
    inputs = sample_actions(rng, 300, 400)
    rows, done, _ = simulate(inputs, Noise.sample(rng, 300, 400))
    past = compute_pasts(rows.reshape(-1, len(FEATURES)), np.arange(301) * 400)
    probability = expit(transition(past, inputs.reshape(-1, rollouts.ACTIONS)).done)
    assert 0.003 < probability.mean() < 0.01
    order = np.argsort(probability)
    for part in np.split(order, 5):
        expected = probability[part].sum()
        count = done.reshape(-1)[part].sum()
        assert min(stats.poisson.cdf(count, expected), stats.poisson.sf(count - 1, expected)) > 1e-5


@pytest.mark.parametrize("actions", ["random", "constant"])
def test_rows_stay_in_the_support_for_1_000_steps(actions: str) -> None:
    """False-failure probability below 2e-9 per row and feature, 1.3e-3 in total, with a fixed seed."""
    rng = np.random.default_rng(1)
    inputs = (
        sample_actions(rng, 160, 1000) if actions == "random" else np.ones((160, 1000, rollouts.ACTIONS), np.float32)
    )
    rows, _, _ = simulate(inputs, Noise.sample(rng, 160, 1000))
    assert (np.abs(rows) < SUPPORT).all()
    assert (np.abs(rows).max((0, 1)) > 0.6 * SUPPORT).all()
    assert (rows[:, -200:].std(1) > 0.2).all()


def test_support_covers_all_means_after_extreme_pasts() -> None:
    extremes = np.array(np.meshgrid(*[[-1e3, 0, 1e3]] * 7)).reshape(7, -1).T
    past = Past(extremes[:, :4], np.tile(extremes[:, 4:5], 4), extremes[:, 5])
    truth = transition(past, np.sign(extremes[:, 5:]))
    assert (np.abs(truth.mean) + 6 * truth.deviation <= SUPPORT[:, None] + 1e-12).all()


def test_same_seed_makes_the_same_corpus(corpus: Corpus) -> None:
    counts = {"train": 20, "valid": 1, "test": 150}
    again, other = make_rollouts(counts), make_rollouts(counts, seed=1)
    assert again.fingerprint == corpus.fingerprint
    assert not np.array_equal(corpus[0].motion[:1], other[0].motion[:1])
    assert len(np.unique(corpus.motion[corpus.offsets[:-1]], axis=0)) == len(corpus)
    corpus.check()


@pytest.mark.parametrize(("episodes", "steps"), [(5, 200), (20, 60)], ids=["fewer-episodes", "fewer-steps"])
def test_episode_does_not_depend_on_the_number_of_episodes_or_steps(corpus: Corpus, episodes: int, steps: int) -> None:
    fewer = make_rollouts({"test": episodes, "train": episodes}, steps)
    for split in ("train", "test"):
        for i, j in zip(fewer.indices(split), corpus.indices(split), strict=False):
            for actual, expected in zip(fewer[i][:2], corpus[j][:2], strict=True):
                np.testing.assert_array_equal(actual, expected[:steps])
            np.testing.assert_array_equal(fewer[i].inputs, np.asarray(corpus[j].inputs)[:steps])


def test_episode_ends_or_has_the_maximum_length(corpus: Corpus) -> None:
    ended = corpus.event[corpus.offsets[1:] - 1] == END
    assert ended.sum() == (corpus.event == END).sum() == (corpus.event != 0).sum()
    np.testing.assert_array_equal(corpus.lengths[~ended], 200)
    assert 0.4 < ended.mean() < 0.9
    assert corpus.inputs is not None
    assert (corpus.inputs[corpus.offsets[:-1]] == 0).all()
    assert np.abs(corpus.inputs).max() <= 1


def test_total_number_of_episodes_is_divided_into_splits() -> None:
    corpus = make_rollouts(20, steps=3)
    assert dict(corpus.splits) == {"train": (0, 16), "valid": (16, 18), "test": (18, 20)}
    assert corpus.motion.dtype == np.float32
    assert (corpus.metadata.features, corpus.metadata.bin_width) == (FEATURES, None)


def test_simulation_continues_from_a_past() -> None:
    rng = np.random.default_rng(2)
    inputs, noise = sample_actions(rng, 3, 50), Noise.sample(rng, 3, 50)
    rows, done, last = simulate(inputs, noise)
    first, _, past = simulate(inputs[:, :20], Noise(*(array[:, :20] for array in noise)))
    second, second_done, second_last = simulate(inputs[:, 20:], Noise(*(array[:, 20:] for array in noise)), past)
    np.testing.assert_array_equal(rows, np.concatenate([first, second], axis=1))
    np.testing.assert_array_equal(done[:, 20:], second_done)
    for expected, actual in zip(last, second_last, strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_first_feature_has_two_modes(corpus: Corpus) -> None:
    """If both components weigh at least 0.1, the density has two peaks and less than half of the lower between them."""
    truth = true_transition(corpus)
    is_bimodal = np.abs(truth.odds[:, Z1]) < np.log(9)
    assert is_bimodal.mean() > 0.5
    truth = Transition(*(array[is_bimodal][::200] for array in truth))
    for density, mean in zip(densities(truth)[..., Z1], truth.mean[:, Z1], strict=True):
        at_modes, between = np.interp(mean, GRID, density), np.interp(mean.mean(), GRID, density)
        assert between < 0.5 * at_modes.min()
        assert ((density[1:-1] > density[:-2]) & (density[1:-1] > density[2:])).sum() == 2


def test_second_feature_varies_in_noise_and_actions_have_effects(corpus: Corpus) -> None:
    truth = true_transition(corpus)
    low, high = np.percentile(truth.deviation[:, Z2, 0], [10, 90])
    assert high > 2 * low
    by_action = [transition(Past.initial(1), np.array([[a, a]])) for a in (-0.8, 0.8)]
    assert by_action[1].odds[0, Z1] - by_action[0].odds[0, Z1] > 2
    assert (by_action[1].mean - by_action[0].mean)[0, [Z2, Z3], 0].min() > 1


@pytest.mark.parametrize(("feature", "part"), [(Z3, "before"), (Z4, "trace")])
def test_prediction_requires_memory(corpus: Corpus, feature: int, part: str) -> None:
    """Replacing a part of the past by its typical value costs over 0.1 nats per row in one feature and none in others.

    Two values of this part alone give densities with a total variation distance above 0.5.
    """
    past, split = compute_pasts(corpus.motion, corpus.offsets), corpus.rows("test")
    typical = past._replace(**{part: np.zeros_like(getattr(past, part))})
    assert corpus.inputs is not None
    cost = (transition(typical, corpus.inputs).nll(corpus.motion) - true_transition(corpus).nll(corpus.motion))[split]
    assert cost[:, feature].mean() > 0.1
    np.testing.assert_array_equal(np.delete(cost, feature, axis=1), 0)
    spread = getattr(past, part).std()
    last = (0.5, 0.0, 0.5, 0.0)
    low, high = (make_past(last, (side,) * 4, side) for side in (-spread, spread))
    first, second = densities(transition(low, np.zeros((1, 2)))), densities(transition(high, np.zeros((1, 2))))
    assert 0.5 * trapezoid(np.abs(first - second), GRID, axis=1)[0, feature] > 0.5


@pytest.mark.parametrize("name", ["rollouts", "rollouts.npz"])
def test_reading_inverts_writing(corpus: Corpus, tmp_path: Path, name: str) -> None:
    native.write(corpus, tmp_path / name)
    stored = native.read(tmp_path / name)
    assert stored.fingerprint == corpus.fingerprint
    np.testing.assert_array_equal(stored.inputs, corpus.inputs)


def test_true_nll_conditions_each_row_on_its_episode(corpus: Corpus) -> None:
    """The NLL of a split equals the NLL of each of its episodes, computed row by row."""
    nll = true_nll(corpus, "test")
    rows = corpus.rows("test")
    assert nll.motion.shape == (rows.stop - rows.start, len(FEATURES))
    first = 0
    for i in corpus.indices("test")[:10]:
        motion, event, _, inputs = corpus[i][:4]
        past = Past.initial(1)
        for t in range(len(event)):
            assert inputs is not None
            truth = transition(past, inputs[t : t + 1])
            np.testing.assert_allclose(nll.motion[first + t], truth.nll(motion[t : t + 1])[0])
            np.testing.assert_allclose(nll.event[first + t], truth.event_nll(event[t : t + 1] == END)[0])
            past = past.append(motion[t : t + 1])
        first += len(event)


def test_true_nll_of_another_corpus_raises() -> None:
    with pytest.raises(InputError, match="expected rollouts"):
        true_nll(random_corpus([3], inputs=2), "train")


@pytest.mark.parametrize(("episodes", "steps"), [({"train": -1}, 5), ({"all": 5}, 5), (10, 0), (2, 5), ({}, 5)])
def test_invalid_numbers_of_episodes_or_steps_raise(episodes: int | dict[str, int], steps: int) -> None:
    with pytest.raises(InputError, match="for one or more of the splits train, valid, test"):
        make_rollouts(episodes, steps)
