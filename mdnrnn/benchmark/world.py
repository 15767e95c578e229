"""A world model of a system that is known: what it learned beside what is true, and where its dreams go."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mdnrnn.benchmark.timing import Machine, whole
from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.synthetic import rollouts
from mdnrnn.device import choose_device
from mdnrnn.generation.loop import Sampling
from mdnrnn.runs.presets import PRESETS
from mdnrnn.runs.run import load
from mdnrnn.runs.train import train
from mdnrnn.tasks.dream import dream

_HIDDEN, _BATCH, _RATE, _DECAY = 64, 64, 6e-3, 0.05
"""For a hundred thousand rows: the preset's sizes are those of a world of pictures."""
_DREAMS, _DREAM_STEPS = 100, 1000


@dataclass(frozen=True, kw_only=True)
class WorldBenchmark:
    """Nats a step of the test split, learned and true; dreams under another policy than the data's."""

    learned: float
    true: float
    gap_per_dimension: float
    """Of the motion alone."""
    learnt_event: float
    true_event: float
    null: float
    dreamed: int
    """Steps of endless dreams."""
    in_support: float
    """Share of them that the true system can reach."""
    farthest: tuple[float, ...]
    """Greatest |z| of each dimension in the dreams."""
    farthest_in_data: tuple[float, ...]
    dreams_true_nll: float
    """What the true system thinks of the dreams, nats a step; of rows of its own under that policy it thinks next."""
    system_true_nll: float
    parameters: int
    minutes: float
    machine: Machine


def benchmark_world(*, minutes: float = 4.0, out: Path | None = None, seed: int = 0) -> WorldBenchmark:
    """Train on the catalog's rollouts, compare, dream."""
    preset = PRESETS["world"]
    model = replace(preset.model, hidden=_HIDDEN)
    training = replace(
        preset.training, minutes=minutes, batch_size=_BATCH, learning_rate=_RATE, weight_decay=_DECAY, seed=seed
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or Path(temporary) / "run"
        whole(train(preset, "rollouts", folder, model=model, training=training))
        run = load(folder)
    corpus = open_corpus("rollouts")
    likelihood, true = run.evaluate("test"), rollouts.true_nll(corpus, "test")
    dreams = dream(run, _to_and_fro, _DREAMS, steps=_DREAM_STEPS, sampling=Sampling(endless=True), seed=seed)
    motion_nats, truth = likelihood.motion_nll_per_point, float(true.motion.sum(1).mean())
    within = (np.abs(dreams.motion) <= rollouts.SUPPORT).all(1)
    return WorldBenchmark(
        learned=likelihood.nll_per_point,
        true=truth + float(true.event.mean()),
        gap_per_dimension=(motion_nats - truth) / len(rollouts.FEATURES),
        learnt_event=likelihood.event_nll_per_point,
        true_event=float(true.event.mean()),
        null=likelihood.null_nll_per_point,
        dreamed=len(dreams.event),
        in_support=float(within.mean()),
        farthest=_farthest(dreams),
        farthest_in_data=_farthest(corpus),
        dreams_true_nll=float(rollouts.true_nll(dreams, "test").motion.sum(1).mean()),
        system_true_nll=_system_nll(_DREAMS, _DREAM_STEPS),
        parameters=sum(parameter.numel() for parameter in run.model.parameters()),
        minutes=minutes,
        machine=Machine.of(choose_device(training.device)),
    )


def _to_and_fro(latents: Tensor, memory: Tensor, rows: Tensor) -> Tensor:
    """Pushes against where the first two latents are: no policy of the data's."""
    return torch.tanh(-latents[:, :2])


def _system_nll(episodes: int, steps: int) -> float:
    """What the true system thinks of itself under that policy, nats a step."""
    noise, past = rollouts.Noise.drawn(np.random.default_rng(1), episodes, steps), rollouts.Past.rest(episodes)
    action, total = np.zeros((episodes, rollouts.ACTIONS), np.float32), 0.0
    for time in range(steps):
        truth, now = rollouts.law(past, action), slice(time, time + 1)
        own = rollouts.Noise(noise.normal[:, now], noise.logistic[:, now])
        rows, _, past = rollouts.simulate(action[:, None], own, past)
        total += float(truth.nll(rows[:, 0]).sum())
        action = _to_and_fro(torch.from_numpy(rows[:, 0]), torch.empty(0), torch.empty(0)).numpy()
    return total / (episodes * steps)


def _farthest(corpus: Corpus) -> tuple[float, ...]:
    return tuple(np.abs(corpus.motion).max(0).round(3).tolist())
