"""LSTM layer with a soft window over a text, and LSTM layers above it (Graves, arXiv:1308.0850, section 5.1).

Shapes: U characters of the longest text of a batch, C distinct characters, K Gaussians of the window.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mdnrnn.nn.attention_window_loop import WindowSteps
from mdnrnn.nn.lstm import LSTM, LSTMState, drop_units, update_state

_INITIAL_STRIDE = 0.08
"""Number of characters that the window moves per step before training."""


class Text(NamedTuple):
    """Texts for a window.

    `characters`: one-hot, zeros after the end of a text, shape (U, B, C). `lengths`: number of characters of each text
    without the end mark, shape (1, B, 1).
    """

    characters: Tensor
    lengths: Tensor


class WindowState(NamedTuple):
    """State of a `WindowLSTM`.

    `lstm`: LSTM state, shape (1, B, H) each. `centers`: centers kappa of the window's Gaussians, in characters, shape
    (1, B, K). `context`: sum of the characters weighted by the window, shape (1, B, C). `finished`: 1 if the window has
    passed the end of the text, otherwise 0, shape (1, B, 1).
    """

    lstm: LSTMState
    centers: Tensor
    context: Tensor
    finished: Tensor


class WindowLSTM(nn.Module):
    """LSTM layer of hidden size H that reads the context of the previous step and moves the window.

        h' = LSTM(x, [h, w]);    (alpha, beta, delta) = exp(W h' + b);    kappa' = kappa + delta
        phi(u) = sum over K of alpha exp(-beta (kappa' - u)^2);    w' = sum over u of phi(u) character_u

    w is the context. Characters are indexed from u = 0. Gates are in the order output, input, forget, candidate. See
    `has_passed_text` for the stopping rule.

    `forward` has a handwritten backward pass (`WindowSteps`) and does not support second derivatives.

    Args:
        in_features: number of input features I.
        hidden: hidden size H.
        characters: number of distinct characters C.
        components: number of Gaussians K.
    """

    def __init__(self, in_features: int, hidden: int, characters: int, components: int = 10) -> None:
        super().__init__()
        self.hidden, self.components = hidden, components
        self.inward = nn.Linear(in_features, 4 * hidden)
        self.recurrent = nn.Parameter(torch.empty(4 * hidden, hidden + characters))
        self.window = nn.Linear(hidden, 3 * components)
        with torch.no_grad():
            nn.init.zeros_(self.inward.bias)
            for gate in range(4):
                rows = slice(gate * hidden, (gate + 1) * hidden)
                nn.init.xavier_uniform_(self.inward.weight[rows])
                nn.init.orthogonal_(self.recurrent[rows, :hidden])
                nn.init.xavier_uniform_(self.recurrent[rows, hidden:])
            nn.init.ones_(self.inward.bias[2 * hidden : 3 * hidden])
            nn.init.normal_(self.window.weight, std=0.1 / math.sqrt(hidden))
            alpha, beta, delta = self.window.bias.chunk(3)
            nn.init.constant_(alpha, -math.log(components))
            nn.init.zeros_(beta)
            nn.init.constant_(delta, math.log(_INITIAL_STRIDE))

    def initial_state(self, text: Text) -> WindowState:
        """Return a state of zeros: the window is centered on the first character."""
        _, batch, characters = text.characters.shape
        hidden, centers, context, finished = (
            self.recurrent.new_zeros(1, batch, size) for size in (self.hidden, self.components, characters, 1)
        )
        return WindowState(LSTMState(hidden, hidden), centers, context, finished)

    def forward(self, inputs: Tensor, text: Text, state: WindowState) -> tuple[Tensor, Tensor, Tensor]:
        """Run all steps: map inputs (T, B, I) to hidden states (T, B, H), contexts (T, B, C) and phi (T, B, U + 1)."""
        results: Any = WindowSteps.apply(
            self.inward(inputs),
            self.recurrent,
            self.window.weight,
            self.window.bias,
            text.characters.transpose(0, 1),
            state.lstm.hidden[0],
            state.lstm.cell[0],
            state.centers[0],
            state.context[0],
            torch.is_grad_enabled(),
        )
        return results

    def step(self, inputs: Tensor, text: Text, state: WindowState) -> tuple[Tensor, Tensor, WindowState]:
        """Run one step: map inputs (B, I) to the hidden state (B, H), the context (B, C) and the next state."""
        recurrent_inputs = torch.cat([state.lstm.hidden[0], state.context[0]], -1)
        gates = functional.linear(recurrent_inputs, self.recurrent) + self.inward(inputs)
        o, i, f, g = gates.chunk(4, -1)
        hidden, cell = update_state(i, f, g, o, state.lstm.cell[0])
        alpha, beta, delta = self.window(hidden).exp().chunk(3, -1)
        centers = state.centers[0] + delta
        phi = _window_weights(alpha, beta, centers, len(text.characters))
        context = (phi[:, :-1].t().unsqueeze(-1) * text.characters).sum(0)
        finished = has_passed_text(alpha, beta, centers, phi, text.lengths)
        lstm = LSTMState(hidden.unsqueeze(0), cell.unsqueeze(0))
        return hidden, context, WindowState(lstm, centers.unsqueeze(0), context.unsqueeze(0), finished.unsqueeze(0))


class StackState(NamedTuple):
    """State of a `WindowStack`.

    `window`: state of the first layer. `above`: state of the layers above it, shape (layers - 1, B, H) each. `text`:
    the texts, which do not change.
    """

    window: WindowState
    above: LSTMState
    text: Text


class WindowStack(nn.Module):
    """LSTM layers of hidden size H, the first one with a window over a text.

    All layers read the inputs; the layers above the first also read the context. The outputs are the hidden states of
    all layers and the context. The head needs the context, because its last feature is the window weight of the mark
    after the end of the text.

    Only the first layer needs a loop over the steps, because it reads the context of the previous step. The context
    does not depend on the layers above, which process all steps of a sequence in one call.

    Args:
        in_features: number of input features I.
        hidden: hidden size H.
        characters: number of distinct characters C.
        layers: number of layers, at least 2.
        components: number K of Gaussians of the window.
        dropout: dropout probability after each layer.

    The attribute `width` is the number of output features, layers x H + C.
    """

    def __init__(
        self, in_features: int, hidden: int, characters: int, layers: int, components: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.first = WindowLSTM(in_features, hidden, characters, components)
        self.above = LSTM(in_features + characters, hidden, layers - 1, dropout, skip=True, lower_features=hidden)
        self.width = self.above.width + characters

    def initial_state(self, text: Text) -> StackState:
        """Return a state of zeros: the window is centered on the first character."""
        return StackState(self.first.initial_state(text), self.above.initial_state(text.lengths.shape[1]), text)

    def forward(self, inputs: Tensor, state: StackState) -> tuple[Tensor, Tensor]:
        """Run all time steps: map inputs (T, B, I) to outputs (T, B, width) and phi (T, B, U + 1)."""
        hidden, context, phi = self.first(inputs, state.text, state.window)
        hidden = drop_units(hidden, self.dropout, self.training)
        outputs, _ = self.above(torch.cat([inputs, context], -1), state.above, hidden)
        return torch.cat([outputs, context], -1), phi

    def step(self, inputs: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """Run one step without dropout: map inputs (B, I) to outputs (B, width) and the next state."""
        hidden, context, window = self.first.step(inputs, state.text, state.window)
        outputs, above = self.above.step(torch.cat([inputs, context], -1), state.above, hidden)
        return torch.cat([outputs, context], -1), StackState(window, above, state.text)


def _window_weights(alpha: Tensor, beta: Tensor, centers: Tensor, characters: int) -> Tensor:
    """Return phi(u) for u from 0 to U, shape (..., U + 1), given alpha, beta and centers of shape (..., K)."""
    u = torch.arange(characters + 1, device=centers.device, dtype=centers.dtype)
    gaussians = torch.exp(-beta.unsqueeze(-1) * (centers.unsqueeze(-1) - u).square())
    return (alpha.unsqueeze(-1) * gaussians).sum(-2)


def has_passed_text(alpha: Tensor, beta: Tensor, centers: Tensor, phi: Tensor, lengths: Tensor) -> Tensor:
    """Return 1 where the window has passed the end of the text, otherwise 0, shape (B, 1).

    The window has passed a text of L characters, whose end mark has index L, if phi(L + 1) exceeds phi(0) to phi(L).
    Graves uses phi(L), one index earlier. However, windows learn to run ahead of the pen, and with his rule lines stop
    before the last letter is complete. Far beyond the text, all phi underflow to 0. The result is therefore also 1 if
    all centers are above L + 2.

    Args:
        alpha: weights of the Gaussians, shape (B, K).
        beta: inverse widths of the Gaussians, shape (B, K).
        centers: shape (B, K).
        phi: window weights, shape (B, U + 1).
        lengths: text lengths, shape (1, B, 1).
    """
    length = lengths[0]
    beyond = (alpha * torch.exp(-beta * (centers - length - 1).square())).sum(-1, keepdim=True)
    u = torch.arange(phi.shape[-1], device=phi.device)
    largest = phi.masked_fill(u > length, 0).amax(-1, keepdim=True)
    return ((beyond > largest) | (centers.amin(-1, keepdim=True) > length + 2)).to(phi.dtype)
