"""All steps of a `WindowLSTM`, whose formulas it tells, and their derivatives by hand: nothing is recorded from step to
step, inputs go in and weights' gradients come out as one product over all of them.

The steps are one loop forward and one backward. On a GPU, the kernels of `mdnrnn.kernels.window` do what the loops do,
of float32 parameters, in float32 or bfloat16, if 16 divides H, C is at most 128 and K at most 16. So far they have run
in Triton's interpreter alone.
"""

from typing import Any

import torch
from torch import Tensor

from mdnrnn.kernels import kernels_available


class WindowSteps(torch.autograd.Function):
    """Hidden states (T, B, H), what is seen (T, B, C) and phi (T, B, U + 1) from products of the inputs (T, B, 4H).

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
        weights = [part.to(inward.dtype) for part in (recurrent, weight, bias)]
        run, _ = _ways(inward, characters, cell, place.shape[-1])
        with torch.autocast(inward.device.type, enabled=False):
            *kept, phi = run(inward, *weights, characters, hidden, cell, place, seen, keep)
        if keep:
            ctx.save_for_backward(recurrent, weight, characters, *kept)
        ctx.mark_non_differentiable(phi)
        ctx.set_materialize_grads(False)
        # Copies: what is saved must not be changed by whoever receives the rest.
        hiddens, seens = kept[3][1:].split([hidden.shape[-1], seen.shape[-1]], -1)
        return hiddens.clone(), seens.clone(), phi

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_hidden: Tensor | None, d_seen: Tensor | None, _: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, weight, characters, gates, cells, places, both, form, bells = ctx.saved_tensors
        h, narrow = cells.shape[-1], both.dtype
        by_output, by_cell, through = _gate_slopes(gates, cells)
        by_phi = _window_slopes(form, places, bells)
        slopes = by_output, by_cell, through, by_phi
        weights = recurrent.to(narrow), weight.to(narrow)
        _, run = _ways(both, characters, cells, places.shape[-1])
        d_gates, d_form, *starts = run(d_hidden, d_seen, *weights, characters, gates, form, *slopes)
        rows, marks = d_gates.flatten(0, 1), d_form.flatten(0, 1)
        d_recurrent = torch.mm(rows.t(), both[:-1].flatten(0, 1)).to(recurrent.dtype)
        d_weight = torch.mm(marks.t(), both[1:, :, :h].flatten(0, 1)).to(weight.dtype)
        d_bias = marks.sum(0, dtype=weight.dtype)
        d_both, d_cell, d_place = starts
        return d_gates, d_recurrent, d_weight, d_bias, None, d_both[:, :h], d_cell, d_place, d_both[:, h:], None


def _ways(products: Tensor, characters: Tensor, cell: Tensor, components: int) -> tuple[Any, Any]:
    """What goes over the steps, forward and backward."""
    if kernels_available(products):
        from mdnrnn.kernels import window

        if window.is_supported(cell.shape[-1], characters.shape[-1], components, products.dtype, cell.dtype):
            return window.forward, window.backward
    return _forward_loop, _backward_loop


def _forward_loop(
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
) -> tuple[Tensor, ...]:
    """Gates (T, B, 4H), cells (T + 1, B, H), places (T + 1, B, K), hidden states and window side by side
    (T + 1, B, H + C), alpha, beta and delta (T, B, 3K), bells (T, B, K, U + 1) and phi (T, B, U + 1). Without `keep`
    only the last step of what a backward pass would need."""
    (steps, batch, _), h = inward.shape, hidden.shape[-1]
    u, k = characters.shape[1], place.shape[-1]
    matrix, window = recurrent.t(), weight.t()
    kept = steps if keep else 1
    gates = cell.new_empty(kept, batch, 4 * h)
    cells, places = cell.new_empty(kept + 1, batch, h), place.new_empty(kept + 1, batch, k)
    both = inward.new_empty(steps + 1, batch, matrix.shape[0])
    form = place.new_empty(kept, batch, 3 * k)
    bells = place.new_empty(kept, batch, k, u + 1)
    phi = place.new_empty(steps, batch, u + 1)
    cells[0], places[0], both[0, :, :h], both[0, :, h:] = cell, place, hidden, seen
    at = torch.arange(u + 1, device=place.device, dtype=place.dtype)
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
        form[now] = torch.addmm(bias, both[t + 1, :, :h], window)
        alpha, beta, delta = form[now].exp_().chunk(3, -1)
        torch.add(places[before], delta, out=places[after])
        bell = torch.sub(places[after].unsqueeze(-1), at, out=bells[now])
        bell.square_().mul_(beta.unsqueeze(-1)).neg_().exp_()
        torch.bmm(alpha.unsqueeze(1), bell, out=phi[t].unsqueeze(1))
        both[t + 1, :, h:] = torch.bmm(phi[t, :, :-1].unsqueeze(1), characters).squeeze(1)
    return gates, cells, places, both, form, bells, phi


def _backward_loop(
    d_hidden: Tensor | None,
    d_seen: Tensor | None,
    matrix: Tensor,
    window: Tensor,
    characters: Tensor,
    gates: Tensor,
    form: Tensor,
    by_output: Tensor,
    by_cell: Tensor,
    through: Tensor,
    by_phi: Tensor,
) -> tuple[Tensor, ...]:
    """Derivatives by sums before the gates (T, B, 4H), by logarithms of alpha, beta and delta (T, B, 3K), and by the
    first state: hidden state and window side by side (B, H + C), cell (B, H), place (B, K)."""
    (steps, batch, h), k = through.shape, form.shape[-1] // 3
    keep, delta, by_phi = gates[..., 2 * h : 3 * h], form[..., 2 * k :], by_phi[..., :-1]
    d_gates, d_form = matrix.new_empty(steps, batch, 4, h), matrix.new_empty(steps, batch, 3 * k)
    d_both = through.new_zeros(batch, matrix.shape[1])
    d_cell, d_place = torch.zeros_like(through[0]), torch.zeros_like(delta[0])
    for t in reversed(range(steps)):
        if d_hidden is not None:
            d_both[:, :h] += d_hidden[t]
        if d_seen is not None:
            d_both[:, h:] += d_seen[t]
        d_phi = torch.bmm(characters, d_both[:, h:].unsqueeze(-1))
        d_logs = torch.bmm(by_phi[t], d_phi).squeeze(-1)  # of alpha and beta, and the centers' own share
        d_place += d_logs[:, 2 * k :]
        torch.mul(d_place, delta[t], out=d_logs[:, 2 * k :])
        d_form[t] = d_logs
        d_h = d_both[:, :h].add_(torch.mm(d_form[t], window))
        d_cell.addcmul_(d_h, through[t])
        d_gates[t, :, 0] = d_h * by_output[t]
        d_gates[t, :, 1:] = d_cell.unsqueeze(1) * by_cell[t]
        d_cell *= keep[t]
        d_both.copy_(torch.mm(d_gates[t].view(batch, 4 * h), matrix))
    return d_gates.flatten(2), d_form, d_both, d_cell, d_place


def _gate_slopes(gates: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a step's derivatives multiply with: the output gate's row by that of h, the others' (T, B, 3, H) by that of
    the cell; the cell's by that of h."""
    output, enter, keep, new = gates.chunk(4, -1)
    end = cells[1:].tanh()
    by_output = end * output * (1 - output)
    by_cell = torch.stack([new * enter * (1 - enter), cells[:-1] * keep * (1 - keep), enter * (1 - new.square())], -2)
    return by_output, by_cell, output * (1 - end.square())


def _window_slopes(form: Tensor, places: Tensor, bells: Tensor) -> Tensor:
    """Derivatives (T, B, 3K, U + 1) of phi by log alpha, log beta and kappa."""
    alpha, beta, _ = (part.unsqueeze(-1) for part in form.chunk(3, -1))
    u = torch.arange(bells.shape[-1], device=bells.device, dtype=bells.dtype)
    away = places[1:].unsqueeze(-1) - u
    weighed = alpha * bells
    narrowed = -beta * away * weighed
    return torch.cat([weighed, narrowed * away, 2 * narrowed], -2)
