"""A small controlled system with known transition distributions: test data for world models.

A row z has four features, z1 to z4. The features depend on the preceding row x, the row y before x, the action a taken
at x, and the trace h, an exponential moving average of the first feature up to x. Given x, y, a and h, the features of
z are independent. Each feature is normal with mean m and standard deviation d. If m contains the sign ±, the feature is
a mixture of two normals, one per sign. A digit selects an element: x1 is feature 1 of row x, and a1 is element 1 of the
action a. With s(u) = 1 / (1 + exp(-u)):

    z1 is bimodal              m = 1.5 tanh(x1 / 2) ± 0.8, + with probability s(1.5 a1 + x3)    d = 0.24
    z2 has variable noise      m = 1.2 tanh(0.8 x2 + 0.8 a1)                       d = exp(-1.2 + 0.5 tanh x1)
    z3 oscillates              m = 1.6 tanh(0.9 x3 - 0.5 y3 + 0.5 a2)              d = 0.3
    z4 depends on the trace    m = ± 0.9 tanh(1.2 h), + with probability s(1.5 - x2)            d = 0.3
    the trace                  h = 0.8 (preceding h) + 0.2 x1
    the episode ends           with probability s(-6.5 + x1 + x3), independent of z

At the start of an episode x, y, a and h are 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.errors import InputError
from mdnrnn.pen_events import END

FEATURES = ("z1", "z2", "z3", "z4")
ACTIONS = 2
SUPPORT = np.array([1.5 + 0.8, 1.2, 1.6, 0.9]) + 6 * np.array([0.24, np.exp(-0.7), 0.3, 0.3])
"""(D,), bound of |z|: maximum of |m| plus six times the maximum of d. The probability that a feature of a row exceeds
its bound is below 2e-9, for all preceding rows and actions."""
_TRACE_DECAY = 0.8
_ACTION_CORRELATION = 0.9
"""Correlation of consecutive actions, before the tanh in `smooth_actions`."""


class Past(NamedTuple):
    """State on which the next row of each of B episodes depends."""

    last: np.ndarray
    """(B, D), the preceding row."""
    before: np.ndarray
    """(B, D), the row before `last`."""
    trace: np.ndarray
    """(B,), exponential moving average of the first feature up to `last`."""

    @classmethod
    def initial(cls, episodes: int) -> Past:
        """Return the state before the first row of each episode: all zeros."""
        last, before = np.zeros((2, episodes, len(FEATURES)), np.float32)
        return cls(last, before, np.zeros(episodes))

    def append(self, row: np.ndarray) -> Past:
        """Return the state after the next row (B, D)."""
        return Past(row, self.last, _TRACE_DECAY * self.trace + (1 - _TRACE_DECAY) * row[:, 0].astype(np.float64))


class Noise(NamedTuple):
    """Standard normal and standard logistic noise for B episodes of T rows."""

    normal: np.ndarray
    """(B, T, D), normal noise of the features."""
    logistic: np.ndarray
    """(B, T, D + 1), logistic noise. Each of the first D values selects the mixture component of a feature. The last
    value decides whether the episode ends."""

    @classmethod
    def sample(cls, rng: np.random.Generator, episodes: int, steps: int) -> Noise:
        """Sample noise.

        If `episodes` is 1, the first rows do not depend on `steps`: two calls with generators in the same state and
        different `steps` agree in the rows that both have.
        """
        normal, logistic = rng.spawn(2)
        width = len(FEATURES)
        return cls(normal.normal(size=(episodes, steps, width)), logistic.logistic(size=(episodes, steps, width + 1)))


class Transition(NamedTuple):
    """Exact distribution of the next row of B episodes: two normal components per feature, and the episode end."""

    odds: np.ndarray
    """(B, D), log odds of the first component against the second."""
    mean: np.ndarray
    """(B, D, 2), means of the two components. For a feature with one component, the two means are equal."""
    deviation: np.ndarray
    """(B, D, 2), standard deviations of the two components."""
    done: np.ndarray
    """(B,), log odds that the episode ends with this row."""

    def nll(self, rows: np.ndarray) -> np.ndarray:
        """Return -log p of each feature of `rows` (B, D), in nats, shape (B, D)."""
        standardized = (rows[..., None] - self.mean) / self.deviation
        log_weight = -np.logaddexp(0, np.stack([-self.odds, self.odds], axis=-1))
        log_normal = -0.5 * (standardized**2 + np.log(2 * np.pi)) - np.log(self.deviation)
        return -np.logaddexp.reduce(log_weight + log_normal, axis=-1)

    def event_nll(self, done: np.ndarray) -> np.ndarray:
        """Return -log p of the events, in nats, shape (B,). `done` (B,) is True if the episode ends with this row."""
        return np.asarray(np.logaddexp(0, np.where(done, -self.done, self.done)))

    def transform_noise(self, normal: np.ndarray, logistic: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert noise to samples.

        Args:
            normal: (B, D), standard normal noise.
            logistic: (B, D + 1), standard logistic noise.

        Returns:
            Rows (B, D) as float32, and a Boolean mask (B,) of the episodes that end.
        """
        is_first = self.odds + logistic[:, :-1] > 0
        mean, deviation = (np.where(is_first, part[..., 0], part[..., 1]) for part in (self.mean, self.deviation))
        return (mean + deviation * normal).astype(np.float32), self.done + logistic[:, -1] > 0


