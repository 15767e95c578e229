"""Functions for one training step and for one pass over the validation data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mdnrnn.device import autocast, to_float64
from mdnrnn.errors import InputError
from mdnrnn.models.base import Loss, Model
from mdnrnn.training import distributed
from mdnrnn.training.config import TrainConfig
from mdnrnn.training.epochs import count_points, load_batches

MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
"""Function that returns an optimizer of the given parameters."""


def make_optimizer(model: nn.Module, config: TrainConfig, make: MakeOptimizer | None = None) -> torch.optim.Optimizer:
    """Return the optimizer that `make` returns for the parameters of a model.

    By default, return an AdamW optimizer. Its weight decay applies to parameters with two or more dimensions, not to
    vectors.

    Raises:
        InputError: `make` does not return an optimizer.
    """
    if make is not None:
        optimizer = make(list(model.parameters()))
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise InputError(
                f"optimizer: received a function that returns {type(optimizer).__name__}, expected a function of the "
                "parameters that returns a torch.optim.Optimizer"
            )
        return optimizer
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def check_model(model: Any) -> None:
    """Raise `InputError` if `model` is not a module with parameters and a method `loss`."""
    if not isinstance(model, nn.Module) or not callable(getattr(model, "loss", None)):
        raise InputError(
            f"model: received {type(model).__name__}, expected a torch.nn.Module with a method loss(batch) that "
            "returns a scalar tensor or a Loss"
        )
    if next(model.parameters(), None) is None:
        raise InputError(f"model: received {type(model).__name__} without parameters, expected at least one parameter")


def to_loss(value: Any) -> Loss:
    """Return the result of a method `loss` as a `Loss`. A scalar tensor is a loss without terms."""
    loss = Loss(value, {}) if isinstance(value, Tensor) else value
    if not isinstance(loss, Loss) or loss.total.ndim:
        received = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"loss: the model returned {received}, expected a scalar tensor or a Loss with a scalar total")
    return loss


class Objective(nn.Module):
    """Module that computes the training objective of a model. DistributedDataParallel can wrap it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, batch: Any, state: Any, step: int) -> tuple[Tensor, Loss]:
        """Return the training objective and the loss of a batch.

        Args:
            batch: the batch.
            state: `Loss.state` of the preceding batch, or None.
            step: number of completed training steps.
        """
        if not isinstance(self.model, Model):
            loss = to_loss(self.model.loss(batch))
            return loss.total, loss
        loss = to_loss(self.model.loss_with_state(batch, state))
        return self.model.objective(loss, batch, step), loss


def train_step(
    objective: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Any,
    device: torch.device,
    precision: str,
    clip: float,
    step: int = 0,
    state: Any = None,
    weight: float = 1.0,
) -> tuple[Loss, Tensor]:
    """Update the weights by one step; return the loss and the norm of the gradient before clipping.

    If the loss or the gradient is NaN or infinite, the returned norm is NaN or infinite, and the weights do not change.

    Args:
        objective: an `Objective`, or DistributedDataParallel around one.
        optimizer: the optimizer.
        batch: the batch, with its tensors on `device`.
        device: the device of the model.
        precision: "float32" or "bfloat16", the precision of matrix products.
        clip: maximum norm of the gradient.
        step: number of completed training steps; the objective can depend on it, for example in KL annealing.
        state: `Loss.state` of the preceding batch, or None.
        weight: factor of the objective: number of points of this rank divided by the mean number of points per rank.
    """
    with autocast(device, precision):
        value, loss = objective(batch, state, step)
    optimizer.zero_grad(set_to_none=True)
    (value if weight == 1 else value * weight).backward()
    norm = torch.nn.utils.clip_grad_norm_(objective.parameters(), clip)
    norm = norm + 0 * loss.total.detach()  # NaN if the loss is not finite
    if all(group.get("fused") for group in optimizer.param_groups) and device.type != "mps":
        # If found_inf is 1, a fused optimizer skips the update. This does not require a device synchronization. On MPS,
        # PyTorch ignores found_inf (github.com/pytorch/pytorch/pull/186360).
        optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
        optimizer.step()
    elif norm.isfinite():
        optimizer.step()
    return loss, norm


@torch.no_grad()
def validation_loss(model: Any, data: Iterable[Any], device: torch.device, precision: str) -> dict[str, float]:
    """Return the mean loss per point over the validation data of all ranks.

    The loss is computed in evaluation mode. Afterwards the model is in training mode. All ranks must call this
    function together.

    Returns:
        A dict with the mean loss as "valid_loss", and the mean of each of its terms as "valid_<term>".
    """
    model.eval()
    total: Tensor | float = 0.0
    names, points = ["loss"], 0
    for batch in load_batches(data, data, device):
        with autocast(device, precision):
            loss = to_loss(model.loss(batch))
        names, weight = ["loss", *loss.terms], count_points(batch)
        total = total + to_float64(torch.stack([loss.total, *loss.terms.values()])) * weight
        points += weight
    model.train()
    local: dict[str, Any] = {"names": names, "sums": torch.as_tensor(total).tolist(), "points": points}
    parts = distributed.gather_objects(local)
    all_points = sum(part["points"] for part in parts)
    if not all_points:
        raise InputError(
            "valid: received no batches; expected an iterable that is not empty and not used up, such as a list"
        )
    sums = [part["sums"] for part in parts if part["points"]]
    names = max((part["names"] for part in parts), key=len)
    means = [sum(values) / all_points for values in zip(*sums, strict=True)]
    return {f"valid_{name}": value for name, value in zip(names, means, strict=True)}
