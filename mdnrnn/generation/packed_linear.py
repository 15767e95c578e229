"""Multiplication of rows by a constant matrix, with the fastest memory layout of the matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class PackedMatrix:
    """Constant matrix M of shape (O, I), for repeated products X M^T with rows X of shape (B, I).

    Two cases on a CPU in float32 are optimized; all other cases use `torch.mm`. For a single row, the O outputs are
    divided among the threads if O is a multiple of the number of threads, because PyTorch's matrix-vector product is
    not parallel. For several rows, oneDNN multiplies by a packed copy of the matrix. On Zen 4, the product with the
    packed copy is faster than `torch.mm` at any number of rows; at 16 rows, it takes half the time.

    Args:
        parts: matrices (O, I_j), whose concatenation side by side is M; the sum of all I_j is I.
    """

    def __init__(self, parts: list[Tensor]) -> None:
        self.parts, self.outputs, self.inputs = parts, len(parts[0]), sum(part.shape[1] for part in parts)
        self._packed: dict[int, Tensor] = {}

    def make_product(self, rows: Tensor) -> tuple[Callable[[], Tensor], Tensor | None]:
        """Return a function that multiplies a buffer by the transposed matrix.

        Args:
            rows: buffer, shape (B, I). Every call of the function reads the current contents of the buffer.

        Returns:
            The function, whose result has shape (B, O), and the buffer to which each call writes its result. The buffer
            is None if each call allocates a new result.
        """
        threads, plain = torch.get_num_threads(), rows.device.type != "cpu" or rows.dtype != torch.float32
        if not plain and len(rows) > 1 and _onednn is not None:
            packed = self._cached(0, lambda: _onednn[0](torch.cat(self.parts, 1), len(rows)))
            return (lambda: _onednn[1](rows, packed, None, "none", [], "")), None
        if not plain and len(rows) == 1 and threads > 1 and self.outputs % threads == 0:
            blocks = self._cached(threads, lambda: self._transpose_blocks(threads))
            repeated, out = rows.expand(threads, 1, self.inputs), rows.new_empty(threads, 1, self.outputs // threads)
            return (lambda: torch.bmm(repeated, blocks, out=out).view(1, -1)), out.view(1, -1)
        matrix, out = self._cached(1, lambda: self._transpose_blocks(1))[0], rows.new_empty(len(rows), self.outputs)
        return (lambda: torch.mm(rows, matrix, out=out)), out

    def _transpose_blocks(self, blocks: int) -> Tensor:
        """Return the transposed matrix with its outputs divided into blocks, shape (blocks, I, O / blocks).

        The parts are copied directly to the result, because concatenating them first would take as long as many time
        steps of generation.
        """
        result, first = self.parts[0].new_empty(blocks, self.inputs, self.outputs // blocks), 0
        for part in self.parts:
            width = part.shape[1]
            result[:, first : first + width].copy_(part.view(blocks, -1, width).transpose(1, 2))
            first += width
        return result

    def _cached(self, key: int, pack: Callable[[], Tensor]) -> Tensor:
        if key not in self._packed:
            self._packed[key] = pack()
        return self._packed[key]


def _find_onednn() -> Any:
    """Return two oneDNN operators: one packs a matrix, one multiplies by a packed matrix. None without oneDNN.

    Both are internal operators of PyTorch, which torch.compile uses.
    """
    operators = torch.ops.mkldnn
    if torch.backends.mkldnn.is_available() and hasattr(operators, "_linear_pointwise"):
        return operators._reorder_linear_weight, operators._linear_pointwise
    return None


_onednn = _find_onednn()
