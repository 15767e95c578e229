"""The training loop, for every model and every kind of data."""

from __future__ import annotations

import math
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm.auto import tqdm

from mdnrnn.data.static import PointBatches, Points
from mdnrnn.device import choose_device, choose_precision, current_device
from mdnrnn.errors import InputError
from mdnrnn.files.atomic import make_folder
from mdnrnn.files.locks import lock_folder
from mdnrnn.models.state import shard_state, unshard_state
from mdnrnn.training import distributed
from mdnrnn.training.callbacks import Callback, ProgressBar, TrainingState
from mdnrnn.training.checkpoint import (
    CHECKPOINT_FILE,
    WEIGHTS_FILE,
    check_weights,
    load_weights,
    read_checkpoint,
    restore_checkpoint,
    save_checkpoint,
    save_weights,
    seed_generators,
)
from mdnrnn.training.config import TrainConfig
from mdnrnn.training.continuation import apply_changes, check_changes, describe_changes
from mdnrnn.training.epochs import Epochs, check_repeatable, count_points, load_batches, shard, to_epochs
from mdnrnn.training.loss_check import LossCheck, NonFiniteLoss
from mdnrnn.training.memory import return_freed_memory
from mdnrnn.training.metrics import MetricsWriter, RunningMeans
from mdnrnn.training.progress import Progress
from mdnrnn.training.schedule import Schedule
from mdnrnn.training.signals import catch_signals
from mdnrnn.training.step import MakeOptimizer, Objective, check_model, make_optimizer, train_step, validation_loss

_LOG_INTERVAL = 20
"""Number of steps between two logs of the training metrics."""


@dataclass(frozen=True)
class TrainingResult:
    """Result of `fit`: progress at the end of training, and the signal that stopped training, if any."""

    progress: Progress
    interrupted: signal.Signals | None = None
    """Signal that stopped training; None if training is finished."""
    null_nll_per_point: float = math.nan
    """Negative log-likelihood of the null model on the validation data, in nats per point, comparable with
    `progress.best`. It is computed by `mdnrnn.train` and `mdnrnn.resume` on rank 0; NaN on other ranks, and in the
    result of `mdnrnn.fit`."""


