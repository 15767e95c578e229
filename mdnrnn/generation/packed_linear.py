"""Rows times a matrix that stays, in the layout that the machine multiplies fastest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class PackedMatrix:
    """A matrix (O, I) given as `parts` side by side, laid out once for each way that it is multiplied in.

    On a CPU, in float32: of one row the outputs are shared out among the threads, which no product of PyTorch's does
    with a vector; several rows go to oneDNN, whose packed product takes half the time of the plain one at 16 rows, and
    less at any number of them (measured on Zen 4). Everywhere else the plain product.
    """

    def __init__(self, parts: list[Tensor]) -> None:
        self.parts, self.outputs, self.inputs = parts, len(parts[0]), sum(part.shape[1] for part in parts)
        self._laid_out: dict[int, Tensor] = {}

    def times(self, rows: Tensor) -> tuple[Callable[[], Tensor], Tensor | None]:
        """What multiplies a buffer of rows (B, I), whatever is in it then, to (B, O); and the buffer that the result
        is always in, where it is."""
        threads, plain = torch.get_num_threads(), rows.is_cuda or rows.dtype != torch.float32
        if not plain and len(rows) > 1 and _onednn is not None:
            packed = self._as(0, lambda: _onednn[0](torch.cat(self.parts, 1), len(rows)))
            return (lambda: _onednn[1](rows, packed, None, "none", [], "")), None
        if not plain and len(rows) == 1 and threads > 1 and self.outputs % threads == 0:
            shares, each = self._as(threads, lambda: self._turned(threads)), rows.expand(threads, 1, self.inputs)
            found = rows.new_empty(threads, 1, self.outputs // threads)
            return (lambda: torch.bmm(each, shares, out=found).view(1, -1)), found.view(1, -1)
        turned, out = self._as(1, lambda: self._turned(1))[0], rows.new_empty(len(rows), self.outputs)
        return (lambda: torch.mm(rows, turned, out=out)), out

    def _turned(self, shares: int) -> Tensor:
        """Transposed, its outputs in so many shares: (shares, I, O / shares). Straight into place: a copy in between
        takes as long as a good many steps."""
        whole, first = self.parts[0].new_empty(shares, self.inputs, self.outputs // shares), 0
        for part in self.parts:
            width = part.shape[1]
            whole[:, first : first + width].copy_(part.view(shares, -1, width).transpose(1, 2))
            first += width
        return whole

    def _as(self, layout: int, lay_out: Callable[[], Tensor]) -> Tensor:
        if layout not in self._laid_out:
            self._laid_out[layout] = lay_out()
        return self._laid_out[layout]


def _find_onednn() -> Any:
    """How oneDNN packs a matrix, and multiplies by it: what torch.compile calls; None where there is none."""
    operators = torch.ops.mkldnn
    if torch.backends.mkldnn.is_available() and hasattr(operators, "_linear_pointwise"):
        return operators._reorder_linear_weight, operators._linear_pointwise
    return None


_onednn = _find_onednn()
