"""Tiled matrix products and launch options of the kernels that run all time steps of a few sequences per program."""

from typing import Any

import torch
import triton
import triton.language as tl

ROWS = 16
"""Number of sequences per program, the smallest number of rows that tensor cores multiply."""

OPTIONS: dict[str, Any] = {"num_warps": 8, "num_stages": 4, "enable_fp_fusion": True}
"""Options of every launch. The tiles in flight for a product, one fewer than stages, use up to 54 KB of shared memory.
Fused multiply-add is set explicitly, because Triton 3.9 warns if it is not."""


def supports_dtypes(dtype: torch.dtype, state_dtype: torch.dtype) -> bool:
    """Return whether kernels support matrix products in `dtype` with everything else in `state_dtype`."""
    return dtype in (torch.float32, torch.bfloat16) and state_dtype == torch.float32


@triton.jit
def add_product(
    total, left, right, row_mask, column_mask, stride, INNER: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Return `total` plus the product of rows and columns of INNER elements each, BLOCK elements at a time.

    `left` points to the rows, whose elements are contiguous; `right` points to the columns, whose elements are `stride`
    apart. Rows and columns outside the masks are read as zeros. In float32 the inputs keep full precision.
    """
    for start in range(0, INNER, BLOCK):
        inner = start + tl.arange(0, BLOCK)
        row = tl.load(left[:, None] + inner[None, :], row_mask[:, None] & (inner < INNER)[None, :], 0.0)
        column = tl.load(right[None, :] + inner[:, None] * stride, column_mask[None, :] & (inner < INNER)[:, None], 0.0)
        total = tl.dot(row, column, total, input_precision="ieee")
    return total


@triton.jit
def tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1
