"""Functions that measure hardware limits, and the number of operations of a training step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mdnrnn.models.base import SequenceModel
from mdnrnn.models.latent import LatentModel

_SIDE = {"cpu": 2048, "cuda": 8192, "mps": 4096}
_COPIED = {"cpu": 1 << 27, "cuda": 1 << 31, "mps": 1 << 30}
"""Number of bytes to copy, by type of device. The number is several times the size of the caches."""


def matrix_product(device: torch.device, precision: str) -> tuple[Callable[[], object], float]:
    """Create a function that computes a large matrix product.

    Returns:
        The function, and the number of floating-point operations per call.
    """
    side = _SIDE[device.type]
    one, other = (torch.randn(side, side, device=device, dtype=getattr(torch, precision)) for _ in range(2))
    return lambda: one @ other, 2.0 * side**3


def copy(device: torch.device) -> tuple[Callable[[], object], float]:
    """Create a function that copies a large buffer on the device.

    Returns:
        The function, and the number of bytes that are read plus the number of bytes that are written per call.
    """
    source = torch.randn(_COPIED[device.type] // 4, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source), 2.0 * 4 * source.numel()


def operations_per_point(model: SequenceModel) -> float:
    """Return the number of floating-point operations in training per real (unpadded) time step.

    Only matrix products are counted: two operations per weight in the forward pass, and four in the backward pass.
    """
    parts: list[nn.Module] = [model.get_submodule("decoder")]
    if isinstance(model, LatentModel) and model.latent:
        parts += [model.get_submodule("encoder_forward"), model.get_submodule("encoder_backward")]
    weights: list[Tensor] = [weight for part in parts for weight in part.parameters() if weight.ndim == 2]
    return 6.0 * sum(weight.numel() for weight in weights)
