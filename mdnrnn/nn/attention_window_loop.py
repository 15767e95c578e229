"""All time steps of a `WindowLSTM` as one differentiable function with a handwritten backward pass.

Each pass, forward and backward, is a loop over the time steps. Autograd does not record the operations in the loops.
The input products, i.e. the inputs multiplied by the input weights plus the biases, are computed before the forward
loop. The gradient of each weight matrix is computed after the backward loop, by one matrix product over all steps. The
docstring of `WindowLSTM` contains the formulas.

On a GPU, the kernels of `mdnrnn.kernels.attention_window` replace the loops if parameters are float32, matrix products
are float32 or bfloat16, the hidden size H is a multiple of 16, the number of distinct characters C is at most 128 and
the number of Gaussians K is at most 16. The kernels have been run only in Triton's interpreter, not on a GPU.
"""

from typing import Any

import torch
from torch import Tensor

from mdnrnn.kernels import kernels_available


class WindowSteps(torch.autograd.Function):
    """Autograd function of all time steps of a `WindowLSTM`.

    The function maps input products (T, B, 4H), i.e. inputs multiplied by the input weights plus biases, to hidden
    states (T, B, H), contexts (T, B, C) and window weights phi(u) for u = 0 to U, (T, B, U + 1). Matrix products have
    the dtype of `input_products`; all other operations have the dtype of the weights.
    """

    @staticmethod
    def forward(
        ctx: Any,
        input_products: Tensor,
        weight: Tensor,
        window_weight: Tensor,
        window_bias: Tensor,
        characters: Tensor,
        hidden: Tensor,
        cell: Tensor,
        centers: Tensor,
        context: Tensor,
        save: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return hidden states, contexts and window weights of all steps; see `_forward_loop` for the arguments."""
        weights = [part.to(input_products.dtype) for part in (weight, window_weight, window_bias)]
        run, _ = _choose_passes(input_products, characters, cell, centers.shape[-1])
        with torch.autocast(input_products.device.type, enabled=False):
            *saved, phi = run(input_products, *weights, characters, hidden, cell, centers, context, save)
        if save:
            ctx.save_for_backward(weight, window_weight, characters, *saved)
        ctx.mark_non_differentiable(phi)
        ctx.set_materialize_grads(False)
        # Clone the results, so that in-place changes by the caller do not change the saved tensors.
        hiddens, contexts = saved[3][1:].split([hidden.shape[-1], context.shape[-1]], -1)
        return hiddens.clone(), contexts.clone(), phi

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_hidden: Tensor | None, d_context: Tensor | None, _: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients with respect to the arguments of `forward`."""
        weight, window_weight, characters, gates, cells, all_centers, joined, coefficients, gaussians = (
            ctx.saved_tensors
        )
        h, dtype = cells.shape[-1], joined.dtype
        slopes = *_gate_slopes(gates, cells), _phi_slopes(coefficients, all_centers, gaussians)
        weights = weight.to(dtype), window_weight.to(dtype)
        _, run = _choose_passes(joined, characters, cells, all_centers.shape[-1])
        d_gates, d_coefficients, d_joined, d_cell, d_centers = run(
            d_hidden, d_context, *weights, characters, gates, coefficients, *slopes
        )
        flat_gates, flat_coefficients = d_gates.flatten(0, 1), d_coefficients.flatten(0, 1)
        d_weight = torch.mm(flat_gates.t(), joined[:-1].flatten(0, 1)).to(weight.dtype)
        d_window_weight = torch.mm(flat_coefficients.t(), joined[1:, :, :h].flatten(0, 1)).to(window_weight.dtype)
        d_window_bias = flat_coefficients.sum(0, dtype=window_weight.dtype)
        d_weights = d_weight, d_window_weight, d_window_bias
        return d_gates, *d_weights, None, d_joined[:, :h], d_cell, d_centers, d_joined[:, h:], None


def _choose_passes(products: Tensor, characters: Tensor, cell: Tensor, components: int) -> tuple[Any, Any]:
    """Return the forward and the backward function: GPU kernels if they support these tensors, otherwise loops."""
    if kernels_available(products):
        from mdnrnn.kernels import attention_window

        if attention_window.is_supported(cell.shape[-1], characters.shape[-1], components, products.dtype, cell.dtype):
            return attention_window.forward, attention_window.backward
    return _forward_loop, _backward_loop


def _forward_loop(
    input_products: Tensor,
    weight: Tensor,
    window_weight: Tensor,
    window_bias: Tensor,
    characters: Tensor,
    hidden: Tensor,
    cell: Tensor,
    centers: Tensor,
    context: Tensor,
    save: bool,
) -> tuple[Tensor, ...]:
    """Run all time steps of the forward pass.

    Args:
        input_products: inputs multiplied by the input weights, plus biases, shape (T, B, 4H).
        weight: weights that multiply the previous hidden state and context, shape (4H, H + C).
        window_weight: weights W of the window parameters alpha, beta and delta, shape (3K, H).
        window_bias: biases b of the window parameters, shape (3K,).
        characters: one-hot text, shape (B, U, C).
        hidden: initial hidden state, shape (B, H).
        cell: initial cell state, shape (B, H).
        centers: initial centers of the window's Gaussians, shape (B, K).
        context: initial context, shape (B, C).
        save: whether to store the results of all steps, which the backward pass needs. If False, only the hidden
            states, contexts and phi are valid; the buffers of all other results are overwritten at every step.

    Returns:
        Gates, shape (T, B, 4H); cell states, shape (T + 1, B, H); centers, shape (T + 1, B, K); hidden states and
        contexts, concatenated, shape (T + 1, B, H + C); alpha, beta and delta, concatenated, shape (T, B, 3K);
        Gaussians exp(-beta (center - u)^2), shape (T, B, K, U + 1); and window weights phi, shape (T, B, U + 1).
        Results with T + 1 entries start with the initial value.
    """
    (steps, batch, _), h = input_products.shape, hidden.shape[-1]
    u, k = characters.shape[1], centers.shape[-1]
    matrix, window_matrix = weight.t(), window_weight.t()
    saved = steps if save else 1
    gates = cell.new_empty(saved, batch, 4 * h)
    cells, all_centers = cell.new_empty(saved + 1, batch, h), centers.new_empty(saved + 1, batch, k)
    joined = input_products.new_empty(steps + 1, batch, matrix.shape[0])
    coefficients = centers.new_empty(saved, batch, 3 * k)
    gaussians = centers.new_empty(saved, batch, k, u + 1)
    phi = centers.new_empty(steps, batch, u + 1)
    cells[0], all_centers[0], joined[0, :, :h], joined[0, :, h:] = cell, centers, hidden, context
    indices = torch.arange(u + 1, device=centers.device, dtype=centers.dtype)
    for t in range(steps):
        now, before, after = (t, t, t + 1) if save else (0, t % 2, (t + 1) % 2)
        gate = gates[now]
        gate.copy_(torch.addmm(input_products[t], joined[t], matrix))
        gate[:, : 3 * h].sigmoid_()
        gate[:, 3 * h :].tanh_()
        output, input_gate, forget, candidate = gate.chunk(4, -1)
        torch.mul(forget, cells[before], out=cells[after])
        cells[after].addcmul_(input_gate, candidate)
        joined[t + 1, :, :h] = cells[after].tanh().mul_(output)
        coefficients[now] = torch.addmm(window_bias, joined[t + 1, :, :h], window_matrix)
        alpha, beta, delta = coefficients[now].exp_().chunk(3, -1)
        torch.add(all_centers[before], delta, out=all_centers[after])
        gaussian = torch.sub(all_centers[after].unsqueeze(-1), indices, out=gaussians[now])
        gaussian.square_().mul_(beta.unsqueeze(-1)).neg_().exp_()
        torch.bmm(alpha.unsqueeze(1), gaussian, out=phi[t].unsqueeze(1))
        joined[t + 1, :, h:] = torch.bmm(phi[t, :, :-1].unsqueeze(1), characters).squeeze(1)
    return gates, cells, all_centers, joined, coefficients, gaussians, phi


def _backward_loop(
    d_hidden: Tensor | None,
    d_context: Tensor | None,
    weight: Tensor,
    window_weight: Tensor,
    characters: Tensor,
    gates: Tensor,
    coefficients: Tensor,
    output_slope: Tensor,
    cell_slopes: Tensor,
    hidden_slope: Tensor,
    phi_slopes: Tensor,
) -> tuple[Tensor, ...]:
    """Run all time steps of the backward pass.

    Args:
        d_hidden: gradient with respect to the hidden states, shape (T, B, H); None for zeros.
        d_context: gradient with respect to the contexts, shape (T, B, C); None for zeros.
        weight: weights that multiply the previous hidden state and context, shape (4H, H + C).
        window_weight: weights of the window parameters alpha, beta and delta, shape (3K, H).
        characters: one-hot text, shape (B, U, C).
        gates: output, input and forget gates and candidates, after their nonlinearities, shape (T, B, 4H).
        coefficients: alpha, beta and delta, shape (T, B, 3K).
        output_slope: derivative of the hidden state w.r.t. the pre-activation of the output gate, shape (T, B, H).
        cell_slopes: derivatives of the cell state w.r.t. the pre-activations of the input gate, the forget gate and the
            candidate, shape (T, B, 3, H).
        hidden_slope: derivative of the hidden state w.r.t. the cell state, shape (T, B, H).
        phi_slopes: derivatives of phi w.r.t. log alpha, log beta and the centers, shape (T, B, 3K, U + 1).

    Returns:
        Five gradients, with respect to

        1. the pre-activations of the gates, shape (T, B, 4H),
        2. log alpha, log beta and log delta, concatenated, shape (T, B, 3K),
        3. the initial hidden state and context, concatenated, shape (B, H + C),
        4. the initial cell state, shape (B, H),
        5. the initial centers, shape (B, K).
    """
    (steps, batch, h), k = hidden_slope.shape, coefficients.shape[-1] // 3
    forget, delta, phi_slopes = gates[..., 2 * h : 3 * h], coefficients[..., 2 * k :], phi_slopes[..., :-1]
    d_gates, d_coefficients = weight.new_empty(steps, batch, 4, h), weight.new_empty(steps, batch, 3 * k)
    d_joined = hidden_slope.new_zeros(batch, weight.shape[1])
    d_cell, d_centers = torch.zeros_like(hidden_slope[0]), torch.zeros_like(delta[0])
    for t in reversed(range(steps)):
        if d_hidden is not None:
            d_joined[:, :h] += d_hidden[t]
        if d_context is not None:
            d_joined[:, h:] += d_context[t]
        d_phi = torch.bmm(characters, d_joined[:, h:].unsqueeze(-1))
        d_logs = torch.bmm(phi_slopes[t], d_phi).squeeze(-1)  # gradients w.r.t. log alpha, log beta, centers
        d_centers += d_logs[:, 2 * k :]
        torch.mul(d_centers, delta[t], out=d_logs[:, 2 * k :])
        d_coefficients[t] = d_logs
        d_h = d_joined[:, :h].add_(torch.mm(d_coefficients[t], window_weight))
        d_cell.addcmul_(d_h, hidden_slope[t])
        d_gates[t, :, 0] = d_h * output_slope[t]
        d_gates[t, :, 1:] = d_cell.unsqueeze(1) * cell_slopes[t]
        d_cell *= forget[t]
        d_joined.copy_(torch.mm(d_gates[t].view(batch, 4 * h), weight))
    return d_gates.flatten(2), d_coefficients, d_joined, d_cell, d_centers


def _gate_slopes(gates: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the derivatives of the hidden and cell states that `_backward_loop` needs.

    The results are the arguments `output_slope`, `cell_slopes` and `hidden_slope` of `_backward_loop`.

    Args:
        gates: gates after their nonlinearities, shape (T, B, 4H).
        cells: cell states, starting with the initial one, shape (T + 1, B, H).
    """
    output, input_gate, forget, candidate = gates.chunk(4, -1)
    squashed = cells[1:].tanh()
    output_slope = squashed * output * (1 - output)
    by_input = candidate * input_gate * (1 - input_gate)
    by_forget = cells[:-1] * forget * (1 - forget)
    by_candidate = input_gate * (1 - candidate.square())
    return output_slope, torch.stack([by_input, by_forget, by_candidate], -2), output * (1 - squashed.square())


def _phi_slopes(coefficients: Tensor, all_centers: Tensor, gaussians: Tensor) -> Tensor:
    """Return the derivatives of the window weights w.r.t. log alpha, log beta and the centers, (T, B, 3K, U + 1)."""
    alpha, beta, _ = (part.unsqueeze(-1) for part in coefficients.chunk(3, -1))
    u = torch.arange(gaussians.shape[-1], device=gaussians.device, dtype=gaussians.dtype)
    distance = all_centers[1:].unsqueeze(-1) - u
    weighted = alpha * gaussians
    by_distance = -beta * distance * weighted
    return torch.cat([weighted, by_distance * distance, 2 * by_distance], -2)
