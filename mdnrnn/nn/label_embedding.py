"""Embedding of class labels. A blend of classes is embedded as the weighted sum of the class embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mdnrnn.errors import InputError

_MAX_WIDTH = 32


def default_width(classes: int) -> int:
    """Return the default number of features of the embedding of `classes` classes."""
    return min(classes, _MAX_WIDTH)


class LabelEmbedding(nn.Module):
    """Learned embedding of class labels.

    Args:
        classes: number of classes; 0 for a model without labels, whose embeddings have 0 features.
        width: number of features of an embedding; by default `default_width`.
    """

    def __init__(self, classes: int, width: int | None = None) -> None:
        super().__init__()
        self.classes, self.width = classes, default_width(classes) if width is None else width
        self.weight = nn.Parameter(torch.empty(classes, self.width).normal_()) if classes else None

    def forward(self, label: Tensor | None, like: Tensor) -> Tensor:
        """Return embeddings, shape (B, width).

        Args:
            label: integer labels, shape (B,), or blends as floating-point weights of the classes, shape (B, classes).
                None if there are no classes.
            like: tensor of shape (B, ...). If there are no classes, the result has its batch size, device and dtype.

        Raises:
            InputError: if `label` is None although there are classes, or if a blend has the wrong number of classes.
        """
        if self.weight is None:
            return like.new_zeros(like.shape[0], 0)
        if label is None:
            raise InputError(f"label: received none, expected a label from 0 to {self.classes - 1}")
        if not label.is_floating_point():
            return nn.functional.embedding(label, self.weight)
        if label.shape[-1] != self.classes:
            raise InputError(f"label: received weights of {label.shape[-1]} classes, expected {self.classes}")
        return label.to(self.weight.dtype) @ self.weight
