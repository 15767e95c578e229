"""Tiled matrix product and launch options for kernels whose programs run a few sequences through all time steps."""

from typing import Any

import torch
import triton
import triton.language as tl

ROWS = 16
"""Number of sequences per program: the minimum number of rows of a tensor-core product."""

OPTIONS: dict[str, Any] = {"num_warps": 8, "num_stages": 4, "enable_fp_fusion": True}
"""Launch options of all kernels. A product prefetches `num_stages` - 1 tiles, in up to 54 KB of shared memory.
`enable_fp_fusion` (fused multiply-add) is set explicitly, because Triton 3.9 warns if it is not."""


def supports_dtypes(dtype: torch.dtype, state_dtype: torch.dtype) -> bool:
    """Return whether the kernels support matrix products in `dtype` and all other operations in `state_dtype`."""
    return dtype in (torch.float32, torch.bfloat16) and state_dtype == torch.float32


@triton.jit
def add_product(
    total, left, right, row_mask, column_mask, stride, INNER: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Return `total` plus a matrix product with inner dimension INNER, computed in blocks of BLOCK elements.

    `left` contains pointers to the rows of the left matrix, whose elements are contiguous. `right` contains pointers to
    the columns of the right matrix, whose elements are `stride` apart. Rows and columns outside the masks are read as
    zeros. Products in float32 have full precision (no TF32).
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
