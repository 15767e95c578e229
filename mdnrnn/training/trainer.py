"""The training loop: one for every model and every corpus."""

from __future__ import annotations

import json
import math
import os
import signal
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from mdnrnn.data.prefetch import prefetch
from mdnrnn.data.static import PointBatches, Points
from mdnrnn.device import choose_device, choose_precision
from mdnrnn.errors import InputError
from mdnrnn.files import make_folder
from mdnrnn.models.base import BatchLike, Model, shard_state, unshard_state
from mdnrnn.training import distributed
from mdnrnn.training.checkpoint import (
    CHECKPOINT_FILE,
    WEIGHTS_FILE,
    Progress,
    load_weights,
    read_checkpoint,
    restore_checkpoint,
    save_checkpoint,
    save_weights,
    seed_process,
)
from mdnrnn.training.config import DEFAULT_MINUTES, TrainConfig
from mdnrnn.training.memory import keep_freed_memory, return_freed_memory
from mdnrnn.training.metrics import METRICS_FILE
from mdnrnn.training.schedule import Schedule
from mdnrnn.training.signals import catch_signals
from mdnrnn.training.step import Objective, make_optimizer, train_step, validation_loss

_LOG_EVERY = 20
_NAMED = 200
"""Examples of a batch that an error names at most."""


class NonFiniteLoss(InputError):
    """The loss or its gradient is no number any more."""


class Epochs(Protocol):
    """Training data: epoch after epoch, each in an order of its own, from any batch on."""

    def epoch(self, number: int, start: int = 0) -> Iterator[BatchLike]:
        """The batches of an epoch from number `start` on; the same for the same number. They are made ahead, in a
        thread of their own."""
        ...


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended."""

    progress: Progress
    interrupted: signal.Signals | None = None


def fit(
    model: Model,
    train: Epochs | Points,
    valid: Iterable[BatchLike] | Points | None = None,
    folder: Path | str | None = None,
    config: TrainConfig | None = None,
    on_validation: Callable[[], None] | None = None,
) -> TrainingResult:
    """Train `model` on `train`, going on from `folder`'s last checkpoint if there is one.

    Leaves model.safetensors, last.pt and metrics.jsonl in `folder`, nowhere if it is None. The weights, in the file
    and in `model`, are the best by `valid`, or the last ones where there is no such data; `model` ends in eval mode,
    on the device that it came on. Points are batched as `config` says. SIGINT and SIGTERM end the loop: the result
    says so, and `folder` keeps what a further call goes on from. A non-finite loss raises NonFiniteLoss and leaves the
    last good checkpoint. `on_validation` is called after each validation.

    Where torchrun has started several processes (see distributed.py), all call this alike: they share each batch, and
    the first alone writes.
    """
    keep_freed_memory()
    config, device = config or TrainConfig(), next(model.parameters()).device
    epochs = _shared(PointBatches(train, config.batch_size, config.seed) if isinstance(train, Points) else train)
    held_out = _shared(PointBatches(valid, config.batch_size) if isinstance(valid, Points) else valid)
    with ExitStack() as stack:
        folder = Path(folder or stack.enter_context(tempfile.TemporaryDirectory()))
        if distributed.rank() == 0:
            make_folder(folder)
        try:
            return _fit(_Trainer(model, epochs, held_out, folder, config), on_validation)
        finally:
            model.to(device).eval()


def _shared(data: Any) -> Any:
    """This process's share of the data; all of it where there is one process."""
    if distributed.world_size() == 1 or data is None:
        return data
    if not hasattr(data, "shard"):
        raise InputError(
            f"{type(data).__name__} was given to {distributed.world_size()} processes; expected data that can be shared: "
            "Batches, Windows or Points"
        )
    return data.shard(distributed.rank(), distributed.world_size())


def _fit(trainer: _Trainer, on_validation: Callable[[], None] | None) -> TrainingResult:
    with catch_signals(again=distributed.world_size() > 1) as received, trainer.bar() as bar:
        for batch in trainer.batches():
            trainer.step(batch, bar, len(received))
            if trainer.validation_due():
                trainer.validate()
                if on_validation and distributed.rank() == 0:
                    on_validation()
            if trainer.over():
                break
            if trainer.asked or (received and distributed.world_size() == 1):  # several have to agree on it
                trainer.checkpoint()
                return TrainingResult(trainer.progress, received[0] if received else signal.SIGTERM)
            trainer.checkpoint_if_due()
        trainer.finish()
    return TrainingResult(trainer.progress)


