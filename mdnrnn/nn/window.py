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

_STRIDE = 0.08
"""Characters that a new window moves on in a step."""


class Text(NamedTuple):
    """Texts for a window to go over: characters one-hot, (U, B, C), zeros after a text's end; lengths (1, B, 1), in
    which a mark behind the last character does not count."""

    characters: Tensor
    lengths: Tensor


class WindowState(NamedTuple):
    """The LSTM's state, (1, B, H) each; place (1, B, K), kappa, the window's centres, in characters; what it shows,
    seen (1, B, C); and whether it has left the text, over (1, B, 1), 1 or 0."""

    lstm: LSTMState
    place: Tensor
    seen: Tensor
    over: Tensor


class WindowLSTM(nn.Module):
    """An LSTM layer of H units that reads what its window showed a step before, and moves the window.

        h' = LSTM(x, [h, w]);    (alpha, beta, delta) = exp(W h' + b);    kappa' = kappa + delta
        phi(u) = sum over K of alpha exp(-beta (kappa' - u)^2);    w' = sum over u of phi(u) character_u

    Characters are counted from u = 0. The window has left the text when phi(U + 1) exceeds phi at every place before:
    a character later than Graves has it, because a window learns to run ahead of the pen, and a line that ends as soon
    as it is behind the text lacks the end of its last letter.

    All steps run in one loop written out with its backward pass by hand: nothing is recorded from step to step, inputs
    go in and weights' gradients come out as one product over all of them. No derivatives of derivatives.
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
        results: Any = _Loop.apply(
            inward,
            self.recurrent,
            self.window.weight,
            self.window.bias,
            text.characters.transpose(0, 1),
            state.lstm.hidden[0],
            state.lstm.cell[0],
            state.place[0],
            state.seen[0],
            torch.is_grad_enabled(),
        )
        return results

    def step(self, inputs: Tensor, text: Text, state: WindowState) -> tuple[Tensor, Tensor, WindowState]:
        """One step: inputs (B, I) to the hidden state (B, H), what the window shows (B, C), and the next state."""
        before = torch.cat([state.lstm.hidden[0], state.seen[0]], -1)
        gates = functional.linear(before, self.recurrent) + self.inward(inputs)
        output, enter, keep, new = gates.chunk(4, -1)
        cell = keep.sigmoid() * state.lstm.cell[0] + enter.sigmoid() * new.tanh()
        hidden = output.sigmoid() * cell.tanh()
        alpha, beta, delta = self.window(hidden).exp().chunk(3, -1)
        place = state.place[0] + delta
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

    Far behind a text all weights are 0, and its centres tell.
    """
    end = lengths[0]
    beyond = (alpha * torch.exp(-beta * (place - end - 1).square())).sum(-1, keepdim=True)
    u = torch.arange(phi.shape[-1], device=phi.device)
    heaviest = phi.masked_fill(u > end, 0).amax(-1, keepdim=True)
    return ((beyond > heaviest) | (place.amin(-1, keepdim=True) > end + 2)).to(phi.dtype)


