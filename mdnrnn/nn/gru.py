"""Stacked GRU with explicit state. It runs either all time steps in one call or a single step, with the same weights.

A layer computes (Cho et al., arXiv:1406.1078, in the variant of `torch.nn.GRU`)

    r, u = sigmoid(W x + b + V h + c)
    n = tanh(W_n x + b_n + r (V_n h + c_n))
    h' = (1 - u) n + u h

with reset gate r, update gate u and candidate n. Weights are in this order, as in `torch.nn.GRU`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mdnrnn.nn.lstm import drop_units, initialize_gates, stack_inputs, stack_outputs


class GRUState(NamedTuple):
    """Hidden states of all layers, shape (layers, B, H)."""

    hidden: Tensor


class GRU(nn.Module):
    """Stack of GRU layers of hidden size H, each followed by dropout.

    Dropout and initialization are those of `mdnrnn.nn.lstm.LSTM`; all biases are initialized to 0.

    Args:
        in_features: number of input features I.
        hidden: hidden size H.
        layers: number of layers.
        dropout: dropout probability after each layer.
        skip: whether to use skip connections from the inputs to every layer and from every layer to the outputs.

    The attribute `width` is the number of output features: layers x H if `skip`, otherwise H.
    """

    def __init__(
        self, in_features: int, hidden: int, layers: int = 1, dropout: float = 0.0, skip: bool = False
    ) -> None:
        super().__init__()
        self.hidden, self.dropout, self.skip = hidden, dropout, skip
        self.width = layers * hidden if skip else hidden
        sizes = [in_features] + [in_features + hidden if skip else hidden] * (layers - 1)
        self.layers = nn.ModuleList(nn.GRU(size, hidden) for size in sizes)
        initialize_gates(self.layers, 3)

    def initial_state(self, batch_size: int) -> GRUState:
        """Return a state of zeros."""
        return GRUState(next(self.parameters()).new_zeros(len(self.layers), batch_size, self.hidden))

    def forward(self, inputs: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        """Run all time steps.

        Args:
            inputs: shape (T, B, I).
            state: state before the first step.

        Returns:
            Outputs, shape (T, B, width), and the state after the last step.
        """
        outputs: list[Tensor] = []
        hiddens = []
        for index, layer in enumerate(self.layers):
            layer_inputs = stack_inputs(inputs, outputs, self.skip)
            layer_outputs, hidden = _run_layer(layer, layer_inputs, state.hidden[index : index + 1])
            outputs.append(drop_units(layer_outputs, self.dropout, self.training))
            hiddens.append(hidden)
        return stack_outputs(outputs, self.skip), GRUState(torch.cat(hiddens))

    def step(self, inputs: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        """Run one time step without dropout.

        Args:
            inputs: shape (B, I).
            state: state before the step.

        Returns:
            Outputs, shape (B, width), and the next state.
        """
        outputs: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            layer_inputs = stack_inputs(inputs, outputs, self.skip).unsqueeze(0)
            outputs.append(_run_layer(layer, layer_inputs, state.hidden[index : index + 1])[1][0])
        return stack_outputs(outputs, self.skip), GRUState(torch.stack(outputs))


def _run_layer(layer: Any, inputs: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Run an `nn.GRU` layer over inputs (T, B, I). Under autocast, the layer runs in the autocast dtype.

    The casts are explicit for the reason given in `mdnrnn.nn.lstm`.
    """
    device = inputs.device.type
    if not torch.is_autocast_enabled(device):
        outputs: tuple[Tensor, Tensor] = layer(inputs, hidden)
        return outputs
    dtype = torch.get_autocast_dtype(device)
    weights = [weight.to(dtype) for weight in layer.all_weights[0]]
    with torch.autocast(device, enabled=False):
        return torch.gru(inputs.to(dtype), hidden.to(dtype), weights, True, 1, 0.0, layer.training, False, False)