def fit(
    model: nn.Module,
    train: Epochs | Points | Iterable[Any],
    valid: Points | Iterable[Any] | None = None,
    folder: Path | str | None = None,
    config: TrainConfig | None = None,
    callbacks: Iterable[Callback] = (),
    optimizer: MakeOptimizer | None = None,
) -> TrainingResult:
    """Train a model. If `folder` contains a checkpoint, training continues from it.

    The model is any module with a method `loss(batch)` that returns a scalar tensor or a `Loss`. A batch is anything
    that this method accepts: for example a `Batch`, a tensor, or a tuple or dict of tensors. Its tensors are moved to
    the device of the training. In means, such as the validation loss, the weight of a batch is its attribute `points`
    or, without this attribute, the size of the first dimension of its first tensor.

    A finished run is trained further only if the options have changed, for example if the budget is larger. The
    learning rate then follows the schedule of the whole new budget. The weights therefore differ from those of a run
    that had the new budget from the beginning, except with `final_rate` 1, which disables the decay. Changed options
    apply from the next step on, and are printed to stderr. Options that determine the batches, such as `batch_size` and
    `seed`, cannot be changed.

    When training is finished, the model has the weights with the lowest validation loss or, without validation data,
    the final weights. The model is in evaluation mode and on its original device. `folder` contains model.safetensors
    (these weights), last.pt (the checkpoint) and metrics.jsonl (the training log).

    SIGINT and SIGTERM stop training after the current step. The next call with the same folder then continues from the
    checkpoint. With a budget in steps and the same number of ranks, the results are bit-identical to those of
    uninterrupted training if `train` has a method `epoch(number, start)`, as `Batches` have. With other data,
    such as a DataLoader, the batches already used in the interrupted epoch are skipped. The results are then
    bit-identical only if every iteration yields the same batches.

    If torchrun started several ranks, or the program has initialized a process group, all ranks must call this function
    with the same arguments; see `mdnrnn.training.distributed`. Each batch is divided among the ranks. Only rank 0
    writes files and calls the callbacks.

    Args:
        model: the model; its weights are modified.
        train: training data: `Batches`, or anything that yields the batches of one epoch per iteration, such as a list
            or a DataLoader. `Points` are divided into batches according to `config`.
        valid: validation data, like `train`; every validation iterates over all of them.
        folder: folder for the files; by default a temporary folder, which is deleted at the end.
        config: budget, optimizer and schedule.
        callbacks: callbacks, for example loggers.
        optimizer: function that returns an optimizer of the given parameters, for example
            `lambda parameters: torch.optim.SGD(parameters, lr=0.1)`. Its learning rates are the peaks of the schedule
            and replace `config.learning_rate`; its other options replace `config.weight_decay`. By default, AdamW.

    Raises:
        NonFiniteLoss: the loss or its gradient is NaN or infinite; `folder` keeps the last good checkpoint.
        InputError: the model, the data or the optimizer have a wrong type, the data are empty, the checkpoint is
            damaged or belongs to another model, another process trains in `folder`, an option cannot be changed or
            would have no effect on a finished run, or the data cannot be divided among ranks.
    """
    check_model(model)
    config, original_device = config or TrainConfig(), next(model.parameters()).device
    with ExitStack() as stack:
        stack.enter_context(distributed.process_group())
        device = choose_device(config.device)
        stack.enter_context(current_device(device))
        stack.enter_context(torch.random.fork_rng(devices=range(torch.cuda.device_count())))
        train_data = shard(PointBatches(train, config.batch_size, config.seed) if isinstance(train, Points) else train)
        valid_data = shard(PointBatches(valid, config.batch_size) if isinstance(valid, Points) else valid)
        folder = Path(folder or stack.enter_context(tempfile.TemporaryDirectory()))
        distributed.from_rank_zero(lambda: stack.enter_context(lock_folder(make_folder(folder))))
        try:
            return Trainer(model, train_data, valid_data, folder, config, callbacks, optimizer).run()
        finally:
            model.to(original_device).eval()


