"""A learned world as a gymnasium environment: an agent that can act in the world can act in the dream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mdnrnn.errors import InputError
from mdnrnn.events import END
from mdnrnn.generation.sampling import Sampling
from mdnrnn.runs.run import Run
from mdnrnn.tasks.dream import latent_indices, require_world
from mdnrnn.tasks.performer import Performer

try:
    import gymnasium
    from gymnasium import spaces
except ImportError as error:  # an extra
    raise InputError("gymnasium is missing; expected it for a dream to act in: pip install mdnrnn[gym]") from error

_TRIES = 100

Reward = Callable[[np.ndarray, np.ndarray, np.ndarray, bool], float]
"""Of the latents before, (Z,), the action's inputs (A,), the latents after, (Z,), and whether the world has ended."""


class DreamEnv(gymnasium.Env[np.ndarray, Any]):
    """Episodes that a run dreams, one step at a time, raw units: a model's latents are what is observed.

    Args:
        run: of a world.
        actions: a Discrete space of as many actions as the run has inputs, which see a 1 for the one that is taken; or
            a Box (A,) of the inputs themselves; by default one without bounds.
        reward: what a step is worth; by default the run's own reward where its data have one, else 1 for every step.
        sampling: its temperature makes the dream wilder than the world.
        max_steps: after so many an episode is truncated.
    """

    def __init__(
        self,
        run: Run,
        actions: spaces.Space[Any] | None = None,
        reward: Reward | None = None,
        *,
        sampling: Sampling | None = None,
        max_steps: int = 1000,
    ) -> None:
        width = require_world(run).shape.inputs
        self._latents = latent_indices(run.config.metadata)
        names = run.config.metadata.features
        self._rewarded = names.index("reward") if "reward" in names else None
        self.action_space = actions or spaces.Box(-np.inf, np.inf, (width,), np.float32)
        found = int(self.action_space.n) if isinstance(self.action_space, spaces.Discrete) else self.action_space.shape
        if found not in (width, (width,)):
            raise InputError(f"the actions are {self.action_space}; expected Discrete({width}) or a Box ({width},)")
        self.observation_space = spaces.Box(-np.inf, np.inf, (len(self._latents),), np.float32)
        self.max_steps, self._reward, self._run, self._sampling = max_steps, reward, run, sampling
        self._player: Performer | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """The latents that an episode begins with, drawn by the model."""
        super().reset(seed=seed)
        if self._player is None or seed is not None:
            own = int(self.np_random.integers(1 << 31))
            self._player = Performer(self._run, sampling=self._sampling, seed=own)
        self._taken = 0
        for _ in range(_TRIES):
            self._player.reset()
            first = self._player.play()
            if first.event != END:  # an episode that is over at once is none
                break
        self._seen = self._observed(first.motion)
        return self._seen, {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """What follows an action: latents, reward, whether the world ends, whether the time is over."""
        if self._player is None:
            raise InputError("a step was asked of a dream that has not begun; expected reset first")
        inputs = self._inputs(action)
        played = self._player.play(inputs)
        self._taken += 1
        before, self._seen, ended = self._seen, self._observed(played.motion), played.event == END
        reward = 1.0 if self._rewarded is None else float(played.motion[self._rewarded])
        if self._reward is not None:
            reward = float(self._reward(before, inputs, self._seen, ended))
        return self._seen, reward, ended, self._taken >= self.max_steps, {}

    def _inputs(self, action: Any) -> np.ndarray:
        if isinstance(self.action_space, spaces.Discrete):
            if not self.action_space.contains(action):
                raise InputError(f"action {action!r} was taken; expected one of {self.action_space}")
            return np.eye(int(self.action_space.n), dtype=np.float32)[int(action) - int(self.action_space.start)]
        return np.asarray(action, np.float32)

    def _observed(self, motion: np.ndarray) -> np.ndarray:
        return motion[self._latents].astype(np.float32)
