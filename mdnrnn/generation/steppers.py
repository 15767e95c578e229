"""Steppers advance a batch of sequences by one time step per call. Sequences in the batch can be replaced.

`PackedStepper` supports decoders with a plain LSTM. It concatenates the weights of each layer once, keeps the states in
fixed buffers and computes one matrix product per layer and step. `DecoderStepper` supports all other decoders of this
package. `ModelStepper` supports every model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from mdnrnn.distributions import Step
from mdnrnn.errors import InputError
from mdnrnn.generation.arguments import check_shape
from mdnrnn.generation.fast_path import has_default_state, supports_fast_path, supports_packed_lstm
from mdnrnn.generation.packed_linear import PackedMatrix
from mdnrnn.generation.sampling import Sampling
from mdnrnn.generation.state import can_share_batch, check_state
from mdnrnn.models.base import SequenceModel
from mdnrnn.models.state import map_state
from mdnrnn.nn.decoder import DecoderState, StepDecoder
from mdnrnn.nn.lstm import LSTM, Gates, LSTMState, update_state_


def make_stepper(model: SequenceModel, sampling: Sampling, previous: Step, state: Any) -> Stepper:
    """Return the fastest stepper for a model.

    Args:
        model: any sequence model.
        sampling: sampling options.
        previous: previous steps, motion (B, D) and event (B,).
        state: state of the model before it reads `previous`.
    """
    if not supports_fast_path(model, sampling) or not has_default_state(model.decoder, state):
        return ModelStepper(model, previous, state)
    return make_decoder_stepper(model.decoder, previous, state)


def make_decoder_stepper(decoder: StepDecoder, previous: Step, state: DecoderState) -> Stepper:
    """Return the fastest stepper for a decoder that the fast path supports; see `make_stepper`."""
    if not supports_packed_lstm(decoder):
        return DecoderStepper(decoder, previous, state)
    stepper = PackedStepper(decoder, _pack_weights(decoder.core), len(previous.event))
    stepper.replace_rows(torch.arange(len(previous.event), device=previous.event.device), previous, state)
    return stepper


class Stepper(ABC):
    """Interface of steppers. A stepper stores the previous step and the state of each of B sequences."""

    motion: Tensor
    """Motions of the previous steps, shape (B, D)."""

    @abstractmethod
    def step(self, inputs: Tensor | None) -> Any:
        """Advance by one step, given inputs (B, A) or None, and return the input of the sampler; see `StepSampler`."""

    @abstractmethod
    def set_previous(self, motion: Tensor, event: Tensor) -> None:
        """Store sampled motions (B, D) and events (B,) as the previous steps, which the next call of `step` reads."""

    @abstractmethod
    def replace_rows(self, rows: Tensor, previous: Step, state: Any) -> None:
        """Replace the sequences in the given rows (N,) by N sequences with the given previous steps and states."""

    def accepts(self, state: Any) -> bool:
        """Return whether `replace_rows` accepts a state; see `can_share_batch`."""
        return can_share_batch(self.state, state)

    @abstractmethod
    def select_rows(self, rows: Tensor) -> Stepper:
        """Return a new stepper for the sequences in the given rows (N,)."""

    @property
    @abstractmethod
    def state(self) -> Any:
        """State of the model after the last call of `step`."""


class ModelStepper(Stepper):
    """Stepper for any model: calls `model.step` and returns step distributions."""

    def __init__(self, model: SequenceModel, previous: Step, state: Any) -> None:
        self.model, self._state = model, state
        self.motion, self.event = previous.motion, previous.event

    def step(self, inputs: Tensor | None) -> Any:
        """Advance by one step, and return the distribution of the next step, of batch shape (B,)."""
        distribution, self._state = self.model.step(Step(self.motion, self.event, inputs), self._state)
        return distribution

    # Tensors are replaced, never changed in place, because a state may contain the tensors passed to `model.step`.

    def set_previous(self, motion: Tensor, event: Tensor) -> None:
        """See `Stepper`."""
        self.motion, self.event = motion.to(self.motion), event

    def replace_rows(self, rows: Tensor, previous: Step, state: Any) -> None:
        """See `Stepper`."""
        self.motion = self.motion.index_copy(0, rows, previous.motion)
        self.event = self.event.index_copy(0, rows, previous.event)
        check_state(self._state, len(self.event))
        self._state = map_state(lambda old, new: old.index_copy(-2, rows, new.to(old)), self._state, state)

    def select_rows(self, rows: Tensor) -> ModelStepper:
        """See `Stepper`."""
        check_state(self._state, len(self.event))
        state = map_state(lambda part: part.index_select(-2, rows), self._state)
        return ModelStepper(self.model, Step(self.motion[rows], self.event[rows]), state)

    @property
    def state(self) -> Any:
        """See `Stepper`."""
        return self._state


class DecoderStepper(Stepper):
    """Stepper that calls `decoder.step_hidden` and keeps the state in fixed buffers, as CUDA graphs require."""

    def __init__(self, decoder: StepDecoder, previous: Step, state: DecoderState) -> None:
        self.decoder, self._state = decoder, map_state(torch.clone, state)
        self.motion, self.event = previous.motion.clone(), previous.event.clone()

    def step(self, inputs: Tensor | None) -> Tensor:
        """Advance by one step, and return the input of the head, shape (B, width)."""
        hidden, state = self.decoder.step_hidden(Step(self.motion, self.event, inputs), self._state)
        map_state(_update_buffer, self._state, state)
        return hidden

    def set_previous(self, motion: Tensor, event: Tensor) -> None:
        """See `Stepper`."""
        self.motion.copy_(motion)
        self.event.copy_(event)

    def replace_rows(self, rows: Tensor, previous: Step, state: DecoderState) -> None:
        """See `Stepper`."""
        self.motion[rows], self.event[rows] = previous.motion, previous.event
        map_state(lambda buffer, new: buffer.index_copy_(-2, rows, new), self._state, state)

    def select_rows(self, rows: Tensor) -> DecoderStepper:
        """See `Stepper`."""
        state = map_state(lambda buffer: buffer.index_select(-2, rows), self._state)
        return DecoderStepper(self.decoder, Step(self.motion[rows], self.event[rows]), state)

    @property
    def state(self) -> DecoderState:
        """See `Stepper`."""
        return self._state


def _update_buffer(buffer: Tensor, new: Tensor) -> Tensor:
    """Copy a new state into a buffer of the same shape. `copy_` alone would broadcast a state of another shape."""
    if new is buffer:
        return buffer
    if new.shape != buffer.shape:
        raise InputError(f"state of the model: received shape {tuple(new.shape)}, expected {tuple(buffer.shape)}")
    return buffer.copy_(new)


class PackedStepper(Stepper):
    """Stepper for decoders with a plain LSTM; it keeps the state in fixed buffers.

    Each layer has one input row per sequence: the inputs of the layer, the previous hidden state of the layer and a 1,
    which multiplies the bias. The inputs of the first layer are the features of the step and the context vector (see
    `mdnrnn.nn.decoder`). The inputs of every higher layer are the hidden state of the layer below.
    """

    def __init__(self, decoder: StepDecoder, matrices: list[PackedMatrix], batch: int) -> None:
        self.decoder, self.matrices = decoder, matrices
        features = decoder.features
        self.layers = [_PackedLayer(matrix, batch, decoder.core.hidden) for matrix in matrices]
        inputs = self.layers[0].inputs
        d, events = decoder.head.shape.features, features.event_rows.shape[1]
        sizes = [d, events, features.inputs, features.position_features]
        self.motion, self.event, self.inputs, self.position, self.context = inputs.split_with_sizes(
            [*sizes, inputs.shape[1] - sum(sizes)], 1
        )
        self.offsets = self.motion[:, : features.position_features]
        self.unread = self.motion[:, features.position_features :]
        self.unread_position = torch.zeros_like(self.unread)
        """Position features that the decoder does not read. Stopping rules and policies may read them in `state`."""
        self.event_rows = features.event_rows[1:].to(inputs.dtype)
        self.scale = features.scale

    def step(self, inputs: Tensor | None) -> Tensor:
        """Advance by one step, and return the input of the head, shape (B, H)."""
        for part in self.decoder.features.require_inputs(inputs):
            self.inputs.copy_(part)
        self.position.add_(self.offsets, alpha=self.scale)
        if self.unread_position.shape[1]:
            self.unread_position.add_(self.unread)
        hidden: Tensor | None = None
        for layer in self.layers:
            hidden = layer(hidden)
        assert hidden is not None
        return hidden

    def set_previous(self, motion: Tensor, event: Tensor) -> None:
        """See `Stepper`."""
        self.motion.copy_(motion)
        if self.event_rows.shape[1]:
            torch.index_select(self.event_rows, 0, event, out=self.event)

    def replace_rows(self, rows: Tensor, previous: Step, state: DecoderState) -> None:
        """See `Stepper`."""
        previous = previous._replace(inputs=self.inputs[rows])  # placeholder, overwritten by the next call of `step`
        features = self.decoder.features.from_step(previous, state.position[0], state.context[0])
        check_shape("input of the LSTM", features, (len(rows), self.layers[0].inputs.shape[1]))
        self.layers[0].inputs[rows] = features.to(self.motion.dtype)
        self.unread_position[rows] = state.position[0, :, self.position.shape[1] :]
        for layer, hidden, cell in zip(self.layers, *state.core, strict=True):
            layer.hidden[rows], layer.cell[rows] = hidden, cell

    def select_rows(self, rows: Tensor) -> PackedStepper:
        """See `Stepper`."""
        selected = PackedStepper(self.decoder, self.matrices, len(rows))
        for layer, new in zip(self.layers, selected.layers, strict=True):
            new.row.copy_(layer.row[rows])
            new.cell.copy_(layer.cell[rows])
        selected.unread_position.copy_(self.unread_position[rows])
        return selected

    @property
    def state(self) -> DecoderState:
        """Copy of the state after the last call of `step`."""
        hidden, cell = (torch.stack([getattr(layer, name) for layer in self.layers]) for name in ("hidden", "cell"))
        position = self.unread_position
        if self.position.shape[1]:
            position = torch.cat([self.position / self.scale, position], 1)
        return DecoderState(LSTMState(hidden, cell), position.unsqueeze(0).clone(), self.context.unsqueeze(0).clone())


class _PackedLayer:
    """LSTM layer with a buffer of input rows (B, I + H + 1): inputs, hidden state and a 1, side by side."""

    def __init__(self, matrix: PackedMatrix, batch: int, hidden: int) -> None:
        self.matrix, self.row = matrix, matrix.parts[0].new_zeros(batch, matrix.inputs)
        self.row[:, -1] = 1
        self.inputs, self.hidden, _ = self.row.split_with_sizes([matrix.inputs - hidden - 1, hidden, 1], 1)
        self.cell = self.row.new_zeros(batch, hidden)

    @cached_property
    def product(self) -> tuple[Callable[[], Tensor], Gates | None]:
        """A function that multiplies the input rows by the weights, and views of the gates in its output buffer.

        The views are None if each call of the function allocates a new output. The property is computed on first use,
        because packing the weights takes as long as many time steps.
        """
        multiply, out = self.matrix.make_product(self.row)
        return multiply, None if out is None else Gates.from_product(out)

    def __call__(self, lower: Tensor | None) -> Tensor:
        """Advance by one step and return the hidden state (B, H).

        Args:
            lower: hidden state of the layer below, shape (B, H); None for the first layer, whose inputs are already in
                the buffer.
        """
        if lower is not None:
            self.inputs.copy_(lower)
        multiply, gates = self.product
        product = multiply()
        return update_state_(gates or Gates.from_product(product), self.cell, self.hidden)


def _pack_weights(lstm: LSTM) -> list[PackedMatrix]:
    """Return one matrix (4H, I + H + 1) per layer: input weights, recurrent weights and biases side by side."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    matrices = []
    for layer in lstm.layers:
        input_weight, recurrent_weight, bias, other_bias = (layer.get_parameter(name).detach() for name in names)
        matrices.append(PackedMatrix([input_weight, recurrent_weight, (bias + other_bias).unsqueeze(1)]))
    return matrices
