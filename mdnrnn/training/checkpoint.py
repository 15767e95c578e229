"""Files of a training run: last.pt, the checkpoint to resume from, and model.safetensors, the best weights."""

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from mdnrnn.errors import InputError
from mdnrnn.files.atomic import write_bytes
from mdnrnn.files.regular import open_regular
from mdnrnn.training import distributed
from mdnrnn.training.checkpoint_archive import read_structure
from mdnrnn.training.checkpoint_check import (
    check_config,
    check_entries,
    check_finite_weights,
    check_progress,
    check_structure,
    check_values,
    optimizer_parameters,
)
from mdnrnn.training.config import TrainConfig
from mdnrnn.training.progress import Progress
from mdnrnn.training.safetensors_header import check_header, max_file_bytes

WEIGHTS_FILE, CHECKPOINT_FILE = "model.safetensors", "last.pt"

_DAMAGE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    RuntimeError,  # includes RecursionError and NotImplementedError
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    ValueError,
    OverflowError,
    MemoryError,
    OSError,
)
"""Exceptions that can occur when a damaged checkpoint is read."""
_INDEX_BYTES, _INDEX_BYTES_PER_TENSOR = 1 << 20, 1 << 12
"""Maximum size in bytes of the directory and of data.pkl of a checkpoint: a constant part, and a part per weight
tensor."""


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    carried_state: Any,
    config: TrainConfig,
) -> None:
    """Write a checkpoint atomically.

    The checkpoint contains the weights, the optimizer state, the progress, the states of the random generators of all
    ranks, `carried_state` and the training options. All ranks must call this function together; rank 0 writes the file.

    Args:
        path: path of the file.
        model: the model.
        optimizer: optimizer of the model.
        progress: training progress.
        carried_state: recurrent state after the last batch, for the sequences of all ranks, as nested tuples of
            tensors. Truncated backpropagation through time continues from this state. None if the training carries no
            state from batch to batch.
        config: training options.
    """
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    generators = distributed.gather_objects({"cpu": torch.get_rng_state(), "cuda": cuda})
    if distributed.rank() != 0:
        return
    checkpoint = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generators": generators,
        "progress": asdict(progress),
        "carried_state": _copy_tensors(carried_state),
        "config": asdict(config),
    }
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    write_bytes(path, buffer.getvalue())


def _copy_tensors(state: Any) -> Any:
    """Copy the tensors of a state; a view would be saved together with the whole tensor that it is a part of."""
    if state is None:
        return None
    return state.clone() if isinstance(state, Tensor) else tuple(map(_copy_tensors, state))


def read_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, batch_size: int
) -> dict[str, Any] | None:
    """Return the checkpoint in a file, or None if the file does not exist.

    Everything in the file is compared with the model and the optimizer, so that `restore_checkpoint` cannot fail.

    Args:
        path: path of the file.
        model: the model that will be restored.
        optimizer: the optimizer that will be restored.
        batch_size: batch size of the training, which limits the number of rows of the carried-over state.

    Raises:
        InputError: the file is damaged or does not match the model.
    """
    if not os.path.lexists(path):
        return None
    try:
        with open_regular(path) as file:
            structure = read_structure(file, _max_index_bytes(model.state_dict()))
            check_structure(structure, model, optimizer, batch_size)
            file.seek(0)
            checkpoint = dict(torch.load(file, map_location="cpu", weights_only=True))
        check_values(checkpoint, model.state_dict())
    except InputError:
        raise
    except _DAMAGE as error:
        raise _checkpoint_error(path, error) from error
    return checkpoint


def read_progress(path: Path, weights: Mapping[str, Tensor]) -> tuple[Progress, dict[str, Any]]:
    """Return the progress and the training options in a checkpoint, without reading its tensors.

    Args:
        path: path of the checkpoint.
        weights: weights with the expected names, shapes and dtypes; their values are not used.

    Returns:
        The progress, and the fields of the `TrainConfig` with which the checkpoint was written.

    Raises:
        InputError: the file is damaged or has other weights.
    """
    try:
        with open_regular(path) as file:
            content = read_structure(file, _max_index_bytes(weights)).content
            check_entries(content, weights)
            check_progress(content["progress"])
            check_config(content["config"])
            return Progress(**content["progress"]), content["config"]
    except InputError:
        raise
    except _DAMAGE as error:
        raise _checkpoint_error(path, error) from error


def _max_index_bytes(weights: Mapping[str, Tensor]) -> int:
    return _INDEX_BYTES + _INDEX_BYTES_PER_TENSOR * len(weights)


