"""States as named tensors."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from mdnrnn.export.states import flatten_state, rebuild_state


class Pair(NamedTuple):
    """A state with another state as its part."""

    hidden: Tensor
    parts: Any


HIDDEN, CELL = torch.zeros(1, 3, 4), torch.ones(1, 3, 2)
STATES = [
    (HIDDEN, ["state"]),
    (Pair(HIDDEN, Pair(CELL, None)), ["state.hidden", "state.parts.hidden"]),
    ((HIDDEN, (CELL, None, CELL)), ["state.0", "state.1.0", "state.1.2"]),
    (None, []),
]


@pytest.mark.parametrize(("state", "names"), STATES, ids=["tensor", "NamedTuple", "tuple", "None"])
def test_states_are_named_by_their_paths_and_rebuilt(state: Any, names: list[str]) -> None:
    tensors = flatten_state(state)
    assert list(tensors) == names
    rebuilt = rebuild_state(state, tensors)
    assert type(rebuilt) is type(state)
    assert list(flatten_state(rebuilt)) == names
    assert all(new is tensors[name] for name, new in flatten_state(rebuilt).items())
