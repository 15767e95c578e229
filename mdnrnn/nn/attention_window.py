"""LSTM layer with a soft window over a text, and a stack of LSTM layers that starts with this layer.

Source: Graves (arXiv:1308.0850, section 5.1). Every text is followed by an end mark, an additional symbol. Shapes: U is
the length of the longest text of a batch, including the end mark; C is the number of distinct characters, including the
end mark; K is the number of Gaussians of the window.
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
"""Number of characters by which an untrained window advances per step."""


class Text(NamedTuple):
    """Encoded texts that a `WindowLSTM` reads.

    `characters`: one-hot vectors of the characters and the end mark of each text, shape (U, B, C). U is the length of
    the longest text, including its end mark; shorter texts are padded with zeros. `lengths`: number of characters of
    each text, excluding the end mark, shape (1, B, 1).
    """

    characters: Tensor
    lengths: Tensor


class WindowState(NamedTuple):
    """State of a `WindowLSTM`.

    `lstm`: hidden and cell state, shape (1, B, H) each. `centers`: positions of the window's Gaussians in the text,
    counted in characters, shape (1, B, K). `context`: sum of the one-hot characters weighted by the window, shape (1,
    B, size of the alphabet). `finished`: 1 if the window has passed the end of the text, otherwise 0, shape (1, B, 1).
    """

    lstm: LSTMState
    centers: Tensor
    context: Tensor
    finished: Tensor


class WindowLSTM(nn.Module):
    """LSTM layer of hidden size H with a soft window over a text.

    The window phi(u) is a weight for each character u of the text, computed as a sum of K Gaussians whose centers kappa
    advance at every step. The context w is the sum of the one-hot characters weighted by the window. The layer reads
    its inputs x and the context of the previous step:

        h' = LSTM(x, [h, w]);    (alpha, beta, delta) = exp(W h' + b);    kappa' = kappa + delta
        phi(u) = sum over K of alpha exp(-beta (kappa' - u)^2);    w' = sum over u of phi(u) character_u

    Characters are indexed from u = 0. Gates are in the order output, input, forget, candidate. `has_passed_text`
    determines whether the window has passed the end of the text. `forward` has a handwritten backward pass
    (`WindowSteps`) and does not support second derivatives.

    Args:
        in_features: number of input features I.
        hidden: hidden size H.
        characters: number of distinct characters C, including the end mark that follows each text.
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
        """Run all time steps, given inputs (T, B, I).

        Returns:
            Hidden states (T, B, H), contexts (T, B, C) and window weights phi(u) for u = 0 to U, (T, B, U + 1). U is
            the length of the longest text, including its end mark.
        """
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
        """Run one time step: map inputs (B, I) to the hidden state (B, H), the context (B, C) and the next state."""
        recurrent_inputs = torch.cat([state.lstm.hidden[0], state.context[0]], -1)
        gates = functional.linear(recurrent_inputs, self.recurrent) + self.inward(inputs)
        o, i, f, g = gates.chunk(4, -1)
        hidden, cell = update_state(i, f, g, o, state.lstm.cell[0])
        alpha, beta, delta = self.window(hidden).exp().chunk(3, -1)
        centers = state.centers[0] + delta
        phi = _window_weights(alpha, beta, centers, text.characters.shape[0])
        context = (phi[:, :-1].t().unsqueeze(-1) * text.characters).sum(0)
        finished = has_passed_text(alpha, beta, centers, phi, text.lengths)
        lstm = LSTMState(hidden.unsqueeze(0), cell.unsqueeze(0))
        return hidden, context, WindowState(lstm, centers.unsqueeze(0), context.unsqueeze(0), finished.unsqueeze(0))


class StackState(NamedTuple):
    """State of a `WindowStack`.

    `window`: state of the first layer. `above`: hidden and cell states of all other layers, shape (layers - 1, B, H)
    each. `text`: the texts, which are the same at all steps.
    """

    window: WindowState
    above: LSTMState
    text: Text


class WindowStack(nn.Module):
    """LSTM layers of hidden size H, of which the first is a `WindowLSTM`.

    All layers read the inputs. The layers above the first also read the context, which is the sum of the one-hot
    characters weighted by the window. The outputs are the hidden states of all layers, followed by the context. The
    last feature of the context is the window weight of the end mark that follows each text; the head needs this weight.

    The first layer needs a loop over the time steps, because it reads the context of the previous step. The layers
    above the first process all steps of a sequence in one call, because the context does not depend on these layers.

    Args:
        in_features: number of input features I.
        hidden: hidden size H.
        characters: number of distinct characters C, including the end mark.
        layers: number of layers, at least 2.
        components: number of Gaussians K of the window.
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
        """Run all time steps: map inputs (T, B, I) to outputs (T, B, width) and window weights phi (T, B, U + 1).

        The window weights are phi(u) for u = 0 to U, where U is the length of the longest text with its end mark.
        """
        hidden, context, phi = self.first(inputs, state.text, state.window)
        hidden = drop_units(hidden, self.dropout, self.training)
        outputs, _ = self.above(torch.cat([inputs, context], -1), state.above, hidden)
        return torch.cat([outputs, context], -1), phi

    def step(self, inputs: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """Run one time step without dropout: map inputs (B, I) to outputs (B, width) and the next state."""
        hidden, context, window = self.first.step(inputs, state.text, state.window)
        outputs, above = self.above.step(torch.cat([inputs, context], -1), state.above, hidden)
        return torch.cat([outputs, context], -1), StackState(window, above, state.text)


def _window_weights(alpha: Tensor, beta: Tensor, centers: Tensor, characters: int) -> Tensor:
    """Return the window weights phi(u) for u from 0 to U, shape (..., U + 1).

    Args:
        alpha: weights of the Gaussians, shape (..., K).
        beta: inverse widths of the Gaussians, shape (..., K).
        centers: shape (..., K).
        characters: U, the length of the longest text including the end mark.
    """
    u = torch.arange(characters + 1, device=centers.device, dtype=centers.dtype)
    gaussians = torch.exp(-beta.unsqueeze(-1) * (centers.unsqueeze(-1) - u).square())
    return (alpha.unsqueeze(-1) * gaussians).sum(-2)


def has_passed_text(alpha: Tensor, beta: Tensor, centers: Tensor, phi: Tensor, lengths: Tensor) -> Tensor:
    """Return 1 where the window has passed the end of the text, otherwise 0, shape (B, 1).

    Let phi(u) be the window weight of position u. A text of L characters has positions 0 to L - 1, and its end mark has
    position L. The window has passed the text if phi(L + 1) is larger than each of phi(0) to phi(L). Graves compares
    phi(L) with phi(0) to phi(L - 1) instead. However, trained windows are ahead of the character that is being written,
    so that the rule of Graves stops before the last letter is complete. Far beyond the text, all phi underflow to 0.
    Therefore the result is also 1 if the centers of all Gaussians are above L + 2.

    Args:
        alpha: weights of the Gaussians, shape (B, K).
        beta: inverse widths of the Gaussians, shape (B, K).
        centers: centers of the Gaussians, shape (B, K).
        phi: window weights, shape (B, U + 1).
        lengths: text lengths L without the end mark, shape (1, B, 1).
    """
    length = lengths[0]
    beyond = (alpha * torch.exp(-beta * (centers - length - 1).square())).sum(-1, keepdim=True)
    u = torch.arange(phi.shape[-1], device=phi.device)
    largest = phi.masked_fill(u > length, 0).amax(-1, keepdim=True)
    return ((beyond > largest) | (centers.amin(-1, keepdim=True) > length + 2)).to(phi.dtype)
