"""An agent learns in its own dream (Ha and Schmidhuber, arXiv:1803.10122): pole balancing, learned without the pole.

    python examples/world_model.py [FOLDER] [MINUTES]

Random pushes at gymnasium's CartPole are recorded; a world model learns what follows what; a linear controller is
bred in its dreams by a simple evolution strategy, and tried at the real pole. What it does there is recorded too, for a
second round. Needs gymnasium: pip install -e ".[gym]". FOLDER is by default `cart-pole`; MINUTES, of training the
world model, 1 a round.
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
from mdnrnn.data.corpus import Metadata, Sequence, pack
from mdnrnn.data.formats import native
from mdnrnn.events import END
from mdnrnn.runs.presets import PRESETS

ROUNDS, EPISODES, TRIALS = 2, 400, 100
POPULATION, DREAMS, GENERATIONS, STEPS = 32, 8, 25, 200
SPREAD, RATE = 0.5, 0.4
USUAL = torch.tensor([0.1, 0.5, 0.1, 0.8])
"""How far the cart is from the middle, how fast, how far the pole leans and how fast, more or less, in random play."""
WILDER = mdnrnn.Sampling(temperature=1.1)
"""A dream a little wilder than the world: what works in it works outside."""

Controller = Callable[[np.ndarray], int]


def main(folder: Path, minutes: float) -> None:
    """Record, learn, breed, try."""
    shutil.rmtree(folder, ignore_errors=True)  # of a run before
    rng = np.random.default_rng(0)

    def random(_: np.ndarray) -> int:
        return int(rng.integers(2))

    episodes = play(random, EPISODES, seed=0)
    lengths = {"random": [len(episode.event) - 1 for episode in play(random, TRIALS, seed=10_000)]}
    weights, bred = np.zeros(5), []
    for number in range(1, ROUNDS + 1):
        run = learn([episodes[i] for i in rng.permutation(len(episodes))], folder / f"round-{number}", minutes)
        found = run.evaluate("test")
        print(f"round {number}: {found.nll_per_point:.2f} nats a step, the null model {found.null_nll_per_point:.2f}")
        weights, fitness = breed(run, weights, rng)
        bred.append(fitness)
        controller = controller_of(weights)
        lengths[f"round {number}"] = [len(e.event) - 1 for e in play(controller, TRIALS, seed=10_000)]
        print(f"in dreams {fitness[-1]:.0f} steps of {STEPS}; outside {np.mean(lengths[f'round {number}']):.1f}")
        episodes += play(now_and_then(random, controller, rng), 60, seed=1000 * number)
    random_mean, own_mean = np.mean(lengths["random"]), np.mean(lengths[f"round {ROUNDS}"])
    print(f"outside the dream: {own_mean:.1f} steps, a random policy {random_mean:.1f}, over {TRIALS} episodes each")
    show(bred, lengths, folder.with_suffix(".png"))


def now_and_then(one: Controller, other: Controller, rng: np.random.Generator) -> Controller:
    """The other, but for a fifth of the pushes: so that there is something to learn from."""
    return lambda seen: one(seen) if rng.random() < 0.2 else other(seen)


def play(controller: Controller, episodes: int, seed: int) -> list[Sequence]:
    """Real episodes: the four observations as latents, the push (left or right) that led to each beside it."""
    env, found = gymnasium.make("CartPole-v1"), []
    for number in range(episodes):
        seen, _ = env.reset(seed=seed + number)
        rows, pushes, ended, truncated = [seen], [np.zeros(2)], False, False
        while not (ended or truncated):
            push = controller(seen)
            seen, _, ended, truncated, _ = env.step(push)
            rows.append(seen)
            pushes.append(np.eye(2)[push])
        event = np.zeros(len(rows), np.uint8)
        event[-1] = END if ended else 0
        found.append(Sequence(np.array(rows, np.float32), event, inputs=np.array(pushes, np.float32)))
    return found


def learn(episodes: list[Sequence], folder: Path, minutes: float) -> mdnrnn.Run:
    """A world model of what was played."""
    held_out = len(episodes) // 20
    splits = {"train": episodes[: -2 * held_out], "valid": episodes[-2 * held_out : -held_out]}
    corpus = pack(
        Metadata(name="cart-pole", features=("z1", "z2", "z3", "z4")), {**splits, "test": episodes[-held_out:]}
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    data = folder.with_suffix(".npz")
    native.write(corpus, data)
    preset = PRESETS["world"]
    training = replace(preset.training, minutes=minutes, learning_rate=5e-3)
    mdnrnn.train(preset, str(data), folder, model=replace(preset.model, hidden=64), training=training)
    return mdnrnn.load(folder)


def breed(run: mdnrnn.Run, weights: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, list[float]]:
    """The controller's weights after some generations in dreams, and the mean steps of each generation.

    Steps along the mean of mirrored tries weighed by their ranks (Salimans et al., arXiv:1703.03864).
    """
    fitness = []
    for generation in range(GENERATIONS):
        noise = rng.normal(size=(POPULATION // 2, len(weights)))
        tries = weights + SPREAD * np.concatenate([noise, -noise])
        steps = dreamt_steps(run, tries, generation)
        ranks = steps.argsort().argsort() / (POPULATION - 1) - 0.5
        weights = weights + RATE * (ranks @ (tries - weights)) / (POPULATION * SPREAD**2) * 2
        fitness.append(float(steps.mean()))
    return weights, fitness


def dreamt_steps(run: mdnrnn.Run, tries: np.ndarray, seed: int) -> np.ndarray:
    """How long each of the controllers (P, 5) keeps the pole up in its dreams, on average, all dreamed side by side."""
    table = torch.tensor(tries.repeat(DREAMS, axis=0), dtype=torch.float32)

    def policy(latents: Tensor, memory: Tensor, rows: Tensor) -> Tensor:
        own = table[rows]
        right = (own[:, :4] * latents / USUAL).sum(1) + own[:, 4] > 0
        return torch.nn.functional.one_hot(right.long(), 2).float()

    dreams = mdnrnn.dream(run, policy, len(table), steps=STEPS, sampling=WILDER, seed=seed)
    return dreams.lengths.reshape(len(tries), DREAMS).mean(1)


def controller_of(weights: np.ndarray) -> Controller:
    """Pushes right where a weighed sum of the observations is above 0."""
    return lambda seen: int((seen / USUAL.numpy()) @ weights[:4] + weights[4] > 0)


def show(bred: list[list[float]], lengths: dict[str, list[int]], path: Path) -> None:
    """How controllers got better in their dreams, and how long they last outside."""
    figure, (dreams, outside) = plt.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    for number, fitness in enumerate(bred, 1):
        dreams.plot(range(1, len(fitness) + 1), fitness, label=f"round {number}")
    dreams.set(xlabel="generation", ylabel="steps in the dream, mean of all tries", ylim=(0, STEPS))
    dreams.legend(frameon=False)
    outside.boxplot(list(lengths.values()), tick_labels=list(lengths), whis=(0, 100))
    outside.set(ylabel="steps at the real pole, of 500", ylim=(0, 520))
    for axes in (dreams, outside):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=144)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "cart-pole"), float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)
