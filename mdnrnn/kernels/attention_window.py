"""Triton kernels of an LSTM with a window over a text: the forward and the backward pass of all time steps.

As in `mdnrnn.kernels.layer_norm`, each program runs all T steps of ROWS sequences and reads the weights again at every
step. The loops in `mdnrnn.nn.attention_window_loop` contain the formulas and give the same results. Hidden states and
contexts are concatenated in one tensor, `joined`. Zeros pad this tensor to WIDTH columns, a multiple of the tile size.
U is the length of the longest text of a batch, including the end mark that follows each text. C is the number of
distinct characters, including the end mark, and K is the number of Gaussians of the window.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from mdnrnn.kernels.tiles import OPTIONS, ROWS, add_product, supports_dtypes, tanh


def is_supported(hidden: int, characters: int, components: int, dtype: torch.dtype, state_dtype: torch.dtype) -> bool:
    """Return whether the kernels support hidden size H, C distinct characters and K Gaussians with these dtypes.

    Matrix products are in `dtype`, all other operations in `state_dtype`. H must be a multiple of 16, because weights
    are loaded 16 elements at a time. C must be at most 128 and K at most 16, because tiles that contain all characters
    or all Gaussians must fit into shared memory.
    """
    return hidden % 16 == 0 and characters <= 128 and components <= 16 and supports_dtypes(dtype, state_dtype)


def forward(
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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run all time steps of the forward pass, like `_forward_loop` of `mdnrnn.nn.attention_window_loop`.

    Args:
        input_products: inputs multiplied by the input weights, plus biases, shape (T, B, 4H).
        weight: weights that multiply the previous hidden state and context, shape (4H, H + C).
        window_weight: weights of the window parameters alpha, beta and delta, shape (3K, H).
        window_bias: biases of the window parameters, shape (3K,).
        characters: one-hot text, shape (B, U, C).
        hidden: initial hidden state, shape (B, H).
        cell: initial cell state, shape (B, H).
        centers: initial centers of the window's Gaussians, shape (B, K).
        context: initial context, shape (B, C).
        save: whether to store the gates and Gaussians of all steps, which the backward pass needs. If False, the
            returned gates and Gaussians are not valid.

    Returns:
        Gates, shape (T, B, 4H); cell states, shape (T + 1, B, H); centers, shape (T + 1, B, K); hidden states and
        contexts, concatenated, shape (T + 1, B, H + C); alpha, beta and delta, concatenated, shape (T, B, 3K);
        Gaussians exp(-beta (center - u)^2), shape (T, B, K, U + 1); and window weights phi, shape (T, B, U + 1).
        Results with T + 1 entries start with the initial value.
    """
    steps, (batch, h), (length, c), k = len(input_products), hidden.shape, characters.shape[1:], centers.shape[-1]
    constants = _constants(h, c, k, input_products.dtype)
    gates = cell.new_empty(steps if save else 1, batch, 4 * h)
    gaussians = cell.new_empty(steps if save else 0, batch, k, length + 1)
    cells, all_centers = cell.new_empty(steps + 1, batch, h), cell.new_empty(steps + 1, batch, k)
    coefficients, phi = cell.new_empty(steps, batch, 3 * k), cell.new_empty(steps, batch, length + 1)
    joined = input_products.new_zeros(steps + 1, batch, constants["WIDTH"])
    cells[0], all_centers[0], joined[0, :, :h], joined[0, :, h : h + c] = cell, centers, hidden, context
    text = characters.to(input_products.dtype).contiguous()  # zeros and ones are exact in any dtype
    inputs = input_products.contiguous(), _pad_columns(weight, constants), window_weight.contiguous(), window_bias, text
    results = gates, cells, all_centers, joined, coefficients, gaussians, phi
    with torch.cuda.device_of(input_products):
        _forward[triton.cdiv(batch, ROWS),](*inputs, *results, steps, batch, length, SAVE=save, **constants)
    return gates, cells, all_centers, joined[..., : h + c], coefficients, gaussians, phi


