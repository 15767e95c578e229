"""Triton kernels of a layer-normalized LSTM: one runs the forward pass of all time steps, the other the backward pass.

Sequences are independent, so each program runs all T steps of ROWS sequences. At every step, a program reads the
recurrent weights again, tile by tile, from the L2 cache that all programs share. Layer normalization needs whole rows,
which do not fit into registers. Therefore values are passed through global memory, both between time steps and between
passes over the columns. The tensor `sums` contains the gates before normalization, in the dtype of the matrix products.
Norms, gates and cell states are float32.

The formulas are those of `mdnrnn.nn.layer_norm`. The loop in that module gives the same results on any device. The 5
layer norms ("norms") are numbered 0 to 4: input gate, forget gate, candidate, output gate, cell state.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from mdnrnn.kernels.tiles import OPTIONS, ROWS, add_product, supports_dtypes, tanh


def is_supported(hidden: int, dtype: torch.dtype, state_dtype: torch.dtype) -> bool:
    """Return whether the kernels support hidden size H with these dtypes.

    Matrix products are in `dtype`, all other operations in `state_dtype`. H must be a multiple of 64, because norms are
    computed over whole tiles of at least 64 columns.
    """
    return hidden % 64 == 0 and supports_dtypes(dtype, state_dtype)


def run_lstm(
    input_products: Tensor, weight: Tensor, norms: Tensor, hidden: Tensor, cell: Tensor, epsilon: float
) -> tuple[Tensor, Tensor]:
    """Run all time steps of one LSTM layer; return the hidden states (T, B, H) and the last cell state (B, H).

    The results are differentiable once. `input_products`, `weight` and hidden states have the same dtype. `norms` and
    cell states are float32.

    Args:
        input_products: inputs multiplied by the input weights, shape (T, B, 4H).
        weight: recurrent weights, shape (4H, H).
        norms: gains and biases of the 5 layer norms, shape (2, 5, H).
        hidden: initial hidden state, shape (B, H).
        cell: initial cell state, shape (B, H).
        epsilon: number that layer norms add to variances.
    """
    results: Any = _LayerNormSteps.apply(input_products, weight, norms, hidden, cell, epsilon)
    return results


class _LayerNormSteps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, input_products: Tensor, weight: Tensor, norms: Tensor, hidden: Tensor, cell: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor]:
        input_products, weight, norms = input_products.contiguous(), weight.contiguous(), norms.contiguous()
        steps, (batch, h) = len(input_products), hidden.shape
        sums, moments = torch.empty_like(input_products), cell.new_empty(steps, 2, 5, batch)
        cells, hiddens = cell.new_empty(steps + 1, batch, h), hidden.new_empty(steps + 1, batch, h)
        cells[0], hiddens[0] = cell, hidden
        saved = weight, norms, sums, moments, cells
        constants = _constants(h, input_products)
        with torch.cuda.device_of(input_products):
            _forward[triton.cdiv(batch, ROWS),](input_products, *saved, hiddens, steps, batch, epsilon, **constants)
        ctx.save_for_backward(*saved, hiddens)
        # Clone the results, so that in-place changes by the caller do not change the saved tensors.
        return hiddens[1:].clone(), cells[-1].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, d_last: Tensor) -> tuple[Tensor | None, ...]:
        *saved, hiddens = ctx.saved_tensors
        sums, (steps, batch, h) = saved[2], hiddens[1:].shape
        programs = triton.cdiv(batch, ROWS)
        d_sums, d_hidden = torch.empty_like(sums), d_last.new_zeros(batch, h)
        d_cells, d_normed = d_last.new_empty(2, batch, h), d_last.new_empty(batch, 5, h)
        d_norms = d_last.new_empty(steps, programs, 2, 5, h)
        d_cells[0] = d_last
        inputs, results = (d_outputs.contiguous(), *saved), (d_sums, d_hidden, *d_cells, d_normed, d_norms)
        with torch.cuda.device_of(sums):
            _backward[programs,](*inputs, *results, steps, batch, **_constants(h, sums))
        d_weight = torch.mm(d_sums.flatten(0, 1).t(), hiddens[:-1].flatten(0, 1))
        return d_sums, d_weight, d_norms.sum((0, 1)), d_hidden.to(hiddens.dtype), d_cells[steps % 2], None


def _constants(h: int, products: Tensor) -> dict[str, Any]:
    """Return compile-time constants and launch options.

    TILE: number of columns per tile. BLOCK: number of inner indices that a matrix product processes at a time.
    """
    tile, block = (128, 64) if products.dtype == torch.bfloat16 else (64, 32)
    sizes = {"H": h, "TILE": tile if h % tile == 0 else 64, "BLOCK": block, "ROWS": ROWS}
    return {**sizes, **OPTIONS}


@triton.jit(do_not_specialize=["steps", "batch"])
def _forward(
    input_products, weight, norms, sums, moments, cells, hiddens,
    steps, batch, epsilon,
    H: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Compute sums (T, B, 4H), moments (T, 2, 5, B), and elements 1 to T of cells and hiddens (T + 1, B, H).

    For each of the 5 layer norms, moments[:, 0] contains the means and moments[:, 1] the reciprocal standard
    deviations. Inputs are input_products (T, B, 4H), weight (4H, H), norms (2, 5, H), and element 0 of cells and
    hiddens.

    Threads exchange values through memory. A value that is written before a barrier can be read by all threads after
    the barrier and is overwritten only after a later barrier. The comment on each barrier names the values that were
    written before the barrier. The tests run in Triton's interpreter, which has one thread and cannot detect a missing
    barrier.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    row_mask, all_columns = rows < batch, tl.full((TILE,), True, tl.int1)
    for _ in range(steps):  # pointers advance by one step at a time, so offsets within a step fit into 32 bits
        for gate in range(4):
            mean, deviation = tl.zeros((ROWS,), tl.float32), tl.zeros((ROWS,), tl.float32)
            for start in range(0, H, TILE):
                columns = gate * H + start + tl.arange(0, TILE)
                at = rows[:, None] * (4 * H) + columns[None, :]
                total = tl.load(input_products + at, row_mask[:, None], 0.0).to(tl.float32)
                total = add_product(total, hiddens + rows * H, weight + columns * H, row_mask, all_columns, 1, H, BLOCK)
                rounded = total.to(sums.dtype.element_ty)
                tl.store(sums + at, rounded, row_mask[:, None])
                mean, deviation = _update_moments(mean, deviation, start, rounded.to(tl.float32), TILE)
            _store_moments(moments + gate * batch, mean, deviation / H + epsilon, rows, batch)
        tl.debug_barrier()  # written before: sums and their moments
        mean, deviation = tl.zeros((ROWS,), tl.float32), tl.zeros((ROWS,), tl.float32)
        for start in range(0, H, TILE):
            columns = start + tl.arange(0, TILE)
            at = rows[:, None] * H + columns[None, :]
            input_gate = tl.sigmoid(_normalize(0, sums, 4 * H, moments, norms, rows, columns, batch, H))
            forget_gate = tl.sigmoid(_normalize(1, sums + H, 4 * H, moments, norms, rows, columns, batch, H))
            candidate = tanh(_normalize(2, sums + 2 * H, 4 * H, moments, norms, rows, columns, batch, H))
            cell = forget_gate * tl.load(cells + at, row_mask[:, None], 0.0) + input_gate * candidate
            tl.store(cells + batch * H + at, cell, row_mask[:, None])
            mean, deviation = _update_moments(mean, deviation, start, cell, TILE)
        _store_moments(moments + 4 * batch, mean, deviation / H + epsilon, rows, batch)
        cells += batch * H
        hiddens += batch * H
        tl.debug_barrier()  # written before: cells and their moments
        for start in range(0, H, TILE):
            columns = start + tl.arange(0, TILE)
            output_gate = tl.sigmoid(_normalize(3, sums + 3 * H, 4 * H, moments, norms, rows, columns, batch, H))
            activation = tanh(_normalize(4, cells, H, moments, norms, rows, columns, batch, H))
            at = rows[:, None] * H + columns[None, :]
            tl.store(hiddens + at, (output_gate * activation).to(hiddens.dtype.element_ty), row_mask[:, None])
        tl.debug_barrier()  # written before: hidden states, which the products of the next step read
        input_products += batch * 4 * H
        sums += batch * 4 * H
        moments += batch * 10


@triton.jit(do_not_specialize=["steps", "batch"])
def _backward(
    d_outputs, weight, norms, sums, moments, cells,
    d_sums, d_hidden, d_cell, d_cell_before, d_normed, d_norms,
    steps, batch,
    H: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Compute the gradients d_sums (T, B, 4H) and d_norms (T, programs, 2, 5, H).

    d_x denotes the gradient with respect to x. d_norms contains one part per program, summed over the rows of the
    program. d_outputs is the gradient with respect to the hidden states (T, B, H). weight, norms, sums, moments and
    cells are as in `_forward`.

    Before the kernel runs, d_hidden (B, H) must be 0, and d_cell (B, H) must be the gradient with respect to the last
    cell state. Afterwards, d_hidden is the gradient with respect to the initial hidden state. The gradient with respect
    to the initial cell state is in d_cell if T is even and in d_cell_before if T is odd, because these two buffers are
    swapped after each step. d_normed (B, 5, H) is a buffer for the gradients with respect to the outputs of the norms
    at one step. `_forward` explains the barriers.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    row_mask, all_columns = rows < batch, tl.full((TILE,), True, tl.int1)
    last = (steps - 1).to(tl.int64) * batch
    d_outputs += last * H
    cells += last * H
    sums += last * 4 * H
    d_sums += last * 4 * H
    moments += last * 10
    d_norms += ((steps - 1).to(tl.int64) * tl.num_programs(0) + tl.program_id(0)) * 10 * H
    for _ in range(steps):
        cells_after = cells + batch * H
        for start in range(0, H, TILE):
            columns = start + tl.arange(0, TILE)
            at = rows[:, None] * H + columns[None, :]
            d_h = tl.load(d_outputs + at, row_mask[:, None], 0.0).to(tl.float32) + tl.load(
                d_hidden + at, row_mask[:, None], 0.0
            )
            output_gate = tl.sigmoid(_normalize(3, sums + 3 * H, 4 * H, moments, norms, rows, columns, batch, H))
            activation = tanh(_normalize(4, cells_after, H, moments, norms, rows, columns, batch, H))
            normed_at = rows[:, None] * (5 * H) + columns[None, :]
            d_output_gate = d_h * activation * output_gate * (1 - output_gate)
            tl.store(d_normed + 3 * H + normed_at, d_output_gate, row_mask[:, None])
            tl.store(d_normed + 4 * H + normed_at, d_h * output_gate * (1 - activation * activation), row_mask[:, None])
        tl.debug_barrier()  # written before: d_normed of norms 3 and 4
        mean_d, mean_dx = _norm_means(4, d_normed, cells_after, H, moments, norms, d_norms, rows, batch, H, TILE, ROWS)
        for start in range(0, H, TILE):
            columns = start + tl.arange(0, TILE)
            at = rows[:, None] * H + columns[None, :]
            d_c = _norm_backward(4, d_normed, cells_after, H, mean_d, mean_dx, moments, norms, rows, columns, batch, H)
            d_c += tl.load(d_cell + at, row_mask[:, None], 0.0)
            input_gate = tl.sigmoid(_normalize(0, sums, 4 * H, moments, norms, rows, columns, batch, H))
            forget_gate = tl.sigmoid(_normalize(1, sums + H, 4 * H, moments, norms, rows, columns, batch, H))
            candidate = tanh(_normalize(2, sums + 2 * H, 4 * H, moments, norms, rows, columns, batch, H))
            cell_before = tl.load(cells + at, row_mask[:, None], 0.0)
            normed_at = rows[:, None] * (5 * H) + columns[None, :]
            tl.store(d_normed + normed_at, d_c * candidate * input_gate * (1 - input_gate), row_mask[:, None])
            d_forget_gate = d_c * cell_before * forget_gate * (1 - forget_gate)
            tl.store(d_normed + H + normed_at, d_forget_gate, row_mask[:, None])
            tl.store(d_normed + 2 * H + normed_at, d_c * input_gate * (1 - candidate * candidate), row_mask[:, None])
            tl.store(d_cell_before + at, d_c * forget_gate, row_mask[:, None])
        tl.debug_barrier()  # written before: d_normed of norms 0 to 2
        for gate in range(4):
            mean_d, mean_dx = _norm_means(
                gate, d_normed, sums + gate * H, 4 * H, moments, norms, d_norms, rows, batch, H, TILE, ROWS
            )
            for start in range(0, H, TILE):
                columns = start + tl.arange(0, TILE)
                d_sum = _norm_backward(
                    gate, d_normed, sums + gate * H, 4 * H, mean_d, mean_dx, moments, norms, rows, columns, batch, H
                )
                at = rows[:, None] * (4 * H) + (gate * H + columns)[None, :]
                tl.store(d_sums + at, d_sum.to(d_sums.dtype.element_ty), row_mask[:, None])
        tl.debug_barrier()  # written before: d_sums
        for start in range(0, H, TILE):
            columns = start + tl.arange(0, TILE)
            total = tl.zeros((ROWS, TILE), tl.float32)
            total = add_product(
                total, d_sums + rows * (4 * H), weight + columns, row_mask, all_columns, H, 4 * H, BLOCK
            )
            tl.store(d_hidden + rows[:, None] * H + columns[None, :], total, row_mask[:, None])
        tl.debug_barrier()  # written before: d_hidden and d_cell_before, which the preceding step reads
        d_cell, d_cell_before = d_cell_before, d_cell
        d_outputs -= batch * H
        cells -= batch * H
        sums -= batch * 4 * H
        d_sums -= batch * 4 * H
        moments -= batch * 10
        d_norms -= tl.num_programs(0) * 10 * H


@triton.jit
def _update_moments(mean, deviation, count, values, TILE: tl.constexpr):
    """Return the mean and the sum of squared deviations of each row, (ROWS,) each, updated by TILE more values.

    `mean` and `deviation` are the mean and the sum of squared deviations of the first `count` values of each row.
    `values`, (ROWS, TILE), are the next values. Uses the method of Chan, Golub and LeVeque (1979), which is also
    accurate if the mean is much larger than the standard deviation.
    """
    tile_mean = tl.sum(values, 1) / TILE
    centered = values - tile_mean[:, None]
    difference = tile_mean - mean
    fraction = TILE / (count + TILE)
    between = difference * difference * (count * fraction)
    return mean + difference * fraction, deviation + tl.sum(centered * centered, 1) + between


@triton.jit
def _store_moments(moments, mean, variance, rows, batch):
    tl.store(moments + rows, mean, rows < batch)
    tl.store(moments + 5 * batch + rows, 1 / tl.sqrt(variance), rows < batch)


@triton.jit
def _standardize(values, width, moments, rows, columns, batch):
    """Return a tile of the standardized `values`, and the reciprocal standard deviations of the rows.

    Standardized rows have mean 0 and variance 1. `values` points to a matrix with `width` columns. `moments` points to
    the moments of the rows of this matrix.
    """
    row_mask = rows < batch
    mean, scale = tl.load(moments + rows, row_mask, 0.0), tl.load(moments + 5 * batch + rows, row_mask, 0.0)
    tile = tl.load(values + rows[:, None] * width + columns[None, :], row_mask[:, None], 0.0).to(tl.float32)
    return (tile - mean[:, None]) * scale[:, None], scale


@triton.jit
def _normalize(norm, values, width, moments, norms, rows, columns, batch, H: tl.constexpr):
    """Return a tile of the output of layer norm number `norm` for the input `values`."""
    standardized, _ = _standardize(values, width, moments + norm * batch, rows, columns, batch)
    gain, bias = tl.load(norms + norm * H + columns), tl.load(norms + (5 + norm) * H + columns)
    return standardized * gain[None, :] + bias[None, :]


@triton.jit
def _load_d_normed(norm, d_normed, rows, columns, batch, H: tl.constexpr):
    """Return a tile of the gradient with respect to the output of layer norm number `norm`; 0 outside the batch."""
    at = rows[:, None] * (5 * H) + (norm * H + columns)[None, :]
    return tl.load(d_normed + at, (rows < batch)[:, None], 0.0)


@triton.jit
def _norm_means(
    norm, d_normed, values, width, moments, norms, d_norms, rows, batch,
    H: tl.constexpr, TILE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Store the gradients of the gain and bias of a layer norm, and return two means of each row, (ROWS,) each.

    The means are mean(d) and mean(d x), where x are the standardized values of the row, and d is the gradient with
    respect to x. `_norm_backward` needs these means.
    """
    mean_d, mean_dx = tl.zeros((ROWS,), tl.float32), tl.zeros((ROWS,), tl.float32)
    for start in range(0, H, TILE):
        columns = start + tl.arange(0, TILE)
        d_output = _load_d_normed(norm, d_normed, rows, columns, batch, H)
        standardized, _ = _standardize(values, width, moments + norm * batch, rows, columns, batch)
        tl.store(d_norms + norm * H + columns, tl.sum(d_output * standardized, 0))
        tl.store(d_norms + (5 + norm) * H + columns, tl.sum(d_output, 0))
        d_standardized = d_output * tl.load(norms + norm * H + columns)[None, :]
        mean_d += tl.sum(d_standardized, 1)
        mean_dx += tl.sum(d_standardized * standardized, 1)
    return mean_d / H, mean_dx / H


@triton.jit
def _norm_backward(
    norm, d_normed, values, width, mean_d, mean_dx, moments, norms, rows,
    columns, batch, H: tl.constexpr,
):  # fmt: skip
    """Return a tile of the gradient with respect to the input of a layer norm, given the results of `_norm_means`."""
    standardized, scale = _standardize(values, width, moments + norm * batch, rows, columns, batch)
    d_output = _load_d_normed(norm, d_normed, rows, columns, batch, H)
    d_standardized = d_output * tl.load(norms + norm * H + columns)[None, :]
    return (d_standardized - mean_d[:, None] - standardized * mean_dx[:, None]) * scale[:, None]
