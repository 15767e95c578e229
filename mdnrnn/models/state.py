"""Functions for recurrent states: nested tuples of tensors whose second-to-last dimension is the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def map_state(function: Callable[..., Tensor], state: Any, *others: Any) -> Any:
    """Apply `function` to each tensor of `state`, and return the results in the same structure; None is unchanged.

    `others` are states of the same structure. Their corresponding tensors are further arguments of `function`.
    """
    if isinstance(state, Tensor):
        return function(state, *others)
    if state is None:
        return None
    parts = [map_state(function, *part) for part in zip(state, *others, strict=True)]
    return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)


def where_state(carried: Any, initial: Any, continues: Tensor) -> Any:
    """Return the state from which a batch of B rows starts.

    Rows that continue a sequence of the preceding batch start from the state after that batch. All other rows start
    from the initial state.

    Args:
        carried: state after the preceding batch. The number of rows never increases within an epoch. A state of fewer
            than B rows is therefore from the preceding epoch. In this case, all rows start from the initial state.
        initial: initial state, B rows.
        continues: mask of the rows that continue the same row of the preceding batch, shape (B,).
    """
    if isinstance(initial, Tensor):
        if carried.shape[-2] < len(continues):
            return initial
        rows = carried[..., : len(continues), :].to(initial)
        return torch.where(continues.unsqueeze(-1), rows, pad_growing(initial, rows.shape))
    return type(initial)(*(where_state(old, new, continues) for old, new in zip(carried, initial, strict=True)))


def unshard_state(parts: list[Any]) -> Any:
    """Combine the states of all ranks into the state of all sequences; the inverse of `shard_state`.

    Args:
        parts: one state per rank, ordered by rank; None for a rank without state.

    Returns:
        Nested tuples of tensors, or None if no rank has a state.
    """
    parts = [part for part in parts if part is not None]
    if not parts:
        return None
    if not isinstance(parts[0], Tensor):
        return tuple(unshard_state(list(part)) for part in zip(*parts, strict=True))
    longest = max((part.shape for part in parts), key=lambda shape: shape[:-2])
    rows = torch.cat([pad_growing(part, longest) for part in parts], -2)
    indices = torch.cat([torch.arange(part.shape[-2]) * len(parts) + rank for rank, part in enumerate(parts)])
    return rows.index_select(-2, torch.argsort(indices).to(rows.device))


def pad_growing(state: Tensor, shape: torch.Size) -> Tensor:
    """Return a tensor of a state with the dimensions before the batch padded to those of `shape`.

    Zeros are inserted before the existing entries. A key/value cache is thus padded to the number of steps of a longer
    cache.
    """
    missing = [target - size for target, size in zip(shape[:-2], state.shape[:-2], strict=True)]
    if not any(missing):
        return state
    padding = [amount for size in reversed(missing) for amount in (size, 0)]  # `pad` begins with the last dimension
    return functional.pad(state, [0, 0, 0, 0, *padding])


def shard_state(state: Any, rank: int, world_size: int) -> Any:
    """Return one rank's part of a state: sequences `rank`, `rank + world_size`, `rank + 2 world_size`, ..."""
    if isinstance(state, Tensor):
        return state[..., rank::world_size, :]
    return None if state is None else tuple(shard_state(part, rank, world_size) for part in state)


def detach_state(state: Any) -> Any:
    """Detach all tensors of a state; return nested tuples."""
    return state.detach() if isinstance(state, Tensor) else tuple(map(detach_state, state))
