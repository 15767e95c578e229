"""One step of a training, and one pass over the data that it is judged by."""

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
    """AdamW; weight matrices decay, vectors do not."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


class Objective(nn.Module):
    """What a training descends, and the loss that it comes from: a module, for gradients to be shared through."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: BatchLike, carried: Any, step: int) -> tuple[Tensor, Loss]:
        """Of a batch, given the state that the one before it left, at a step of the training."""
        loss = self.model.loss_with_state(batch, carried)
        return self.model.objective(loss, batch, step), loss


def train_step(
    objective: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: BatchLike,
    device: torch.device,
    precision: str,
    clip: float,
    number: int = 0,
    carried: Any = None,
    share: float = 1.0,
) -> tuple[Loss, Tensor]:
    """Step `number` of a training, on a batch: its loss, and the norm of the gradient before clipping.

    `optimizer`: a fused one, as `make_optimizer` gives.
    `objective`: an `Objective`, or it over several processes, where `share` is what this process's points count beside
    the others'. `carried` is the state that the loss of the batch before left, if it left one.

    Where either is not finite the norm is not, and the weights are left as they were.
    """
    with autocast(device, precision):
        descended, loss = objective(batch, carried, number)
    optimizer.zero_grad(set_to_none=True)
    (descended if share == 1 else descended * share).backward()
    norm = torch.nn.utils.clip_grad_norm_(objective.parameters(), clip)
    norm = norm + 0 * loss.total.detach()  # a loss that is no number makes the norm one
    # Skipped on the device: whoever looks at the norm waits for the step, and need not yet.
    optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
    optimizer.step()
    return loss, norm


@torch.no_grad()
def validation_loss(model: Model, data: Iterable[BatchLike], device: torch.device, precision: str) -> dict[str, float]:
    """Mean loss a point over all of `data`, of all processes: "valid_loss", and its terms by name."""
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
    own: dict[str, Any] = {"names": names, "sums": torch.as_tensor(total).tolist(), "points": points}
    every = distributed.gather_objects(own)
    all_points = sum(part["points"] for part in every)
    if not all_points:
        raise InputError("valid: received no batch (any more), expected data that can be gone through again and again")
    sums = [part["sums"] for part in every if part["points"]]
    names = max((part["names"] for part in every), key=len)
    means = [sum(values) / all_points for values in zip(*sums, strict=True)]
    return {f"valid_{name}": value for name, value in zip(names, means, strict=True)}
