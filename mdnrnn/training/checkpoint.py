"""What an exact resume needs, in one file that is replaced as a whole."""

import io
import pickle
from dataclasses import asdict, dataclass
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

WEIGHTS_FILE, CHECKPOINT_FILE = "model.safetensors", "last.pt"


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


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, carried: Any
) -> None:
    """Weights, optimizer, progress, the random generators of all processes and the state that the next batch goes on
    from, atomically, by the first of the processes, which have to call this together."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    generators = distributed.gather_objects({"cpu": torch.get_rng_state(), "cuda": cuda})
    if distributed.rank() != 0:
        return
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generators": generators,
        "progress": asdict(progress),
        "carried": carried,
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


_DAMAGE = (pickle.UnpicklingError, RuntimeError, KeyError, TypeError, EOFError, ValueError, OSError, IndexError)


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """What `save_checkpoint` has saved, if it has. Only tensors and plain values are unpickled."""
    if not path.exists():
        return None
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except _DAMAGE as error:
        raise _damaged(path) from error


def restore_checkpoint(
    state: dict[str, Any], path: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Progress, Any]:
    """Put everything back as `save_checkpoint` found it at `path`; the progress, and the state that is carried.

    A process that was not there then begins with random numbers of its own.
    """
    try:
        progress = Progress(**state["progress"])
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        own = distributed.rank()
        if own < len(state["generators"]):
            generators = state["generators"][own]
            torch.set_rng_state(generators["cpu"])
            if torch.cuda.is_available() and generators["cuda"] is not None:
                torch.cuda.set_rng_state(generators["cuda"])
        else:
            seed_process(progress.step)
    except _DAMAGE as error:
        raise _damaged(path) from error
    return progress, state.get("carried")


def seed_process(seed: int) -> None:
    """Start torch's generators: the first process's from the seed itself, the others' each from a number of its own."""
    own = distributed.rank()
    torch.manual_seed(int(np.random.SeedSequence([seed, own]).generate_state(1)[0]) if own else seed)


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} is damaged or of another model; train anew, or remove it to start over")


def save_weights(path: Path, model: nn.Module) -> None:
    """The weights as safetensors, atomically."""
    write_bytes(path, save({name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}))


def load_weights(path: Path, model: nn.Module) -> None:
    """The weights of a safetensors file, which must fit the model exactly; the first process reads it for all."""
    try:
        model.load_state_dict(distributed.from_rank_zero(lambda: _read_weights(path)))
    except RuntimeError as error:
        raise _unfit(path) from error


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise InputError(f"{path} is missing; expected the weights of a run; train until the first validation")
    try:
        return load_file(path)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise _unfit(path) from error


def _unfit(path: Path) -> InputError:
    return InputError(f"{path} is damaged or of another model; expected the weights of this run's model")
