"""What stands before the first step that is drawn of a sequence: its state, its noise, and a prefix if it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mdnrnn.distributions import Step
from mdnrnn.generation.noise import noise_stream
from mdnrnn.models.base import Condition, SequenceModel

Policy = Callable[[Tensor, Any, Tensor], Tensor]
"""What acts while a world is dreamed: of the motions before, (B, D), normalized, the model's state and the numbers of
the sequences, (B,), it makes the inputs (B, A) beside which the next steps are drawn, each from its own row alone. It
may be asked more steps of a sequence that has ended."""


class InitialStates(NamedTuple):
    """Sequences that go on from here: their noise, the steps before and the states that these come into, and where
    they are, (B, D)."""

    noises: list[np.random.Generator]
    previous: Step
    state: Any
    position: Tensor


@dataclass(frozen=True, kw_only=True)
class SequenceInitializer:
    """How sequences begin: what they are drawn given, all of them; arguments as those of `generate`."""

    model: SequenceModel
    condition: Condition
    prefix: Step | None
    policy: Policy | None
    seed: int
    shared_noise: bool
    first: int = 0
    """The number of the first of them."""

    def some(self, rows: slice) -> SequenceInitializer:
        """Those of some sequences alone."""
        condition = Condition(*(None if given is None else given[rows] for given in self.condition))
        return replace(self, condition=condition, first=self.first + rows.start)

    @property
    def given(self) -> int:
        """Steps of the prefix."""
        return 0 if self.prefix is None else len(self.prefix.event)

    @property
    def inputs(self) -> Tensor | None:
        """The inputs (n, T, A) or (1, T, A) beside the steps of the prefix and those after it, where they are known."""
        if self.condition.inputs is not None or self.prefix is None or self.prefix.inputs is None:
            return self.condition.inputs
        return self.prefix.inputs.unsqueeze(0)

    def lengths(self, limits: np.ndarray) -> np.ndarray:
        """The most new steps of each sequence, (n,), within their limits (n,): no more than there are inputs."""
        if self.inputs is None or (self.condition.inputs is None and self.policy is not None):
            return limits
        return np.minimum(limits, max(0, self.inputs.shape[1] - self.given))

    def __call__(self, numbers: np.ndarray) -> InitialStates:
        """The sequences of these numbers."""
        noises = [noise_stream(self.seed, 0 if self.shared_noise else self.first + int(number)) for number in numbers]
        rows = slice(int(numbers[0]), int(numbers[-1]) + 1)
        part = Condition(*(None if given is None else given[rows] for given in self.condition))
        previous = self.model.initial_step(len(numbers))
        if self.model.latent and part.latent is None:
            part = part._replace(latent=_from_prior(noises, self.model.latent, previous.motion.device))
        state, place = self.model.initial_state(len(numbers), part), torch.zeros_like(previous.motion)
        return self._followed(InitialStates(noises, previous, state, place), numbers)

    def _followed(self, begun: InitialStates, numbers: np.ndarray) -> InitialStates:
        """After the steps of the prefix."""
        if self.prefix is None:
            return begun
        noises, previous, state, place = begun
        everyone = torch.from_numpy(numbers).to(place.device)
        known = None if self.inputs is None else self.inputs[everyone % len(self.inputs)]
        for time, (motion, event) in enumerate(zip(self.prefix.motion, self.prefix.event, strict=True)):
            beside = None if known is None else known[:, time]
            if known is None and self.policy is not None:
                beside = place.new_zeros(len(numbers), self.model.shape.inputs)
                beside = self.policy(previous.motion, state, everyone) if time else beside
            _, state = self.model.decoder.step_hidden(previous._replace(inputs=beside), state)
            previous = Step(motion.expand_as(place), event.expand_as(previous.event))
            place = place + motion
        return InitialStates(noises, previous, state, place)


def _from_prior(generators: list[np.random.Generator], latent: int, device: torch.device) -> Tensor:
    rows = [generator.standard_normal(latent, np.float32) for generator in generators]
    return torch.from_numpy(np.stack(rows)).to(device)
