"""The functions of a model that are exported as graphs: one step, the initial state, and the encoder.

A graph maps a dictionary of named tensors to a dictionary of named tensors:

- step: motion (B, D), event (B,), inputs (B, A) and the state -> parameters of the step distribution, the next state
  and, if the model has a stopping rule, finished (B,).
- initial: label (B, classes), latent (B, Z), text (B, U) and context (B, C), as far as the model is conditioned on them
  -> the state before the first step, and the motion and event that the first step reads. A model without conditions
  reads batch_size, a scalar.
- encoder: motion (B, T, D), event (B, T), lengths (B,) and label (B, classes) -> mean and log_scale of q(z), (B, Z).

All motions are normalized. The label contains weights of the classes, the text Unicode code points padded with zeros.
The names of the state tensors start with "state", those of the next state with "next_state".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mdnrnn.data.batch import Batch
from mdnrnn.distributions import GaussianMixture, PerDimensionMixture, Step, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.export.states import flatten_state, rebuild_state
from mdnrnn.models.base import Condition, SequenceModel
from mdnrnn.models.latent import LatentModel

GRAPHS = ("step", "initial", "encoder")
"""Names of the graphs."""


class StepGraph(nn.Module):
    """One step of a model; see the module docstring.

    Args:
        model: the model.
        template: a state of the model, which defines the structure of its states.
    """

    def __init__(self, model: SequenceModel, template: Any) -> None:
        super().__init__()
        self.model, self.template = model, template

    def forward(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the results of a step by name."""
        previous = Step(tensors["motion"], tensors["event"], tensors.get("inputs"))
        steps, state = self.model.step(previous, rebuild_state(self.template, tensors))
        results = distribution_parameters(steps)
        finished = self.model.finished(state)
        if finished is not None:
            results["finished"] = finished.bool()
        return _copy({**results, **flatten_state(state, "next_state")})


class InitialGraph(nn.Module):
    """The initial state and the input of the first step of a model; see the module docstring."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the initial state, and the motion and event that the first step reads, by name."""
        conditions = {name: tensor for name, tensor in tensors.items() if name != "batch_size"}
        size: Any = next(iter(conditions.values())).shape[0] if conditions else tensors["batch_size"].item()
        first, state = self.model.initial_step(size), self.model.initial_state(size, Condition(**conditions))
        return _copy({"motion": first.motion, "event": first.event, **flatten_state(state)})


class EncoderGraph(nn.Module):
    """The encoder of a model with a latent vector; see the module docstring."""

    def __init__(self, model: LatentModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the mean and the log scale of q(z | sequence) by name."""
        motion, event = tensors["motion"], tensors["event"]
        size, steps = event.shape
        target = Step(motion.transpose(0, 1).flatten(0, 1), event.t().flatten())
        batch = PaddedBatch(
            target=target,
            previous=target,  # placeholder; encoders read the targets
            bin_width=None,
            lengths=tensors["lengths"],
            label=tensors.get("label"),
            indices=torch.arange(size),
            slots=torch.arange(size * steps),
            steps=steps,
        )
        return self.model.encode(batch)._asdict()


@dataclass(frozen=True)
class PaddedBatch(Batch):
    """Batch whose rows include the padding: S = T x B, so that shapes do not depend on the lengths of the sequences."""

    def sequence_of_row(self) -> Tensor:
        """Return, for each step, the index b of its sequence in the batch, shape (S,)."""
        return torch.arange(self.size).expand(self.steps, -1).flatten()

    def backward_slots(self) -> Tensor:
        """Return slots that reverse each sequence in time and leave its padding in place, shape (S,)."""
        time = torch.arange(self.steps).unsqueeze(1)
        reversed_time = torch.where(time < self.lengths, self.lengths - 1 - time, time)
        return (reversed_time * self.size + torch.arange(self.size)).flatten()


def _copy(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return copies. PyTorch 2.8 cannot export a tensor as two outputs, or an input as an output."""
    return {name: tensor.clone() for name, tensor in tensors.items()}


def distribution_parameters(steps: StepDistribution) -> dict[str, Tensor]:
    """Return the parameters of a step distribution by name.

    The names are logits, means, log_scales, slopes (only for full covariances) and event_logits (only if E > 0). Shapes
    are those of `GaussianMixture` or `PerDimensionMixture`.

    Raises:
        InputError: the motion has another distribution.
    """
    motion = steps.motion
    if not isinstance(motion, (GaussianMixture, PerDimensionMixture)):
        raise InputError(
            f"model: received motions with the distribution {type(motion).__name__}, expected GaussianMixture or "
            "PerDimensionMixture; other distributions cannot be exported"
        )
    parameters = {"logits": motion.logits, "means": motion.means, "log_scales": motion.log_scales}
    if isinstance(motion, GaussianMixture) and motion.slopes is not None:
        parameters["slopes"] = motion.slopes
    if steps.event_logits.shape[-1]:
        parameters["event_logits"] = steps.event_logits
    return parameters