class Trainer:
    """Training loop and its state: model, optimizer, data, progress, and recurrent state after the last batch.

    See `fit` for the arguments. `train` and `valid` are this rank's part of the data.
    """

    def __init__(
        self,
        model: nn.Module,
        train: Epochs | Iterable[Any],
        valid: Iterable[Any] | None,
        folder: Path,
        config: TrainConfig,
        callbacks: Iterable[Callback] = (),
        optimizer: MakeOptimizer | None = None,
    ) -> None:
        self.device = choose_device(config.device)
        self.precision = choose_precision(config.precision, self.device)
        self.model, self.folder, self.config = model.to(self.device), folder, config
        self.train, self.valid = to_epochs(train), valid
        if valid is not None:
            check_repeatable("valid", valid)
        self.schedule = Schedule(config)
        self.optimizer = make_optimizer(model, config, optimizer)
        self.rate_factors = [float(group["lr"]) / config.learning_rate for group in self.optimizer.param_groups]
        """Peak learning rate of each parameter group, divided by the peak learning rate of the schedule."""
        self.loss_check = LossCheck(folder, config, lag=1 if self.device.type == "cuda" else 0)
        self.means = RunningMeans()
        self.progress = Progress()
        self.metrics: MetricsWriter | None = None
        self.callbacks: list[Callback] = []
        self.stop_requested = False
        """Whether any rank had received SIGINT or SIGTERM before the last step."""
        self.carried_state: Any = None
        """Recurrent state of this rank's sequences after the last batch. The next batch starts from this state
        (truncated backpropagation through time). None if no state is carried from batch to batch."""
        self._losses: dict[str, Tensor] = {}
        """Loss and terms of the last step, by name."""
        self._batch_is_idle = False
        self._saved_at = 0.0

        checkpoint = distributed.from_rank_zero(
            lambda: read_checkpoint(folder / CHECKPOINT_FILE, model, self.optimizer, config.batch_size)
        )
        if checkpoint is None:
            seed_generators(config.seed)
        else:
            self._restore(checkpoint)
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

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        """Restore the state of training from a checkpoint, with the options of `config`."""
        path, progress = self.folder / CHECKPOINT_FILE, Progress(**checkpoint["progress"])
        changes = distributed.from_rank_zero(lambda: check_changes(progress, checkpoint["config"], path, self.config))
        if progress.finished or progress.best < math.inf:
            distributed.from_rank_zero(lambda: check_weights(self.folder / WEIGHTS_FILE, self.model.state_dict()))
        self.progress, state = restore_checkpoint(checkpoint, self.model, self.optimizer)
        self.carried_state = shard_state(state, distributed.rank(), distributed.world_size())
        apply_changes(changes, self.config, self.progress)
        if changes and distributed.rank() == 0:
            tqdm.write(f"{self.folder} continues with {describe_changes(changes)}", file=sys.stderr)

    def run(self) -> TrainingResult:
        """Train until the budget is used, early stopping ends training, or SIGINT or SIGTERM is received."""
        distributed_run = distributed.world_size() > 1
        with catch_signals(repeated=distributed_run) as signals, ExitStack() as stack:
            for callback in self.callbacks:
                stack.callback(self._end, callback)
            for batch in self.batches():
                self.train_on(batch, len(signals))
                if self.validation_is_due():
                    self.validate()
                if self.is_over():
                    break
                # With several ranks, all ranks must stop after the same step: only `stop_requested` is the same on all.
                if self.stop_requested or (signals and not distributed_run):
                    self.save_checkpoint()
                    return TrainingResult(self.progress, signals[0] if signals else signal.SIGTERM)
                if self.progress.seconds - self._saved_at >= self.config.checkpoint_seconds:
                    self.save_checkpoint()
                    return_freed_memory()
            self.finish()
        return TrainingResult(self.progress)

    def _end(self, callback: Callback) -> None:
        callback.on_end(self.state({}))

    def batches(self) -> Iterator[Any]:
        """Yield the batches of successive epochs, beginning with the first batch that has not been trained on."""
        if self.is_over():
            return
        while True:
            epoch = self.train.epoch(self.progress.epoch, self.progress.batch)
            for batch in load_batches(self.train, epoch, self.device):
                self.progress.batch += 1
                yield batch
            if not self.progress.batch:
                raise InputError("train: received no batches; expected at least one batch per epoch")
            self.progress.epoch, self.progress.batch = self.progress.epoch + 1, 0

    def train_on(self, batch: Any, signals: int = 0) -> None:
        """Train on one batch and call the callbacks.

        Args:
            batch: the batch.
            signals: number of signals (SIGINT or SIGTERM) that this rank has received.
        """
        progress = self.progress
        # If a batch has fewer sequences than there are ranks, some ranks get a placeholder, an idle batch.
        self._batch_is_idle = getattr(batch, "idle", False)
        points = 0 if self._batch_is_idle else count_points(batch)
        all_points, progress.seconds, all_signals = distributed.all_reduce_sum(points, self._elapsed(), signals)
        self.stop_requested = all_signals > 0

        learning_rate = self.schedule.learning_rate(progress.step, progress.seconds)
        for group, factor in zip(self.optimizer.param_groups, self.rate_factors, strict=True):
            group["lr"] = learning_rate * factor
        loss, gradient_norm = train_step(
            self.objective,
            self.optimizer,
            batch,
            self.device,
            self.precision,
            self.config.clip,
            step=progress.step,
            state=self.carried_state,
            weight=points / all_points * distributed.world_size(),
        )
        self.carried_state = loss.state
        progress.step += 1
        progress.points += int(all_points)
        indices = getattr(batch, "indices", None)  # of a tensor, it is a method
        indices = indices if isinstance(indices, Tensor) else None
        self.loss_check.add(progress.step, loss.total, gradient_norm, indices)

        self._losses = {name: value.detach() for name, value in {"loss": loss.total, **loss.terms}.items()}
        self.means.add(self._losses, points / all_points)
        metrics: dict[str, float] = {}
        if progress.step % _LOG_INTERVAL == 0:
            means = self.means.reset()
            metrics = {"lr": self.learning_rate, **{f"train_{name}": mean for name, mean in means.items()}}
        state = self.state(metrics)
        for callback in self.callbacks:
            callback.on_step(state)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the last step; of the first parameter group if the optimizer has several groups."""
        return float(self.optimizer.param_groups[0]["lr"])

    def state(self, metrics: Mapping[str, float]) -> TrainingState:
        """Return the state of training for callbacks; `metrics` are the values to log."""
        progress = self.progress
        return TrainingState(
            step=progress.step,
            epoch=progress.epoch,
            points=progress.points,
            seconds=progress.seconds,
            learning_rate=self.learning_rate,
            loss=self._losses.get("loss"),
            terms={name: value for name, value in self._losses.items() if name != "loss"},
            metrics=metrics,
            best=progress.best,
            model=self.model,
            optimizer=self.optimizer,
            folder=self.folder,
        )

    def validation_is_due(self) -> bool:
        """Return whether a validation is due after the last step."""
        if self.valid is None:
            return False
        return self.schedule.validations_due(self.progress.step, self.progress.seconds) > self.progress.validations

    def validate(self) -> None:
        """Compute the validation loss; save the weights if the loss is the lowest so far."""
        self.loss_check.check_all()
        progress = self.progress
        assert self.valid is not None
        metrics = validation_loss(self.model, self.valid, self.device, self.precision)
        progress.validations = self.schedule.validations_due(progress.step, progress.seconds)
        if not math.isfinite(metrics["valid_loss"]):
            raise NonFiniteLoss(
                f"the validation loss is {metrics['valid_loss']} at step {progress.step}; "
                f"{self.loss_check.describe_cause('check the validation data')}; {self.folder} keeps the last good "
                "checkpoint"
            )
        progress.validated_step = progress.step
        progress.validations_since_best += 1
        if metrics["valid_loss"] < progress.best:
            progress.best, progress.validations_since_best = metrics["valid_loss"], 0
            self._save_weights()
        (progress.seconds,) = distributed.all_reduce_sum(self._elapsed())
        state = self.state(metrics)
        for callback in self.callbacks:
            callback.on_validation(state)

    def is_over(self) -> bool:
        """Return whether the budget is used, early stopping (`patience`) applies, or a finished run was restored."""
        progress, patience = self.progress, self.config.patience
        spent = self.schedule.progress(progress.step, progress.seconds) >= 1
        return progress.finished or spent or (patience > 0 and progress.validations_since_best >= patience)

    def save_checkpoint(self) -> None:
        """Write the training log to disk, then save a checkpoint.

        The order matters because the checkpoint contains the length of the log.
        """
        self.loss_check.check_all()
        if self.metrics is not None:
            self.metrics.flush_to_disk()
        path = self.folder / CHECKPOINT_FILE
        save_checkpoint(path, self.model, self.optimizer, self.progress, self._gather_state(), self.config)
        self._saved_at = self.progress.seconds

    def finish(self) -> None:
        """Complete a finished training run: validate the final weights, save a checkpoint, load the best weights.

        The final weights are not validated again if the last validation was after the last step. Without validation
        data, the final weights are the best weights.
        """
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
        """Return the training time in seconds on rank 0, and 0 on other ranks.

        The sum over all ranks is therefore the time of rank 0, which all ranks use.
        """
        return time.monotonic() - self._started if distributed.rank() == 0 else 0.0

    def _gather_state(self) -> Any:
        """Return the recurrent state after the last batch, for the sequences of all ranks."""
        if distributed.world_size() == 1:
            return self.carried_state
        return unshard_state(distributed.gather_objects(None if self._batch_is_idle else self.carried_state))

    def _save_weights(self) -> None:
        if distributed.rank() == 0:
            save_weights(self.folder / WEIGHTS_FILE, self.model)
