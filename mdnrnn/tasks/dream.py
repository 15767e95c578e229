"""Dreams: rollouts of a learned world under a policy (Ha and Schmidhuber, arXiv:1803.10122)."""

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
"""What acts: of the latents (B, Z), raw units, what the model remembers (B, H), and the numbers of the dreams that
still go on, (B,), it makes the actions (B, A). Each row of them has to follow from that row alone."""


def dream(
    run: Run, policy: Policy, n: int, *, steps: int = 1000, sampling: Sampling | None = None, seed: int = 0
) -> Corpus:
    """n rollouts, side by side, of at most so many steps; a dream ends where the world would, unless the sampling is
    endless. What was done stands in `inputs`, a reward, where the world has one, last in `motion`.

    Args:
        sampling: its temperature makes a dream wilder than the world, 1.15 say, and its flaws harder to learn.
    """
    world, metadata = require_world(run), run.config.metadata
    device, latents = next(world.parameters()).device, latent_indices(metadata)
    normalizer, shown = run.config.normalizer, torch.tensor(latents, device=device)
    scale, mean = (torch.tensor(values, device=device)[shown] for values in (normalizer.scale, normalizer.mean))

    def act(motion: Tensor, state: Any, rows: Tensor) -> Tensor:
        actions = policy(motion.index_select(1, shown) * scale + mean, world.top_hidden(state), rows)
        if actions.shape != (len(rows), world.shape.inputs):
            raise InputError(
                f"the policy's actions have shape {tuple(actions.shape)}; expected ({len(rows)}, {world.shape.inputs})"
            )
        return actions.to(motion)

    dreams = run.generate(n, policy=act, sampling=sampling, seed=seed, max_steps=steps)
    dreams.check()  # what a policy did may be no numbers
    return dreams


def require_world(run: Run) -> MDNRNN:
    """The run's model, if it is of a world; an error where it is not."""
    if run.config.metadata.is_world and isinstance(run.model, MDNRNN):
        return run.model
    names = ", ".join(run.config.metadata.features or ("dx", "dy"))
    raise InputError(
        f"the run's steps are ({names}); expected latents of a world, z1 and so on: mdnrnn train world, say"
    )


def latent_indices(metadata: Metadata) -> list[int]:
    """Which features are latents, not the reward."""
    return [i for i, name in enumerate(metadata.features) if name != "reward"]
