"""What kernels share that take a few sequences through all of their steps: products and how they are cut."""

from typing import Any

import torch
import triton
import triton.language as tl

ROWS = 16
"""Sequences of a program: the fewest that tensor cores multiply at a time."""

OPTIONS: dict[str, Any] = {"num_warps": 8, "num_stages": 4, "enable_fp_fusion": True}
"""Of every launch. Tiles on their way to a product, one fewer than stages, take up to 54 KB of shared memory; a product
and a sum may be rounded once: Triton 3.9 asks for a word on that."""


def taken(dtype: torch.dtype, wide: torch.dtype) -> bool:
    """Whether kernels take products in `dtype` and all else in `wide`."""
    return dtype in (torch.float32, torch.bfloat16) and wide == torch.float32


@triton.jit
def product(
    total, left, right, rows, columns, across, DEPTH: tl.constexpr, DEEP: tl.constexpr
):  # fmt: skip
    """`total` and the product of rows at `left`, DEPTH numbers each, with columns at `right`, whose numbers lie
    `across` apart; DEEP numbers at a time. `rows` and `columns` tell which are there. In float32 no number is rounded
    to fewer bits."""
    for start in range(0, DEPTH, DEEP):
        deep = start + tl.arange(0, DEEP)
        row = tl.load(left[:, None] + deep[None, :], rows[:, None] & (deep < DEPTH)[None, :], 0.0)
        column = tl.load(right[None, :] + deep[:, None] * across, columns[None, :] & (deep < DEPTH)[:, None], 0.0)
        total = tl.dot(row, column, total, input_precision="ieee")
    return total


@triton.jit
def tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1
