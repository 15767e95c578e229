"""Comparison of a checkpoint with the model: names, types, shapes, dtypes and ranges of all entries.

A checkpoint is checked before anything is restored, because later code does not detect all mismatches: for example, the
kernels of the optimizer do not compare the shapes of its state with the shapes of the parameters. All functions raise
`ValueError` with a reason if a check fails.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from mdnrnn.models.base import Condition, SequenceModel
from mdnrnn.models.state import detach_state
from mdnrnn.training.checkpoint_archive import Structure, TensorInfo
from mdnrnn.training.progress import Progress

ENTRIES = ("model", "optimizer", "generators", "progress", "carried_state", "config")
"""Keys of a checkpoint."""
_NOT_NEGATIVE = {"step", "exp_avg_sq"}
"""State of optimizers that is never negative."""
_MAX_STATE_DEPTH, _MAX_STATE_TENSORS = 8, 10_000
_MIN_MAX_ROWS = 1024
"""Number of rows (sequences) of the carried-over state that is accepted for every batch size, because batches of a
user's own data can have more than `batch_size` sequences."""
_MAX_COUNT = 2**53
_MAX_OPTIONS, _MAX_OPTION_CHARACTERS = 100, 60
_MAX_UNUSED_BYTES = 1 << 20
"""The tensor data in the file may have twice the size of the tensors, plus this number of bytes."""


def check_structure(structure: Structure, model: nn.Module, optimizer: torch.optim.Optimizer, batch_size: int) -> None:
    """Check all entries of a checkpoint except the values of its tensors.

    Args:
        structure: structure of the checkpoint file.
        model: the model that will be restored.
        optimizer: the optimizer that will be restored.
        batch_size: batch size of the training, which limits the number of rows of the recurrent state that truncated
            backpropagation through time carries over to the next batch.
    """
    checkpoint = structure.content
    check_entries(checkpoint, model.state_dict())
    _check_optimizer(checkpoint["optimizer"], optimizer)
    _check_generators(checkpoint["generators"])
    check_progress(checkpoint["progress"])
    check_config(checkpoint["config"])
    _check_carried_state(checkpoint["carried_state"], model, batch_size)
    tensors = [*checkpoint["model"].values(), *_state_tensors(checkpoint["carried_state"])]
    optimizer_state = [value for state in checkpoint["optimizer"]["state"].values() for value in state.values()]
    tensors += [value for value in optimizer_state if type(value) is TensorInfo]
    tensors += [state for states in checkpoint["generators"] for state in states.values() if state is not None]
    size = sum(math.prod(tensor.shape) * tensor.dtype.itemsize for tensor in tensors)
    if structure.data_bytes > 2 * size + _MAX_UNUSED_BYTES:
        raise ValueError(f"it has {structure.data_bytes} bytes of data for tensors of {size} bytes")


def check_entries(checkpoint: Any, weights: Mapping[str, Tensor]) -> None:
    """Check that a checkpoint has all entries, and that its entry "model" has the given names, shapes and dtypes."""
    _check_keys("the checkpoint", checkpoint, ENTRIES)
    _check_keys("model", checkpoint["model"], weights)
    for name, tensor in weights.items():
        _check_tensor(name, checkpoint["model"][name], tensor.shape, tensor.dtype)


def _check_keys(name: str, value: Any, expected: Iterable[str]) -> None:
    if not isinstance(value, dict) or not all(type(key) is str for key in value):
        raise ValueError(f"{name} is not a dictionary")
    missing, extra = set(expected) - set(value), set(value) - set(expected)
    for names, what in ((missing, "lacks"), (extra, "has the unknown entry")):
        if names:
            raise ValueError(f"{name} {what} {min(names)[:60]}")


def _check_tensor(name: str, info: Any, shape: Iterable[int], dtype: torch.dtype) -> None:
    expected = TensorInfo(dtype, tuple(shape))
    if type(info) is not TensorInfo:
        raise ValueError(f"{name} is not a tensor")
    if info != expected:
        received = f"{info.shape} {info.dtype}"
        raise ValueError(f"{name} is {received[:90]}, expected {expected.shape} {dtype}")


