"""Stacked LSTM with explicit state. It runs either all time steps in one call or a single step, with the same weights.

A layer computes (Hochreiter and Schmidhuber 1997)

    i, f, g, o = W_ih x + b_ih + W_hh h + b_hh
    c' = sigmoid(f) c + sigmoid(i) tanh(g)
    h' = sigmoid(o) tanh(c')

with input gate i, forget gate f, candidate g and output gate o. Weights are in this order, as in `torch.nn.LSTM`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mdnrnn.nn.hooks import has_global_hooks

_SEQUENCE_KERNEL_FROM = 32
"""Batch size from which `nn.LSTM` is faster than `torch.lstm_cell` for one step. At batch size 256, `nn.LSTM` is 4
times as fast."""


class LSTMState(NamedTuple):
    """Hidden and cell states of all layers, shape (layers, B, H) each."""

    hidden: Tensor
    cell: Tensor


class LSTM(nn.Module):
    """Stack of LSTM layers of hidden size H, each followed by dropout.

    Dropout samples one mask per layer and sequence and applies it at every step (Gal and Ghahramani, arXiv:1512.05287).
    Sampling this mask is T times cheaper than sampling one mask per step. Recurrent dropout samples one mask of the
    recurrent weights per forward pass (Merity et al., arXiv:1708.02182). Masking activations inside each step instead
    (Semeniuta et al., arXiv:1603.05118) is not supported by fused kernels and would require a loop over the steps. The
    loop takes 25 percent longer at B = 100, H = 512, and much longer if the matrix products are small.

    Recurrent weights are initialized by `orthogonal_` and input weights by `xavier_uniform_`, separately for each gate.
    Biases are initialized to 0, except for the forget gate, whose bias is 1.

    Args:
        in_features: number of input features I.
        hidden: hidden size H.
        layers: number of layers.
        dropout: dropout probability after each layer.
        recurrent_dropout: dropout probability of the recurrent weights.
        skip: whether to use skip connections from the inputs to every layer and from every layer to the outputs
            (Graves, arXiv:1308.0850). With skip connections, the outputs are the concatenated hidden states of all
            layers. Without them, the outputs are the hidden states of the last layer.
        lower_features: number of output features of a separate layer below this stack; 0 if there is no such layer. If
            the number is not 0, `skip` must be true. The first layer of the stack then also reads the outputs of the
            layer below, and the outputs of the stack start with the outputs of the layer below.

    The attribute `width` is the number of output features: lower_features + layers x H if `skip`, otherwise H.
    """

    def __init__(
        self,
        in_features: int,
        hidden: int,
        layers: int = 1,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        skip: bool = False,
        lower_features: int = 0,
    ) -> None:
        super().__init__()
        self.hidden, self.dropout, self.recurrent_dropout, self.skip = hidden, dropout, recurrent_dropout, skip
        self.width = lower_features + layers * hidden if skip else hidden
        sizes = [in_features + lower_features] + [in_features + hidden if skip else hidden] * (layers - 1)
        self.layers = nn.ModuleList(nn.LSTM(size, hidden) for size in sizes[:layers])
        initialize_gates(self.layers, 4)
        for layer in self.layers:
            nn.init.ones_(layer.get_parameter("bias_ih_l0").detach().chunk(4)[1])  # forget gate

    def initial_state(self, batch_size: int) -> LSTMState:
        """Return a state of zeros."""
        zeros = next(self.parameters()).new_zeros(len(self.layers), batch_size, self.hidden)
        return LSTMState(zeros, zeros)

    def forward(self, inputs: Tensor, state: LSTMState, lower: Tensor | None = None) -> tuple[Tensor, LSTMState]:
        """Run all time steps.

        Args:
            inputs: shape (T, B, I).
            state: state before the first step.
            lower: outputs of the layer below this stack, shape (T, B, lower_features); None if there is no such layer.
                The first layer reads both `inputs` and `lower`.

        Returns:
            Outputs, shape (T, B, width), and the state after the last step.
        """
        outputs, hiddens, cells = [] if lower is None else [lower], [], []
        for index, layer in enumerate(self.layers):
            layer_state = (state.hidden[index : index + 1], state.cell[index : index + 1])
            layer_inputs = stack_inputs(inputs, outputs, self.skip)
            layer_outputs, (hidden, cell) = _run_layer(layer, layer_inputs, layer_state, self.recurrent_dropout)
            outputs.append(drop_units(layer_outputs, self.dropout, self.training))
            hiddens.append(hidden)
            cells.append(cell)
        return stack_outputs(outputs, self.skip), LSTMState(torch.cat(hiddens), torch.cat(cells))

    def step(self, inputs: Tensor, state: LSTMState, lower: Tensor | None = None) -> tuple[Tensor, LSTMState]:
        """Run one time step without dropout.

        Args:
            inputs: shape (B, I).
            state: state before the step.
            lower: outputs of the layer below this stack, shape (B, lower_features); None if there is no such layer.

        Returns:
            Outputs, shape (B, width), and the next state.
        """
        outputs, hiddens, cells = [] if lower is None else [lower], [], []
        for index, layer in enumerate(self.layers):
            layer_inputs = stack_inputs(inputs, outputs, self.skip)
            if (torch.compiler.is_exporting() or inputs.shape[0] < _SEQUENCE_KERNEL_FROM) and is_plain_layer(layer):
                weights: Any = (layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0)
                hidden, cell = torch.lstm_cell(layer_inputs, (state.hidden[index], state.cell[index]), *weights)
            else:
                layer_state = (state.hidden[index].unsqueeze(0), state.cell[index].unsqueeze(0))
                _, (last_hidden, last_cell) = _run_layer(layer, layer_inputs.unsqueeze(0), layer_state)
                hidden, cell = last_hidden[0], last_cell[0]
            outputs.append(hidden)
            hiddens.append(hidden)
            cells.append(cell)
        if len(hiddens) == 1:  # `unsqueeze` does not copy, unlike `stack`; measurable at batch size 1
            return stack_outputs(outputs, self.skip), LSTMState(hiddens[0].unsqueeze(0), cells[0].unsqueeze(0))
        return stack_outputs(outputs, self.skip), LSTMState(torch.stack(hiddens), torch.stack(cells))


def initialize_gates(layers: nn.Module, gates: int) -> None:
    """Initialize recurrent layers: recurrent weights orthogonal and input weights uniform, per gate; biases 0.

    Args:
        layers: module that contains `nn.LSTM` or `nn.GRU` layers.
        gates: number of gates, 4 for LSTM and 3 for GRU.
    """
    for name, parameter in layers.named_parameters():
        if "bias" in name:
            nn.init.zeros_(parameter)
        else:
            initialize = nn.init.orthogonal_ if "weight_hh" in name else nn.init.xavier_uniform_
            for gate in parameter.detach().chunk(gates):
                initialize(gate)


def stack_inputs(inputs: Tensor, outputs: list[Tensor], skip: bool) -> Tensor:
    """Return the inputs of the next layer, given the inputs of the stack and the outputs of all layers below."""
    if not outputs:
        return inputs
    return torch.cat([inputs, outputs[-1].to(inputs.dtype)], -1) if skip else outputs[-1]


def stack_outputs(outputs: list[Tensor], skip: bool) -> Tensor:
    """Return the outputs of a stack, given the outputs of its layers."""
    return torch.cat(outputs, -1) if skip and len(outputs) > 1 else outputs[-1]


def is_plain_layer(layer: Any) -> bool:
    """Return whether a call of a layer only computes an LSTM with biases, so that `torch.lstm_cell` can replace it.

    The layer must be exactly an `nn.LSTM`, with one layer and one direction, and without hooks and replaced methods.
    """
    return (
        type(layer) is nn.LSTM
        and layer.bias
        and len(layer._flat_weights) == 4
        and not layer._forward_hooks
        and not layer._forward_pre_hooks
        and "forward" not in layer.__dict__
        and not has_global_hooks()
    )


def update_state(
    i: Tensor, f: Tensor, g: Tensor, o: Tensor, cell: Tensor, normalize: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Return the next hidden state and the next cell state of an LSTM layer, shape (B, H) each.

    Args:
        i: input gate before its sigmoid, shape (B, H).
        f: forget gate before its sigmoid, shape (B, H).
        g: candidate before its tanh, shape (B, H).
        o: output gate before its sigmoid, shape (B, H).
        cell: previous cell state, shape (B, H).
        normalize: if given, the next hidden state is sigmoid(o) tanh(normalize(c')), where c' is the next cell state.
            The returned cell state is c', which is not normalized.
    """
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * (cell if normalize is None else normalize(cell)).tanh(), cell


