"""Rollouts of a small controlled system whose law is known exactly: what a world model learns, beside the truth.

A row z has four features. They follow from the row before, x, the one before that, y, the action a taken at x, and
a trace h of all rows up to x; given these they are independent, normal around m with deviation d. With
s(u) = 1 / (1 + exp(-u)):

    z1 hops to either side         m = 1.5 tanh(x1 / 2) ± 0.8, + with probability s(1.5 a1 + x3)    d = 0.24
    z2 is loud or quiet            m = 1.2 tanh(0.8 x2 + 0.8 a1)                       d = exp(-1.2 + 0.5 tanh x1)
    z3 swings when it is pushed    m = 1.6 tanh(0.9 x3 - 0.5 y3 + 0.5 a2)              d = 0.3
    z4 follows the trace or flees  m = ± 0.9 tanh(1.2 h), + with probability s(1.5 - x2)            d = 0.3
    the trace remembers z1         h = 0.8 (h before) + 0.2 x1
    the episode is done            with probability s(-6.5 + x1 + x3), whatever z is

An episode begins at rest: before its first row x, y, a and h are 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.errors import InputError
from mdnrnn.events import END

FEATURES = ("z1", "z2", "z3", "z4")
ACTIONS = 2
SUPPORT = np.array([1.5 + 0.8, 1.2, 1.6, 0.9]) + 6 * np.array([0.24, np.exp(-0.7), 0.3, 0.3])
"""(D,): the largest |m| and six of the largest deviations. Under any actions and after any past, |z| is beyond it with
a probability below 2e-9 a row and feature."""
_KEPT = 0.8  # of the trace, from row to row
_STEADY = 0.9  # correlation of a policy's actions from row to row, before they are squashed


class Past(NamedTuple):
    """What the next row of B episodes depends on: the last row and the one before it, (B, D), and the trace (B,)."""

    last: np.ndarray
    before: np.ndarray
    trace: np.ndarray

    @classmethod
    def rest(cls, episodes: int) -> Past:
        """Before the first row."""
        last, before = np.zeros((2, episodes, len(FEATURES)), np.float32)
        return cls(last, before, np.zeros(episodes))

    def after(self, row: np.ndarray) -> Past:
        """The past once `row` (B, D) has come."""
        return Past(row, self.last, _KEPT * self.trace + (1 - _KEPT) * row[:, 0].astype(np.float64))


class Noise(NamedTuple):
    """Standard noise of B episodes of T rows: normal (B, T, D), and logistic (B, T, D + 1) for components and done."""

    normal: np.ndarray
    logistic: np.ndarray

    @classmethod
    def drawn(cls, rng: np.random.Generator, episodes: int, steps: int) -> Noise:
        """That of a single episode begins alike however many steps there are."""
        normal, logistic = rng.spawn(2)
        width = len(FEATURES)
        return cls(normal.normal(size=(episodes, steps, width)), logistic.logistic(size=(episodes, steps, width + 1)))


class Law(NamedTuple):
    """The exact distributions of B rows: of every feature two components, the log odds of the first (B, D), means and
    deviations (B, D, 2), the same twice where there is but one; and the log odds of done (B,)."""

    odds: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    done: np.ndarray

    def nll(self, rows: np.ndarray) -> np.ndarray:
        """-log p of each feature of rows (B, D), shape (B, D)."""
        far = (rows[..., None] - self.mean) / self.deviation
        log_weight = -np.logaddexp(0, np.stack([-self.odds, self.odds], axis=-1))
        log_normal = -0.5 * (far**2 + np.log(2 * np.pi)) - np.log(self.deviation)
        return -np.logaddexp.reduce(log_weight + log_normal, axis=-1)

    def event_nll(self, done: np.ndarray) -> np.ndarray:
        """-log p of being done or not, booleans (B,), shape (B,)."""
        return np.asarray(np.logaddexp(0, np.where(done, -self.done, self.done)))

    def draw(self, normal: np.ndarray, logistic: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows (B, D), float32, and whether they are done, (B,), of noise (B, D) and (B, D + 1)."""
        first = self.odds + logistic[:, :-1] > 0
        mean, deviation = (np.where(first, each[..., 0], each[..., 1]) for each in (self.mean, self.deviation))
        return (mean + deviation * normal).astype(np.float32), self.done + logistic[:, -1] > 0


