"""Hooks that a program has registered for all modules."""

from torch.nn.modules import module


def has_global_hooks() -> bool:
    """Return whether forward or backward hooks for all modules are registered, for example by a profiler."""
    return bool(
        module._global_forward_hooks
        or module._global_forward_pre_hooks
        or module._global_backward_hooks
        or module._global_backward_pre_hooks
    )
