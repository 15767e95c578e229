"""Functions for one training step and for one pass over the validation data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mdnrnn.data.prefetch import prefetch
from mdnrnn.device import autocast
from mdnrnn.errors import InputError
from mdnrnn.models.base import BatchLike, Loss, Model
from mdnrnn.training import distributed
from mdnrnn.training.config import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Return an AdamW optimizer. Weight decay applies to parameters with two or more dimensions, not to vectors."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


class Objective(nn.Module):
    """Module that computes the training objective of a model. DistributedDataParallel can wrap it."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: BatchLike, state: Any, step: int) -> tuple[Tensor, Loss]:
        """Return the training objective and the loss of a batch.

        Args:
            batch: the batch.
            state: `Loss.state` of the preceding batch, or None.
            step: number of completed training steps.
        """
        loss = self.model.loss_with_state(batch, state)
        return self.model.objective(loss, batch, step), loss


def train_step(
    objective: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: BatchLike,
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
        optimizer: a fused optimizer, as returned by `make_optimizer`.
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
    # If found_inf is 1, a fused optimizer skips the update. This does not require a device synchronization.
    optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
    optimizer.step()
    return loss, norm


@torch.no_grad()
def validation_loss(model: Model, data: Iterable[BatchLike], device: torch.device, precision: str) -> dict[str, float]:
    """Return the mean loss per point over the validation data of all ranks.

    The loss is computed in evaluation mode. Afterwards the model is in training mode. All ranks must call this
    function together.

    Returns:
        A dict with the mean loss as "valid_loss", and the mean of each of its terms as "valid_<term>".
    """
    model.eval()
    total: Tensor | float = 0.0
    names, points = ["loss"], 0
    for batch in prefetch(batch.to(device) for batch in data):
        with autocast(device, precision):
            loss = model.loss(batch)
        names = ["loss", *loss.terms]
        total = total + torch.stack([loss.total, *loss.terms.values()]).double() * batch.points
        points += batch.points
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
