"""The steps of a layer-normalized LSTM in one kernel, their derivatives in another.

Sequences know nothing of each other: a program takes ROWS of them through all T steps. At every step it reads the
recurrent weights anew, tile by tile, out of the cache that all programs share. What one step hands to the next, and one
pass over the columns to another, goes through global memory: a norm needs whole rows, which no registers hold. Sums
before the norms are kept in the type of the products; norms, gates and cells are float32.

The formulas are those of `mdnrnn.nn.layer_norm`, whose loop gives the same numbers on any device. Norms are numbered:
input, forget, cell and output gate, then the cell's own, 5 in all.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from mdnrnn.kernels.tiles import OPTIONS, ROWS, product, taken, tanh


def is_supported(hidden: int, dtype: torch.dtype, wide: torch.dtype) -> bool:
    """Whether the kernels take H units, products in `dtype` and all else in `wide`: norms go over whole tiles."""
    return hidden % 64 == 0 and taken(dtype, wide)


def run_lstm(
    inward: Tensor, weight: Tensor, norms: Tensor, hidden: Tensor, cell: Tensor, epsilon: float
) -> tuple[Tensor, Tensor]:
    """All steps: products of the inputs (T, B, 4H), recurrent weights (4H, H), the norms' gains and biases (2, 5, H),
    the state before, (B, H) each, to hidden states (T, B, H) and the cell after (B, H).

    Products, weights and hidden states are of one type, all else is float32. No derivatives of derivatives.
    """
    results: Any = _Steps.apply(inward, weight, norms, hidden, cell, epsilon)
    return results


class _Steps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inward: Tensor, weight: Tensor, norms: Tensor, hidden: Tensor, cell: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor]:
        inward, weight, norms = inward.contiguous(), weight.contiguous(), norms.contiguous()
        steps, (batch, h) = len(inward), hidden.shape
        sums, moments = torch.empty_like(inward), cell.new_empty(steps, 2, 5, batch)
        cells, hiddens = cell.new_empty(steps + 1, batch, h), hidden.new_empty(steps + 1, batch, h)
        cells[0], hiddens[0] = cell, hidden
        saved = weight, norms, sums, moments, cells
        with torch.cuda.device_of(inward):
            _forward[triton.cdiv(batch, ROWS),](inward, *saved, hiddens, steps, batch, epsilon, **_tiles(h, inward))
        ctx.save_for_backward(*saved, hiddens)
        # Copies: what is saved must not be changed by whoever receives the rest.
        return hiddens[1:].clone(), cells[-1].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, d_last: Tensor) -> tuple[Tensor | None, ...]:
        *saved, hiddens = ctx.saved_tensors
        sums, (steps, batch, h) = saved[2], hiddens[1:].shape
        programs = triton.cdiv(batch, ROWS)
        d_sums, d_hidden = torch.empty_like(sums), d_last.new_zeros(batch, h)
        d_cells, slopes = d_last.new_empty(2, batch, h), d_last.new_empty(batch, 5, h)
        d_norms = d_last.new_empty(steps, programs, 2, 5, h)
        d_cells[0] = d_last
        given, found = (d_outputs.contiguous(), *saved), (d_sums, d_hidden, *d_cells, slopes, d_norms)
        with torch.cuda.device_of(sums):
            _backward[programs,](*given, *found, steps, batch, **_tiles(h, sums))
        d_weight = torch.mm(d_sums.flatten(0, 1).t(), hiddens[:-1].flatten(0, 1))
        return d_sums, d_weight, d_norms.sum((0, 1)), d_hidden.to(hiddens.dtype), d_cells[steps % 2], None


def _tiles(h: int, products: Tensor) -> dict[str, Any]:
    """How the kernels cut: columns of a tile and depth of a product at a time."""
    columns, deep = (128, 64) if products.dtype == torch.bfloat16 else (64, 32)
    cut = {"H": h, "TILE": columns if h % columns == 0 else 64, "DEEP": deep, "ROWS": ROWS}
    return {**cut, **OPTIONS}


@triton.jit(do_not_specialize=["steps", "batch"])
def _forward(
    inward, weight, norms, sums, moments, cells, hiddens,
    steps, batch, epsilon,
    H: tl.constexpr, TILE: tl.constexpr, DEEP: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """From inward (T, B, 4H), weight (4H, H), norms (2, 5, H) and the first of cells and hiddens (T + 1, B, H): the
    others of these, sums (T, B, 4H), and moments (T, 2, 5, B), means and one over standard deviations.

    What is read after a barrier may have been written by other threads before it; what is written over was last read a
    barrier ago or more. The interpreter that tests this runs one thread: of barriers it tells nothing.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    real, every = rows < batch, tl.full((TILE,), True, tl.int1)
    for _ in range(steps):  # pointers move on with the steps: offsets within one fit in 32 bits
        for gate in range(4):
            mean, spread = tl.zeros((ROWS,), tl.float32), tl.zeros((ROWS,), tl.float32)
            for start in range(0, H, TILE):
                columns = gate * H + start + tl.arange(0, TILE)
                at = rows[:, None] * (4 * H) + columns[None, :]
                total = tl.load(inward + at, real[:, None], 0.0).to(tl.float32)
                total = product(total, hiddens + rows * H, weight + columns * H, real, every, 1, H, DEEP)
                rounded = total.to(sums.dtype.element_ty)
                tl.store(sums + at, rounded, real[:, None])
                mean, spread = _merged(mean, spread, start, rounded.to(tl.float32), TILE)
            _keep_moments(moments + gate * batch, mean, spread / H + epsilon, rows, batch)
        tl.debug_barrier()  # sums and their moments
        mean, spread = tl.zeros((ROWS,), tl.float32), tl.zeros((ROWS,), tl.float32)
        for start in range(0, H, TILE):
            columns = start + tl.arange(0, TILE)
            at = rows[:, None] * H + columns[None, :]
            enter = tl.sigmoid(_normed(0, sums, 4 * H, moments, norms, rows, columns, batch, H))
            keep = tl.sigmoid(_normed(1, sums + H, 4 * H, moments, norms, rows, columns, batch, H))
            new = tanh(_normed(2, sums + 2 * H, 4 * H, moments, norms, rows, columns, batch, H))
            cell = keep * tl.load(cells + at, real[:, None], 0.0) + enter * new
            tl.store(cells + batch * H + at, cell, real[:, None])
            mean, spread = _merged(mean, spread, start, cell, TILE)
        _keep_moments(moments + 4 * batch, mean, spread / H + epsilon, rows, batch)
        cells += batch * H
        hiddens += batch * H
        tl.debug_barrier()  # cells and their moments
        for start in range(0, H, TILE):
            columns = start + tl.arange(0, TILE)
            show = tl.sigmoid(_normed(3, sums + 3 * H, 4 * H, moments, norms, rows, columns, batch, H))
            shown = tanh(_normed(4, cells, H, moments, norms, rows, columns, batch, H))
            at = rows[:, None] * H + columns[None, :]
            tl.store(hiddens + at, (show * shown).to(hiddens.dtype.element_ty), real[:, None])
        tl.debug_barrier()  # hidden states, for the next step's products
        inward += batch * 4 * H
        sums += batch * 4 * H
        moments += batch * 10