def _check_optimizer(entry: Any, optimizer: torch.optim.Optimizer) -> None:
    _check_keys("optimizer", entry, ("state", "param_groups"))
    groups, expected_groups = entry["param_groups"], optimizer.state_dict()["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(expected_groups):
        raise ValueError(f"optimizer does not have {len(expected_groups)} parameter groups")
    for group, expected in zip(groups, expected_groups, strict=True):
        if not isinstance(group, dict) or group.get("params") != expected["params"]:
            raise ValueError("a parameter group has other parameters")
    if not isinstance(entry["state"], dict):
        raise ValueError("the optimizer state is not a dictionary")
    expected_states = _state_after_one_step(optimizer)
    count = sum(1 for _ in optimizer_parameters(optimizer))
    for number, state in entry["state"].items():
        if type(number) is not int or not 0 <= number < count:
            raise ValueError("the optimizer has state of an unknown parameter")
        expected_state = expected_states.get(number, {})
        _check_keys("the optimizer state", state, expected_state)
        for name, expected in expected_state.items():
            if isinstance(expected, Tensor):
                _check_tensor(f"{name} of parameter {number}", state[name], expected.shape, expected.dtype)
            elif type(state[name]) is not type(expected):
                raise ValueError(f"{name} of parameter {number} is not of type {type(expected).__name__}")


def _state_after_one_step(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Any]]:
    """Return the state of each parameter after a step of a copy of the optimizer, by the index of the parameter.

    Optimizers create their state in the first step, so no other way gives its names, shapes and dtypes.
    """
    trial = copy.deepcopy(optimizer)
    for parameter in optimizer_parameters(trial):
        parameter.grad = torch.zeros_like(parameter)
    trial.step()
    return trial.state_dict()["state"]


