"""A soft window that an LSTM moves over a text as it writes it (Graves, arXiv:1308.0850, section 5.1).

U characters of the longest text of a batch, C kinds of character, K Gaussians of the window.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mdnrnn.nn.lstm import LSTM, LSTMState, drop_units
from mdnrnn.nn.window_steps import WindowSteps

_STRIDE = 0.08
"""Characters that a new window moves on in a step."""


class Text(NamedTuple):
    """Texts for a window to go over: characters one-hot, (U, B, C), zeros after a text's end; lengths (1, B, 1), in
    which a mark behind the last character does not count."""

    characters: Tensor
    lengths: Tensor


class WindowState(NamedTuple):
    """The LSTM's state, (1, B, H) each; place (1, B, K), kappa, the window's centers, in characters; what it shows,
    seen (1, B, C); and whether it has left the text, over (1, B, 1), 1 or 0."""

    lstm: LSTMState
    centers: Tensor
    context: Tensor
    finished: Tensor


class WindowLSTM(nn.Module):
    """An LSTM layer of H units that reads what its window showed a step before, and moves the window.

        h' = LSTM(x, [h, w]);    (alpha, beta, delta) = exp(W h' + b);    kappa' = kappa + delta
        phi(u) = sum over K of alpha exp(-beta (kappa' - u)^2);    w' = sum over u of phi(u) character_u

    Characters are counted from u = 0. The window has left the text when phi(U + 1) exceeds phi at every place before:
    a character later than Graves has it, because a window learns to run ahead of the pen, and a line that ends as soon
    as it is behind the text lacks the end of its last letter.

    All steps run with a backward pass written by hand (`WindowSteps`). No derivatives of derivatives.
    """

    def __init__(self, in_features: int, hidden: int, characters: int, components: int = 10) -> None:
        super().__init__()
        self.hidden, self.components = hidden, components
        self.inward = nn.Linear(in_features, 4 * hidden)
        self.recurrent = nn.Parameter(torch.empty(4 * hidden, hidden + characters))
        self.window = nn.Linear(hidden, 3 * components)
        with torch.no_grad():
            nn.init.zeros_(self.inward.bias)
            for gate in range(4):  # output, input, forget, cell
                rows = slice(gate * hidden, (gate + 1) * hidden)
                nn.init.xavier_uniform_(self.inward.weight[rows])
                nn.init.orthogonal_(self.recurrent[rows, :hidden])
                nn.init.xavier_uniform_(self.recurrent[rows, hidden:])
            nn.init.ones_(self.inward.bias[2 * hidden : 3 * hidden])
            nn.init.normal_(self.window.weight, std=0.1 / math.sqrt(hidden))
            alpha, beta, delta = self.window.bias.chunk(3)
            nn.init.constant_(alpha, -math.log(components))
            nn.init.zeros_(beta)
            nn.init.constant_(delta, math.log(_STRIDE))

    def initial_state(self, text: Text) -> WindowState:
        """Zeros: the window on the first character, showing nothing yet."""
        _, batch, characters = text.characters.shape
        zeros = self.recurrent.new_zeros
        hidden = zeros(1, batch, self.hidden)
        over = zeros(1, batch, 1)
        return WindowState(
            LSTMState(hidden, hidden), zeros(1, batch, self.components), zeros(1, batch, characters), over
        )

    def forward(self, inputs: Tensor, text: Text, state: WindowState) -> tuple[Tensor, Tensor, Tensor]:
        """All steps: inputs (T, B, I) to hidden states (T, B, H), what is seen (T, B, C), and phi (T, B, U + 1)."""
        inward = self.inward(inputs)
        results: Any = WindowSteps.apply(
            inward,
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
        """One step: inputs (B, I) to the hidden state (B, H), what the window shows (B, C), and the next state."""
        before = torch.cat([state.lstm.hidden[0], state.context[0]], -1)
        gates = functional.linear(before, self.recurrent) + self.inward(inputs)
        output, enter, keep, new = gates.chunk(4, -1)
        cell = keep.sigmoid() * state.lstm.cell[0] + enter.sigmoid() * new.tanh()
        hidden = output.sigmoid() * cell.tanh()
        alpha, beta, delta = self.window(hidden).exp().chunk(3, -1)
        place = state.centers[0] + delta
        phi = _phi(alpha, beta, place, len(text.characters))
        seen = (phi[:, :-1].t().unsqueeze(-1) * text.characters).sum(0)
        return (
            hidden,
            seen,
            WindowState(
                LSTMState(hidden[None], cell[None]),
                place[None],
                seen[None],
                has_left(alpha, beta, place, phi, text.lengths)[None],
            ),
        )


class StackState(NamedTuple):
    """Of a WindowStack: that of its first layer, that of the others, (layers - 1, B, H), and the text."""

    window: WindowState
    above: LSTMState
    text: Text


class WindowStack(nn.Module):
    """LSTM layers of H units, the first with a window over a text; inputs and window go into each, each goes out.

    What the window shows goes out beside them: the head has to see the mark behind a text.

    Only the first layer has to run step by step: what its window shows is known before the second begins.
    """

    def __init__(
        self, in_features: int, hidden: int, characters: int, layers: int, components: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.first = WindowLSTM(in_features, hidden, characters, components)
        self.above = LSTM(in_features + characters, hidden, layers - 1, dropout, skip=True, below=hidden)
        self.width = self.above.width + characters

    def initial_state(self, text: Text) -> StackState:
        """Zeros, the window on the first character."""
        return StackState(self.first.initial_state(text), self.above.initial_state(text.lengths.shape[1]), text)

    def forward(self, inputs: Tensor, state: StackState) -> tuple[Tensor, Tensor]:
        """All steps: inputs (T, B, I) to (T, B, width), all layers' hidden states and what the window shows, and phi
        (T, B, U + 1)."""
        hidden, seen, phi = self.first(inputs, state.text, state.window)
        hidden = drop_units(hidden, self.dropout, self.training)
        outputs, _ = self.above(torch.cat([inputs, seen], -1), state.above, hidden)
        return torch.cat([outputs, seen], -1), phi

    def step(self, inputs: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """One step, without dropout: inputs (B, I) to (B, width) and the next state."""
        hidden, seen, window = self.first.step(inputs, state.text, state.window)
        outputs, above = self.above.step(torch.cat([inputs, seen], -1), state.above, hidden)
        return torch.cat([outputs, seen], -1), StackState(window, above, state.text)


def _phi(alpha: Tensor, beta: Tensor, place: Tensor, characters: int) -> Tensor:
    """The window's weights (..., U + 1), of the U characters and of the place behind them; arguments (..., K)."""
    u = torch.arange(characters + 1, device=place.device, dtype=place.dtype)
    bells = torch.exp(-beta.unsqueeze(-1) * (place.unsqueeze(-1) - u).square())
    return (alpha.unsqueeze(-1) * bells).sum(-2)


def has_left(alpha: Tensor, beta: Tensor, place: Tensor, phi: Tensor, lengths: Tensor) -> Tensor:
    """Whether a window has left texts of `lengths` (1, B, 1): (B, 1), 1 or 0. Its Gaussians are (B, K), its weights
    phi (B, U + 1).

    Far behind a text all weights are 0, and its centers tell.
    """
    end = lengths[0]
    beyond = (alpha * torch.exp(-beta * (place - end - 1).square())).sum(-1, keepdim=True)
    u = torch.arange(phi.shape[-1], device=phi.device)
    heaviest = phi.masked_fill(u > end, 0).amax(-1, keepdim=True)
    return ((beyond > heaviest) | (place.amin(-1, keepdim=True) > end + 2)).to(phi.dtype)
