"""Rows times a matrix that stays, in the layout that the machine multiplies fastest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Matrix:
    """A matrix (O, I), laid out once for each way that it is multiplied in.

    On a CPU, in float32: of one row the outputs are shared out among the threads, which no product of PyTorch's does
    with a vector; several rows go to oneDNN, whose packed product takes half the time of the plain one at 16 rows, and
    less at any number of them (measured on Zen 4). Everywhere else the plain product.
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight, self._laid_out = weight, dict[str, Tensor]()

    def times(self, rows: Tensor) -> tuple[Callable[[], Tensor], Tensor | None]:
        """What multiplies a buffer of rows (B, I), whatever is in it then, to (B, O); and the buffer that the result
        is always in, where it is."""
        threads, (outputs, inputs) = torch.get_num_threads(), self.weight.shape
        plain = rows.is_cuda or rows.dtype != torch.float32
        if not plain and len(rows) == 1 and threads > 1 and outputs % threads == 0:
            parts = self._as("shared", lambda weight: weight.view(threads, -1, inputs).transpose(1, 2).contiguous())
            found = rows.new_empty(threads, 1, outputs // threads)
            each = rows.expand(threads, 1, inputs)
            return (lambda: torch.bmm(each, parts, out=found).view(1, outputs)), found.view(1, outputs)
        if not plain and len(rows) > 1 and _onednn is not None:
            packed = self._as("packed", lambda weight: _onednn[0](weight, len(rows)))
            return (lambda: _onednn[1](rows, packed, None, "none", [], "")), None
        turned, out = self._as("turned", lambda weight: weight.t().contiguous()), rows.new_empty(len(rows), outputs)
        return (lambda: torch.mm(rows, turned, out=out)), out

    def _as(self, name: str, lay_out: Callable[[Tensor], Tensor]) -> Tensor:
        if name not in self._laid_out:
            self._laid_out[name] = lay_out(self.weight)
        return self._laid_out[name]


def _find_onednn() -> Any:
    """How oneDNN packs a matrix, and multiplies by it: what torch.compile calls; None where there is none."""
    operators = torch.ops.mkldnn
    if torch.backends.mkldnn.is_available() and hasattr(operators, "_linear_pointwise"):
        return operators._reorder_linear_weight, operators._linear_pointwise
    return None


_onednn = _find_onednn()
