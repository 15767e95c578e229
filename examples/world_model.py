"""Train a CartPole controller inside a world model (Ha and Schmidhuber, arXiv:1803.10122).

    python examples/world_model.py [FOLDER] [STEPS]

The script records random episodes of gymnasium's CartPole, trains a world model on them, optimizes a linear controller
in rollouts of the model with an evolution strategy, and tests it in the real environment. The new episodes are added to
the data for a second round. FOLDER is by default `cart-pole`. STEPS is the number of training steps per round, by
default 1000 (about a minute on two cores). Requires gymnasium: pip install gymnasium.
"""

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gymnasium
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

import mdnrnn
from mdnrnn.data.corpus import Sequence, pack
from mdnrnn.data.formats import native
from mdnrnn.data.metadata import Metadata
from mdnrnn.pen_events import END
from mdnrnn.runs.presets import PRESETS

ROUNDS, EPISODES, TRIALS = 2, 400, 100
POPULATION, ROLLOUTS, GENERATIONS, STEPS = 32, 8, 25, 200
SPREAD, RATE = 0.5, 0.4
TYPICAL_SIZE = torch.tensor([0.1, 0.5, 0.1, 0.8])
"""Typical position and velocity of the cart and angle and angular velocity of the pole in random episodes."""
SAMPLING = mdnrnn.Sampling(temperature=1.1)
"""A temperature above 1 makes rollouts harder than the environment, so that controllers transfer."""

Controller = Callable[[np.ndarray], int]


def main(folder: Path, steps: int) -> None:
    """Record episodes, train the world model, optimize the controller and test it."""
    shutil.rmtree(folder, ignore_errors=True)  # results of a previous call
    rng = np.random.default_rng(0)

    def random(_: np.ndarray) -> int:
        return int(rng.integers(2))

    episodes = play(random, EPISODES, seed=0)
    lengths = {"random": [len(episode.event) - 1 for episode in play(random, TRIALS, seed=10_000)]}
    weights, histories = np.zeros(5), []
    for number in range(1, ROUNDS + 1):
        run = train_world_model(
            [episodes[i] for i in rng.permutation(len(episodes))], folder / f"round-{number}", steps
        )
        result = run.evaluate("test")
        nll, null = result.nll_per_point, result.null_nll_per_point
        print(f"round {number}: {nll:.2f} nats per step; null model {null:.2f}")
        weights, fitness = optimize(run, weights, rng)
        histories.append(fitness)
        controller = linear_controller(weights)
        episode_lengths = [len(e.event) - 1 for e in play(controller, TRIALS, seed=10_000)]
        lengths[f"round {number}"] = episode_lengths
        print(f"in rollouts {fitness[-1]:.0f} of {STEPS} steps; in the environment {np.mean(episode_lengths):.1f}")
        episodes += play(mix(random, controller, rng), 60, seed=1000 * number)
    random_mean, final_mean = np.mean(lengths["random"]), np.mean(lengths[f"round {ROUNDS}"])
    print(f"in the environment: {final_mean:.1f} steps, random policy {random_mean:.1f}, means of {TRIALS} episodes")
    plot(histories, lengths, folder.with_suffix(".png"))


def mix(explorer: Controller, controller: Controller, rng: np.random.Generator) -> Controller:
    """Return a controller that lets the explorer choose a fifth of the actions, for more varied data."""
    return lambda observation: explorer(observation) if rng.random() < 0.2 else controller(observation)


def play(controller: Controller, episodes: int, seed: int) -> list[Sequence]:
    """Return episodes of the environment: four observations as latents, one-hot actions (left, right) as inputs."""
    env, recorded = gymnasium.make("CartPole-v1"), []
    for number in range(episodes):
        observation, _ = env.reset(seed=seed + number)
        rows, actions, ended, truncated = [observation], [np.zeros(2)], False, False
        while not (ended or truncated):
            action = controller(observation)
            observation, _, ended, truncated, _ = env.step(action)
            rows.append(observation)
            actions.append(np.eye(2)[action])
        event = np.zeros(len(rows), np.uint8)
        event[-1] = END if ended else 0
        recorded.append(Sequence(np.array(rows, np.float32), event, inputs=np.array(actions, np.float32)))
    return recorded


def train_world_model(episodes: list[Sequence], folder: Path, steps: int) -> mdnrnn.Run:
    """Train a world model on the episodes."""
    held_out = len(episodes) // 20
    splits = {"train": episodes[: -2 * held_out], "valid": episodes[-2 * held_out : -held_out]}
    corpus = pack(
        Metadata(name="cart-pole", features=("z1", "z2", "z3", "z4")), {**splits, "test": episodes[-held_out:]}
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    data = folder.with_suffix(".npz")
    native.write(corpus, data)
    preset = PRESETS["world"]
    training = replace(preset.training, steps=steps, minutes=None, learning_rate=5e-3)
    mdnrnn.train(preset, str(data), folder, model=replace(preset.model, hidden=64), training=training)
    return mdnrnn.load(folder)


def optimize(run: mdnrnn.Run, weights: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, list[float]]:
    """Return the controller's weights after `GENERATIONS` generations, and the mean rollout length per generation.

    Evolution strategy with mirrored perturbations, weighted by rank (Salimans et al., arXiv:1703.03864).
    """
    fitness = []
    for generation in range(GENERATIONS):
        noise = rng.normal(size=(POPULATION // 2, len(weights)))
        candidates = weights + SPREAD * np.concatenate([noise, -noise])
        steps = rollout_lengths(run, candidates, generation)
        ranks = steps.argsort().argsort() / (POPULATION - 1) - 0.5
        weights = weights + RATE * (ranks @ (candidates - weights)) / (POPULATION * SPREAD**2) * 2
        fitness.append(float(steps.mean()))
    return weights, fitness


def rollout_lengths(run: mdnrnn.Run, candidates: np.ndarray, seed: int) -> np.ndarray:
    """Return the mean rollout length of each controller (P, 5); all rollouts run in one batch."""
    table = torch.tensor(candidates.repeat(ROLLOUTS, axis=0), dtype=torch.float32)

    def policy(latents: Tensor, memory: Tensor, rows: Tensor) -> Tensor:
        controllers = table[rows]
        right = (controllers[:, :4] * latents / TYPICAL_SIZE).sum(1) + controllers[:, 4] > 0
        return torch.nn.functional.one_hot(right.long(), 2).float()

    rollouts = mdnrnn.dream(run, policy, len(table), steps=STEPS, sampling=SAMPLING, seed=seed)
    return rollouts.lengths.reshape(len(candidates), ROLLOUTS).mean(1)


def linear_controller(weights: np.ndarray) -> Controller:
    """Return a controller that pushes right if a weighted sum of the observations is positive."""
    return lambda observation: int((observation / TYPICAL_SIZE.numpy()) @ weights[:4] + weights[4] > 0)


def plot(histories: list[list[float]], lengths: dict[str, list[int]], path: Path) -> None:
    """Plot the rollout lengths per generation and the episode lengths in the environment."""
    figure, (training, test) = plt.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    for number, fitness in enumerate(histories, 1):
        training.plot(range(1, len(fitness) + 1), fitness, label=f"round {number}")
    training.set(xlabel="generation", ylabel="mean rollout length, steps", ylim=(0, STEPS))
    training.legend(frameon=False)
    test.boxplot(list(lengths.values()), tick_labels=list(lengths), whis=(0, 100))
    test.set(ylabel="episode length in CartPole, steps", ylim=(0, 520))
    for axes in (training, test):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=144)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "cart-pole"), int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