def restore_checkpoint(
    checkpoint: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Progress, Any]:
    """Restore the model, the optimizer and the random generators of this rank from a checkpoint.

    The options of the optimizer, such as its weight decay, are not restored. The checkpoint has generator states for
    the ranks that existed when it was written. On any additional rank the generators are seeded instead.

    Args:
        checkpoint: result of `read_checkpoint` for the same model and optimizer.
        model: the model to restore.
        optimizer: the optimizer to restore.

    Returns:
        The progress, and the `carried_state` that was passed to `save_checkpoint`.
    """
    progress = Progress(**checkpoint["progress"])
    model.load_state_dict(checkpoint["model"])
    options = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict(
        {"state": _copy_state(checkpoint["optimizer"]["state"], optimizer), "param_groups": options}
    )
    rank = distributed.rank()
    if rank < len(checkpoint["generators"]):
        generators = checkpoint["generators"][rank]
        torch.set_rng_state(generators["cpu"])
        if torch.cuda.is_available() and generators["cuda"] is not None:
            torch.cuda.set_rng_state(generators["cuda"])
    else:
        seed_generators(progress.step)
    return progress, checkpoint["carried_state"]


def _copy_state(state: Mapping[int, Mapping[str, Any]], optimizer: torch.optim.Optimizer) -> dict[int, Any]:
    """Copy the state of the optimizer, for example its moments, to tensors with the memory layout of the parameters.

    The optimizer's kernels require this layout, and moments that do not share memory.
    """
    parameters = list(optimizer_parameters(optimizer))
    return {
        number: {name: _copy_like(value, parameters[number]) for name, value in values.items()}
        for number, values in state.items()
    }


def _copy_like(value: Any, parameter: Tensor) -> Any:
    """Copy a tensor, with the memory layout of the parameter if the shapes are equal; return other values unchanged."""
    if not isinstance(value, Tensor):
        return value
    if value.shape != parameter.shape:
        return value.clone()
    return torch.empty_like(parameter, dtype=value.dtype, device="cpu").copy_(value)


def seed_generators(seed: int) -> None:
    """Seed PyTorch's global generators: with `seed` on rank 0, with a hash of `seed` and the rank on other ranks."""
    rank = distributed.rank()
    torch.manual_seed(int(np.random.SeedSequence([seed, rank]).generate_state(1)[0]) if rank else seed)


def _checkpoint_error(path: Path, error: BaseException) -> InputError:
    return InputError(
        f"{path} is damaged or belongs to another model ({_reason(error)}); restore it from a copy, or train a new run"
    )


def _reason(error: BaseException) -> str:
    """Return the message of an error in at most 200 characters."""
    return " ".join((str(error) or type(error).__name__).split())[:200]


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the weights of a model to a safetensors file, atomically."""
    weights = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    storages: set[int] = set()
    for name, tensor in weights.items():
        pointer = tensor.untyped_storage().data_ptr()
        weights[name] = tensor.clone() if pointer in storages else tensor  # the format has no shared memory
        storages.add(pointer)
    write_bytes(path, save(weights))


def load_weights(path: Path, model: nn.Module) -> None:
    """Load weights from a safetensors file into the model.

    All ranks must call this function together. Rank 0 reads the file and sends the weights to the other ranks.

    Raises:
        InputError: the file is missing or damaged, does not match the model exactly in names, shapes and dtypes, or
            contains NaN or infinite values. Weights are not converted to another dtype.
    """
    model.load_state_dict(distributed.from_rank_zero(lambda: read_weights(path, model.state_dict())))


def check_weights(path: Path, expected: Mapping[str, Tensor], *, only_header: bool = False) -> None:
    """Check a safetensors file.

    Args:
        path: path of the file.
        expected: weights with the expected names, shapes and dtypes. Where their values are infinite, for example in an
            attention mask, those in the file may be, too.
        only_header: whether to check the header only, without reading the weights.

    Raises:
        InputError: the file is missing or damaged, has other weights, or contains NaN or infinite values.
    """
    if only_header:
        with _open_weights(path, expected):
            return
    read_weights(path, expected)


def read_weights(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights in a safetensors file after the checks of `check_weights`."""
    with _open_weights(path, expected) as file:
        weights = load(file.read())
        for name, tensor in expected.items():
            if weights[name].dtype != tensor.dtype:
                raise ValueError(f"{name} has dtype {weights[name].dtype}, expected {tensor.dtype}")
        check_finite_weights(weights, expected)
    return weights


@contextmanager
def _open_weights(path: Path, expected: Mapping[str, Tensor]) -> Iterator[BinaryIO]:
    """Open a safetensors file and check its header. Errors that occur in the block are raised as `InputError`."""
    if not os.path.lexists(path):
        raise InputError(f"{path} is missing; expected the weights of a run; train until the first validation")
    try:
        with open_regular(path, max_file_bytes(expected)) as file:
            check_header(file, expected)
            file.seek(0)
            yield file
    except InputError:
        raise
    except (SafetensorError, *_DAMAGE) as error:
        raise _weights_error(path, error) from error


def _weights_error(path: Path, error: BaseException) -> InputError:
    return InputError(
        f"{path} is damaged or belongs to another model ({_reason(error)}); expected the weights of this run's "
        "model; restore the file from a copy, or train a new run"
    )
