"""Code paths of the device MPS, on machines without it: tensors that claim to be on MPS and reject float64."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mdnrnn.data.batch import Batch
from mdnrnn.data.static import Points
from mdnrnn.device import autocast, choose_precision, full_precision, has_fast_bfloat16, to_float64
from mdnrnn.distributions import GaussianMixture
from mdnrnn.distributions.univariate import quantile
from mdnrnn.models.base import Loss, Model
from mdnrnn.models.configs import MDNConfig
from mdnrnn.models.feedforward import MDN
from mdnrnn.nn.initialization import cluster_points
from mdnrnn.training import epochs
from mdnrnn.training.config import TrainConfig
from mdnrnn.training.step import Objective, make_optimizer, train_step, validation_loss
from tests.helpers import make_batches, random_corpus

MPS = torch.device("mps", 0)


class MpsTensor(Tensor):
    """A tensor whose `device` is MPS. Its results are of the same class, except those of `cpu`; float64 is an error."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return MPS

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is Tensor.cpu:
            return args[0].as_subclass(Tensor)
        result = super().__torch_function__(func, types, args, kwargs or {})
        for part in tree_leaves(result):
            if isinstance(part, MpsTensor) and part.dtype == torch.float64:
                raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support it")
        return result


def on_mps(tensor: Tensor) -> Tensor:
    return tensor.as_subclass(MpsTensor)


def make_mixture(d: int, move: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> GaussianMixture:
    generator = torch.Generator().manual_seed(d)
    logits, means, log_scales = (move(torch.randn(shape, generator=generator)) for shape in ((5, 3), *2 * [(5, 3, d)]))
    return GaussianMixture(logits, means, log_scales)


def test_the_stand_in_rejects_float64() -> None:
    with pytest.raises(TypeError, match="float64"):
        on_mps(torch.ones(2)).double()


def test_float64_is_computed_on_the_cpu() -> None:
    for tensor in (on_mps(torch.ones(2)), torch.ones(2)):
        converted = to_float64(tensor)
        assert (type(converted), converted.dtype, converted.device.type) == (Tensor, torch.float64, "cpu")


@pytest.mark.parametrize("d", [1, 2])
def test_modes_and_quantiles_are_the_same(d: int) -> None:
    moved, mixture = make_mixture(d, on_mps), make_mixture(d)
    assert torch.equal(moved.mode.as_subclass(Tensor), mixture.mode)
    quantiles = []
    for move in (on_mps, lambda tensor: tensor):
        parameters = (mixture.log_weights, mixture.means[..., 0], mixture.log_scales[..., 0].exp())
        quantiles.append(quantile(*map(move, (torch.full((5,), 0.3), *parameters))).as_subclass(Tensor))
    assert torch.equal(*quantiles)


def test_fitted_values_are_the_same() -> None:
    """Initial mixture components and standardization are computed in float64."""
    points = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    for one, other in zip(cluster_points(on_mps(points), 4), cluster_points(points, 4), strict=True):
        torch.testing.assert_close(one.as_subclass(Tensor), other, rtol=0, atol=0)
    models = [MDN(2, 2, MDNConfig(widths=(4,), components=2)) for _ in range(2)]
    for model, move in zip(models, (on_mps, lambda tensor: tensor), strict=True):
        model.fit_standardization(Points(move(points), move(points)))
    assert torch.equal(models[0].input_scale, models[1].input_scale)


class _Constant(Model):
    """Model whose loss does not depend on the batch."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value
        self.weight = nn.Parameter(torch.ones(2, 2))

    def loss(self, batch: Batch) -> Loss:
        total = self.value + 0 * self.weight.sum()
        return Loss(total, {"motion": total.detach()})


class _Batch:
    points, indices = 3, torch.arange(3)

    def to(self, device: torch.device) -> "_Batch":
        return self


def test_validation_loss_is_summed_on_the_cpu() -> None:
    model = _Constant(on_mps(torch.tensor(1.5)))
    assert validation_loss(model, [_Batch()] * 3, MPS, "float32") == {"valid_loss": 1.5, "valid_motion": 1.5}


@pytest.mark.parametrize(("value", "steps"), [(1.0, 1), (float("inf"), 0), (float("nan"), 0)])
def test_update_is_skipped_if_the_loss_is_not_finite(value: float, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's fused optimizer ignores `found_inf` on MPS, so that the optimizer must not be called."""
    model = _Constant(torch.tensor(value))
    optimizer, calls = make_optimizer(model, TrainConfig()), []
    monkeypatch.setattr(optimizer, "step", lambda: calls.append(1))
    train_step(Objective(model), optimizer, _Batch(), MPS, "float32", 1.0)
    assert len(calls) == steps


@pytest.mark.parametrize(("name", "pinned"), [("mps", False), ("cuda:1", True)])
def test_only_copies_to_cuda_use_pinned_memory(name: str, pinned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def pin(tensor: Tensor) -> Tensor:
        calls.append("pin")
        return tensor

    def move(tensor: Tensor, device: torch.device, non_blocking: bool) -> Tensor:
        calls.append(device)
        return tensor

    batch, device = next(iter(make_batches(random_corpus([5, 4])))), torch.device(name)
    monkeypatch.setattr(Tensor, "pin_memory", pin)
    monkeypatch.setattr(Tensor, "to", move)
    batch.to(device)
    assert calls.count(device) >= 7
    assert calls.count("pin") == (calls.count(device) if pinned else 0)


def test_batches_of_other_data_are_moved_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[torch.dtype] = []
    monkeypatch.setattr(Tensor, "to", lambda tensor, device, non_blocking: moved.append(tensor.dtype))
    for device in (MPS, torch.device("cpu")):
        epochs.move(
            {"x": torch.ones(2, dtype=torch.float64), "y": (torch.ones(2), torch.ones(2, dtype=torch.int64))}, device
        )
    assert moved == [torch.float32, torch.float32, torch.int64, torch.float64, torch.float32, torch.int64]


def test_precision_is_float32_by_default() -> None:
    """Some versions of macOS have no bfloat16."""
    assert not has_fast_bfloat16(MPS)
    assert choose_precision("auto", MPS) == "float32"
    with autocast(MPS, "float32"):
        assert not torch.is_autocast_enabled("mps")


def test_autocast_is_disabled_for_likelihoods_and_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    disabled: list[str] = []
    original = torch.autocast

    def record(device: str, *, enabled: bool) -> Any:
        disabled.extend([] if enabled else [device])
        return original("cpu", enabled=enabled)

    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: device == "mps")
    monkeypatch.setattr(torch, "autocast", record)
    with full_precision():
        assert disabled == ["mps"]
