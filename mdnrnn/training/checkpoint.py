"""Files of a training run: last.pt, the checkpoint to resume from, and model.safetensors, the best weights."""

import io
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from mdnrnn.errors import InputError
from mdnrnn.files import write_bytes
from mdnrnn.training import distributed
from mdnrnn.training.config import TrainConfig
from mdnrnn.training.progress import Progress

WEIGHTS_FILE, CHECKPOINT_FILE = "model.safetensors", "last.pt"

_DAMAGE = (pickle.UnpicklingError, RuntimeError, KeyError, TypeError, EOFError, ValueError, OSError, IndexError)
"""Exceptions that can occur when a damaged checkpoint is read or restored."""
_PLAIN = (bool, int, float, str, type(None))


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
        "carried_state": carried_state,
        "config": asdict(config),
    }
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    write_bytes(path, buffer.getvalue())


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Return the checkpoint in a file, or None if the file does not exist.

    Unpickling is restricted to tensors and plain Python values, so that a file cannot run code.

    Raises:
        InputError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except _DAMAGE as error:
        raise _checkpoint_error(path) from error


def restore_checkpoint(
    checkpoint: dict[str, Any], path: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Progress, Any]:
    """Restore the model, the optimizer and the random generators of this rank from a checkpoint.

    The checkpoint has generator states for the ranks that existed when it was written. On any additional rank the
    generators are seeded instead.

    Args:
        checkpoint: result of `read_checkpoint`.
        path: path of the checkpoint, for error messages.
        model: the model to restore.
        optimizer: the optimizer to restore.

    Returns:
        The progress, and the `carried_state` that was passed to `save_checkpoint`.

    Raises:
        InputError: the checkpoint is damaged or does not match the model.
    """
    try:
        progress = Progress(**checkpoint["progress"])
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        rank = distributed.rank()
        if rank < len(checkpoint["generators"]):
            generators = checkpoint["generators"][rank]
            torch.set_rng_state(generators["cpu"])
            if torch.cuda.is_available() and generators["cuda"] is not None:
                torch.cuda.set_rng_state(generators["cuda"])
        else:
            seed_generators(progress.step)
    except _DAMAGE as error:
        raise _checkpoint_error(path) from error
    return progress, checkpoint.get("carried_state")


def read_progress(checkpoint: dict[str, Any], path: Path) -> tuple[Progress, dict[str, Any]]:
    """Return the progress in a checkpoint, and its training options: the fields of `TrainConfig` and their values.

    Args:
        checkpoint: result of `read_checkpoint`.
        path: path of the checkpoint, for error messages.

    Raises:
        InputError: the checkpoint is damaged.
    """
    try:
        progress, options = Progress(**checkpoint["progress"]), checkpoint["config"]
    except _DAMAGE as error:
        raise _checkpoint_error(path) from error
    if not isinstance(options, dict) or not all(isinstance(value, _PLAIN) for value in options.values()):
        raise _checkpoint_error(path)
    return progress, options


def seed_generators(seed: int) -> None:
    """Seed PyTorch's global generators: with `seed` on rank 0, with a hash of `seed` and the rank on other ranks."""
    rank = distributed.rank()
    torch.manual_seed(int(np.random.SeedSequence([seed, rank]).generate_state(1)[0]) if rank else seed)


def _checkpoint_error(path: Path) -> InputError:
    return InputError(f"{path} is damaged or belongs to another model; delete it to restart, or train a new run")


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the weights of a model to a safetensors file, atomically."""
    write_bytes(path, save({name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}))


def load_weights(path: Path, model: nn.Module) -> None:
    """Load weights from a safetensors file into the model.

    All ranks must call this function together. Rank 0 reads the file and sends the weights to the other ranks.

    Raises:
        InputError: the file is missing or damaged, or does not match the model exactly.
    """
    try:
        model.load_state_dict(distributed.from_rank_zero(lambda: _read_weights(path)))
    except RuntimeError as error:
        raise _weights_error(path) from error


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise InputError(f"{path} is missing; expected the weights of a run; train until the first validation")
    try:
        return load_file(path)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise _weights_error(path) from error


def _weights_error(path: Path) -> InputError:
    return InputError(f"{path} is damaged or belongs to another model; expected the weights of this run's model")
