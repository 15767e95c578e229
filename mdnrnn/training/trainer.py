"""The training loop, for every model and every kind of data."""

from __future__ import annotations

import math
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mdnrnn.data.prefetch import prefetch
from mdnrnn.data.static import PointBatches, Points
from mdnrnn.device import choose_device, choose_precision
from mdnrnn.errors import InputError
from mdnrnn.files import make_folder
from mdnrnn.models.base import BatchLike, Model, shard_state, unshard_state
from mdnrnn.training import distributed
from mdnrnn.training.callbacks import Callback, ProgressBar
from mdnrnn.training.checkpoint import (
    CHECKPOINT_FILE,
    WEIGHTS_FILE,
    load_weights,
    read_checkpoint,
    restore_checkpoint,
    save_checkpoint,
    save_weights,
    seed_generators,
)
from mdnrnn.training.config import TrainConfig
from mdnrnn.training.loss_check import LossCheck, NonFiniteLoss
from mdnrnn.training.memory import keep_freed_memory, return_freed_memory
from mdnrnn.training.metrics import MetricsWriter, RunningMeans
from mdnrnn.training.progress import Progress
from mdnrnn.training.schedule import Schedule
from mdnrnn.training.signals import catch_signals
from mdnrnn.training.step import Objective, make_optimizer, train_step, validation_loss

_LOG_INTERVAL = 20
"""Number of steps between two logs of the training loss."""


class Epochs(Protocol):
    """Protocol of training data: the batches of any epoch, in a reproducible order, starting at any batch."""

    def epoch(self, number: int, start: int = 0) -> Iterator[BatchLike]:
        """Return the batches of epoch `number` from index `start` on.

        The same `number` must always give the same batches. A background thread iterates over the result.
        """
        ...


@dataclass(frozen=True)
class TrainingResult:
    """Progress at the end of training, and the signal that stopped it, if any."""

    progress: Progress
    interrupted: signal.Signals | None = None
    """Signal that stopped training, or None."""


def fit(
    model: Model,
    train: Epochs | Points,
    valid: Iterable[BatchLike] | Points | None = None,
    folder: Path | str | None = None,
    config: TrainConfig | None = None,
    callbacks: Iterable[Callback] = (),
) -> TrainingResult:
    """Train a model, starting from the last checkpoint in `folder` if there is one.

    When training is finished, the model has the weights with the lowest validation loss or, without validation data,
    the final weights. It is in evaluation mode and on its original device. `folder` contains model.safetensors (these
    weights), last.pt (the checkpoint) and metrics.jsonl. SIGINT and SIGTERM stop training after the current step. The
    next call with the same folder continues from the checkpoint, with bit-identical results.

    If torchrun started several ranks (see `mdnrnn.training.distributed`), all ranks must call this function with the
    same arguments. Each batch is divided among the ranks. Only rank 0 writes files and calls the callbacks.

    Args:
        model: the model; modified in place.
        train: training data; points are batched according to `config`.
        valid: validation data, iterated once per validation.
        folder: folder for the files; by default a temporary folder.
        config: budget, optimizer and schedule.
        callbacks: loggers and other callbacks.

    Raises:
        NonFiniteLoss: the loss or its gradient is NaN or infinite; `folder` keeps the last good checkpoint.
        InputError: the checkpoint is damaged or belongs to another model, or the data cannot be divided among ranks.
    """
    keep_freed_memory()
    config, device = config or TrainConfig(), next(model.parameters()).device
    train_data = _shard(PointBatches(train, config.batch_size, config.seed) if isinstance(train, Points) else train)
    valid_data = _shard(PointBatches(valid, config.batch_size) if isinstance(valid, Points) else valid)
    with ExitStack() as stack:
        folder = Path(folder or stack.enter_context(tempfile.TemporaryDirectory()))
        if distributed.rank() == 0:
            make_folder(folder)
        try:
            return Trainer(model, train_data, valid_data, folder, config, callbacks).run()
        finally:
            model.to(device).eval()


