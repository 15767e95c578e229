"""Support of the function transforms of PyTorch: torch.compile, torch.func and forward-mode differentiation.

Custom autograd functions are faster than the formulas that they compute, but they support only the backward pass.
Under a transform, the formula is used instead (`is_transformed`). Functions with loops that end depending on the data
are registered as operators that a transform does not look into (`opaque`).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad


def is_transformed() -> bool:
    """Return whether torch.compile, a transform of torch.func or a level of forward-mode differentiation is active."""
    return (
        torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    )


def opaque(name: str, like: Callable[..., Tensor]) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Return a decorator that registers a function as an operator of PyTorch, without derivatives.

    The function must treat all leading dimensions as a batch, and these dimensions must be equal in all arguments.

    Args:
        name: name of the operator.
        like: function of the same arguments that returns an empty tensor of the shape and dtype of the result.
    """

    def register(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        operator = torch.library.custom_op(f"mdnrnn::{name}", function, mutates_args=())
        operator.register_fake(like)

        @operator.register_vmap
        def batch(info: Any, in_dims: tuple[int | None, ...], *arguments: Tensor) -> tuple[Tensor, int]:
            batched = [
                tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
                for tensor, dim in zip(arguments, in_dims, strict=True)
            ]
            return operator(*batched), 0

        return operator

    return register
