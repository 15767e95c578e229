"""A stacked LSTM with explicit state: one fused pass over sequences, or one step at a time, the same weights."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

_FUSED_FROM = 32
"""Batch size from which the whole-sequence kernel outruns the cell's on one step (measured: 4 times at 256)."""


class LSTMState(NamedTuple):
    """Hidden and cell state of all layers, each (layers, B, H)."""

    hidden: Tensor
    cell: Tensor


class LSTM(nn.Module):
    """`layers` LSTM layers of H units (Hochreiter and Schmidhuber 1997), each followed by dropout.

    Dropout draws one mask (B, H) a layer and sequence and keeps it over the steps (Gal and Ghahramani,
    arXiv:1512.05287), which is T times cheaper than one a step. Recurrent dropout drops recurrent weights, one mask
    a pass (Merity et al., arXiv:1708.02182): a mask inside each step (Semeniuta et al., arXiv:1603.05118) is nothing
    that a fused kernel takes, and a loop over the steps costs a quarter more at B 100, H 512, and far more where
    products are small. Recurrent weights start orthogonal, input weights Glorot-uniform, both gate by gate, the forget
    bias at 1.

    With `skip` (Graves, arXiv:1308.0850) the inputs go into every layer, and every layer goes out: `width` numbers, not
    H. `below` is what a layer beneath these ones gives out, if there is one: the lowest reads it, and it goes out too.
    """

    def __init__(
        self,
        in_features: int,
        hidden: int,
        layers: int = 1,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        skip: bool = False,
        below: int = 0,
    ) -> None:
        super().__init__()
        self.hidden, self.dropout, self.recurrent_dropout, self.skip = hidden, dropout, recurrent_dropout, skip
        self.width = below + layers * hidden if skip else hidden
        above = in_features + hidden if skip else hidden
        self.layers = nn.ModuleList(nn.LSTM(above if layer else in_features + below, hidden) for layer in range(layers))
        for name, parameter in self.layers.named_parameters():
            if "bias" in name:
                nn.init.zeros_(parameter)
                if "bias_ih" in name:  # gates stand in the order input, forget, cell, output
                    nn.init.ones_(parameter.detach().chunk(4)[1])
            else:
                start = nn.init.orthogonal_ if "weight_hh" in name else nn.init.xavier_uniform_
                for gate in parameter.detach().chunk(4):
                    start(gate)

    def initial_state(self, batch_size: int) -> LSTMState:
        """Zeros."""
        zeros = next(self.parameters()).new_zeros(len(self.layers), batch_size, self.hidden)
        return LSTMState(zeros, zeros)

    def forward(self, inputs: Tensor, state: LSTMState, below: Tensor | None = None) -> tuple[Tensor, LSTMState]:
        """All steps: inputs (T, B, I) to the top layer's hidden states (T, B, H), with `skip` to (T, B, width), and the
        state after the last."""
        outputs, hiddens, cells = [] if below is None else [below], [], []
        for layer, core in enumerate(self.layers):
            before = (state.hidden[layer : layer + 1], state.cell[layer : layer + 1])
            rows, (hidden, cell) = _run(core, self._inputs(inputs, outputs), before, self.recurrent_dropout)
            outputs.append(drop_units(rows, self.dropout, self.training))
            hiddens.append(hidden)
            cells.append(cell)
        return self._outputs(outputs), LSTMState(torch.cat(hiddens), torch.cat(cells))

    def step(self, inputs: Tensor, state: LSTMState, below: Tensor | None = None) -> tuple[Tensor, LSTMState]:
        """One step, without dropout: inputs (B, I) to the top layer's hidden state (B, H), with `skip` to (B, width),
        and the next state."""
        outputs, hiddens, cells = [] if below is None else [below], [], []
        for layer, core in enumerate(self.layers):
            before, rows = (state.hidden[layer], state.cell[layer]), self._inputs(inputs, outputs)
            if len(inputs) < _FUSED_FROM:
                weights: Any = (core.weight_ih_l0, core.weight_hh_l0, core.bias_ih_l0, core.bias_hh_l0)
                hidden, cell = torch.lstm_cell(rows, before, *weights)
            else:
                _, (last, cells_after) = _run(core, rows.unsqueeze(0), (before[0][None], before[1][None]))
                hidden, cell = last[0], cells_after[0]
            outputs.append(hidden)
            hiddens.append(hidden)
            cells.append(cell)
        if len(hiddens) == 1:  # a view instead of a copy: it counts at batch 1
            return self._outputs(outputs), LSTMState(hiddens[0].unsqueeze(0), cells[0].unsqueeze(0))
        return self._outputs(outputs), LSTMState(torch.stack(hiddens), torch.stack(cells))

    def _inputs(self, inputs: Tensor, outputs: list[Tensor]) -> Tensor:
        """What the next layer reads, given the outputs of those beneath it."""
        if not outputs:
            return inputs
        return torch.cat([inputs, outputs[-1].to(inputs.dtype)], -1) if self.skip else outputs[-1]

    def _outputs(self, outputs: list[Tensor]) -> Tensor:
        return torch.cat(outputs, -1) if self.skip and len(outputs) > 1 else outputs[-1]


def drop_units(outputs: Tensor, probability: float, training: bool) -> Tensor:
    """Outputs (T, B, H) with units dropped in training, the same ones all along a sequence."""
    if not (training and probability):
        return outputs
    return outputs * functional.dropout(torch.ones_like(outputs[0]), probability)


def drop_weights(weight: Tensor, probability: float, training: bool) -> Tensor:
    """`weight` with entries dropped in training, the others scaled up: DropConnect (Wan et al. 2013)."""
    return functional.dropout(weight, probability, training) if probability else weight


def _run(
    core: Any, inputs: Tensor, state: tuple[Tensor, Tensor], recurrent_dropout: float = 0.0
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """`core` over inputs (T, B, I), in the type of an autocast if there is one.

    Cast by hand: autocast itself runs cuDNN's LSTM in float16, whatever it was asked for, and float16 gradients of a
    mean over thousands of points vanish.
    """
    device = inputs.device.type
    narrow = torch.is_autocast_enabled(device)
    if not narrow and not (recurrent_dropout and core.training):
        return core(inputs, state)
    dtype = torch.get_autocast_dtype(device) if narrow else inputs.dtype
    weights = list(core.all_weights[0])
    weights[1] = drop_weights(weights[1], recurrent_dropout, core.training)
    weights = [weight.to(dtype) for weight in weights]
    with torch.autocast(device, enabled=False):
        outputs, hidden, cell = torch.lstm(
            inputs.to(dtype), [part.to(dtype) for part in state], weights, True, 1, 0.0, core.training, False, False
        )
    return outputs, (hidden, cell)
