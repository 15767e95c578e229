"""MDN-RNN: an LSTM whose head is a mixture over the next motion beside a categorical over the next event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mdnrnn.data.batches import Batch
from mdnrnn.distributions import Step, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.models.base import Condition, SequenceModel, StepShape
from mdnrnn.nn.heads import StepHead
from mdnrnn.nn.lstm import LSTM, LSTMState


@dataclass(frozen=True, kw_only=True)
class MDNRNNConfig:
    """The shape of an MDN-RNN."""

    hidden: int = 512
    """H, units in a layer."""
    layers: int = 1
    """LSTM layers."""
    components: int = 20
    """K, components of the mixture."""
    dropout: float = 0.4
    """Probability that a unit of a layer is dropped, for a whole sequence, in training."""
    position: bool = True
    """Whether the sum of the motions so far, the pen's place, is an input too."""
    scale_floor: float = 1e-3
    """The least scale of a component, in normalised units."""

    def __post_init__(self) -> None:
        for name in ("hidden", "layers", "components"):
            if getattr(self, name) < 1:
                raise InputError(f"model.{name} is {getattr(self, name)}; expected at least 1")
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.dropout is {self.dropout}; expected 0 up to, not with, 1")
        if not self.scale_floor > 0:
            raise InputError(f"model.scale_floor is {self.scale_floor}; expected a positive number")


class MDNRNNState(NamedTuple):
    """The LSTM's state, the pen's place (1, B, D), normalised, and the label's embedding (1, B, C)."""

    lstm: LSTMState
    place: Tensor
    label: Tensor


class MDNRNN(SequenceModel):
    """p(step_t | steps before, label): the model of Graves (2013) and Ha (2015), one head for all its uses."""

    def __init__(self, shape: StepShape, config: MDNRNNConfig) -> None:
        super().__init__()
        self.shape, self.config = shape, config
        embedded = min(shape.classes, 32)
        self.label = nn.Embedding(shape.classes, embedded) if shape.classes else None
        width = shape.features * (1 + config.position) + shape.events + shape.inputs + embedded
        self.lstm = LSTM(width, config.hidden, config.layers, config.dropout)
        self.head = StepHead(config.hidden, shape.features, config.components, shape.events, config.scale_floor)
        # Row e + 1 is event e; row 0, START, is all zeros.
        self.register_buffer("event_rows", torch.eye(shape.events + 1)[:, 1:], persistent=False)
        self.event_rows: Tensor

    def initial_state(self, batch_size: int, condition: Condition | None = None) -> MDNRNNState:
        """Zeros; the condition's label (B,) embedded."""
        state = self.lstm.initial_state(batch_size)
        place = state.hidden.new_zeros(1, batch_size, self.shape.features)
        return MDNRNNState(state, place, self._embed(condition, state.hidden, batch_size).unsqueeze(0))

    def step(self, previous: Step, state: MDNRNNState) -> tuple[StepDistribution, MDNRNNState]:
        """One step of B sequences."""
        place = state.place + previous.motion
        features = self._features(previous, place[0], state.label[0])
        hidden, lstm = self.lstm.step(features, state.lstm)
        return self.head(hidden), MDNRNNState(lstm, place, state.label)

    def forward(self, batch: Batch) -> StepDistribution:
        """The distributions of all real steps, flat (S,)."""
        place = batch.unpad(batch.pad(batch.previous.motion).cumsum(0))
        label = self._embed(Condition(batch.label), place, batch.size)[batch.sequence_of_row()]
        features = batch.pad(self._features(batch.previous, place, label))
        outputs, _ = self.lstm(features, self.lstm.initial_state(batch.size))
        return self.head(batch.unpad(outputs))

    def _features(self, previous: Step, place: Tensor, label: Tensor) -> Tensor:
        """What goes into the LSTM, shape (..., I). The event START is a row of zeros."""
        parts = [previous.motion, self.event_rows[previous.event + 1], label]
        if self.config.position:
            parts.append(place)
        if self.shape.inputs:
            if previous.inputs is None:
                raise InputError(f"the model expects {self.shape.inputs} inputs at every step; received none")
            parts.append(previous.inputs)
        return torch.cat(parts, -1)

    def _embed(self, condition: Condition | None, like: Tensor, batch_size: int) -> Tensor:
        if self.label is None:
            return like.new_zeros(batch_size, 0)
        if condition is None or condition.label is None:
            raise InputError(f"the model expects a label from 0 to {self.shape.classes - 1}; received none")
        return self.label(condition.label)
