"""Sequences that a decoder steps through in place: their states are buffers that stay where they are.

A plain LSTM steps by one product a layer, of matrices packed once, with nothing to allocate or put together; whatever
else a decoder is made of, by its own `step_hidden`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from mdnrnn.distributions import Step
from mdnrnn.generation.packed_linear import PackedMatrix
from mdnrnn.nn.decoder import DecoderState, StepDecoder
from mdnrnn.nn.lstm import LSTM, LSTMState


def stepper(decoder: StepDecoder, previous: Step, state: DecoderState) -> Stepper:
    """What steps on from `previous`, whose motion (B, D) and event (B,) come next into the decoder in this state."""
    if not isinstance(decoder.lstm, LSTM) or decoder.lstm.skip:
        return PlainStepper(decoder, previous, state)
    packed = PackedStepper(decoder, _packed(decoder.lstm), len(previous.event))
    packed.replace_rows(torch.arange(len(previous.event), device=previous.event.device), previous, state)
    return packed


class Stepper(ABC):
    """B sequences before their next step; `motion` (B, D): that of the step before."""

    motion: Tensor

    @abstractmethod
    def step_hidden(self, inputs: Tensor | None) -> Tensor:
        """One step on, beside inputs (B, A) if the model takes any: what the head takes, (B, width)."""

    @abstractmethod
    def set_previous(self, motion: Tensor, event: Tensor) -> None:
        """The steps that were drawn, (B, D) and (B,): what comes next into the decoder."""

    @abstractmethod
    def replace_rows(self, rows: Tensor, previous: Step, state: DecoderState) -> None:
        """Other sequences in place of some, `rows` (N,), given as to `stepper`."""

    @abstractmethod
    def select_rows(self, rows: Tensor) -> Stepper:
        """Some of the sequences alone."""

    @property
    @abstractmethod
    def state(self) -> DecoderState:
        """The decoder's state, as of now."""


class PlainStepper(Stepper):
    """By the decoder's own `step_hidden`."""

    def __init__(self, decoder: StepDecoder, previous: Step, state: DecoderState) -> None:
        self.decoder, self._state = decoder, _each(torch.clone, state)
        self.motion, self.event = previous.motion.clone(), previous.event.clone()

    def step_hidden(self, inputs: Tensor | None) -> Tensor:
        """See Stepper."""
        hidden, state = self.decoder.step_hidden(Step(self.motion, self.event, inputs), self._state)
        _each(lambda new, own: own if new is own else own.copy_(new), state, self._state)
        return hidden

    def set_previous(self, motion: Tensor, event: Tensor) -> None:
        """See Stepper."""
        self.motion.copy_(motion)
        self.event.copy_(event)

    def replace_rows(self, rows: Tensor, previous: Step, state: DecoderState) -> None:
        """See Stepper."""
        self.motion[rows], self.event[rows] = previous.motion, previous.event
        _each(lambda own, new: own.index_copy_(-2, rows, new), self._state, state)

    def select_rows(self, rows: Tensor) -> PlainStepper:
        """See Stepper."""
        state = _each(lambda own: own.index_select(-2, rows), self._state)
        return PlainStepper(self.decoder, Step(self.motion[rows], self.event[rows]), state)

    @property
    def state(self) -> DecoderState:
        """See Stepper."""
        return self._state