class Gates(NamedTuple):
    """Gates of a layer, as views of one tensor of shape (B, 4H). `i`, `f`, `g` and `o` have shape (B, H) each.

    Argument of `update_state_`.
    """

    i: Tensor
    f: Tensor
    g: Tensor
    o: Tensor
    input_and_forget: Tensor
    """i and f as one view, shape (B, 2H)."""

    @classmethod
    def from_product(cls, product: Tensor) -> Gates:
        """Return views of `product`, the gates before their nonlinearities, shape (B, 4H)."""
        i, f, g, o = product.chunk(4, 1)
        return cls(i, f, g, o, product[:, : 2 * g.shape[1]])


def update_state_(gates: Gates, cell: Tensor, hidden: Tensor) -> Tensor:
    """Compute the same as `update_state` in place, without gradient, and return `hidden`.

    The gates, the cell state and the hidden state are overwritten. This function takes 7 tensor operations. Calling
    `update_state` and copying its two results into buffers takes 11. The difference is measurable at batch size 1.
    """
    gates.input_and_forget.sigmoid_()
    gates.g.tanh_()
    gates.o.sigmoid_()
    cell.mul_(gates.f).addcmul_(gates.i, gates.g)
    return torch.mul(cell.tanh(), gates.o, out=hidden)


