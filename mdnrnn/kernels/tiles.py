"""Tiled matrix product and launch options for recurrent kernels; each program runs all time steps of ROWS sequences."""

from typing import Any

import torch
import triton
import triton.language as tl

ROWS = 16
"""Number of sequences per program. Tensor-core products need at least 16 rows."""

OPTIONS: dict[str, Any] = {"num_warps": 8, "num_stages": 4, "enable_fp_fusion": True}
"""Launch options of the recurrent kernels. `add_product` prefetches `num_stages` - 1 tiles, in up to 54 KB of shared
memory. `enable_fp_fusion` (fused multiply-add) is set explicitly, because Triton 3.9 warns if it is not set."""


def supports_dtypes(dtype: torch.dtype, state_dtype: torch.dtype) -> bool:
    """Return whether the recurrent kernels support matrix products in `dtype` and other operations in `state_dtype`."""
    return dtype in (torch.float32, torch.bfloat16) and state_dtype == torch.float32


@triton.jit
def add_product(
    total, left, right, row_mask, column_mask, stride, INNER: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Return `total` plus the product of a left and a right matrix, computed in blocks of BLOCK inner indices.

    `left` contains one pointer per row of the left matrix. The INNER elements of a row are contiguous. `right` contains
    one pointer per column of the right matrix. The distance between adjacent elements of a column is `stride`.
    Rows and columns outside the masks are read as zeros. Products in float32 have full precision (no TF32).
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