class PackedStepper(Stepper):
    """Of an LSTM: what goes into a layer is a row, of the step or the layer beneath, its own hidden state, and 1."""

    def __init__(self, decoder: StepDecoder, matrices: list[PackedMatrix], batch: int) -> None:
        self.decoder, self.matrices = decoder, matrices
        hidden, features = decoder.lstm.hidden, decoder.features
        self.layers = [PackedLayer(matrix, batch, hidden) for matrix in matrices]
        lowest = self.layers[0].entering
        d, kinds = decoder.head.shape.features, features.event_rows.shape[1]
        sizes = [d, kinds, features.inputs, features.position_features]
        self.motion, self.event, self.inputs, self.position, self.context = lowest.split_with_sizes(
            [*sizes, lowest.shape[1] - sum(sizes)], 1
        )
        self.offsets, self.kinds = (
            self.motion[:, : features.position_features],
            features.event_rows[1:].to(lowest.dtype),
        )
        self.scale = features.scale

    def step_hidden(self, inputs: Tensor | None) -> Tensor:
        """See Stepper."""
        for given in self.decoder.features.inputs_of(inputs):
            self.inputs.copy_(given)
        self.position.add_(self.offsets, alpha=self.scale)
        entering: Tensor | None = None
        for layer in self.layers:
            entering = layer(entering)
        assert entering is not None
        return entering

    def set_previous(self, motion: Tensor, event: Tensor) -> None:
        """See Stepper."""
        self.motion.copy_(motion)
        if self.kinds.shape[1]:
            torch.index_select(self.kinds, 0, event, out=self.event)

    def replace_rows(self, rows: Tensor, previous: Step, state: DecoderState) -> None:
        """See Stepper."""
        features, beside = self.decoder.features, previous._replace(inputs=self.inputs[rows])
        entering = features.from_step(beside, state.position[0], state.context[0])
        self.layers[0].entering[rows] = entering.to(self.motion.dtype)
        for layer, hidden, cell in zip(self.layers, *state.lstm, strict=True):
            layer.hidden[rows], layer.cell[rows] = hidden, cell

    def select_rows(self, rows: Tensor) -> PackedStepper:
        """See Stepper."""
        new = PackedStepper(self.decoder, self.matrices, len(rows))
        for own, layer in zip(self.layers, new.layers, strict=True):
            layer.row.copy_(own.row[rows])
            layer.cell.copy_(own.cell[rows])
        return new

    @property
    def state(self) -> DecoderState:
        """A copy; of the place, what the decoder looks at."""
        hidden, cell = (torch.stack([getattr(layer, name) for layer in self.layers]) for name in ("hidden", "cell"))
        place = torch.zeros_like(self.motion)
        if self.position.shape[1]:
            place[:, : self.position.shape[1]] = self.position / self.scale
        return DecoderState(LSTMState(hidden, cell), place.unsqueeze(0), self.context.unsqueeze(0).clone())


class PackedLayer:
    """An LSTM layer of B sequences; its gates stand in the order input, forget, cell, output, as PyTorch's."""

    def __init__(self, matrix: PackedMatrix, batch: int, hidden: int) -> None:
        self.matrix, self.row = matrix, matrix.parts[0].new_zeros(batch, matrix.inputs)
        self.row[:, -1] = 1  # that the biases are multiplied by
        self.entering, self.hidden, _ = self.row.split_with_sizes([matrix.inputs - hidden - 1, hidden, 1], 1)
        self.cell = self.row.new_zeros(batch, hidden)

    @cached_property
    def product(self) -> tuple[Callable[[], Tensor], tuple[Tensor, ...] | None]:
        """What multiplies the row, and the gates, where the result is always in one place; made when first asked for,
        which takes as long as a good many steps."""
        multiply, gates = self.matrix.times(self.row)
        return multiply, None if gates is None else _gates(gates)

    def __call__(self, below: Tensor | None) -> Tensor:
        """One step on, given the hidden state of the layer beneath: the next hidden state (B, H)."""
        if below is not None:
            self.entering.copy_(below)
        multiply, gates = self.product
        product = multiply()
        both, enter, keep, new, leave = gates or _gates(product)
        both.sigmoid_()
        new.tanh_()
        leave.sigmoid_()
        self.cell.mul_(keep).addcmul_(enter, new)
        return torch.mul(self.cell.tanh(), leave, out=self.hidden)


def _gates(product: Tensor) -> tuple[Tensor, ...]:
    """Of (B, 4H): input and forget gate at once, then each of the four."""
    enter, keep, new, leave = product.chunk(4, 1)
    return product[:, : 2 * new.shape[1]], enter, keep, new, leave


def _packed(lstm: LSTM) -> list[PackedMatrix]:
    """A layer's weights and biases side by side, (4H, I + H + 1)."""
    packed = []
    for core in lstm.layers:
        inward, recurrent, *biases = (
            core.get_parameter(f"{name}_l0").detach() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        packed.append(PackedMatrix([inward, recurrent, (biases[0] + biases[1]).unsqueeze(1)]))
    return packed


def _each(change: Any, state: Any, *others: Any) -> Any:
    """A state of nested tuples, `change` of its tensors, each with that of the other states."""
    if isinstance(state, torch.Tensor):
        return change(state, *others)
    return type(state)(*(_each(change, *parts) for parts in zip(state, *others, strict=True)))
