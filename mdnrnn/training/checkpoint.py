"""What an exact resume needs, in one file that is replaced as a whole."""

import io
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from mdnrnn.errors import InputError
from mdnrnn.files import write_bytes


@dataclass
class Progress:
    """Where a training stands. Position in the data: epoch and the batches of it that are done."""

    step: int = 0
    points: int = 0
    seconds: float = 0.0
    epoch: int = 0
    batch: int = 0
    validations: int = 0
    validated: int = 0
    """Step of the last validation."""
    best: float = float("inf")
    """Least validation loss so far, nats a point."""
    since_best: int = 0
    metrics_bytes: int = 0
    """Length of metrics.jsonl: what was written after the checkpoint is written again."""
    finished: bool = False


def save_last(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, carried: Any = None
) -> None:
    """Weights, optimizer, random generators, progress and the state that the next batch goes on from, atomically."""
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "progress": asdict(progress),
        "carried": carried,
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def load_last(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Progress, Any]:
    """Put everything back as `save_last` found it; the progress, and the state that is carried. Only tensors and plain
    values are unpickled."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        progress = Progress(**state["progress"])
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        if torch.cuda.is_available() and state["cuda_rng"]:
            torch.cuda.set_rng_state_all(state["cuda_rng"])
    except (
        pickle.UnpicklingError,
        RuntimeError,
        KeyError,
        TypeError,
        EOFError,
        ValueError,
        OSError,
    ) as error:
        raise InputError(f"{path} is damaged or of another model; train anew, or remove it to start over") from error
    return progress, state.get("carried")


def save_weights(path: Path, model: nn.Module) -> None:
    """The weights as safetensors, atomically."""
    write_bytes(path, save({name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}))


def load_weights(path: Path, model: nn.Module) -> None:
    """The weights of a safetensors file, which must fit the model exactly."""
    if not path.is_file():
        raise InputError(f"{path} is missing; expected the weights of a run; train until the first validation")
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise InputError(f"{path} is damaged or of another model; expected the weights of this run's model") from error
