"""Initial states, noise streams and prefixes for generation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mdnrnn.distributions import Step
from mdnrnn.generation.arguments import check_shape
from mdnrnn.generation.condition import check_policy_inputs
from mdnrnn.generation.noise import noise_stream
from mdnrnn.generation.state import check_state
from mdnrnn.models.base import Condition, SequenceModel

Policy = Callable[[Tensor, Any, Tensor], Tensor]
"""Function (motion, state, indices) -> inputs that chooses the inputs (B, A) of the next step.

`motion`: normalized motions of the previous step, shape (B, D). `state`: state of the model before it reads `motion`.
`indices`: indices of the sequences, shape (B,). Each row of the result must depend only on the same row of the
arguments. The rows may include sequences at their first step and sequences that have ended; the inputs that are chosen
for these sequences have no effect.
"""


class InitialStates(NamedTuple):
    """States of B sequences before their first new step.

    `noises`: noise stream of each sequence. `previous`: last step of the prefix or, without a prefix, the model's
    `initial_step`. `state`: state of the model before it reads `previous`. `position`: sum of the normalized motions of
    the prefix, shape (B, D).
    """

    noises: list[np.random.Generator]
    previous: Step
    state: Any
    position: Tensor


@dataclass(frozen=True, kw_only=True)
class SequenceInitializer:
    """Computes the initial states of sequences. All fields but `first_index` are arguments of `generate`."""

    model: SequenceModel
    condition: Condition
    prefix: Step | None
    policy: Policy | None
    seed: int
    shared_noise: bool
    first_index: int = 0
    """Index of the first sequence of this initializer among all sequences that `generate` returns.

    The noise stream of a sequence depends on its index among all sequences.
    """

    def select(self, rows: slice) -> SequenceInitializer:
        """Return an initializer for a slice of the sequences."""
        return replace(self, condition=self._condition_of(rows), first_index=self.first_index + rows.start)

    @property
    def prefix_length(self) -> int:
        """Number of steps of the prefix."""
        return 0 if self.prefix is None else len(self.prefix.event)

    @property
    def known_inputs(self) -> Tensor | None:
        """Inputs that are known before generation.

        If the condition has inputs, they are the inputs of the condition, shape (n, T, A). If only the prefix has
        inputs, they are the inputs of the prefix, shape (1, P, A). None if neither has inputs.
        """
        if self.condition.inputs is not None or self.prefix is None or self.prefix.inputs is None:
            return self.condition.inputs
        return self.prefix.inputs.unsqueeze(0)

    def limit_steps(self, max_steps: np.ndarray) -> np.ndarray:
        """Return the maximum numbers of new steps, shape (n,), reduced to the number of steps with known inputs.

        The numbers are not reduced if there are no known inputs, or if a policy chooses the inputs of new steps.
        """
        if self.known_inputs is None or (self.condition.inputs is None and self.policy is not None):
            return max_steps
        return np.minimum(max_steps, max(0, self.known_inputs.shape[1] - self.prefix_length))

    def __call__(self, indices: np.ndarray) -> InitialStates:
        """Return the initial states of the sequences with these indices, which must be consecutive.

        Raises:
            InputError: the model returns an initial step or an initial state of a wrong shape.
        """
        noises = [noise_stream(self.seed, 0 if self.shared_noise else self.first_index + int(i)) for i in indices]
        condition = self._condition_of(slice(int(indices[0]), int(indices[-1]) + 1))
        previous = self.model.initial_step(len(indices))
        if self.model.latent and condition.latent is None:
            condition = condition._replace(latent=_sample_prior(noises, self.model.latent, previous.motion.device))
        state, position = self.model.initial_state(len(indices), condition), torch.zeros_like(previous.motion)
        check_shape("initial_step: motion", previous.motion, (len(indices), self.model.shape.features))
        check_shape("initial_step: event", previous.event, (len(indices),))
        check_state(state, len(indices))
        return self._run_prefix(InitialStates(noises, previous, state, position), indices)

    def _condition_of(self, rows: slice) -> Condition:
        return Condition(*(None if part is None else part[rows] for part in self.condition))

    def _run_prefix(self, states: InitialStates, indices: np.ndarray) -> InitialStates:
        """Return the states after the prefix, given the states before the prefix."""
        if self.prefix is None:
            return states
        noises, previous, state, position = states
        rows = torch.from_numpy(indices).to(position.device)
        known = None if self.known_inputs is None else self.known_inputs[rows % len(self.known_inputs)]
        for time, (motion, event) in enumerate(zip(self.prefix.motion, self.prefix.event, strict=True)):
            inputs = None if known is None else known[:, time]
            if known is None and self.policy is not None:
                inputs = position.new_zeros(len(indices), self.model.shape.inputs)
                if time:
                    chosen = self.policy(previous.motion, state, rows)
                    inputs = check_policy_inputs(chosen, len(indices), position, self.model.shape.inputs)
            _, state = self.model.step(previous._replace(inputs=inputs), state)
            previous = Step(motion.expand_as(position), event.expand_as(previous.event))
            position = position + motion
        return InitialStates(noises, previous, state, position)


def _sample_prior(noises: list[np.random.Generator], latent: int, device: torch.device) -> Tensor:
    rows = [noise.standard_normal(latent, np.float32) for noise in noises]
    return torch.from_numpy(np.stack(rows)).to(device)
