"""Embedding of class labels, and of blends: weighted sums of the embeddings of classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mdnrnn.errors import InputError

_MAX_WIDTH = 32


class LabelEmbedding(nn.Module):
    """Learned embedding of class labels with `width` = min(classes, 32) features.

    Args:
        classes: number of classes; 0 for a model without labels, whose embeddings have 0 features.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes, self.width = classes, min(classes, _MAX_WIDTH)
        self.weight = nn.Parameter(torch.empty(classes, self.width).normal_()) if classes else None

    def forward(self, label: Tensor | None, like: Tensor) -> Tensor:
        """Return embeddings, shape (B, width).

        Args:
            label: integer labels, shape (B,), or weights of the classes of a blend, shape (B, classes).
            like: tensor of shape (B, ...) that determines batch size, device and dtype if there are no classes.

        Raises:
            InputError: if the label is missing or a blend has the wrong number of classes.
        """
        if self.weight is None:
            return like.new_zeros(len(like), 0)
        if label is None:
            raise InputError(f"label: received none; the model expects a label from 0 to {self.classes - 1}")
        if not label.is_floating_point():
            return nn.functional.embedding(label, self.weight)
        if label.shape[-1] != self.classes:
            raise InputError(f"label: received a blend of {label.shape[-1]} classes, expected {self.classes}")
        return label.to(self.weight.dtype) @ self.weight
