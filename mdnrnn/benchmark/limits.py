"""What a machine can do at best: the limits that figures are compared with, measured beside them in the same run."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mdnrnn.models.base import SequenceModel
from mdnrnn.models.latent import LatentModel

_SIDE = {"cpu": 2048, "cuda": 8192}
_COPIED = {"cpu": 1 << 27, "cuda": 1 << 31}
"""Bytes: several times what caches hold."""


def matrix_product(device: torch.device, precision: str) -> tuple[Callable[[], object], float]:
    """A large matrix product in a precision, and its floating-point operations."""
    side = _SIDE[device.type]
    one, other = (torch.randn(side, side, device=device, dtype=getattr(torch, precision)) for _ in range(2))
    return lambda: one @ other, 2.0 * side**3


def copy(device: torch.device) -> tuple[Callable[[], object], float]:
    """A large copy within the device's memory, and the bytes that it reads and writes."""
    source = torch.randn(_COPIED[device.type] // 4, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source), 2.0 * 4 * source.numel()


def operations_per_point(model: SequenceModel) -> float:
    """Floating-point operations that a training step takes for one real step of a sequence, in matrix products alone:
    two for each weight that a step goes through, and twice as many for the gradients."""
    parts: list[nn.Module] = [model.get_submodule("decoder")]
    if isinstance(model, LatentModel) and model.latent:
        parts += [model.get_submodule("forth"), model.get_submodule("back")]
    weights: list[Tensor] = [weight for part in parts for weight in part.parameters() if weight.ndim == 2]
    return 6.0 * sum(weight.numel() for weight in weights)
