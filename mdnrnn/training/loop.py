"""The training loop: one for every model and every corpus."""

from __future__ import annotations

import json
import math
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from tqdm import tqdm

from mdnrnn.data.points import PointBatches, Points
from mdnrnn.device import autocast, choose_device, choose_precision
from mdnrnn.errors import InputError
from mdnrnn.files import make_folder
from mdnrnn.models.base import AnyBatch, Loss, Model
from mdnrnn.training.checkpoint import Progress, load_last, load_weights, save_last, save_weights
from mdnrnn.training.config import DEFAULT_MINUTES, TrainConfig
from mdnrnn.training.memory import keep_freed_memory, return_freed_memory
from mdnrnn.training.metrics import METRICS
from mdnrnn.training.schedule import Schedule
from mdnrnn.training.signals import caught_signals

WEIGHTS, LAST = "model.safetensors", "last.pt"
_LOG_EVERY = 20
_NAMED = 200
"""Examples of a batch that an error names at most."""


class NonFiniteLoss(InputError):
    """The loss or its gradient is no number any more."""


class Epochs(Protocol):
    """Training data: epoch after epoch, each in an order of its own, from any batch on."""

    def epoch(self, number: int, start: int = 0) -> Iterator[AnyBatch]:
        """The batches of an epoch from number `start` on; the same for the same number."""
        ...


@dataclass(frozen=True)
class Result:
    """How a training ended."""

    progress: Progress
    interrupted: signal.Signals | None = None


def fit(
    model: Model,
    train: Epochs | Points,
    valid: Iterable[AnyBatch] | Points | None = None,
    folder: Path | str | None = None,
    config: TrainConfig | None = None,
    on_validation: Callable[[], None] | None = None,
) -> Result:
    """Train `model` on `train`, going on from `folder`'s last checkpoint if there is one.

    Leaves model.safetensors, last.pt and metrics.jsonl in `folder`, nowhere if it is None. The weights, in the file
    and in `model`, are the best by `valid`, or the last ones where there is no such data; `model` ends in eval mode,
    on the device that it came on. Points are batched as `config` says. SIGINT and SIGTERM end the loop: the result
    says so, and `folder` keeps what a further call goes on from. A non-finite loss raises NonFiniteLoss and leaves the
    last good checkpoint. `on_validation` is called after each validation.
    """
    keep_freed_memory()
    config, device = config or TrainConfig(), next(model.parameters()).device
    epochs = PointBatches(train, config.batch_size, config.seed) if isinstance(train, Points) else train
    held_out = PointBatches(valid, config.batch_size) if isinstance(valid, Points) else valid
    with ExitStack() as stack:
        folder = make_folder(folder or stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            return _fit(_Trainer(model, epochs, held_out, folder, config), on_validation)
        finally:
            model.to(device).eval()


def _fit(trainer: _Trainer, on_validation: Callable[[], None] | None) -> Result:
    with caught_signals() as received, trainer.bar() as bar:
        for batch in trainer.batches():
            trainer.step(batch, bar)
            if trainer.validation_due():
                trainer.validate()
                if on_validation:
                    on_validation()
            if trainer.over():
                break
            if received:
                trainer.checkpoint()
                return Result(trainer.progress, received[0])
            trainer.checkpoint_if_due()
        trainer.finish()
    return Result(trainer.progress)


@torch.no_grad()
def validation_loss(model: Model, data: Iterable[AnyBatch], device: torch.device, precision: str) -> dict[str, float]:
    """Mean loss a point over all of `data`: "valid_loss", and its terms by name."""
    model.eval()
    sums: dict[str, float] = {}
    points = 0
    for batch in data:
        with autocast(device, precision):
            loss = model.loss(batch.to(device))
        for name, value in {"loss": loss.total, **loss.terms}.items():
            sums[name] = sums.get(name, 0.0) + float(value) * batch.points
        points += batch.points
    model.train()
    if not points:
        raise InputError("valid: received no batch (any more), expected data that can be gone through again and again")
    return {f"valid_{name}": value / points for name, value in sums.items()}


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW; weight matrices decay, vectors do not."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def update(
    model: Model,
    optimizer: torch.optim.Optimizer,
    batch: AnyBatch,
    device: torch.device,
    precision: str,
    clip: float,
    number: int = 0,
    carried: Any = None,
) -> tuple[Loss, float]:
    """Step `number` of a training, on a batch: its loss, and the norm of the gradient before clipping.

    `carried` is the state that the loss of the batch before left, if it left one.

    Where either is not finite the norm is not, and the weights are left as they were.
    """
    with autocast(device, precision):
        loss = model.loss_after(batch, carried)
    optimizer.zero_grad(set_to_none=True)
    model.objective(loss, batch, number).backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    size = float(norm + 0 * loss.total.detach())  # a loss that is no number makes the norm one
    if math.isfinite(size):
        optimizer.step()
    return loss, size


