"""The steps of an LSTM with a window over a text in one kernel, their derivatives in another.

As in `mdnrnn.kernels.layer_norm`, a program takes ROWS sequences through all T steps and reads the weights anew at
each. Both kernels fill what the loops of `mdnrnn.nn.window_steps` fill; the formulas stand there. Hidden states and
what the window shows lie side by side, with zeros after them up to WIDTH, which is a multiple of a tile.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from mdnrnn.kernels.tiles import OPTIONS, ROWS, product, taken, tanh


def is_supported(hidden: int, characters: int, components: int, dtype: torch.dtype, wide: torch.dtype) -> bool:
    """Whether the kernels take H, C and K, products in `dtype` and all else in `wide`. Weights are loaded 16 numbers at
    a time; tiles of a row's characters or Gaussians have to fit into shared memory."""
    return hidden % 16 == 0 and characters <= 128 and components <= 16 and taken(dtype, wide)


def forward(
    inward: Tensor,
    matrix: Tensor,
    window: Tensor,
    shift: Tensor,
    characters: Tensor,
    hidden: Tensor,
    cell: Tensor,
    place: Tensor,
    seen: Tensor,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """As `window_steps._forward_loop`: gates, cells, places, both, form, bells and phi. Without `keep`, gates and bells
    are not to be used."""
    steps, (batch, h), (length, c), k = len(inward), hidden.shape, characters.shape[1:], place.shape[-1]
    cut = _tiles(h, c, k, inward.dtype)
    gates = cell.new_empty(steps if keep else 1, batch, 4 * h)
    bells = cell.new_empty(steps if keep else 0, batch, k, length + 1)
    cells, places = cell.new_empty(steps + 1, batch, h), cell.new_empty(steps + 1, batch, k)
    form, phi = cell.new_empty(steps, batch, 3 * k), cell.new_empty(steps, batch, length + 1)
    both = inward.new_zeros(steps + 1, batch, cut["WIDTH"])
    cells[0], places[0], both[0, :, :h], both[0, :, h : h + c] = cell, place, hidden, seen
    texts = characters.to(inward.dtype).contiguous()  # zeros and ones are whole in any type
    given = inward.contiguous(), _widened(matrix, cut), window.contiguous(), shift, texts
    found = gates, cells, places, both, form, bells, phi
    with torch.cuda.device_of(inward):
        _forward[triton.cdiv(batch, ROWS),](*given, *found, steps, batch, length, KEEP=keep, **cut)
    return gates, cells, places, both[..., : h + c], form, bells, phi


def backward(
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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """As `window_steps._backward_loop`: derivatives by gates, form and the first both, cell and place."""
    (steps, batch, h), (length, c), k = through.shape, characters.shape[1:], form.shape[-1] // 3
    cut = _tiles(h, c, k, matrix.dtype)
    if d_hidden is None:
        d_hidden = through.new_zeros(steps, batch, h)
    if d_seen is None:
        d_seen = through.new_zeros(steps, batch, c)
    weights = _widened(matrix, cut), window.contiguous()
    slopes = by_output, by_cell, through, by_phi
    texts = characters.to(matrix.dtype).contiguous()
    given = d_hidden.contiguous(), d_seen.contiguous(), *weights, texts, gates, form, *slopes
    d_gates, d_form = matrix.new_empty(steps, batch, 4 * h), matrix.new_empty(steps, batch, 3 * k)
    d_both, d_place = gates.new_zeros(batch, cut["WIDTH"]), gates.new_empty(batch, k)
    d_cells, d_phi = gates.new_zeros(2, batch, h), gates.new_empty(batch, length)
    found = d_gates, d_form, d_both, *d_cells, d_place, d_phi
    with torch.cuda.device_of(matrix):
        _backward[triton.cdiv(batch, ROWS),](*given, *found, steps, batch, length, **cut)
    return d_gates, d_form, d_both[:, : h + c], d_cells[steps % 2], d_place


def _tiles(h: int, c: int, k: int, dtype: torch.dtype) -> dict[str, Any]:
    """How the kernels cut: columns of a tile, depth of a product at a time, and powers of two that C and K fit into."""
    tile, deep = (128, 64) if dtype == torch.bfloat16 else (64, 32)
    sizes = {"H": h, "C": c, "K": k, "WIDTH": triton.cdiv(h + c, tile) * tile, "TILE": tile, "DEEP": deep, "ROWS": ROWS}
    powers = {"LETTERS": triton.next_power_of_2(c), "BELLS": triton.next_power_of_2(k)}
    return {**sizes, **powers, "FORM": max(16, triton.next_power_of_2(3 * k)), **OPTIONS}


def _widened(matrix: Tensor, cut: dict[str, Any]) -> Tensor:
    return functional.pad(matrix, (0, cut["WIDTH"] - matrix.shape[1]))


@triton.jit(do_not_specialize=["steps", "batch", "length"])
def _forward(
    inward, matrix, window, shift, characters,
    gates, cells, places, both, form, bells, phi,
    steps, batch, length, KEEP: tl.constexpr,
    H: tl.constexpr, C: tl.constexpr, K: tl.constexpr, WIDTH: tl.constexpr, TILE: tl.constexpr, ROWS: tl.constexpr,
    LETTERS: tl.constexpr, BELLS: tl.constexpr, FORM: tl.constexpr, DEEP: tl.constexpr,
):  # fmt: skip
    """What is read after a barrier may have been written by other threads before it; what is written over was last read
    a barrier ago or more. The interpreter that tests this runs one thread: of barriers it tells nothing."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    real = rows < batch
    letters, marks = tl.arange(0, LETTERS), tl.arange(0, FORM)
    for _ in range(steps):  # pointers move on with the steps: offsets within one fit in 32 bits
        for start in range(0, 4 * H, TILE):
            columns = start + tl.arange(0, TILE)
            there = columns < 4 * H
            here, at = real[:, None] & there[None, :], rows[:, None] * (4 * H) + columns[None, :]
            total = tl.load(inward + at, here, 0.0).to(tl.float32)
            total = product(total, both + rows * WIDTH, matrix + columns * WIDTH, real, there, 1, WIDTH, DEEP)
            tl.store(gates + at, tl.where((columns < 3 * H)[None, :], tl.sigmoid(total), tanh(total)), here)
        tl.debug_barrier()  # gates
        for start in range(0, H, TILE):
            columns = start + tl.arange(0, TILE)
            here = real[:, None] & (columns < H)[None, :]
            at, by_gate = rows[:, None] * H + columns[None, :], rows[:, None] * (4 * H) + columns[None, :]
            output, enter = tl.load(gates + by_gate, here, 0.0), tl.load(gates + H + by_gate, here, 0.0)
            remember, new = tl.load(gates + 2 * H + by_gate, here, 0.0), tl.load(gates + 3 * H + by_gate, here, 0.0)
            cell = remember * tl.load(cells + at, here, 0.0) + enter * new
            tl.store(cells + batch * H + at, cell, here)
            hidden = (output * tanh(cell)).to(both.dtype.element_ty)
            tl.store(both + batch * WIDTH + rows[:, None] * WIDTH + columns[None, :], hidden, here)
        both += batch * WIDTH
        tl.debug_barrier()  # hidden states
        formed = marks < 3 * K
        logs = tl.zeros((ROWS, FORM), tl.float32) + tl.load(shift + marks, formed, 0.0).to(tl.float32)[None, :]
        logs = product(logs, both + rows * WIDTH, window + marks * H, real, formed, 1, H, DEEP)
        tl.store(form + rows[:, None] * (3 * K) + marks[None, :], tl.exp(logs), real[:, None] & formed[None, :])
        tl.debug_barrier()  # form
        for start in range(0, length + 1, TILE):
            u = start + tl.arange(0, TILE)
            here = real[:, None] & (u <= length)[None, :]
            weights = tl.zeros((ROWS, TILE), tl.float32)
            for k in range(K):
                alpha = tl.load(form + rows * (3 * K) + k, real, 0.0)
                beta = tl.load(form + rows * (3 * K) + K + k, real, 0.0)
                delta = tl.load(form + rows * (3 * K) + 2 * K + k, real, 0.0)
                place = tl.load(places + rows * K + k, real, 0.0) + delta
                tl.store(places + batch * K + rows * K + k, place, real)
                away = place[:, None] - u.to(tl.float32)[None, :]
                bell = tl.exp(-beta[:, None] * away * away)
                if KEEP:
                    tl.store(bells + (rows * K + k)[:, None] * (length + 1) + u[None, :], bell, here)
                weights += alpha[:, None] * bell
            tl.store(phi + rows[:, None] * (length + 1) + u[None, :], weights, here)
        tl.debug_barrier()  # phi and places
        seen = tl.zeros((ROWS, LETTERS), tl.float32)
        for start in range(0, length, 8):
            u = start + tl.arange(0, 8)
            here = real[:, None] & (u < length)[None, :]
            weights = tl.load(phi + rows[:, None] * (length + 1) + u[None, :], here, 0.0)
            seen += tl.sum(weights[:, :, None] * _letters(characters, rows, u, letters, batch, length, C), 1)
        beside = both + rows[:, None] * WIDTH + (H + letters)[None, :]
        tl.store(beside, seen.to(both.dtype.element_ty), real[:, None] & (letters < C)[None, :])
        tl.debug_barrier()  # both, for the next step's products
        if KEEP:
            gates += batch * 4 * H
            bells += batch * K * (length + 1)
        inward += batch * 4 * H
        cells += batch * H
        places += batch * K
        form += batch * 3 * K
        phi += batch * (length + 1)


@triton.jit(do_not_specialize=["steps", "batch", "length"])
def _backward(
    d_hidden, d_seen, matrix, window, characters, gates, form, by_output, by_cell, through, by_phi,
    d_gates, d_form, d_both, d_cell, d_before, d_place, d_phi,
    steps, batch, length,
    H: tl.constexpr, C: tl.constexpr, K: tl.constexpr, WIDTH: tl.constexpr, TILE: tl.constexpr, ROWS: tl.constexpr,
    LETTERS: tl.constexpr, BELLS: tl.constexpr, FORM: tl.constexpr, DEEP: tl.constexpr,
):  # fmt: skip
    """Derivatives by both and cell are 0 at first, and become those by the first state. Steps read one of d_cell and
    d_before and write the other, in turn: the first is in d_before after an odd number. d_phi (B, U) is room for a
    step. For barriers, see `_forward`."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    real = rows < batch
    letters, bells = tl.arange(0, LETTERS), tl.arange(0, BELLS)
    last = (steps - 1).to(tl.int64) * batch
    d_hidden += last * H
    d_seen += last * C
    gates += last * 4 * H
    form += last * 3 * K
    by_output += last * H
    by_cell += last * 3 * H
    through += last * H
    by_phi += last * 3 * K * (length + 1)
    d_gates += last * 4 * H
    d_form += last * 3 * K
    by_place = tl.zeros((ROWS, BELLS), tl.float32)
    for _ in range(steps):
        shown = real[:, None] & (letters < C)[None, :]
        by_seen = tl.load(d_seen + rows[:, None] * C + letters[None, :], shown, 0.0).to(tl.float32)
        by_seen += tl.load(d_both + rows[:, None] * WIDTH + (H + letters)[None, :], shown, 0.0)
        for start in range(0, length, 8):
            u = start + tl.arange(0, 8)
            by_u = tl.sum(by_seen[:, None, :] * _letters(characters, rows, u, letters, batch, length, C), 2)
            tl.store(d_phi + rows[:, None] * length + u[None, :], by_u, real[:, None] & (u < length)[None, :])
        tl.debug_barrier()  # d_phi
        by_alpha, by_beta = tl.zeros((ROWS, BELLS), tl.float32), tl.zeros((ROWS, BELLS), tl.float32)
        for start in range(0, length, 16):
            u = start + tl.arange(0, 16)
            by_u = tl.load(d_phi + rows[:, None] * length + u[None, :], real[:, None] & (u < length)[None, :], 0.0)
            by_alpha += _along(0, by_phi, by_u, rows, u, bells, batch, length, K)
            by_beta += _along(1, by_phi, by_u, rows, u, bells, batch, length, K)
            by_place += _along(2, by_phi, by_u, rows, u, bells, batch, length, K)
        formed, by_bell = real[:, None] & (bells < K)[None, :], rows[:, None] * (3 * K) + bells[None, :]
        by_delta = by_place * tl.load(form + 2 * K + by_bell, formed, 0.0)
        tl.store(d_form + by_bell, by_alpha.to(d_form.dtype.element_ty), formed)
        tl.store(d_form + K + by_bell, by_beta.to(d_form.dtype.element_ty), formed)
        tl.store(d_form + 2 * K + by_bell, by_delta.to(d_form.dtype.element_ty), formed)
        tl.debug_barrier()  # d_form
        for start in range(0, H, TILE):
            columns = start + tl.arange(0, TILE)
            here = real[:, None] & (columns < H)[None, :]
            at, by_gate = rows[:, None] * H + columns[None, :], rows[:, None] * (4 * H) + columns[None, :]
            d_h = tl.load(d_both + rows[:, None] * WIDTH + columns[None, :], here, 0.0)
            d_h += tl.load(d_hidden + at, here, 0.0).to(tl.float32)
            d_h = product(d_h, d_form + rows * (3 * K), window + columns, real, columns < H, H, 3 * K, FORM)
            d_c = tl.load(d_cell + at, here, 0.0) + d_h * tl.load(through + at, here, 0.0)
            d_output = d_h * tl.load(by_output + at, here, 0.0)
            tl.store(d_gates + by_gate, d_output.to(d_gates.dtype.element_ty), here)
            for gate in tl.static_range(3):
                slope = tl.load(by_cell + rows[:, None] * (3 * H) + (gate * H + columns)[None, :], here, 0.0)
                tl.store(d_gates + (gate + 1) * H + by_gate, (d_c * slope).to(d_gates.dtype.element_ty), here)
            tl.store(d_before + at, d_c * tl.load(gates + 2 * H + by_gate, here, 0.0), here)
        tl.debug_barrier()  # d_gates
        for start in range(0, WIDTH, TILE):
            columns = start + tl.arange(0, TILE)
            total = tl.zeros((ROWS, TILE), tl.float32)
            total = product(
                total, d_gates + rows * (4 * H), matrix + columns, real, columns < WIDTH, WIDTH, 4 * H, DEEP
            )
            tl.store(d_both + rows[:, None] * WIDTH + columns[None, :], total, real[:, None])
        tl.debug_barrier()  # d_both and d_before, for the step before
        d_cell, d_before = d_before, d_cell
        d_hidden -= batch * H
        d_seen -= batch * C
        gates -= batch * 4 * H
        form -= batch * 3 * K
        by_output -= batch * H
        by_cell -= batch * 3 * H
        through -= batch * H
        by_phi -= batch * 3 * K * (length + 1)
        d_gates -= batch * 4 * H
        d_form -= batch * 3 * K
    tl.store(d_place + rows[:, None] * K + bells[None, :], by_place, real[:, None] & (bells < K)[None, :])


@triton.jit
def _letters(characters, rows, u, letters, batch, length, C: tl.constexpr):
    """Some of the characters, (rows, u, letters), zeros where there are none."""
    here = ((rows < batch)[:, None] & (u < length)[None, :])[:, :, None] & (letters < C)[None, None, :]
    at = (rows[:, None] * length + u[None, :])[:, :, None] * C + letters[None, None, :]
    return tl.load(characters + at, here, 0.0).to(tl.float32)


@triton.jit
def _along(part: tl.constexpr, by_phi, by_u, rows, u, bells, batch, length, K: tl.constexpr):
    """Derivatives (rows, bells) by one of three parts, through some of the places of a text."""
    here = ((rows < batch)[:, None] & (bells < K)[None, :])[:, :, None] & (u < length)[None, None, :]
    at = (rows[:, None] * (3 * K) + (part * K + bells)[None, :])[:, :, None] * (length + 1) + u[None, None, :]
    return tl.sum(tl.load(by_phi + at, here, 0.0) * by_u[:, None, :], 2)