def law(past: Past, action: np.ndarray) -> Law:
    """p(z, done | past), the actions (B, A) taken at its last row."""
    x1, x2, x3, _ = past.last.T.astype(np.float64)
    y3 = past.before[:, 2].astype(np.float64)
    a1, a2 = action.T.astype(np.float64)
    same = np.zeros_like(x1)
    center = (1.5 * np.tanh(x1 / 2), 1.2 * np.tanh(0.8 * x2 + 0.8 * a1), 1.6 * np.tanh(0.9 * x3 - 0.5 * y3 + 0.5 * a2))
    apart = (same + 0.8, same, same, 0.9 * np.tanh(1.2 * past.trace))
    deviation = (same + 0.24, np.exp(-1.2 + 0.5 * np.tanh(x1)), same + 0.3, same + 0.3)
    sides = np.array([1.0, -1.0])
    return Law(
        odds=np.stack([1.5 * a1 + x3, same, same, 1.5 - x2], axis=1),
        mean=np.stack([*center, same], axis=1)[..., None] + np.stack(apart, axis=1)[..., None] * sides,
        deviation=np.stack(deviation, axis=1)[..., None].repeat(2, axis=-1),
        done=-6.5 + x1 + x3,
    )


def policy(normal: np.ndarray) -> np.ndarray:
    """Inputs (B, T, A), float32, of normal noise of that shape: actions between -1 and 1 that change slowly at random.

    Row t has the action that led to it; none led to the first: zeros.
    """
    wish = np.zeros(normal.shape)
    for t in range(1, normal.shape[1]):
        kept = _STEADY if t > 1 else 0.0
        wish[:, t] = kept * wish[:, t - 1] + np.sqrt(1 - kept**2) * normal[:, t]
    return np.tanh(1.2 * wish).astype(np.float32)


def simulate(inputs: np.ndarray, noise: Noise, past: Past | None = None) -> tuple[np.ndarray, np.ndarray, Past]:
    """Rows z (B, T, D), float32, whether done at each, (B, T), and the past after them, under inputs (B, T, A).

    It begins at rest or after `past`, and goes on where an episode is done: what follows is for the caller to cut.
    """
    episodes, steps, _ = inputs.shape
    past = Past.rest(episodes) if past is None else past
    rows, done = np.zeros((episodes, steps, len(FEATURES)), np.float32), np.zeros((episodes, steps), bool)
    for t in range(steps):
        rows[:, t], done[:, t] = law(past, inputs[:, t]).draw(noise.normal[:, t], noise.logistic[:, t])
        past = past.after(rows[:, t])
    return rows, done, past


def pasts(motion: np.ndarray, offsets: np.ndarray) -> Past:
    """The past of every row (N, D) of episodes end to end, which begin at offsets (M+1,)."""
    lengths = np.diff(offsets)
    found, past = Past.rest(len(motion)), Past.rest(len(lengths))
    for t in range(int(lengths.max(initial=0))):
        going, rows = lengths > t, np.minimum(offsets[:-1] + t, offsets[1:] - 1)
        for array, now in zip(found, past, strict=True):
            array[rows[going]] = now[going]
        past = past.after(motion[rows])
    return found


class NLL(NamedTuple):
    """-log p of n rows: of each feature, (n, D), and of the event, (n,)."""

    motion: np.ndarray
    event: np.ndarray


def true_nll(corpus: Corpus, split: str) -> NLL:
    """What the system itself gives a split of rollouts, or of dreams of them: each row after the rows that it has."""
    part = corpus.part(split)
    if part.metadata.features != FEATURES or part.inputs is None or part.inputs.shape[1] != ACTIONS:
        received = f"features {part.metadata.features}, inputs {None if part.inputs is None else part.inputs.shape}"
        raise InputError(f"{part.metadata.name} has {received}; expected rollouts: {FEATURES} and (N, {ACTIONS})")
    motion, inputs = np.asarray(part.motion), np.asarray(part.inputs)
    truth = law(pasts(motion, np.asarray(part.offsets)), inputs)
    return NLL(truth.nll(motion), truth.event_nll(np.asarray(part.event) == END))