def optimizer_parameters(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    """Yield the parameters of an optimizer in the order of its state."""
    for group in optimizer.param_groups:
        yield from group["params"]


def _check_generators(entry: Any) -> None:
    if not isinstance(entry, list) or not entry:
        raise ValueError("generators is not a list with a state per rank")
    for states in entry:
        _check_keys("a generator state", states, ("cpu", "cuda"))
        _check_tensor("the CPU generator state", states["cpu"], torch.get_rng_state().shape, torch.uint8)
        if states["cuda"] is not None:
            _check_tensor("the CUDA generator state", states["cuda"], (16,), torch.uint8)  # seed and offset


def check_progress(entry: Any) -> None:
    """Check the names, types and ranges of the fields of `Progress`."""
    types: dict[str, Any] = {field.name: type(field.default) for field in fields(Progress)}
    _check_keys("progress", entry, types)
    for name, kind in types.items():
        value = entry[name]
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ValueError(f"progress.{name} has the type {type(value).__name__}, expected {kind.__name__}")
        if name != "best" and not 0 <= value <= _MAX_COUNT:
            raise ValueError(f"progress.{name} is {value if kind is float else 'out of range'}, expected 0 to 2^53")
    if math.isnan(entry["best"]) or entry["best"] == -math.inf:
        raise ValueError(f"progress.best is {entry['best']}")


def check_config(entry: Any) -> None:
    """Check that the training options are a dictionary: name -> number, short string or None."""
    if not isinstance(entry, dict) or len(entry) > _MAX_OPTIONS:
        raise ValueError(f"config is not a dictionary of at most {_MAX_OPTIONS} options")
    _check_keys("config", entry, entry)
    for name, value in entry.items():
        if type(value) not in (bool, int, float, str, type(None)) or len(str(value)) > _MAX_OPTION_CHARACTERS:
            raise ValueError(f"config.{name[:60]} is not a number, a short string or None")


def _check_carried_state(entry: Any, model: nn.Module, batch_size: int) -> None:
    if entry is None:
        return
    tensors, batch_size = _state_tensors(entry), max(batch_size, _MIN_MAX_ROWS)
    rows = {info.shape[-2] if len(info.shape) >= 2 else -1 for info in tensors}
    if len(rows) != 1 or not 1 <= min(rows) <= batch_size:
        raise ValueError(f"carried_state does not have 1 to {batch_size} rows in all tensors")
    if len(tensors) == _MAX_STATE_TENSORS or not all(info.dtype.is_floating_point for info in tensors):
        raise ValueError("carried_state is not numbers")
    if isinstance(model, SequenceModel):
        if not model.carries_state:
            raise ValueError("carried_state belongs to another kind of model")
        _check_like(entry, state_of_one_row(model))


def state_of_one_row(model: SequenceModel) -> Any:
    """Return the initial recurrent state of one sequence as nested tuples of tensors."""
    device = next(model.parameters()).device
    label = torch.zeros(1, dtype=torch.long, device=device) if model.shape.classes else None
    context = torch.zeros(1, model.shape.context, device=device)
    with torch.no_grad():
        return detach_state(model.initial_state(1, Condition(label, context=context)))


def _state_tensors(state: Any) -> list[TensorInfo]:
    return [] if state is None else list(islice(_tensors(state, _MAX_STATE_DEPTH), _MAX_STATE_TENSORS))


def _tensors(state: Any, max_depth: int) -> Iterator[TensorInfo]:
    if type(state) is TensorInfo:
        yield state
    elif type(state) is tuple and state and max_depth:
        for part in state:
            yield from _tensors(part, max_depth - 1)
    else:
        raise ValueError("carried_state is not nested tuples of tensors")


def _check_like(state: Any, expected: Any) -> None:
    """Check that `state` has the structure and the shapes of `expected`, except for the number of rows.

    Dimensions before the rows whose size in `expected` is 0 may have any size: they grow from step to step.
    """
    if isinstance(expected, Tensor):
        found = state.shape if type(state) is TensorInfo else ()
        fits = len(found) == expected.ndim and found[-1] == expected.shape[-1]
        if not fits or any(size and size != other for size, other in zip(expected.shape[:-2], found, strict=False)):
            raise ValueError("carried_state belongs to a model of other sizes")
    elif type(state) is not tuple or len(state) != len(expected):
        raise ValueError("carried_state belongs to another kind of model")
    else:
        for part, expected_part in zip(state, expected, strict=True):
            _check_like(part, expected_part)


def check_values(checkpoint: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Check the values of all tensors of a checkpoint whose structure has been checked.

    Args:
        checkpoint: the checkpoint.
        weights: weights of the model that will be restored.
    """
    check_finite_weights(checkpoint["model"], weights)
    for number, state in checkpoint["optimizer"]["state"].items():
        tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        check_finite({f"{name} of parameter {number}": tensor for name, tensor in tensors.items()})
        if any((tensors[name] < 0).any() for name in _NOT_NEGATIVE & tensors.keys()):
            raise ValueError(f"the optimizer state of parameter {number} is negative")
    for states in checkpoint["generators"]:
        torch.Generator().set_state(states["cpu"])  # raises RuntimeError if the state is invalid
        if states["cuda"] is not None and int(states["cuda"].clone()[8:].view(torch.int64)) % 4:
            raise ValueError("the CUDA generator state has an offset that is not a multiple of 4")
    check_finite_state(checkpoint["carried_state"])


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise `ValueError` if a value is NaN or infinite."""
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} contains NaN or infinite values")


def check_finite_weights(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise `ValueError` if a weight is NaN or infinite, unless the same weight of the model is, too.

    A model can have infinite buffers, for example an attention mask.
    """
    check_finite({name: tensor for name, tensor in weights.items() if expected[name].isfinite().all()})


def check_finite_state(state: Any) -> None:
    """Raise `ValueError` if a value of a recurrent state is NaN or infinite."""
    if isinstance(state, Tensor):
        check_finite({"carried_state": state})
    elif state is not None:
        for part in state:
            check_finite_state(part)
