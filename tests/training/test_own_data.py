"""`fit` with modules, batches and optimizers that are not from this package."""

import math
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import mdnrnn
from mdnrnn.errors import InputError
from mdnrnn.models.base import Loss
from mdnrnn.training.callbacks import Callback, TrainingState
from mdnrnn.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE
from mdnrnn.training.config import TrainConfig
from mdnrnn.training.loss_check import NonFiniteLoss
from mdnrnn.training.metrics import read_metrics
from mdnrnn.training.schedule import Schedule
from mdnrnn.training.trainer import fit

CONFIG = TrainConfig(steps=12, warmup=2, validations=3, precision="float32", checkpoint_seconds=0.0)
X = torch.linspace(-1, 1, 24).unsqueeze(1)
Y = 2 * X + 0.5
MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


class Line(nn.Module):
    """A linear function; the loss is the squared error, as a tensor."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(1, 1)

    def loss(self, batch: Any) -> Any:
        x, y = batch.values() if isinstance(batch, dict) else batch
        return (self.linear(x) - y).square().mean()


class LineWithTerms(Line):
    """The same loss, as a `Loss` with a term."""

    def loss(self, batch: Any) -> Loss:
        total = super().loss(batch)
        return Loss(total, {"error": total})


class Stop(Callback):
    """Raises SIGTERM after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, state: TrainingState) -> None:
        if state.step == self.step:
            signal.raise_signal(signal.SIGTERM)


def tuples(size: int = 8) -> list[tuple[Tensor, ...]]:
    return list(zip(X.split(size), Y.split(size), strict=True))


class Repeated:
    """Yields the same dicts in each iteration; counts iterations."""

    iterations = 0

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        self.iterations += 1
        return iter([{"x": x, "y": y} for x, y in tuples()])


def train(data: Any, model: nn.Module | None = None, **options: Any) -> tuple[nn.Module, Any]:
    model = model or Line()
    return model, fit(model, data, config=options.pop("config", CONFIG), **options)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_kinds_of_batches_and_losses_give_the_same_weights() -> None:
    expected, result = train(tuples())
    assert result.progress.points == 12 * 8
    data = DataLoader(TensorDataset(X, Y), batch_size=8)
    for each, module in ((Repeated(), Line()), (data, Line()), (tuples(), LineWithTerms())):
        assert same_weights(train(each, module)[0], expected)
    points = mdnrnn.Points(X, Y)
    single = replace(CONFIG, batch_size=24)
    model, _ = train(points, PointLine(), config=single)
    assert same_weights(model, train([(X, Y)], config=single)[0])


class PointLine(Line):
    """Reads a `PointBatch`."""

    def loss(self, batch: Any) -> Any:
        return super().loss((batch.x, batch.y))