def transition(past: Past, action: np.ndarray) -> Transition:
    """Return the distribution of the next row z and of the episode end, given the past and the action.

    `action` (B, A) is the action taken at the last row of `past`.
    """
    x1, x2, x3, _ = past.last.T.astype(np.float64)
    y3 = past.before[:, 2].astype(np.float64)
    a1, a2 = action.T.astype(np.float64)
    zero = np.zeros_like(x1)
    center = (1.5 * np.tanh(x1 / 2), 1.2 * np.tanh(0.8 * x2 + 0.8 * a1), 1.6 * np.tanh(0.9 * x3 - 0.5 * y3 + 0.5 * a2))
    distance = (zero + 0.8, zero, zero, 0.9 * np.tanh(1.2 * past.trace))
    deviation = (zero + 0.24, np.exp(-1.2 + 0.5 * np.tanh(x1)), zero + 0.3, zero + 0.3)
    signs = np.array([1.0, -1.0])
    return Transition(
        odds=np.stack([1.5 * a1 + x3, zero, zero, 1.5 - x2], axis=1),
        mean=np.stack([*center, zero], axis=1)[..., None] + np.stack(distance, axis=1)[..., None] * signs,
        deviation=np.stack(deviation, axis=1)[..., None].repeat(2, axis=-1),
        done=-6.5 + x1 + x3,
    )


def smooth_actions(normal: np.ndarray) -> np.ndarray:
    """Convert standard normal noise (B, T, A) to slowly varying actions in (-1, 1), shape (B, T, A), float32.

    The result can be used as model inputs: row t is the action taken at row t - 1, and row 0 is zero.
    """
    smoothed = np.zeros(normal.shape)
    for t in range(1, normal.shape[1]):
        correlation = _ACTION_CORRELATION if t > 1 else 0.0
        smoothed[:, t] = correlation * smoothed[:, t - 1] + np.sqrt(1 - correlation**2) * normal[:, t]
    return np.tanh(1.2 * smoothed).astype(np.float32)


def simulate(inputs: np.ndarray, noise: Noise, past: Past | None = None) -> tuple[np.ndarray, np.ndarray, Past]:
    """Simulate T rows of B episodes.

    Args:
        inputs: (B, T, A); row t is the action taken at row t - 1.
        noise: noise of B episodes of T rows.
        past: state before the first row; default: the initial state.

    Returns:
        Rows z (B, T, D) as float32, a Boolean mask (B, T) of the rows at which an episode ends, and the state after the
        last row. Rows after the end of an episode are also simulated and must be removed by the caller.
    """
    episodes, steps, _ = inputs.shape
    past = Past.initial(episodes) if past is None else past
    rows, done = np.zeros((episodes, steps, len(FEATURES)), np.float32), np.zeros((episodes, steps), bool)
    for t in range(steps):
        rows[:, t], done[:, t] = transition(past, inputs[:, t]).transform_noise(
            noise.normal[:, t], noise.logistic[:, t]
        )
        past = past.append(rows[:, t])
    return rows, done, past


def compute_pasts(motion: np.ndarray, offsets: np.ndarray) -> Past:
    """Return the state before each of the N rows of a corpus, as `Past` with B = N.

    Args:
        motion: (N, D).
        offsets: (M + 1,). Episode i is rows offsets[i] to offsets[i + 1] - 1.
    """
    lengths = np.diff(offsets)
    pasts, past = Past.initial(len(motion)), Past.initial(len(lengths))
    for t in range(int(lengths.max(initial=0))):
        is_active, rows = lengths > t, np.minimum(offsets[:-1] + t, offsets[1:] - 1)
        for result, current in zip(pasts, past, strict=True):
            result[rows[is_active]] = current[is_active]
        past = past.append(motion[rows])
    return pasts


class NLL(NamedTuple):
    """Negative log-likelihoods of n rows, in nats."""

    motion: np.ndarray
    """(n, D), NLL of each feature."""
    event: np.ndarray
    """(n,), NLL of the event of each row: the episode ends or continues."""


def true_nll(corpus: Corpus, split: str) -> NLL:
    """Return the negative log-likelihood (NLL) of one split of rollouts under the true system.

    The rollouts may be simulated or generated by a model. Each row is conditioned on the preceding rows and the actions
    of its episode. On simulated rollouts, the expected NLL of every world model is at least that of the true system.

    Raises:
        InputError: if the features or inputs of the corpus are not those of rollouts.
    """
    corpus = corpus.select_split(split)
    if corpus.metadata.features != FEATURES or corpus.inputs is None or corpus.inputs.shape[1] != ACTIONS:
        shape = None if corpus.inputs is None else corpus.inputs.shape
        raise InputError(
            f"{corpus.metadata.name} has features {corpus.metadata.features} and inputs {shape}; expected rollouts: "
            f"{FEATURES} and (N, {ACTIONS})"
        )
    motion, inputs = np.asarray(corpus.motion), np.asarray(corpus.inputs)
    truth = transition(compute_pasts(motion, np.asarray(corpus.offsets)), inputs)
    return NLL(truth.nll(motion), truth.event_nll(np.asarray(corpus.event) == END))