class _Done(NamedTuple):
    """A step whose loss has not been looked at: it may not have been computed yet."""

    number: int
    total: Tensor
    norm: Tensor
    indices: Tensor


class _Trainer:
    """The state of one training."""

    def __init__(
        self, model: Model, train: Epochs, valid: Iterable[BatchLike] | None, folder: Path, config: TrainConfig
    ) -> None:
        self.device = choose_device(config.device)
        self.precision = choose_precision(config.precision, self.device)
        self.model, self.folder, self.config = model.to(self.device), folder, config
        self.train, self.valid = train, valid
        self.schedule = Schedule(config)
        self.optimizer = make_optimizer(model, config)
        self.asked = False
        """Whether a signal has asked any process to stop."""
        self.carried: Any = None
        self._lanes = 0
        self._recent: dict[str, Tensor] = {}
        self._recent_steps = 0
        self._unseen: deque[_Done] = deque()
        self._saved = 0.0
        state = distributed.from_rank_zero(lambda: read_checkpoint(folder / CHECKPOINT_FILE))
        if state is None:
            seed_process(config.seed)
            self.progress = Progress()
        else:
            self.progress, carried = restore_checkpoint(state, folder / CHECKPOINT_FILE, model, self.optimizer)
            self.carried = shard_state(carried, distributed.rank(), distributed.world_size())
        self.objective: nn.Module = Objective(model)
        if distributed.world_size() > 1:
            self.objective = DistributedDataParallel(self.objective, gradient_as_bucket_view=True)
        if state is None:
            self.checkpoint()
        self._truncate_metrics()
        self.model.train()
        self._started = time.monotonic() - self.progress.seconds
        self._saved = self.progress.seconds

    def bar(self) -> tqdm:
        """A progress bar on stderr: in steps, or in seconds of the budget."""
        shown: dict[str, Any] = {"dynamic_ncols": True, "mininterval": 1.0, "disable": distributed.rank() != 0}
        if self.config.steps is not None:
            return tqdm(total=self.config.steps, initial=self.progress.step, unit="step", **shown)
        total = 60 * (self.config.minutes or DEFAULT_MINUTES)
        form = "{l_bar}{bar}| {n:.0f}/{total} s{postfix}"
        return tqdm(total=total, initial=self.progress.seconds, bar_format=form, **shown)

    def batches(self) -> Iterator[BatchLike]:
        """Epoch after epoch, from where the progress stands."""
        if self.over():
            return
        while True:
            epoch = self.train.epoch(self.progress.epoch, self.progress.batch)
            for batch in prefetch(batch.to(self.device) for batch in epoch):
                self.progress.batch += 1
                yield batch
            self.progress.epoch, self.progress.batch = self.progress.epoch + 1, 0

    def step(self, batch: BatchLike, bar: tqdm, signals: int = 0) -> None:
        """One update; `signals`: how many this process has received."""
        progress, own = self.progress, 0 if getattr(batch, "idle", False) else batch.points
        points, seconds, asked = distributed.all_reduce_sum(own, self._clock(), signals)
        self.asked, progress.seconds, share = asked > 0, seconds, own / points
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate(progress.step, progress.seconds)
        clip, number = self.config.clip, progress.step
        loss, norm = train_step(
            self.objective,
            self.optimizer,
            batch,
            self.device,
            self.precision,
            clip,
            number,
            self.carried,
            share * distributed.world_size(),
        )
        progress.step += 1
        progress.points += int(points)
        self.carried, self._lanes = loss.state, len(batch.indices) if own else 0
        self._unseen.append(_Done(progress.step, loss.total.detach(), norm, batch.indices))
        self._look(1 if self.device.type == "cuda" else 0)
        self._note({"loss": loss.total, **loss.terms}, share, bar)

    def _clock(self) -> float:
        """Seconds that the training has taken: by the first process's clock, 0 in the others."""
        return time.monotonic() - self._started if distributed.rank() == 0 else 0.0

    def _look(self, left: int = 0) -> None:
        """See that the losses of all steps but the last `left` are numbers: a GPU is not waited for more than that."""
        while len(self._unseen) > left:
            done = self._unseen.popleft()
            norm = float(done.norm)
            if not math.isfinite(norm):
                numbers = ", ".join(map(str, done.indices[:_NAMED].tolist())) + (
                    "..." if len(done.indices) > _NAMED else ""
                )
                raise NonFiniteLoss(
                    f"the loss is {float(done.total)}, its gradient's norm {norm}, at step {done.number}, "
                    f"examples {numbers}; look at them, or lower --learning-rate; "
                    f"{self.folder} keeps the last good checkpoint"
                )

    def _note(self, terms: dict[str, Tensor], share: float, bar: tqdm) -> None:
        for name, value in terms.items():
            self._recent[name] = self._recent.get(name, 0.0) + value.detach() * share
        self._recent_steps += 1
        progress = self.progress
        bar.n = progress.step if self.config.steps is not None else min(progress.seconds, bar.total)
        if progress.step % _LOG_EVERY:
            bar.update(0)
            return
        sums = distributed.all_reduce_sum(*map(float, self._recent.values()))
        means = {f"train_{name}": total / self._recent_steps for name, total in zip(self._recent, sums, strict=True)}
        self._recent, self._recent_steps = {}, 0
        rate = progress.points / max(progress.seconds, 1e-9)
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
        self._look()
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
            self._save_weights()
        (progress.seconds,) = distributed.all_reduce_sum(self._clock())
        self._record(terms)

    def over(self) -> bool:
        """Whether the budget is spent, or patience."""
        spent = self.schedule.progress(self.progress.step, self.progress.seconds) >= 1
        patient = not self.config.patience or self.progress.since_best < self.config.patience
        return self.progress.finished or spent or not patient

    def checkpoint_if_due(self) -> None:
        """Save if the last checkpoint is old enough; a good moment to return what memory has been freed."""
        if self.progress.seconds - self._saved >= self.config.checkpoint_seconds:
            self.checkpoint()
            return_freed_memory()

    def checkpoint(self) -> None:
        """Save all that a resume needs; the metrics up to here reach the disk before it does."""
        self._look()
        if distributed.rank() == 0 and (self.folder / METRICS_FILE).exists():
            with (self.folder / METRICS_FILE).open("rb") as file:
                os.fsync(file.fileno())
        save_checkpoint(self.folder / CHECKPOINT_FILE, self.model, self.optimizer, self.progress, self._all_carried())
        self._saved = self.progress.seconds

    def _all_carried(self) -> Any:
        """The state that the next batch goes on from, of the sequences of all processes."""
        if distributed.world_size() == 1:
            return self.carried
        return unshard_state(distributed.gather_objects(self.carried if self._lanes else None))

    def _save_weights(self) -> None:
        if distributed.rank() == 0:
            save_weights(self.folder / WEIGHTS_FILE, self.model)

    def finish(self) -> None:
        """The last validation, the last checkpoint; then the best weights in the model."""
        if not self.progress.finished:
            self._look()
            (self.progress.seconds,) = distributed.all_reduce_sum(self._clock())
            if self.valid is None:
                self._save_weights()
            elif self.progress.validated != self.progress.step:
                self.validate()
            self.progress.finished = True
            self.checkpoint()
        load_weights(self.folder / WEIGHTS_FILE, self.model)

    def _record(self, values: dict[str, float]) -> None:
        progress = self.progress
        if distributed.rank() != 0:
            return
        line = {
            "step": progress.step,
            "points": progress.points,
            "seconds": round(progress.seconds, 3),
            **values,
        }
        with (self.folder / METRICS_FILE).open("ab") as file:
            file.write((json.dumps(line) + "\n").encode())
            progress.metrics_bytes = file.tell()

    def _truncate_metrics(self) -> None:
        path = self.folder / METRICS_FILE
        if distributed.rank() == 0 and path.exists() and path.stat().st_size > self.progress.metrics_bytes:
            os.truncate(path, self.progress.metrics_bytes)
