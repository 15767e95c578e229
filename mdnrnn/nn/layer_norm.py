"""Stacked LSTM with layer-normalized gates and cell states; it has the interface of `LSTM`."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mdnrnn.kernels import kernels_available
from mdnrnn.nn.lstm import LSTMState, drop_units, drop_weights, update_state

_EPSILON = 1e-3
"""Epsilon that layer norms add to variances; the value is that of Sketch-RNN. If the first input is 0, variances are 0
at the first step, and layer norms multiply gradients by 1 / sqrt(epsilon). The factor is 32 for this value and 316 for
PyTorch's default of 1e-5."""


class LayerNormLSTM(nn.Module):
    """Stack of layer-normalized LSTM layers of hidden size H, each followed by dropout.

        i, f, g, o = LN_i(a_i), LN_f(a_f), LN_g(a_g), LN_o(a_o)    with a = W_x x + W_h h
        c' = sigmoid(f) c + sigmoid(i) tanh(g)
        h' = sigmoid(o) tanh(LN_c(c'))

    Source: Ba, Kiros and Hinton (arXiv:1607.06450), in the variant of Sketch-RNN (Ha and Eck, arXiv:1704.03477). Each
    layer normalization LN has a gain and a bias of shape (H,). The bias of LN_f, the normalization of the forget gate,
    is initialized to 1. Dropout, recurrent dropout and the initialization of weight matrices are those of `LSTM`.

    On a GPU, two kernels of `mdnrnn.kernels.layer_norm` run all steps of the forward and of the backward pass, if
    parameters are float32, matrix products are float32 or bfloat16 and H is a multiple of 64. These kernels have been
    tested only in Triton's interpreter, not on a GPU.

    In all other cases, the steps run in a Python loop. At T = 128, B = 100, H = 512 on one CPU core, the forward and
    backward pass take about 1.35 times as long as with the fused LSTM, in float32 and in bfloat16. At B = 16 in
    float32, the two passes take about 1.7 times as long. Most of the time is spent in matrix products. A handwritten
    backward pass with one product for the weight gradient of all steps would save only 5 to 9 percent. Compiling the
    step would save 1 to 4 percent. Two optimizations matter. First, the products of inputs and input weights are
    computed for all steps before the loop. Second, these products are split by `unbind`. Indexing the products instead
    would allocate a gradient of the size of the whole sequence at every step, which would double the time.

    Args:
        in_features: number of input features I.
        hidden: hidden size H.
        layers: number of layers.
        dropout: dropout probability after each layer.
        recurrent_dropout: dropout probability of the recurrent weights.
    """

    def __init__(
        self, in_features: int, hidden: int, layers: int = 1, dropout: float = 0.0, recurrent_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.hidden, self.dropout, self.recurrent_dropout = hidden, dropout, recurrent_dropout
        self.layers = nn.ModuleList(LayerNormLayer(hidden if layer else in_features, hidden) for layer in range(layers))

    def initial_state(self, batch_size: int) -> LSTMState:
        """Return a state of zeros."""
        zeros = next(self.parameters()).new_zeros(len(self.layers), batch_size, self.hidden)
        return LSTMState(zeros, zeros)

    def forward(self, inputs: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Run all time steps: map inputs (T, B, I) to outputs (T, B, H) and the last state.

        The outputs are the hidden states of the last layer after dropout.
        """
        return self._run(inputs, state, self.recurrent_dropout, self.dropout)

    def step(self, inputs: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Run one time step without dropout: map inputs (B, I) to outputs (B, H) and the next state."""
        outputs, state = self._run(inputs.unsqueeze(0), state, 0.0, 0.0)
        return outputs[0], state

    def _run(
        self, inputs: Tensor, state: LSTMState, recurrent_dropout: float, dropout: float
    ) -> tuple[Tensor, LSTMState]:
        hiddens, cells = [], []
        for layer, layer_state in zip(self.layers, zip(*state, strict=True), strict=True):
            outputs, hidden, cell = layer(inputs, *layer_state, recurrent_dropout)
            inputs = drop_units(outputs, dropout, self.training)
            hiddens.append(hidden)
            cells.append(cell)
        return inputs, LSTMState(torch.stack(hiddens), torch.stack(cells))


class LayerNormLayer(nn.Module):
    """One layer of a `LayerNormLSTM`; the gates are in the order input, forget, candidate, output."""

    def __init__(self, in_features: int, hidden: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden, in_features))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.gate_norms = nn.ModuleList(nn.LayerNorm(hidden, _EPSILON) for _ in range(4))
        self.cell_norm = nn.LayerNorm(hidden, _EPSILON)
        for input_gate, recurrent_gate in zip(
            self.weight_ih.detach().chunk(4), self.weight_hh.detach().chunk(4), strict=True
        ):
            nn.init.xavier_uniform_(input_gate)
            nn.init.orthogonal_(recurrent_gate)
        nn.init.ones_(self.gate_norms[1].get_parameter("bias"))

    def forward(
        self, inputs: Tensor, hidden: Tensor, cell: Tensor, recurrent_dropout: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run all time steps.

        Under autocast, matrix products and hidden states have the autocast dtype. Layer norms, gates and cell states
        always have the dtype of the parameters. The casts are explicit, so that weights are cast once per pass instead
        of once per step.

        Args:
            inputs: shape (T, B, I).
            hidden: initial hidden state, shape (B, H).
            cell: initial cell state, shape (B, H).
            recurrent_dropout: dropout probability of the recurrent weights.

        Returns:
            Hidden states (T, B, H), last hidden state (B, H) and last cell state (B, H).
        """
        device, state_dtype = inputs.device.type, self.weight_hh.dtype
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else state_dtype
        weight = drop_weights(self.weight_hh, recurrent_dropout, self.training).to(dtype)
        hidden, cell = hidden.to(dtype), cell.to(state_dtype)
        with torch.autocast(device, enabled=False):
            input_products = functional.linear(inputs.to(dtype), self.weight_ih.to(dtype))
            if kernels_available(input_products):
                from mdnrnn.kernels import layer_norm

                if layer_norm.is_supported(cell.shape[1], dtype, state_dtype):
                    outputs, cell = layer_norm.run_lstm(input_products, weight, self._norms(), hidden, cell, _EPSILON)
                    return outputs, outputs[-1], cell
            return self._loop(input_products, weight, hidden, cell)

    def _loop(
        self, input_products: Tensor, weight: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run all time steps in a Python loop; see `forward` for the results.

        Args:
            input_products: inputs multiplied by the input weights, shape (T, B, 4H).
            weight: recurrent weights, shape (4H, H).
            hidden: initial hidden state, shape (B, H).
            cell: initial cell state, shape (B, H).
        """
        hiddens, matrix = [], weight.t()
        for product in input_products.unbind(0):
            sums = torch.addmm(product, hidden, matrix).to(cell.dtype).chunk(4, -1)
            i, f, g, o = (norm(part) for norm, part in zip(self.gate_norms, sums, strict=True))
            next_hidden, cell = update_state(i, f, g, o, cell, self.cell_norm)
            hidden = next_hidden.to(hidden.dtype)
            hiddens.append(hidden)
        return torch.stack(hiddens), hidden, cell

    def _norms(self) -> Tensor:
        """Return the gains and biases of the 5 layer norms (4 gates, cell state), shape (2, 5, H)."""
        norms = [*self.gate_norms, self.cell_norm]
        return torch.stack([torch.stack([norm.get_parameter(name) for norm in norms]) for name in ("weight", "bias")])
