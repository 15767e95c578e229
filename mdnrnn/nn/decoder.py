"""Decoder shared by all sequence models: input features, a core (for example an LSTM) and a step head.

The core reads the previous time step, the position (the running sum of the motions) and a context vector that is
constant over time. The head maps the outputs of the core to distributions over the next step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mdnrnn.data.batch import Batch
from mdnrnn.distributions import Step, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.nn.heads import StepHead
from mdnrnn.pen_events import END


class DecoderState(NamedTuple):
    """State of a `StepDecoder`.

    `core`: state of the core. `position`: running sum of the normalized motions, shape (1, B, D). `context`: vectors of
    C features that the core reads at every step, shape (1, B, C).
    """

    core: Any
    position: Tensor
    context: Tensor


class StepFeatures(nn.Module):
    """Compute the input features of time steps: motion, one-hot event, additional inputs and position.

    The event START, which precedes the first step, is encoded as zeros. Events are input features only if the number of
    events E is 3. With E = 2, events would contain no information, because every event before the end of a sequence is
    DOWN.

    Args:
        features: number of motion features D.
        events: number of events E.
        inputs: number of additional inputs per step, A.
        position_features: number of leading motion features whose running sums are used as position features.
        scale: factor by which the position features are multiplied.

    The attribute `width` is the total number of features.
    """

    def __init__(self, features: int, events: int, inputs: int, position_features: int, scale: float = 1.0) -> None:
        super().__init__()
        self.inputs, self.position_features, self.scale = inputs, position_features, scale
        events = events if events > END else 0
        self.width = features + position_features + events + inputs
        # Row e + 1 is the encoding of event e. START is event -1, so its encoding is row 0, which is all zeros.
        rows = torch.eye(1 + END + 1)[:, 1 : 1 + events].clone()  # `torch.export.save` fails for empty views
        self.register_buffer("event_rows", rows, persistent=False)
        self.event_rows: Tensor

    def from_batch(
        self, batch: Batch, steps: Step, slots: Tensor | None = None, position: Tensor | None = None
    ) -> Tensor:
        """Return the features of all steps of a batch, padded with zeros, shape (T, B, width).

        Args:
            batch: batch that defines T, B and the padded layout.
            steps: S steps without padding: motion (S, D), event (S,) and inputs (S, A) or None.
            slots: index of each step in the flattened padded layout, shape (S,); default: `batch.slots`.
            position: position to which the motion of the first step is added, shape (1, B, D); default: zeros.
        """
        rows = [steps.motion, self.event_rows[steps.event + 1], *self.require_inputs(steps.inputs)]
        padded = batch.pad(torch.cat(rows, -1), slots)
        if not self.position_features:
            return padded
        sums = padded[..., : self.position_features].cumsum(0)
        sums = sums if position is None else sums + position[..., : self.position_features]
        return torch.cat([padded, self.scale * sums], -1)

    def from_step(self, step: Step, position: Tensor, context: Tensor) -> Tensor:
        """Return the features of one step of B sequences, followed by the context, shape (B, width + C).

        Args:
            step: motion (B, D), event (B,) and inputs (B, A) or None.
            position: position after the step, shape (B, D).
            context: shape (B, C).
        """
        rows = [step.motion, self.event_rows[step.event + 1], *self.require_inputs(step.inputs)]
        return torch.cat([*rows, self.scale * position[..., : self.position_features], context], -1)

    def require_inputs(self, inputs: Tensor | None) -> list[Tensor]:
        """Return a list that contains `inputs`, shape (..., A), or an empty list if the model has no such inputs.

        Raises:
            InputError: the model has additional inputs, and `inputs` is None.
        """
        if not self.inputs:
            return []
        if inputs is None:
            raise InputError(f"inputs: received none, expected {self.inputs} numbers per step")
        return [inputs]


class StepDecoder(nn.Module):
    """Map previous steps and a constant context to distributions over the next step.

    The core is a module with these methods and one attribute, like `LSTM`:

    - `width`: number of output features.
    - `initial_state(batch_size)`: state before the first step, a NamedTuple of tensors; see `SequenceModel`.
    - `forward(inputs, state)`: outputs (T, B, width) of all steps and the last state, given inputs (T, B, I).
    - `step(inputs, state)`: outputs (B, width) of one step and the next state, given inputs (B, I).

    Args:
        features: module that computes the input features.
        core: module that reads the features and the context.
        head: module that maps the outputs of the core to step distributions.
    """

    def __init__(self, features: StepFeatures, core: nn.Module, head: StepHead) -> None:
        super().__init__()
        self.features, self.head = features, head
        self.core: Any = core

    def initial_state(self, context: Tensor, core: Any = None) -> DecoderState:
        """Return the state before the first step, given a context (B, C) and an initial state of the core.

        If `core` is None, the core starts with its own initial state.
        """
        batch = context.shape[0]  # `len` would fix the batch size of an exported graph
        position = context.new_zeros(1, batch, self.head.shape.features)
        return DecoderState(core or self.core.initial_state(batch), position, context.unsqueeze(0))

    def step(self, previous: Step, state: DecoderState) -> tuple[StepDistribution, DecoderState]:
        """Return the distribution over the step after `previous`, of batch shape (B,), and the next state."""
        hidden, state = self.step_hidden(previous, state)
        return self.head(hidden), state

    def step_hidden(self, previous: Step, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Return the core outputs from which the head predicts the step after `previous`, and the next state.

        The core outputs have shape (B, in_features), where in_features is the number of input features of the head.
        """
        position = state.position + previous.motion
        features = self.features.from_step(previous, position[0], state.context[0])
        hidden, core = self.core.step(features, state.core)
        return hidden, DecoderState(core, position, state.context)

    def forward(self, batch: Batch, state: DecoderState) -> StepDistribution:
        """Return the distributions over the S real (unpadded) steps of a batch, given the initial state.

        The result is one distribution of batch shape (S,).
        """
        return self.head(batch.unpad(self._run_core(batch, state)[0]))

    def forward_with_state(self, batch: Batch, state: DecoderState) -> tuple[StepDistribution, DecoderState]:
        """Return the result of `forward` and the state after step T.

        T is the number of steps of the longest sequence. The state is valid only for sequences of T steps. For shorter
        sequences, it is the state after padding steps. The core must return its last state, as `LSTM` and
        `LayerNormLSTM` do.
        """
        outputs, core = self._run_core(batch, state)
        position = state.position + batch.pad(batch.previous.motion).sum(0)
        return self.head(batch.unpad(outputs)), DecoderState(core, position, state.context)

    def _run_core(self, batch: Batch, state: DecoderState) -> tuple[Tensor, Any]:
        features = self.features.from_batch(batch, batch.previous, position=state.position)
        context = state.context.expand(batch.steps, -1, -1)
        outputs: tuple[Tensor, Any] = self.core(torch.cat([features, context], -1), state.core)
        return outputs
