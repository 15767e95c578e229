"""Dreams: rollouts of a world model under a policy (Ha and Schmidhuber, arXiv:1803.10122)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.metadata import Metadata
from mdnrnn.errors import InputError
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.runs.run import Run

Policy = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Function (latents, hidden, indices) -> actions that chooses the actions (B, A) of the next step.

`latents`: latent vectors in raw units, shape (B, Z). `hidden`: hidden states of the model's top LSTM layer, before the
model reads the latents, shape (B, H). `indices`: indices of the rollouts, shape (B,). Each row of the actions must
depend only on the same row of the arguments. The rows may include rollouts at their first step and rollouts that have
ended; the actions that are chosen for these rollouts have no effect.
"""


def dream(
    run: Run, policy: Policy, n: int, *, steps: int = 1000, sampling: Sampling | None = None, seed: int = 0
) -> Corpus:
    """Generate rollouts of a world model.

    A rollout ends with the event END or at the maximum number of steps. The returned corpus contains the actions as
    `inputs`; the actions of the first step are 0. If the run's data have a reward, it is the last feature of `motion`.

    Args:
        run: run of a world model.
        policy: function that chooses the actions; see `Policy`.
        n: number of rollouts.
        steps: maximum number of steps per rollout.
        sampling: sampling options. A temperature above 1, for example 1.15, makes rollouts noisier than the real world,
            so that policies cannot exploit errors of the model as easily.
        seed: random seed; the noise of rollout i depends only on the seed and i.

    Raises:
        InputError: the run is not of a world model, or the actions have a wrong shape or are not finite.
    """
    world, metadata = require_world(run), run.config.metadata
    device = next(world.parameters()).device
    latents = torch.tensor(latent_indices(metadata), device=device)
    normalizer = run.config.normalizer
    scale, mean = (torch.tensor(values, device=device)[latents] for values in (normalizer.scale, normalizer.mean))

    def act(motion: Tensor, state: Any, rows: Tensor) -> Tensor:
        actions = policy(motion.index_select(1, latents) * scale + mean, world.top_hidden(state), rows)
        if actions.shape != (len(rows), world.shape.inputs):
            expected = (len(rows), world.shape.inputs)
            raise InputError(f"actions of the policy: received shape {tuple(actions.shape)}, expected {expected}")
        return actions.to(motion)

    dreams = run.generate(n, policy=act, sampling=sampling, seed=seed, max_steps=steps)
    dreams.check()  # raises InputError if an action is NaN or infinite
    return dreams


def require_world(run: Run) -> MDNRNN:
    """Return the model of a run of a world model.

    Raises:
        InputError: the run is not of a world model.
    """
    if run.config.metadata.is_world and isinstance(run.model, MDNRNN):
        return run.model
    names = ", ".join(run.config.metadata.features or ("dx", "dy"))
    raise InputError(
        f"run: received steps ({names}), expected latents z1, z2, ...; train a run with: mdnrnn train world"
    )


def latent_indices(metadata: Metadata) -> list[int]:
    """Return the indices of the motion features that are latents: all but the reward."""
    return [i for i, name in enumerate(metadata.features) if name != "reward"]