class _Loop(torch.autograd.Function):
    """The steps of a WindowLSTM from products of the inputs (T, B, 4H), and their derivatives.

    Matrix products are in the type of those, all else in that of the weights.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inward: Tensor,
        recurrent: Tensor,
        weight: Tensor,
        bias: Tensor,
        characters: Tensor,
        hidden: Tensor,
        cell: Tensor,
        place: Tensor,
        seen: Tensor,
        keep: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        (steps, batch, _), h = inward.shape, hidden.shape[-1]
        u, k, narrow = characters.shape[1], place.shape[-1], inward.dtype
        matrix, window, shift = recurrent.to(narrow).t(), weight.to(narrow).t(), bias.to(narrow)
        kept = steps if keep else 1  # without a backward pass, the last step is all that is needed
        gates = cell.new_empty(kept, batch, 4 * h)
        cells, places = cell.new_empty(kept + 1, batch, h), place.new_empty(kept + 1, batch, k)
        both = inward.new_empty(steps + 1, batch, matrix.shape[0])  # hidden state and window side by side
        form = place.new_empty(kept, batch, 3 * k)  # alpha, beta, delta
        bells = place.new_empty(kept, batch, k, u + 1)
        phi = place.new_empty(steps, batch, u + 1)
        cells[0], places[0], both[0, :, :h], both[0, :, h:] = cell, place, hidden, seen
        at = torch.arange(u + 1, device=place.device, dtype=place.dtype)
        with torch.autocast(inward.device.type, enabled=False):
            for t in range(steps):
                now, before, after = (t, t, t + 1) if keep else (0, t % 2, (t + 1) % 2)
                gate = gates[now]
                gate.copy_(torch.addmm(inward[t], both[t], matrix))
                gate[:, : 3 * h].sigmoid_()
                gate[:, 3 * h :].tanh_()
                output, enter, remember, new = gate.chunk(4, -1)
                torch.mul(remember, cells[before], out=cells[after])
                cells[after].addcmul_(enter, new)
                both[t + 1, :, :h] = cells[after].tanh().mul_(output)
                form[now] = torch.addmm(shift, both[t + 1, :, :h], window)
                alpha, beta, delta = form[now].exp_().chunk(3, -1)
                torch.add(places[before], delta, out=places[after])
                bell = torch.sub(places[after].unsqueeze(-1), at, out=bells[now])
                bell.square_().mul_(beta.unsqueeze(-1)).neg_().exp_()
                torch.bmm(alpha.unsqueeze(1), bell, out=phi[t].unsqueeze(1))
                both[t + 1, :, h:] = torch.bmm(phi[t, :, :-1].unsqueeze(1), characters).squeeze(1)
        if keep:
            ctx.save_for_backward(recurrent, weight, characters, gates, cells, places, both, form, bells)
        ctx.mark_non_differentiable(phi)
        ctx.set_materialize_grads(False)
        # Copies: what is saved must not be changed by whoever receives the rest.
        return both[1:, :, :h].clone(), both[1:, :, h:].clone(), phi

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_hidden: Tensor | None, d_seen: Tensor | None, _: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, weight, characters, gates, cells, places, both, form, bells = ctx.saved_tensors
        (steps, batch, h), k, narrow = cells[1:].shape, places.shape[-1], both.dtype
        matrix, window = recurrent.to(narrow), weight.to(narrow)
        by_output, by_cell, through, keep = _gate_slopes(gates, cells)
        by_phi = _window_slopes(form, places, bells)[..., :-1]  # (T, B, 3K, U)
        delta = form[..., 2 * k :]
        d_gates, d_form = both.new_empty(steps, batch, 4, h), both.new_empty(steps, batch, 3 * k)
        d_both = cells.new_zeros(batch, matrix.shape[1])
        d_cell, d_place = torch.zeros_like(cells[0]), torch.zeros_like(places[0])
        for t in reversed(range(steps)):
            if d_hidden is not None:
                d_both[:, :h] += d_hidden[t]
            if d_seen is not None:
                d_both[:, h:] += d_seen[t]
            d_phi = torch.bmm(characters, d_both[:, h:].unsqueeze(-1))
            d_logs = torch.bmm(by_phi[t], d_phi).squeeze(-1)  # of alpha and beta, and the centres' own share
            d_place += d_logs[:, 2 * k :]
            torch.mul(d_place, delta[t], out=d_logs[:, 2 * k :])
            d_form[t] = d_logs
            d_h = d_both[:, :h].add_(torch.mm(d_form[t], window))
            d_cell.addcmul_(d_h, through[t])
            d_gates[t, :, 0] = d_h * by_output[t]
            d_gates[t, :, 1:] = d_cell.unsqueeze(1) * by_cell[t]
            d_cell *= keep[t]
            d_both.copy_(torch.mm(d_gates[t].view(batch, 4 * h), matrix))
        rows, marks = d_gates.view(-1, 4 * h), d_form.view(-1, 3 * k)
        d_recurrent = torch.mm(rows.t(), both[:-1].flatten(0, 1)).to(recurrent.dtype)
        d_weight = torch.mm(marks.t(), both[1:, :, :h].flatten(0, 1)).to(weight.dtype)
        d_bias = marks.sum(0, dtype=weight.dtype)
        starts = (d_both[:, :h], d_cell, d_place, d_both[:, h:])
        return d_gates.flatten(2), d_recurrent, d_weight, d_bias, None, *starts, None


def _gate_slopes(gates: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a step's derivatives multiply with: the output gate's row by that of h, the others' (T, B, 3, H) by that of
    the cell; the cell's by that of h, and by its own a step later."""
    output, enter, keep, new = gates.chunk(4, -1)
    end = cells[1:].tanh()
    by_output = end * output * (1 - output)
    by_cell = torch.stack([new * enter * (1 - enter), cells[:-1] * keep * (1 - keep), enter * (1 - new.square())], -2)
    return by_output, by_cell, output * (1 - end.square()), keep


def _window_slopes(form: Tensor, places: Tensor, bells: Tensor) -> Tensor:
    """Derivatives (T, B, 3K, U + 1) of phi by log alpha, log beta and kappa."""
    alpha, beta, _ = (part.unsqueeze(-1) for part in form.chunk(3, -1))
    u = torch.arange(bells.shape[-1], device=bells.device, dtype=bells.dtype)
    away = places[1:].unsqueeze(-1) - u
    weighed = alpha * bells
    narrowed = -beta * away * weighed
    return torch.cat([weighed, narrowed * away, 2 * narrowed], -2)