def backward(
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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run all time steps of the backward pass, like `_backward_loop` of `mdnrnn.nn.attention_window_loop`.

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
    (steps, batch, h), (length, c), k = hidden_slope.shape, characters.shape[1:], coefficients.shape[-1] // 3
    constants = _constants(h, c, k, weight.dtype)
    if d_hidden is None:
        d_hidden = hidden_slope.new_zeros(steps, batch, h)
    if d_context is None:
        d_context = hidden_slope.new_zeros(steps, batch, c)
    weights = _pad_columns(weight, constants), window_weight.contiguous()
    slopes = output_slope, cell_slopes, hidden_slope, phi_slopes
    text = characters.to(weight.dtype).contiguous()
    inputs = d_hidden.contiguous(), d_context.contiguous(), *weights, text, gates, coefficients, *slopes
    d_gates, d_coefficients = weight.new_empty(steps, batch, 4 * h), weight.new_empty(steps, batch, 3 * k)
    d_joined, d_centers = gates.new_zeros(batch, constants["WIDTH"]), gates.new_empty(batch, k)
    d_cells, d_phi = gates.new_zeros(2, batch, h), gates.new_empty(batch, length)
    results = d_gates, d_coefficients, d_joined, *d_cells, d_centers, d_phi
    with torch.cuda.device_of(weight):
        _backward[triton.cdiv(batch, ROWS),](*inputs, *results, steps, batch, length, **constants)
    return d_gates, d_coefficients, d_joined[:, : h + c], d_cells[steps % 2], d_centers


def _constants(h: int, c: int, k: int, dtype: torch.dtype) -> dict[str, Any]:
    """Return compile-time constants and launch options.

    TILE: number of columns per tile. BLOCK: number of inner indices that a matrix product processes at a time.
    C_PADDED, K_PADDED and K3_PADDED: powers of two that are at least C, K and 3K.
    """
    tile, block = (128, 64) if dtype == torch.bfloat16 else (64, 32)
    sizes = {"H": h, "C": c, "K": k, "WIDTH": triton.cdiv(h + c, tile) * tile, "TILE": tile, "BLOCK": block}
    powers = {"C_PADDED": triton.next_power_of_2(c), "K_PADDED": triton.next_power_of_2(k)}
    return {**sizes, "ROWS": ROWS, **powers, "K3_PADDED": max(16, triton.next_power_of_2(3 * k)), **OPTIONS}


def _pad_columns(weight: Tensor, constants: dict[str, Any]) -> Tensor:
    return functional.pad(weight, (0, constants["WIDTH"] - weight.shape[1]))


@triton.jit(do_not_specialize=["steps", "batch", "length"])
def _forward(
    input_products, weight, window_weight, window_bias, characters,
    gates, cells, all_centers, joined, coefficients, gaussians, phi,
    steps, batch, length, SAVE: tl.constexpr,
    H: tl.constexpr, C: tl.constexpr, K: tl.constexpr, WIDTH: tl.constexpr, TILE: tl.constexpr, ROWS: tl.constexpr,
    C_PADDED: tl.constexpr, K_PADDED: tl.constexpr, K3_PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute the results of `forward` for ROWS sequences.

    `mdnrnn.kernels.layer_norm._forward` explains the barriers.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    row_mask = rows < batch
    letters, entries = tl.arange(0, C_PADDED), tl.arange(0, K3_PADDED)
    for _ in range(steps):  # pointers advance by one step at a time, so offsets within a step fit into 32 bits
        for start in range(0, 4 * H, TILE):
            columns = start + tl.arange(0, TILE)
            column_mask = columns < 4 * H
            mask, at = row_mask[:, None] & column_mask[None, :], rows[:, None] * (4 * H) + columns[None, :]
            total = tl.load(input_products + at, mask, 0.0).to(tl.float32)
            total = add_product(
                total, joined + rows * WIDTH, weight + columns * WIDTH, row_mask, column_mask, 1, WIDTH, BLOCK
            )
            tl.store(gates + at, tl.where((columns < 3 * H)[None, :], tl.sigmoid(total), tanh(total)), mask)
        tl.debug_barrier()  # written before: gates
        for start in range(0, H, TILE):
            columns = start + tl.arange(0, TILE)
            mask = row_mask[:, None] & (columns < H)[None, :]
            at, gate_at = rows[:, None] * H + columns[None, :], rows[:, None] * (4 * H) + columns[None, :]
            output_gate, input_gate = tl.load(gates + gate_at, mask, 0.0), tl.load(gates + H + gate_at, mask, 0.0)
            forget_gate = tl.load(gates + 2 * H + gate_at, mask, 0.0)
            candidate = tl.load(gates + 3 * H + gate_at, mask, 0.0)
            cell = forget_gate * tl.load(cells + at, mask, 0.0) + input_gate * candidate
            tl.store(cells + batch * H + at, cell, mask)
            hidden = (output_gate * tanh(cell)).to(joined.dtype.element_ty)
            tl.store(joined + batch * WIDTH + rows[:, None] * WIDTH + columns[None, :], hidden, mask)
        joined += batch * WIDTH
        tl.debug_barrier()  # written before: hidden states
        entry_mask = entries < 3 * K
        logs = tl.zeros((ROWS, K3_PADDED), tl.float32)
        logs += tl.load(window_bias + entries, entry_mask, 0.0).to(tl.float32)[None, :]
        logs = add_product(logs, joined + rows * WIDTH, window_weight + entries * H, row_mask, entry_mask, 1, H, BLOCK)
        coefficients_at = coefficients + rows[:, None] * (3 * K) + entries[None, :]
        tl.store(coefficients_at, tl.exp(logs), row_mask[:, None] & entry_mask[None, :])
        tl.debug_barrier()  # written before: coefficients
        for start in range(0, length + 1, TILE):
            u = start + tl.arange(0, TILE)
            mask = row_mask[:, None] & (u <= length)[None, :]
            weights = tl.zeros((ROWS, TILE), tl.float32)
            for k in range(K):
                alpha = tl.load(coefficients + rows * (3 * K) + k, row_mask, 0.0)
                beta = tl.load(coefficients + rows * (3 * K) + K + k, row_mask, 0.0)
                delta = tl.load(coefficients + rows * (3 * K) + 2 * K + k, row_mask, 0.0)
                center = tl.load(all_centers + rows * K + k, row_mask, 0.0) + delta
                tl.store(all_centers + batch * K + rows * K + k, center, row_mask)
                distance = center[:, None] - u.to(tl.float32)[None, :]
                gaussian = tl.exp(-beta[:, None] * distance * distance)
                if SAVE:
                    tl.store(gaussians + (rows * K + k)[:, None] * (length + 1) + u[None, :], gaussian, mask)
                weights += alpha[:, None] * gaussian
            tl.store(phi + rows[:, None] * (length + 1) + u[None, :], weights, mask)
        tl.debug_barrier()  # written before: phi and centers
        context = tl.zeros((ROWS, C_PADDED), tl.float32)
        for start in range(0, length, 8):
            u = start + tl.arange(0, 8)
            mask = row_mask[:, None] & (u < length)[None, :]
            weights = tl.load(phi + rows[:, None] * (length + 1) + u[None, :], mask, 0.0)
            tile = _load_characters(characters, rows, u, letters, batch, length, C)
            context += tl.sum(weights[:, :, None] * tile, 1)
        context_at = joined + rows[:, None] * WIDTH + (H + letters)[None, :]
        tl.store(context_at, context.to(joined.dtype.element_ty), row_mask[:, None] & (letters < C)[None, :])
        tl.debug_barrier()  # written before: contexts, which the products of the next step read
        if SAVE:
            gates += batch * 4 * H
            gaussians += batch * K * (length + 1)
        input_products += batch * 4 * H
        cells += batch * H
        all_centers += batch * K
        coefficients += batch * 3 * K
        phi += batch * (length + 1)


@triton.jit(do_not_specialize=["steps", "batch", "length"])
def _backward(
    d_hidden, d_context, weight, window_weight, characters,
    gates, coefficients, output_slope, cell_slopes, hidden_slope, phi_slopes,
    d_gates, d_coefficients, d_joined, d_cell, d_cell_before, d_centers, d_phi,
    steps, batch, length,
    H: tl.constexpr, C: tl.constexpr, K: tl.constexpr, WIDTH: tl.constexpr, TILE: tl.constexpr, ROWS: tl.constexpr,
    C_PADDED: tl.constexpr, K_PADDED: tl.constexpr, K3_PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute the results of `backward` for ROWS sequences.

    d_x denotes the gradient with respect to x. Exception: d_coefficients is the gradient with respect to log alpha, log
    beta and log delta. d_joined and d_cell must be 0 before the kernel runs. Afterwards, d_joined contains the gradient
    with respect to the initial hidden state and context. The gradient with respect to the initial cell state is in
    d_cell if T is even and in d_cell_before if T is odd, because these two buffers are swapped after each step. d_phi
    (B, U) is a buffer for one step. `mdnrnn.kernels.layer_norm._forward` explains the barriers.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    row_mask = rows < batch
    letters, components = tl.arange(0, C_PADDED), tl.arange(0, K_PADDED)
    last = (steps - 1).to(tl.int64) * batch
    d_hidden += last * H
    d_context += last * C
    gates += last * 4 * H
    coefficients += last * 3 * K
    output_slope += last * H
    cell_slopes += last * 3 * H
    hidden_slope += last * H
    phi_slopes += last * 3 * K * (length + 1)
    d_gates += last * 4 * H
    d_coefficients += last * 3 * K
    d_center = tl.zeros((ROWS, K_PADDED), tl.float32)
    for _ in range(steps):
        context_mask = row_mask[:, None] & (letters < C)[None, :]
        d_c = tl.load(d_context + rows[:, None] * C + letters[None, :], context_mask, 0.0).to(tl.float32)
        d_c += tl.load(d_joined + rows[:, None] * WIDTH + (H + letters)[None, :], context_mask, 0.0)
        for start in range(0, length, 8):
            u = start + tl.arange(0, 8)
            tile = _load_characters(characters, rows, u, letters, batch, length, C)
            d_u = tl.sum(d_c[:, None, :] * tile, 2)
            tl.store(d_phi + rows[:, None] * length + u[None, :], d_u, row_mask[:, None] & (u < length)[None, :])
        tl.debug_barrier()  # written before: d_phi
        d_alpha, d_beta = tl.zeros((ROWS, K_PADDED), tl.float32), tl.zeros((ROWS, K_PADDED), tl.float32)
        for start in range(0, length, 16):
            u = start + tl.arange(0, 16)
            d_u = tl.load(d_phi + rows[:, None] * length + u[None, :], row_mask[:, None] & (u < length)[None, :], 0.0)
            d_alpha += _sum_over_text(0, phi_slopes, d_u, rows, u, components, batch, length, K)
            d_beta += _sum_over_text(1, phi_slopes, d_u, rows, u, components, batch, length, K)
            d_center += _sum_over_text(2, phi_slopes, d_u, rows, u, components, batch, length, K)
        component_mask = row_mask[:, None] & (components < K)[None, :]
        alpha_at = rows[:, None] * (3 * K) + components[None, :]
        d_delta = d_center * tl.load(coefficients + 2 * K + alpha_at, component_mask, 0.0)
        tl.store(d_coefficients + alpha_at, d_alpha.to(d_coefficients.dtype.element_ty), component_mask)
        tl.store(d_coefficients + K + alpha_at, d_beta.to(d_coefficients.dtype.element_ty), component_mask)
        tl.store(d_coefficients + 2 * K + alpha_at, d_delta.to(d_coefficients.dtype.element_ty), component_mask)
        tl.debug_barrier()  # written before: d_coefficients
        for start in range(0, H, TILE):
            columns = start + tl.arange(0, TILE)
            mask = row_mask[:, None] & (columns < H)[None, :]
            at, gate_at = rows[:, None] * H + columns[None, :], rows[:, None] * (4 * H) + columns[None, :]
            d_h = tl.load(d_joined + rows[:, None] * WIDTH + columns[None, :], mask, 0.0)
            d_h += tl.load(d_hidden + at, mask, 0.0).to(tl.float32)
            d_h = add_product(
                d_h, d_coefficients + rows * (3 * K), window_weight + columns, row_mask, columns < H, H, 3 * K,
                K3_PADDED,
            )  # fmt: skip
            d_new_cell = tl.load(d_cell + at, mask, 0.0) + d_h * tl.load(hidden_slope + at, mask, 0.0)
            d_output = d_h * tl.load(output_slope + at, mask, 0.0)
            tl.store(d_gates + gate_at, d_output.to(d_gates.dtype.element_ty), mask)
            for gate in tl.static_range(3):
                slope = tl.load(cell_slopes + rows[:, None] * (3 * H) + (gate * H + columns)[None, :], mask, 0.0)
                d_gate = (d_new_cell * slope).to(d_gates.dtype.element_ty)
                tl.store(d_gates + (gate + 1) * H + gate_at, d_gate, mask)
            tl.store(d_cell_before + at, d_new_cell * tl.load(gates + 2 * H + gate_at, mask, 0.0), mask)
        tl.debug_barrier()  # written before: d_gates
        for start in range(0, WIDTH, TILE):
            columns = start + tl.arange(0, TILE)
            total = tl.zeros((ROWS, TILE), tl.float32)
            total = add_product(
                total, d_gates + rows * (4 * H), weight + columns, row_mask, columns < WIDTH, WIDTH, 4 * H, BLOCK
            )
            tl.store(d_joined + rows[:, None] * WIDTH + columns[None, :], total, row_mask[:, None])
        tl.debug_barrier()  # written before: d_joined and d_cell_before, which the preceding step reads
        d_cell, d_cell_before = d_cell_before, d_cell
        d_hidden -= batch * H
        d_context -= batch * C
        gates -= batch * 4 * H
        coefficients -= batch * 3 * K
        output_slope -= batch * H
        cell_slopes -= batch * 3 * H
        hidden_slope -= batch * H
        phi_slopes -= batch * 3 * K * (length + 1)
        d_gates -= batch * 4 * H
        d_coefficients -= batch * 3 * K
    tl.store(
        d_centers + rows[:, None] * K + components[None, :], d_center, row_mask[:, None] & (components < K)[None, :]
    )


@triton.jit
def _load_characters(characters, rows, u, letters, batch, length, C: tl.constexpr):
    """Return a tile of the one-hot text: the given rows, positions `u` and character indices `letters`.

    Elements outside the batch, the text or the C characters are 0.
    """
    mask = ((rows < batch)[:, None] & (u < length)[None, :])[:, :, None] & (letters < C)[None, None, :]
    at = (rows[:, None] * length + u[None, :])[:, :, None] * C + letters[None, None, :]
    return tl.load(characters + at, mask, 0.0).to(tl.float32)


@triton.jit
def _sum_over_text(part: tl.constexpr, phi_slopes, d_u, rows, u, components, batch, length, K: tl.constexpr):
    """Return the gradient (rows, components) with respect to one window parameter, summed over the positions `u`.

    The parameter is log alpha if `part` is 0, log beta if `part` is 1, and the centers if `part` is 2.
    """
    mask = ((rows < batch)[:, None] & (components < K)[None, :])[:, :, None] & (u < length)[None, None, :]
    at = (rows[:, None] * (3 * K) + (part * K + components)[None, :])[:, :, None] * (length + 1) + u[None, None, :]
    return tl.sum(tl.load(phi_slopes + at, mask, 0.0) * d_u[:, None, :], 2)