class _Trainer:
    """The state of one training."""

    def __init__(
        self, model: Model, train: Epochs, valid: Iterable[AnyBatch] | None, folder: Path, config: TrainConfig
    ) -> None:
        self.device = choose_device(config.device)
        self.precision = choose_precision(config.precision, self.device)
        self.model, self.folder, self.config = model.to(self.device), folder, config
        self.train, self.valid = train, valid
        self.schedule = Schedule(config)
        self.optimizer = make_optimizer(model, config)
        last = folder / LAST
        self.carried: Any = None
        if last.exists():
            self.progress, self.carried = load_last(last, model, self.optimizer)
        else:
            torch.manual_seed(config.seed)
            self.progress = Progress()
            self.checkpoint()
        self._truncate_metrics()
        self.model.train()
        self._started = time.monotonic() - self.progress.seconds
        self._saved = time.monotonic()
        self._recent: dict[str, float] = {}
        self._recent_steps = 0

    def bar(self) -> tqdm:
        """A progress bar on stderr: in steps, or in seconds of the budget."""
        if self.config.steps is not None:
            return tqdm(
                total=self.config.steps, initial=self.progress.step, unit="step", dynamic_ncols=True, mininterval=1.0
            )
        total = 60 * (self.config.minutes or DEFAULT_MINUTES)
        form = "{l_bar}{bar}| {n:.0f}/{total} s{postfix}"
        return tqdm(total=total, initial=self.progress.seconds, bar_format=form, dynamic_ncols=True, mininterval=1.0)

    def batches(self) -> Iterator[AnyBatch]:
        """Epoch after epoch, from where the progress stands."""
        if self.over():
            return
        while True:
            for batch in self.train.epoch(self.progress.epoch, self.progress.batch):
                self.progress.batch += 1
                yield batch
            self.progress.epoch, self.progress.batch = self.progress.epoch + 1, 0

    def step(self, batch: AnyBatch, bar: tqdm) -> None:
        """One update."""
        progress = self.progress
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate(progress.step, progress.seconds)
        batch = batch.to(self.device)
        clip, number = self.config.clip, progress.step
        loss, norm = update(self.model, self.optimizer, batch, self.device, self.precision, clip, number, self.carried)
        if not math.isfinite(norm):
            numbers = ", ".join(map(str, batch.indices[:_NAMED].tolist())) + (
                "..." if len(batch.indices) > _NAMED else ""
            )
            raise NonFiniteLoss(
                f"the loss is {float(loss.total.detach())}, its gradient's norm {norm}, at step {progress.step + 1}, "
                f"examples {numbers}; look at them, or lower --learning-rate; "
                f"{self.folder} keeps the last good checkpoint"
            )
        self.carried = loss.state
        progress.step += 1
        progress.points += batch.points
        progress.seconds = time.monotonic() - self._started
        self._note({"loss": loss.total, **loss.terms}, bar)

    def _note(self, terms: dict[str, torch.Tensor], bar: tqdm) -> None:
        for name, value in terms.items():
            self._recent[name] = self._recent.get(name, 0.0) + float(value.detach())
        self._recent_steps += 1
        progress = self.progress
        bar.n = progress.step if self.config.steps is not None else min(progress.seconds, bar.total)
        if progress.step % _LOG_EVERY:
            bar.update(0)
            return
        means = {f"train_{name}": total / self._recent_steps for name, total in self._recent.items()}
        self._recent, self._recent_steps = {}, 0
        rate = progress.points / progress.seconds
        bar.set_postfix_str(f"loss {means['train_loss']:.3f}, {rate:,.0f} points/s", refresh=False)
        self._record({"lr": self.optimizer.param_groups[0]["lr"], **means})

    def validation_due(self) -> bool:
        """Whether a validation is due after this step."""
        if self.valid is None:
            return False
        due = self.schedule.validations_due(self.progress.step, self.progress.seconds)
        return due > self.progress.validations

    def validate(self) -> None:
        """Evaluate the valid split; keep the weights if they are the best so far."""
        progress = self.progress
        assert self.valid is not None
        terms = validation_loss(self.model, self.valid, self.device, self.precision)
        progress.validations = self.schedule.validations_due(progress.step, progress.seconds)
        if not math.isfinite(terms["valid_loss"]):
            raise NonFiniteLoss(
                f"the validation loss is {terms['valid_loss']} at step {progress.step}; look at the valid data, "
                f"or lower --learning-rate; {self.folder} keeps the last good checkpoint"
            )
        progress.validated = progress.step
        progress.since_best += 1
        if terms["valid_loss"] < progress.best:
            progress.best, progress.since_best = terms["valid_loss"], 0
            save_weights(self.folder / WEIGHTS, self.model)
        progress.seconds = time.monotonic() - self._started
        self._record(terms)

    def over(self) -> bool:
        """Whether the budget is spent, or patience."""
        spent = self.schedule.progress(self.progress.step, self.progress.seconds) >= 1
        patient = not self.config.patience or self.progress.since_best < self.config.patience
        return self.progress.finished or spent or not patient

    def checkpoint_if_due(self) -> None:
        """Save if the last checkpoint is old enough; a good moment to return what memory has been freed."""
        if time.monotonic() - self._saved >= self.config.checkpoint_seconds:
            self.checkpoint()
            return_freed_memory()

    def checkpoint(self) -> None:
        """Save all that a resume needs; the metrics up to here reach the disk before it does."""
        if (self.folder / METRICS).exists():
            with (self.folder / METRICS).open("rb") as file:
                os.fsync(file.fileno())
        save_last(self.folder / LAST, self.model, self.optimizer, self.progress, self.carried)
        self._saved = time.monotonic()

    def finish(self) -> None:
        """The last validation, the last checkpoint; then the best weights in the model."""
        if not self.progress.finished:
            if self.valid is None:
                save_weights(self.folder / WEIGHTS, self.model)
            elif self.progress.validated != self.progress.step:
                self.validate()
            self.progress.finished = True
            self.checkpoint()
        load_weights(self.folder / WEIGHTS, self.model)

    def _record(self, values: dict[str, float]) -> None:
        progress = self.progress
        line = {
            "step": progress.step,
            "points": progress.points,
            "seconds": round(progress.seconds, 3),
            **values,
        }
        with (self.folder / METRICS).open("ab") as file:
            file.write((json.dumps(line) + "\n").encode())
            progress.metrics_bytes = file.tell()

    def _truncate_metrics(self) -> None:
        path = self.folder / METRICS
        if path.exists() and path.stat().st_size > self.progress.metrics_bytes:
            os.truncate(path, self.progress.metrics_bytes)