@triton.jit(do_not_specialize=["steps", "batch"])
def _backward(
    d_outputs, weight, norms, sums, moments, cells,
    d_sums, d_hidden, d_cell, d_before, slopes, d_norms,
    steps, batch,
    H: tl.constexpr, TILE: tl.constexpr, DEEP: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """From what `_forward` was given and left, and derivatives by the hidden states (T, B, H): those by sums and,
    summed over a program's rows, by norms (T, programs, 2, 5, H).

    d_hidden and d_cell, (B, H) each, are those by the last state and become those by the first. Steps read one of
    d_cell and d_before and write the other, in turn: the first is in d_before after an odd number. slopes (B, 5, H) is
    room for a step's derivatives by what comes out of the norms. For barriers, see `_forward`.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    real, every = rows < batch, tl.full((TILE,), True, tl.int1)
    last = (steps - 1).to(tl.int64) * batch
    d_outputs += last * H
    cells += last * H
    sums += last * 4 * H
    d_sums += last * 4 * H
    moments += last * 10
    d_norms += ((steps - 1).to(tl.int64) * tl.num_programs(0) + tl.program_id(0)) * 10 * H
    for _ in range(steps):
        after = cells + batch * H
        for start in range(0, H, TILE):
            columns = start + tl.arange(0, TILE)
            at = rows[:, None] * H + columns[None, :]
            d_h = tl.load(d_outputs + at, real[:, None], 0.0).to(tl.float32) + tl.load(
                d_hidden + at, real[:, None], 0.0
            )
            show = tl.sigmoid(_normed(3, sums + 3 * H, 4 * H, moments, norms, rows, columns, batch, H))
            shown = tanh(_normed(4, after, H, moments, norms, rows, columns, batch, H))
            own = rows[:, None] * (5 * H) + columns[None, :]
            tl.store(slopes + 3 * H + own, d_h * shown * show * (1 - show), real[:, None])
            tl.store(slopes + 4 * H + own, d_h * show * (1 - shown * shown), real[:, None])
        tl.debug_barrier()  # two slopes
        level, tilt = _shares(4, slopes, after, H, moments, norms, d_norms, rows, batch, H, TILE, ROWS)
        for start in range(0, H, TILE):
            columns = start + tl.arange(0, TILE)
            at = rows[:, None] * H + columns[None, :]
            d_c = _through(4, slopes, after, H, level, tilt, moments, norms, rows, columns, batch, H)
            d_c += tl.load(d_cell + at, real[:, None], 0.0)
            enter = tl.sigmoid(_normed(0, sums, 4 * H, moments, norms, rows, columns, batch, H))
            keep = tl.sigmoid(_normed(1, sums + H, 4 * H, moments, norms, rows, columns, batch, H))
            new = tanh(_normed(2, sums + 2 * H, 4 * H, moments, norms, rows, columns, batch, H))
            before = tl.load(cells + at, real[:, None], 0.0)
            own = rows[:, None] * (5 * H) + columns[None, :]
            tl.store(slopes + own, d_c * new * enter * (1 - enter), real[:, None])
            tl.store(slopes + H + own, d_c * before * keep * (1 - keep), real[:, None])
            tl.store(slopes + 2 * H + own, d_c * enter * (1 - new * new), real[:, None])
            tl.store(d_before + at, d_c * keep, real[:, None])
        tl.debug_barrier()  # the other three slopes
        for gate in range(4):
            level, tilt = _shares(
                gate, slopes, sums + gate * H, 4 * H, moments, norms, d_norms, rows, batch, H, TILE, ROWS
            )
            for start in range(0, H, TILE):
                columns = start + tl.arange(0, TILE)
                d_sum = _through(
                    gate, slopes, sums + gate * H, 4 * H, level, tilt, moments, norms, rows, columns, batch, H
                )
                at = rows[:, None] * (4 * H) + (gate * H + columns)[None, :]
                tl.store(d_sums + at, d_sum.to(d_sums.dtype.element_ty), real[:, None])
        tl.debug_barrier()  # d_sums
        for start in range(0, H, TILE):
            columns = start + tl.arange(0, TILE)
            total = tl.zeros((ROWS, TILE), tl.float32)
            total = product(total, d_sums + rows * (4 * H), weight + columns, real, every, H, 4 * H, DEEP)
            tl.store(d_hidden + rows[:, None] * H + columns[None, :], total, real[:, None])
        tl.debug_barrier()  # d_hidden and d_before, for the step before
        d_cell, d_before = d_before, d_cell
        d_outputs -= batch * H
        cells -= batch * H
        sums -= batch * 4 * H
        d_sums -= batch * 4 * H
        moments -= batch * 10
        d_norms -= tl.num_programs(0) * 10 * H


@triton.jit
def _merged(mean, spread, count, values, TILE: tl.constexpr):
    """Means and summed squared deviations (ROWS,) of `count` numbers a row, joined by a tile's (Chan, Golub and LeVeque
    1979): a difference of sums of squares would drown in a large mean."""
    own = tl.sum(values, 1) / TILE
    away = values - own[:, None]
    apart = own - mean
    share = TILE / (count + TILE)
    return mean + apart * share, spread + tl.sum(away * away, 1) + apart * apart * (count * share)


@triton.jit
def _keep_moments(moments, mean, variance, rows, batch):
    tl.store(moments + rows, mean, rows < batch)
    tl.store(moments + 5 * batch + rows, 1 / tl.sqrt(variance), rows < batch)


@triton.jit
def _normal(values, width, moments, rows, columns, batch):
    """A tile of rows of `width`, brought to mean 0 and variance 1; and one over its standard deviations."""
    real = rows < batch
    mean, scale = tl.load(moments + rows, real, 0.0), tl.load(moments + 5 * batch + rows, real, 0.0)
    found = tl.load(values + rows[:, None] * width + columns[None, :], real[:, None], 0.0).to(tl.float32)
    return (found - mean[:, None]) * scale[:, None], scale


@triton.jit
def _normed(norm, values, width, moments, norms, rows, columns, batch, H: tl.constexpr):
    """A tile of `values` through a norm."""
    normal, _ = _normal(values, width, moments + norm * batch, rows, columns, batch)
    gain, bias = tl.load(norms + norm * H + columns), tl.load(norms + (5 + norm) * H + columns)
    return normal * gain[None, :] + bias[None, :]


@triton.jit
def _slope(norm, slopes, rows, columns, batch, H: tl.constexpr):
    """A tile of the derivatives by what comes out of a norm; 0 in rows that are not."""
    at = rows[:, None] * (5 * H) + (norm * H + columns)[None, :]
    return tl.load(slopes + at, (rows < batch)[:, None], 0.0)


@triton.jit
def _shares(
    norm, slopes, values, width, moments, norms, d_norms, rows, batch,
    H: tl.constexpr, TILE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """What derivatives through a norm have in common along a row, (ROWS,) each: the mean of those by its normal
    numbers, and of these times the numbers. On the way, the norm's own derivatives."""
    level, tilt = tl.zeros((ROWS,), tl.float32), tl.zeros((ROWS,), tl.float32)
    for start in range(0, H, TILE):
        columns = start + tl.arange(0, TILE)
        slope = _slope(norm, slopes, rows, columns, batch, H)
        normal, _ = _normal(values, width, moments + norm * batch, rows, columns, batch)
        tl.store(d_norms + norm * H + columns, tl.sum(slope * normal, 0))
        tl.store(d_norms + (5 + norm) * H + columns, tl.sum(slope, 0))
        by_normal = slope * tl.load(norms + norm * H + columns)[None, :]
        level += tl.sum(by_normal, 1)
        tilt += tl.sum(by_normal * normal, 1)
    return level / H, tilt / H


@triton.jit
def _through(
    norm, slopes, values, width, level, tilt, moments, norms, rows,
    columns, batch, H: tl.constexpr,
):  # fmt: skip
    """A tile of the derivatives by what goes into a norm; `level` and `tilt` are `_shares`."""
    normal, scale = _normal(values, width, moments + norm * batch, rows, columns, batch)
    by_normal = _slope(norm, slopes, rows, columns, batch, H) * tl.load(norms + norm * H + columns)[None, :]
    return (by_normal - level[:, None] - normal * tilt[:, None]) * scale[:, None]