def _shard(data: Any) -> Any:
    """Return this rank's part of the data."""
    if distributed.world_size() == 1 or data is None:
        return data
    if not hasattr(data, "shard"):
        raise InputError(
            f"received {type(data).__name__} with {distributed.world_size()} ranks; expected data with a method shard: "
            "Batches, Windows or Points"
        )
    return data.shard(distributed.rank(), distributed.world_size())


class Trainer:
    """Training loop with its model, optimizer, data, progress, and the recurrent state carried from batch to batch."""

    def __init__(
        self,
        model: Model,
        train: Epochs,
        valid: Iterable[BatchLike] | None,
        folder: Path,
        config: TrainConfig,
        callbacks: Iterable[Callback] = (),
    ) -> None:
        self.device = choose_device(config.device)
        self.precision = choose_precision(config.precision, self.device)
        self.model, self.folder, self.config = model.to(self.device), folder, config
        self.train, self.valid = train, valid
        self.schedule = Schedule(config)
        self.optimizer = make_optimizer(model, config)
        self.loss_check = LossCheck(folder, lag=1 if self.device.type == "cuda" else 0)
        self.means = RunningMeans()
        self.progress = Progress()
        self.metrics: MetricsWriter | None = None
        self.callbacks: list[Callback] = []
        self.stop_requested = False
        """Whether any rank had received a signal before the last step."""
        self.state: Any = None
        """State of this rank's sequences after the last batch, for truncated backpropagation through time; or None."""
        self._batch_is_idle = False
        self._saved_at = 0.0

        checkpoint = distributed.from_rank_zero(lambda: read_checkpoint(folder / CHECKPOINT_FILE))
        if checkpoint is None:
            seed_generators(config.seed)
        else:
            self.progress, state = restore_checkpoint(checkpoint, folder / CHECKPOINT_FILE, model, self.optimizer)
            self.state = shard_state(state, distributed.rank(), distributed.world_size())
        self.objective: nn.Module = Objective(model)
        if distributed.world_size() > 1:
            self.objective = DistributedDataParallel(self.objective, gradient_as_bucket_view=True)
        if checkpoint is None:
            self.save_checkpoint()
        if distributed.rank() == 0:
            self.metrics = MetricsWriter(folder, self.progress)
            self.callbacks = [self.metrics, ProgressBar(config, self.progress), *callbacks]
        self.model.train()
        self._started = time.monotonic() - self.progress.seconds
        self._saved_at = self.progress.seconds

    def run(self) -> TrainingResult:
        """Train until the budget is spent, early stopping ends training, or a signal arrives."""
        distributed_run = distributed.world_size() > 1
        with catch_signals(repeated=distributed_run) as signals, ExitStack() as stack:
            for callback in self.callbacks:
                stack.callback(callback.on_end)
            for batch in self.batches():
                self.train_on(batch, len(signals))
                if self.validation_is_due():
                    self.validate()
                if self.is_over():
                    break
                # With several ranks, all ranks must stop after the same step.
                if self.stop_requested or (signals and not distributed_run):
                    self.save_checkpoint()
                    return TrainingResult(self.progress, signals[0] if signals else signal.SIGTERM)
                if self.progress.seconds - self._saved_at >= self.config.checkpoint_seconds:
                    self.save_checkpoint()
                    return_freed_memory()
            self.finish()
        return TrainingResult(self.progress)

    def batches(self) -> Iterator[BatchLike]:
        """Iterate over the batches of all epochs, from the current position on."""
        if self.is_over():
            return
        while True:
            epoch = self.train.epoch(self.progress.epoch, self.progress.batch)
            for batch in prefetch(batch.to(self.device) for batch in epoch):
                self.progress.batch += 1
                yield batch
            self.progress.epoch, self.progress.batch = self.progress.epoch + 1, 0

    def train_on(self, batch: BatchLike, signals: int = 0) -> None:
        """Train on one batch and log the loss; `signals` is the number of signals that this rank has received."""
        progress = self.progress
        # An idle batch is a placeholder on a rank that has no sequence of the batch.
        self._batch_is_idle = getattr(batch, "idle", False)
        points = 0 if self._batch_is_idle else batch.points
        all_points, progress.seconds, all_signals = distributed.all_reduce_sum(points, self._elapsed(), signals)
        self.stop_requested = all_signals > 0

        learning_rate = self.schedule.learning_rate(progress.step, progress.seconds)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        loss, gradient_norm = train_step(
            self.objective,
            self.optimizer,
            batch,
            self.device,
            self.precision,
            self.config.clip,
            step=progress.step,
            state=self.state,
            weight=points / all_points * distributed.world_size(),
        )
        self.state = loss.state
        progress.step += 1
        progress.points += int(all_points)
        self.loss_check.add(progress.step, loss.total, gradient_norm, batch.indices)

        self.means.add({"loss": loss.total, **loss.terms}, points / all_points)
        for callback in self.callbacks:
            callback.on_step(progress)
        if progress.step % _LOG_INTERVAL == 0:
            self._log({"lr": learning_rate, **{f"train_{name}": mean for name, mean in self.means.reset().items()}})

    def validation_is_due(self) -> bool:
        """Return whether a validation is due after this step."""
        if self.valid is None:
            return False
        return self.schedule.validations_due(self.progress.step, self.progress.seconds) > self.progress.validations

    def validate(self) -> None:
        """Evaluate the validation data; save the weights if they are the best so far."""
        self.loss_check.check_all()
        progress = self.progress
        assert self.valid is not None
        metrics = validation_loss(self.model, self.valid, self.device, self.precision)
        progress.validations = self.schedule.validations_due(progress.step, progress.seconds)
        if not math.isfinite(metrics["valid_loss"]):
            raise NonFiniteLoss(
                f"the validation loss is {metrics['valid_loss']} at step {progress.step}; check the validation data, "
                f"or lower --learning-rate; {self.folder} keeps the last good checkpoint"
            )
        progress.validated_step = progress.step
        progress.validations_since_best += 1
        if metrics["valid_loss"] < progress.best:
            progress.best, progress.validations_since_best = metrics["valid_loss"], 0
            self._save_weights()
        (progress.seconds,) = distributed.all_reduce_sum(self._elapsed())
        self._log(metrics)
        for callback in self.callbacks:
            callback.on_validation(progress)

    def is_over(self) -> bool:
        """Return whether training is finished, the budget is spent, or early stopping (`patience`) ends training."""
        progress, patience = self.progress, self.config.patience
        spent = self.schedule.progress(progress.step, progress.seconds) >= 1
        return progress.finished or spent or (patience > 0 and progress.validations_since_best >= patience)

    def save_checkpoint(self) -> None:
        """Flush the metrics to disk, because the checkpoint stores their length, and save a checkpoint."""
        self.loss_check.check_all()
        if self.metrics is not None:
            self.metrics.flush_to_disk()
        path = self.folder / CHECKPOINT_FILE
        save_checkpoint(path, self.model, self.optimizer, self.progress, self._gather_state())
        self._saved_at = self.progress.seconds

    def finish(self) -> None:
        """Validate the final weights if needed, save the last checkpoint, and load the best weights into the model."""
        if not self.progress.finished:
            self.loss_check.check_all()
            (self.progress.seconds,) = distributed.all_reduce_sum(self._elapsed())
            if self.valid is None:
                self._save_weights()
            elif self.progress.validated_step != self.progress.step:
                self.validate()
            self.progress.finished = True
            self.save_checkpoint()
        load_weights(self.folder / WEIGHTS_FILE, self.model)

    def _elapsed(self) -> float:
        """Return the training time in seconds on rank 0, and 0 on other ranks, so that the sum is rank 0's time."""
        return time.monotonic() - self._started if distributed.rank() == 0 else 0.0

    def _gather_state(self) -> Any:
        """Return the carried state of the sequences of all ranks."""
        if distributed.world_size() == 1:
            return self.state
        return unshard_state(distributed.gather_objects(None if self._batch_is_idle else self.state))

    def _save_weights(self) -> None:
        if distributed.rank() == 0:
            save_weights(self.folder / WEIGHTS_FILE, self.model)

    def _log(self, metrics: dict[str, float]) -> None:
        for callback in self.callbacks:
            callback.on_log(self.progress, metrics)
