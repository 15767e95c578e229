"""Class labels as vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mdnrnn.errors import InputError

_WIDEST = 32


class LabelEmbedding(nn.Module):
    """A vector of C numbers for each of a model's classes, C = `width`; of none at all, vectors of no numbers."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes, self.width = classes, min(classes, _WIDEST)
        self.weight = nn.Parameter(torch.empty(classes, self.width).normal_()) if classes else None

    def forward(self, label: Tensor | None, like: Tensor) -> Tensor:
        """Labels (B,), integers, or weights (B, classes) of a blend, as (B, C); `like` (B, ...) tells B and device."""
        if self.weight is None:
            return like.new_zeros(len(like), 0)
        if label is None:
            raise InputError(f"the model expects a label from 0 to {self.classes - 1}; received none")
        if not label.is_floating_point():
            return nn.functional.embedding(label, self.weight)
        if label.shape[-1] != self.classes:
            raise InputError(f"the model has {self.classes} classes; received a blend of {label.shape[-1]}")
        return label.to(self.weight.dtype) @ self.weight
