"""Shapes of recurrent states during generation: checks, and comparison of states of different sequences."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mdnrnn.errors import InputError


def check_state(state: Any, batch: int) -> None:
    """Raise `InputError` if the second-to-last dimension of a tensor in a state is not the batch size.

    The error is also raised if the state contains an object that is not a tensor, a tuple or None.

    Args:
        state: state of a model: a tensor, a NamedTuple or tuple of states, or None.
        batch: number of sequences B.
    """
    if isinstance(state, Tensor):
        if state.ndim < 2 or state.shape[-2] != batch:
            raise InputError(
                f"state of the model: received a tensor of shape {tuple(state.shape)}, expected the batch size {batch} "
                "in the second-to-last dimension"
            )
    elif isinstance(state, tuple):
        for part in state:
            check_state(part, batch)
    elif state is not None:
        raise InputError(f"state of the model: received {type(state).__name__}, expected a NamedTuple of tensors")


def can_share_batch(state: Any, other: Any) -> bool:
    """Return whether two states can be concatenated along the batch dimension.

    Both states must have the same structure and, except for the batch dimension, the same shapes. States that grow from
    step to step, such as key/value caches, have different shapes after different numbers of steps.
    """
    if isinstance(state, Tensor) and isinstance(other, Tensor):
        return state.shape[:-2] == other.shape[:-2] and state.shape[-1] == other.shape[-1]
    if isinstance(state, tuple) and isinstance(other, tuple):
        return len(state) == len(other) and all(map(can_share_batch, state, other))
    return state is None and other is None