def drop_units(outputs: Tensor, probability: float, training: bool) -> Tensor:
    """Apply dropout to outputs (T, B, H) in training mode, with the same mask at all time steps of a sequence."""
    if not (training and probability):
        return outputs
    return outputs * functional.dropout(torch.ones_like(outputs[0]), probability)


def drop_weights(weight: Tensor, probability: float, training: bool) -> Tensor:
    """Apply dropout to the elements of a weight matrix in training mode (DropConnect, Wan et al. 2013)."""
    return functional.dropout(weight, probability, training) if probability else weight


def _run_layer(
    layer: Any, inputs: Tensor, state: tuple[Tensor, Tensor], recurrent_dropout: float = 0.0
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Run an `nn.LSTM` layer over inputs (T, B, I). Under autocast, the layer runs in the autocast dtype.

    The casts are explicit, because autocast runs cuDNN's LSTM in float16 even if the autocast dtype is bfloat16. In
    float16, the gradients of a mean over thousands of points underflow.
    """
    device = inputs.device.type
    autocast = torch.is_autocast_enabled(device)
    if not autocast and not (recurrent_dropout and layer.training):
        return layer(inputs, state)
    dtype = torch.get_autocast_dtype(device) if autocast else inputs.dtype
    weights = list(layer.all_weights[0])
    weights[1] = drop_weights(weights[1], recurrent_dropout, layer.training)
    weights = [weight.to(dtype) for weight in weights]
    with torch.autocast(device, enabled=False):
        outputs, hidden, cell = torch.lstm(
            inputs.to(dtype), [part.to(dtype) for part in state], weights, True, 1, 0.0, layer.training, False, False
        )
    return outputs, (hidden, cell)
