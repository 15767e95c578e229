"""What every recurrent model of steps decodes with: the steps before and a context, an LSTM, a step head."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mdnrnn.data.batches import Batch
from mdnrnn.distributions import Step, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.events import END
from mdnrnn.nn.heads import StepHead
from mdnrnn.nn.layer_norm import LayerNormLSTM
from mdnrnn.nn.lstm import LSTM
from mdnrnn.nn.window import WindowStack


class DecoderState(NamedTuple):
    """The LSTM's state, the pen's position (1, B, D), normalized, and the context (1, B, C)."""

    lstm: Any
    position: Tensor
    context: Tensor


class StepFeatures(nn.Module):
    """Steps as what goes into an LSTM: motion, event one-hot (START: zeros), the pen's position, inputs.

    Args:
        features: D.
        events: E; below 3 they are no news, since what has ended does not go on.
        inputs: A.
        position_features: how many of the first motion features are summed: their sums so far are the pen's position.
        scale: what the position is multiplied by.
    """

    def __init__(self, features: int, events: int, inputs: int, position_features: int, scale: float = 1.0) -> None:
        super().__init__()
        self.inputs, self.position_features, self.scale = inputs, position_features, scale
        events = events if events > END else 0
        self.width = features + position_features + events + inputs
        # Row e + 1 is event e; row 0, START, is all zeros.
        self.register_buffer("event_rows", torch.eye(1 + END + 1)[:, 1 : 1 + events], persistent=False)
        self.event_rows: Tensor

    def from_batch(
        self, batch: Batch, steps: Step, slots: Tensor | None = None, position: Tensor | None = None
    ) -> Tensor:
        """Flat steps (S,) of a batch, laid out as (T, B, width): at the batch's slots, or at others of its own.

        `position` (1, B, D) is where the pen stood before them, by default at 0.
        """
        rows = [steps.motion, self.event_rows[steps.event + 1], *self.inputs_of(steps.inputs)]
        padded = batch.pad(torch.cat(rows, -1), slots)
        if not self.position_features:
            return padded
        sums = padded[..., : self.position_features].cumsum(0)
        sums = sums if position is None else sums + position[..., : self.position_features]
        return torch.cat([padded, self.scale * sums], -1)

    def from_step(self, step: Step, position: Tensor, context: Tensor) -> Tensor:
        """One step of B sequences, the pen's position (B, D) after it and a context (B, C), as (B, width + C)."""
        rows = [step.motion, self.event_rows[step.event + 1], *self.inputs_of(step.inputs)]
        return torch.cat([*rows, self.scale * position[..., : self.position_features], context], -1)

    def inputs_of(self, inputs: Tensor | None) -> list[Tensor]:
        """Those of steps, (..., A), where there should be any."""
        if not self.inputs:
            return []
        if inputs is None:
            raise InputError(f"the model expects {self.inputs} inputs at every step; received none")
        return [inputs]


class StepDecoder(nn.Module):
    """Distributions over the next step, given the steps before and a context (B, C) beside every one of them.

    `lstm` takes rows of `features` and context, C numbers; `head` takes its outputs.
    """

    def __init__(self, features: StepFeatures, lstm: LSTM | LayerNormLSTM | WindowStack, head: StepHead) -> None:
        super().__init__()
        self.features, self.head = features, head
        self.lstm: Any = lstm

    def initial_state(self, context: Tensor, lstm: Any = None) -> DecoderState:
        """The state before the first step; the LSTM's by default zeros."""
        position = context.new_zeros(1, len(context), self.head.shape.features)
        return DecoderState(lstm or self.lstm.initial_state(len(context)), position, context.unsqueeze(0))

    def step(self, previous: Step, state: DecoderState) -> tuple[StepDistribution, DecoderState]:
        """The distribution of the step after `previous`, of B sequences, and the next state."""
        hidden, state = self.step_hidden(previous, state)
        return self.head(hidden), state

    def step_hidden(self, previous: Step, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """What the head makes that distribution of, (B, width), and the next state."""
        position = state.position + previous.motion
        hidden, lstm = self.lstm.step(self.features.from_step(previous, position[0], state.context[0]), state.lstm)
        return hidden, DecoderState(lstm, position, state.context)

    def forward(self, batch: Batch, state: DecoderState) -> StepDistribution:
        """The distributions of all real steps of a batch, flat (S,), from the state before the first."""
        return self.head(batch.unpad(self._pass(batch, state)[0]))

    def forward_with_state(self, batch: Batch, state: DecoderState) -> tuple[StepDistribution, DecoderState]:
        """The same, and the state after the last step: that of the sequences as long as the longest, of an LSTM."""
        outputs, lstm = self._pass(batch, state)
        position = state.position + batch.pad(batch.previous.motion).sum(0)
        return self.head(batch.unpad(outputs)), DecoderState(lstm, position, state.context)

    def _pass(self, batch: Batch, state: DecoderState) -> tuple[Tensor, Any]:
        features = self.features.from_batch(batch, batch.previous, position=state.position)
        context = state.context.expand(batch.steps, -1, -1)
        outputs: tuple[Tensor, Any] = self.lstm(torch.cat([features, context], -1), state.lstm)
        return outputs