def test_training_equals_a_plain_loop() -> None:
    """SGD with two learning rates, the schedule and clipping, against a loop in plain PyTorch."""

    def make(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        weight, bias = parameters
        return torch.optim.SGD([{"params": [weight], "lr": 0.5}, {"params": [bias], "lr": 0.1}], momentum=0.9)

    model, _ = train(tuples(), optimizer=make, config=replace(CONFIG, clip=0.7))
    other, schedule = Line(), Schedule(replace(CONFIG, learning_rate=1.0))
    optimizer = make(other.parameters())
    for step in range(12):
        for group, peak in zip(optimizer.param_groups, (0.5, 0.1), strict=True):
            group["lr"] = schedule.learning_rate(step, 0) * peak
        optimizer.zero_grad()
        other.loss(tuples()[step % 3]).backward()
        torch.nn.utils.clip_grad_norm_(other.parameters(), 0.7)
        optimizer.step()
    torch.testing.assert_close(dict(model.state_dict()), dict(other.state_dict()), rtol=1e-5, atol=1e-6)


def test_validation_loss_is_the_mean_over_all_rows(tmp_path: Path) -> None:
    """Batches of 8 and 2 rows: their weights are the numbers of rows."""
    valid = [(X[:8], Y[:8]), (X[8:10], Y[8:10])]
    model, result = train(tuples(), LineWithTerms(), valid=valid, folder=tmp_path)
    (best,) = [line for line in read_metrics(tmp_path) if line.get("valid_loss") == result.progress.best]
    expected = float((model.get_submodule("linear")(X[:10]) - Y[:10]).square().mean().detach())
    assert best["valid_loss"] == best["valid_error"] == pytest.approx(expected)


OPTIMIZERS: dict[str, MakeOptimizer] = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "SGD without state": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "fused Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.1, fused=True),
    "AMSGrad": lambda parameters: torch.optim.Adam(parameters, lr=0.1, amsgrad=True),
    "Adafactor": lambda parameters: torch.optim.Adafactor(parameters, lr=0.1),
    "RMSprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.1, centered=True),
    "NAdam": lambda parameters: torch.optim.NAdam(parameters, lr=0.1),
    "ASGD": lambda parameters: torch.optim.ASGD(parameters, lr=0.1),
    "Adagrad": lambda parameters: torch.optim.Adagrad(parameters, lr=0.1),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_resumed_training_with_another_optimizer_has_the_same_weights(make: MakeOptimizer, tmp_path: Path) -> None:
    """The data yield the same batches in every iteration. The training stops in the middle of an epoch."""
    whole, _ = train(Repeated(), optimizer=make)
    _, result = train(Repeated(), optimizer=make, folder=tmp_path, callbacks=[Stop(5)])
    assert result.progress.step == 5
    resumed, result = train(Repeated(), optimizer=make, folder=tmp_path)
    assert result.progress.finished
    assert same_weights(resumed, whole)
    assert not same_weights(resumed, Line())


def test_shuffled_loader_resumes_with_the_remaining_number_of_batches(tmp_path: Path) -> None:
    def loader() -> Any:
        return DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True)

    class Epochs(Callback):
        def __init__(self) -> None:
            self.epochs: list[int] = []

        def on_step(self, state: TrainingState) -> None:
            self.epochs.append(state.epoch)

    first, second = Epochs(), Epochs()
    train(loader(), folder=tmp_path, callbacks=[first, Stop(5)])
    train(loader(), folder=tmp_path, callbacks=[second])
    assert first.epochs + second.epochs == [step // 3 for step in range(12)]
    assert same_weights(train(loader())[0], train(loader())[0])  # `config.seed` determines the order


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 and later
def test_worker_processes_give_the_same_weights() -> None:
    data = DataLoader(TensorDataset(X, Y), batch_size=8, num_workers=2)
    model, _ = train(data, valid=data)
    assert same_weights(model, train(tuples(), valid=tuples())[0])


class Unusual(Line):
    """Has shared weights, an integer buffer, an infinite buffer and a parameter without gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = self.linear
        self.register_buffer("mask", torch.full((2, 2), -math.inf).triu(1))
        self.register_buffer("count", torch.tensor(3))
        self.register_parameter("unused", nn.Parameter(torch.ones(2)))


def test_module_with_shared_weights_and_infinite_buffers_is_saved_and_resumed(tmp_path: Path) -> None:
    whole, _ = train(tuples(), Unusual())
    train(tuples(), Unusual(), folder=tmp_path, callbacks=[Stop(5)])
    resumed, _ = train(tuples(), Unusual(), folder=tmp_path)
    assert same_weights(resumed, whole)
    saved = load_file(tmp_path / WEIGHTS_FILE)
    assert torch.equal(saved["shared.weight"], saved["linear.weight"])


def test_checkpoint_of_another_optimizer_is_an_error(tmp_path: Path) -> None:
    train(tuples(), optimizer=OPTIMIZERS["SGD"], folder=tmp_path, callbacks=[Stop(5)])
    before = (tmp_path / CHECKPOINT_FILE).read_bytes()
    for name in ("fused Adam", "RMSprop", "SGD without state"):
        with pytest.raises(InputError, match=r"last.pt is damaged or belongs to another model \(the optimizer state"):
            train(tuples(), optimizer=OPTIMIZERS[name], folder=tmp_path)
    with pytest.raises(InputError, match="does not have 2 parameter groups"):
        train(tuples(), folder=tmp_path)
    assert (tmp_path / CHECKPOINT_FILE).read_bytes() == before


@pytest.mark.parametrize("name", ["SGD", "fused Adam"])
def test_step_with_an_infinite_gradient_changes_no_weight(name: str, tmp_path: Path) -> None:
    data = [*tuples(), (X[:8], Y[:8] * math.inf)]
    model = Line()
    weights: list[Tensor] = []

    class Record(Callback):
        def on_step(self, state: TrainingState) -> None:
            weights.append(model.linear.weight.detach().clone())

    with pytest.raises(NonFiniteLoss, match=r"the loss is inf and the gradient norm is nan at step 4; check the data"):
        train(data, model, optimizer=OPTIMIZERS[name], folder=tmp_path, callbacks=[Record()])
    assert len(weights) == 3
    assert torch.equal(model.linear.weight, weights[-1])


class Returns(Line):
    """Returns a given value as the loss."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def loss(self, batch: Any) -> Any:
        return self.value


class NoLoss(nn.Module):
    """A module without a method `loss`."""


class NoParameters(nn.Module):
    def loss(self, batch: Any) -> Any:
        return torch.zeros(())


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "loss of one value per row": ({"model": Returns(torch.zeros(8))}, r"the model returned a tensor of shape \(8,\)"),
    "loss is a number": ({"model": Returns(1.0)}, "loss: the model returned float, expected a scalar tensor or a Loss"),
    "no loss": ({"model": NoLoss()}, r"model: received NoLoss, expected a torch.nn.Module with a method loss\(batch\)"),
    "function": ({"model": len}, "model: received builtin_function_or_method, expected a torch.nn.Module"),
    "no parameters": ({"model": NoParameters()}, "model: received NoParameters without parameters"),
    "generator": ({"data": (pair for pair in tuples())}, "train: received generator, expected batches that can be"),
    "generator for validation": ({"valid": iter(tuples())}, "valid: received list_iterator, expected batches that can"),
    "no batches": ({"data": []}, "train: received no batches; expected at least one batch per epoch"),
    "no validation batches": ({"valid": []}, "valid: received no batches"),
    "batch of arrays": ({"data": [(X.numpy(), Y.numpy())]}, "batch: received tuple without examples"),
    "optimizer": ({"optimizer": list}, "optimizer: received a function that returns list, expected a function of the"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_is_reported(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(**{"data": tuples(), **changes})
