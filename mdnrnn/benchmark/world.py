"""Comparison of a world model with the simulated system that generates its training data.

The density of the system is known.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mdnrnn.benchmark.timing import Machine, raise_if_interrupted
from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.synthetic import rollouts
from mdnrnn.device import choose_device
from mdnrnn.generation.sampling import Sampling
from mdnrnn.runs.presets import PRESETS
from mdnrnn.runs.run import load
from mdnrnn.runs.train import train
from mdnrnn.tasks.dream import dream

_HIDDEN, _BATCH, _RATE, _DECAY = 64, 64, 6e-3, 0.05
"""Hidden size, batch size, learning rate and weight decay for the corpus `rollouts`, which has 97,000 training rows.

The preset `world` has other values, because it is made for encoded images.
"""
_DREAMS, _DREAM_STEPS = 100, 1000


@dataclass(frozen=True, kw_only=True)
class WorldBenchmark:
    """Negative log-likelihoods of the test split, and statistics of rollouts under a policy that is not in the data.

    `learned`, `true` and `null` are negative log-likelihoods in nats per step under the world model, the true system
    and the null model (see `mdnrnn.evaluation.null_model`). `learned_event` and `true_event` are the parts of `learned`
    and `true` for the event: the episode ends or continues.
    """

    learned: float
    true: float
    gap_per_dimension: float
    """Difference between the negative log-likelihoods of the features under the world model and under the true system,
    in nats per step and feature."""
    learned_event: float
    true_event: float
    null: float
    rollout_steps: int
    """Total number of steps of the rollouts. Each rollout has the same length, because END is excluded from
    sampling."""
    in_support: float
    """Fraction of the steps of the rollouts in which |z| <= `rollouts.SUPPORT` for every feature z. Under the true
    system this fraction is almost 1."""
    max_abs: tuple[float, ...]
    """Maximum absolute value of each feature in the rollouts."""
    max_abs_in_data: tuple[float, ...]
    """Maximum absolute value of each feature in the corpus `rollouts`."""
    rollouts_true_nll: float
    """Negative log-likelihood of the features of the rollouts under the true system, in nats per step."""
    system_true_nll: float
    """As `rollouts_true_nll`, but for rollouts of the true system with the same policy. If the world model is exact,
    both values are equal in expectation."""
    parameters: int
    minutes: float
    machine: Machine


def benchmark_world(*, minutes: float = 4.0, out: Path | None = None, seed: int = 0) -> WorldBenchmark:
    """Train a world model on the corpus `rollouts` and compare it with the true system.

    Args:
        minutes: training time in minutes.
        out: run folder; by default a temporary folder.
        seed: random seed of the training and of the rollouts.
    """
    preset = PRESETS["world"]
    model = replace(preset.model, hidden=_HIDDEN)
    training = replace(
        preset.training, minutes=minutes, batch_size=_BATCH, learning_rate=_RATE, weight_decay=_DECAY, seed=seed
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or Path(temporary) / "run"
        raise_if_interrupted(train(preset, "rollouts", folder, model=model, training=training))
        run = load(folder)
    corpus = open_corpus("rollouts")
    likelihood, true = run.evaluate("test"), rollouts.true_nll(corpus, "test")
    dreams = dream(run, _opposing_policy, _DREAMS, steps=_DREAM_STEPS, sampling=Sampling(endless=True), seed=seed)
    motion_nats, truth = likelihood.motion_nll_per_point, float(true.motion.sum(1).mean())
    in_support = (np.abs(dreams.motion) <= rollouts.SUPPORT).all(1)
    return WorldBenchmark(
        learned=likelihood.nll_per_point,
        true=truth + float(true.event.mean()),
        gap_per_dimension=(motion_nats - truth) / len(rollouts.FEATURES),
        learned_event=likelihood.event_nll_per_point,
        true_event=float(true.event.mean()),
        null=likelihood.null_nll_per_point,
        rollout_steps=len(dreams.event),
        in_support=float(in_support.mean()),
        max_abs=_max_abs(dreams),
        max_abs_in_data=_max_abs(corpus),
        rollouts_true_nll=float(rollouts.true_nll(dreams, "test").motion.sum(1).mean()),
        system_true_nll=_system_nll(_DREAMS, _DREAM_STEPS),
        parameters=sum(parameter.numel() for parameter in run.model.parameters()),
        minutes=minutes,
        machine=Machine.of(choose_device(training.device)),
    )


def _opposing_policy(latents: Tensor, memory: Tensor, rows: Tensor) -> Tensor:
    """Return the actions -tanh(z1) and -tanh(z2), shape (B, 2). In the data, actions do not depend on the features."""
    return torch.tanh(-latents[:, :2])


def _system_nll(episodes: int, steps: int) -> float:
    """Return the negative log-likelihood of rollouts of the true system under the true system, in nats per step.

    The actions follow `_opposing_policy`. Only the features are scored.
    """
    noise, past = rollouts.Noise.sample(np.random.default_rng(1), episodes, steps), rollouts.Past.initial(episodes)
    action, total = np.zeros((episodes, rollouts.ACTIONS), np.float32), 0.0
    for time in range(steps):
        truth, now = rollouts.transition(past, action), slice(time, time + 1)
        own = rollouts.Noise(noise.normal[:, now], noise.logistic[:, now])
        rows, _, past = rollouts.simulate(action[:, None], own, past)
        total += float(truth.nll(rows[:, 0]).sum())
        action = _opposing_policy(torch.from_numpy(rows[:, 0]), torch.empty(0), torch.empty(0)).numpy()
    return total / (episodes * steps)


def _max_abs(corpus: Corpus) -> tuple[float, ...]:
    return tuple(np.abs(corpus.motion).max(0).round(3).tolist())
