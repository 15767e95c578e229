"""Recurrent states as flat dictionaries of named tensors, for graphs outside of PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

STATE = "state"
"""First part of the names of all state tensors."""


def flatten_state(state: Any, name: str = STATE) -> dict[str, Tensor]:
    """Return the tensors of a state by name. A name is the path of the tensor, for example `state.core.hidden`.

    Args:
        state: a tensor, None, or a NamedTuple or tuple of states. The parts of a plain tuple are named by their index.
        name: name of the whole state.
    """
    if isinstance(state, Tensor):
        return {name: state}
    if state is None:
        return {}
    fields = getattr(state, "_fields", range(len(state)))
    parts = (flatten_state(part, f"{name}.{field}") for field, part in zip(fields, state, strict=True))
    return {path: tensor for part in parts for path, tensor in part.items()}


def rebuild_state(template: Any, tensors: Mapping[str, Tensor], name: str = STATE) -> Any:
    """Return a state with the structure of `template` and the given tensors; the inverse of `flatten_state`."""
    if isinstance(template, Tensor):
        return tensors[name]
    if template is None:
        return None
    fields = getattr(template, "_fields", range(len(template)))
    parts = [rebuild_state(part, tensors, f"{name}.{field}") for field, part in zip(fields, template, strict=True)]
    return type(template)(*parts) if hasattr(template, "_fields") else type(template)(parts)
