"""A stacked LSTM with layer-normalized gates and cells; its interface is that of `LSTM`."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mdnrnn.kernels import kernels_available
from mdnrnn.nn.lstm import LSTMState, drop_weights

_EPSILON = 1e-3
"""Added to variances, as in Sketch-RNN. Norms of zeros, which a first input of zeros leads to, multiply gradients by
the inverse of its root, 32; PyTorch's own 1e-5 would make it 316."""


class LayerNormLSTM(nn.Module):
    """`layers` LSTM layers of H units, layer-normalized, each followed by dropout: `LSTM` in all but the step.

        i, f, g, o = LN_i(a_i), LN_f(a_f), LN_g(a_g), LN_o(a_o)    where a = W_x x + W_h h
        c' = sigmoid(f) c + sigmoid(i) tanh(g)
        h' = sigmoid(o) tanh(LN_c(c'))

    from Ba, Kiros and Hinton (arXiv:1607.06450), as Sketch-RNN has it (Ha and Eck, arXiv:1704.03477). Every LN has a
    gain and a bias of its own, each (H,); the forget gate's bias starts at 1. Dropout, recurrent dropout and the
    matrices' starts are those of `LSTM`.

    On a GPU, one kernel runs all steps and another all of their derivatives (`mdnrnn.kernels.layer_norm`), of float32
    parameters, in float32 or bfloat16, if 64 divides H. So far they have run in Triton's interpreter alone.

    Else the steps are a loop. Forward and backward of T 128, B 100, H 512, it takes about 1.35 times the time of the
    fused LSTM, on one CPU core, in float32 as in bfloat16; of B 16, in float32, about 1.7. It stays a loop because
    matrix products are most of that: a backward pass by hand, with one product for the weights' gradient of all steps,
    saves 5 to 9 percent, a compiled step 1 to 4. What counts is to multiply all inputs at once, before the loop, and to
    take them apart by `unbind`: by an index, every step has a gradient as large as the sequence, and all takes twice as
    long.
    """

    def __init__(
        self, in_features: int, hidden: int, layers: int = 1, dropout: float = 0.0, recurrent_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.hidden, self.dropout, self.recurrent_dropout = hidden, dropout, recurrent_dropout
        self.layers = nn.ModuleList(_Layer(hidden if layer else in_features, hidden) for layer in range(layers))

    def initial_state(self, batch_size: int) -> LSTMState:
        """Zeros."""
        zeros = next(self.parameters()).new_zeros(len(self.layers), batch_size, self.hidden)
        return LSTMState(zeros, zeros)

    def forward(self, inputs: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """All steps: inputs (T, B, I) to the top layer's hidden states (T, B, H) and the state after the last."""
        return self._run(inputs, state, self.recurrent_dropout, self.dropout if self.training else 0.0)

    def step(self, inputs: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """One step, without dropout: inputs (B, I) to the top layer's hidden state (B, H) and the next state."""
        outputs, state = self._run(inputs.unsqueeze(0), state, 0.0, 0.0)
        return outputs[0], state

    def _run(
        self, inputs: Tensor, state: LSTMState, recurrent_dropout: float, dropout: float
    ) -> tuple[Tensor, LSTMState]:
        hiddens, cells = [], []
        for layer, before in zip(self.layers, zip(*state, strict=True), strict=True):
            inputs, hidden, cell = layer(inputs, *before, recurrent_dropout)
            if dropout:
                inputs = inputs * functional.dropout(torch.ones_like(inputs[0]), dropout)
            hiddens.append(hidden)
            cells.append(cell)
        return inputs, LSTMState(torch.stack(hiddens), torch.stack(cells))


class _Layer(nn.Module):
    """Gates stand in the order input, forget, cell, output."""

    def __init__(self, in_features: int, hidden: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden, in_features))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.gate_norms = nn.ModuleList(nn.LayerNorm(hidden, _EPSILON) for _ in range(4))
        self.cell_norm = nn.LayerNorm(hidden, _EPSILON)
        for inward, recurrent in zip(self.weight_ih.detach().chunk(4), self.weight_hh.detach().chunk(4), strict=True):
            nn.init.xavier_uniform_(inward)
            nn.init.orthogonal_(recurrent)
        nn.init.ones_(self.gate_norms[1].get_parameter("bias"))

    def forward(
        self, inputs: Tensor, hidden: Tensor, cell: Tensor, recurrent_dropout: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """All steps: inputs (T, B, I), the state before, (B, H) each, to hidden states (T, B, H) and the state after.

        Matrix products and hidden states are in the type of an autocast if there is one, norms, gates and cells in
        the parameters'. Cast by hand, the weights once a pass.
        """
        device, wide = inputs.device.type, self.weight_hh.dtype
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else wide
        recurrent = drop_weights(self.weight_hh, recurrent_dropout, self.training).to(dtype)
        hidden, cell = hidden.to(dtype), cell.to(wide)
        with torch.autocast(device, enabled=False):
            inward = functional.linear(inputs.to(dtype), self.weight_ih.to(dtype))
            if kernels_available(inward):
                from mdnrnn.kernels import layer_norm

                if layer_norm.is_supported(cell.shape[1], dtype, wide):
                    outputs, cell = layer_norm.run_lstm(inward, recurrent, self._norms(), hidden, cell, _EPSILON)
                    return outputs, outputs[-1], cell
            return self._loop(inward, recurrent, hidden, cell)

    def _loop(self, inward: Tensor, recurrent: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The steps, from products of the inputs (T, B, 4H) and recurrent weights (4H, H)."""
        hiddens, matrix = [], recurrent.t()
        for row in inward.unbind(0):
            parts = torch.addmm(row, hidden, matrix).to(cell.dtype).chunk(4, -1)
            i, f, g, o = (norm(part) for norm, part in zip(self.gate_norms, parts, strict=True))
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = (o.sigmoid() * self.cell_norm(cell).tanh()).to(hidden.dtype)
            hiddens.append(hidden)
        return torch.stack(hiddens), hidden, cell

    def _norms(self) -> Tensor:
        """Gains and biases (2, 5, H) of the gates' norms and the cell's."""
        norms = [*self.gate_norms, self.cell_norm]
        return torch.stack([torch.stack([norm.get_parameter(name) for norm in norms]) for name in ("weight", "bias")])
