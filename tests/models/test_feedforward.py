"""Tests of the feedforward networks: standardization, losses, regularizers, training, validation, resuming, errors."""

import math
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mdnrnn.data.static import PointBatch, PointBatches, Points
from mdnrnn.data.toys import TOYS
from mdnrnn.errors import InputError
from mdnrnn.models.base import Loss
from mdnrnn.models.configs import BodyConfig, MDNConfig
from mdnrnn.models.feedforward import MDN, SquaredErrorNetwork
from mdnrnn.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE
from mdnrnn.training.config import TrainConfig
from mdnrnn.training.metrics import read_metrics
from mdnrnn.training.trainer import fit

TRAINING = TrainConfig(
    steps=200, batch_size=200, learning_rate=5e-3, final_rate=0.0, clip=10.0, precision="float32", device="cpu"
)
SMALL = MDNConfig(components=2, widths=(8,))


def make_line(n: int = 500, scale: float = 1.0, shift: float = 0.0) -> Points:
    """Make points of y = 2 x + noise of standard deviation 0.5, scaled and shifted."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 1, generator=generator)
    y = 2 * x + 0.5 * torch.randn(n, 1, generator=generator)
    return Points(scale * x + shift, scale * y + shift)


def make_batch(points: Points) -> PointBatch:
    """Make one batch of all points."""
    (batch,) = PointBatches(points, len(points.x))
    return batch


@torch.no_grad()
def evaluate(model: MDN, points: Points) -> float:
    """Return the mean negative log-likelihood in evaluation mode."""
    return float(model.eval().loss(make_batch(points)).total)


def count_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_networks_of_the_lecture_have_286_and_510_parameters() -> None:
    """The arcsine example, examples/arcsine_lecture.py."""
    baseline = SquaredErrorNetwork(1, 1, BodyConfig(widths=(15, 15), activation="tanh"))
    mixture = MDN(1, 1, MDNConfig(widths=(15, 15), activation="relu", components=5))
    assert (count_parameters(baseline), count_parameters(mixture)) == (286, 510)


@pytest.mark.parametrize("covariance", ["diagonal", "full", "isotropic", "shared", "per-dimension"])
def test_loss_equals_the_mean_nll_of_the_returned_distribution(covariance: Any) -> None:
    problem = TOYS["spiral-2d"].make_dataset(200)
    model = MDN(1, 2, MDNConfig(covariance=covariance, components=3, widths=(8,)), problem.points).eval()
    expected = -model(problem.points.x).log_prob(problem.points.y).mean()
    torch.testing.assert_close(model.loss(make_batch(problem.points)).total, expected, rtol=1e-5, atol=1e-5)


def test_fit_is_invariant_to_the_units_of_the_data() -> None:
    """With data a million times larger, the negative log-likelihood rises by log(1e6)."""
    results = []
    for scale, shift in ((1.0, 0.0), (1e6, 5e6)):
        points = make_line(scale=scale, shift=shift)
        torch.manual_seed(0)
        model = MDN(1, 1, SMALL, points)
        fit(model, PointBatches(points, 200), config=replace(TRAINING, steps=50))
        results.append(evaluate(model, points))
    assert results[1] - math.log(1e6) == pytest.approx(results[0], abs=0.02)


def test_one_component_learns_a_line_and_its_noise() -> None:
    """The loss on new points is within 0.05 nats of the entropy of the noise."""
    points = make_line()
    torch.manual_seed(0)
    model = MDN(1, 1, MDNConfig(components=1, widths=(16,)), points)
    fit(model, points, config=TRAINING)
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.25)
    assert evaluate(model, make_line(20_000)) == pytest.approx(entropy, abs=0.05)


def test_squared_error_network_learns_the_mean() -> None:
    points = make_line()
    torch.manual_seed(0)
    model = SquaredErrorNetwork(1, 1, BodyConfig(widths=(16,)), points)
    fit(model, points, config=TRAINING)
    x = torch.tensor([[-1.0], [0.0], [1.0]])
    torch.testing.assert_close(model(x).detach(), 2 * x, rtol=0, atol=0.15)


def test_initial_mixture_fits_the_targets() -> None:
    """Before training, the loss is about the entropy of the targets, whatever x."""
    points = Points(torch.randn(4000, 1), 30 + 5 * torch.randn(4000, 1))
    model = MDN(1, 1, MDNConfig(components=5), points).eval()
    entropy = 0.5 * math.log(2 * math.pi * math.e * 25)
    assert evaluate(model, points) == pytest.approx(entropy, abs=0.1)


def test_regularizers_are_applied_in_training_only() -> None:
    points = make_line()
    plain = MDN(1, 1, MDNConfig(components=3, widths=(8,)), points)
    config = MDNConfig(components=3, widths=(8,), input_noise=0.5, target_noise=0.5, weight_entropy=1.0)
    regularized = MDN(1, 1, config, points)
    regularized.load_state_dict(plain.state_dict())
    batch = make_batch(points)
    assert evaluate(regularized, points) == evaluate(plain, points)
    losses = {float(regularized.train().loss(batch).total.detach()) for _ in range(3)}
    assert len(losses) == 3
    rewarded = MDN(1, 1, replace(config, input_noise=0.0, target_noise=0.0), points)
    rewarded.load_state_dict(plain.state_dict())
    log_weights = plain(points.x).log_weights
    entropy = -(log_weights.exp() * log_weights).sum(-1).mean()
    torch.testing.assert_close(rewarded.train().loss(batch).total, plain.loss(batch).total - entropy)


class InterruptedMDN(MDN):
    """Raises SIGTERM in the given training step."""

    step = 0
    stop_step = 0

    def loss(self, batch: PointBatch) -> Loss:
        self.step += 1
        if self.step == self.stop_step:
            signal.raise_signal(signal.SIGTERM)
        return super().loss(batch)


def test_interrupted_and_resumed_training_gives_the_same_weights(tmp_path: Path) -> None:
    points, config = make_line(), replace(TRAINING, steps=30, batch_size=64, checkpoint_seconds=0.0)

    def make_model(model_class: type[MDN] = MDN) -> MDN:
        torch.manual_seed(0)
        return model_class(1, 1, replace(SMALL, input_noise=0.1), points)

    def train(model: MDN, folder: Path) -> Any:
        folder.mkdir(exist_ok=True)
        return fit(model, PointBatches(points, 64), None, folder, config)

    whole, interrupted = make_model(), make_model(InterruptedMDN)
    train(whole, tmp_path / "whole")
    assert isinstance(interrupted, InterruptedMDN)
    interrupted.stop_step = 13
    assert train(interrupted, tmp_path / "interrupted").interrupted == signal.SIGTERM
    torch.manual_seed(99)  # the state of the generator comes from the checkpoint
    resumed = make_model()
    assert train(resumed, tmp_path / "interrupted").interrupted is None
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_last_weights_are_kept_without_validation_data(tmp_path: Path) -> None:
    points = make_line()
    torch.manual_seed(0)
    model = MDN(1, 1, SMALL, points)
    fit(model, PointBatches(points, 100), None, tmp_path, replace(TRAINING, steps=40))
    records = read_metrics(tmp_path)
    assert [record["step"] for record in records] == [20, 40]
    assert all("valid_loss" not in record for record in records)
    last = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)["model"]
    assert all(torch.equal(last[name], tensor) for name, tensor in model.state_dict().items())
    assert (tmp_path / WEIGHTS_FILE).exists()


def test_best_weights_are_kept_with_validation_data(tmp_path: Path) -> None:
    """A large network overfits twenty points; the weights of the lowest validation loss are restored."""
    points, valid = make_line(20), make_line(500)
    torch.manual_seed(0)
    model = MDN(1, 1, MDNConfig(), points)
    fit(model, PointBatches(points, 20), valid, tmp_path, TRAINING)
    losses = [record["valid_loss"] for record in read_metrics(tmp_path) if "valid_loss" in record]
    assert len(losses) == TRAINING.validations
    assert losses[-1] > min(losses) + 0.5
    assert evaluate(model, valid) == pytest.approx(min(losses), abs=1e-4)


def test_training_without_a_folder_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    points = make_line()
    fit(MDN(1, 1, None, points), PointBatches(points, 100), config=replace(TRAINING, steps=2))
    assert not list(tmp_path.iterdir())


def test_error_names_the_indices_of_a_batch_with_nan() -> None:
    points = make_line(30)
    points.y[17] = float("nan")
    model = MDN(1, 1, MDNConfig(components=2))
    with pytest.raises(InputError, match=r"at step 1, examples 0, 1, .*17.*check these examples"):
        fit(model, PointBatches(points, 30), config=replace(TRAINING, steps=2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": ()}, r"widths: received \(\), expected one or more"),
        ({"widths": (4, 0)}, r"widths: received \(4, 0\)"),
        ({"activation": "step"}, r"activation: received 'step', expected one of silu, tanh, relu"),
        ({"detail": 0.0}, r"detail: received 0.0, expected a positive number"),
        ({"input_noise": -1.0}, r"input_noise: received -1.0, expected a number >= 0"),
        ({"components": 0}, r"components: received 0, expected a whole number of 1 or more"),
        ({"covariance": "round"}, r"covariance: received 'round', expected one of diagonal, full"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_invalid_configs_are_errors(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MDN(1, 1, MDNConfig(**settings))


def test_points_are_batched_with_the_batch_size_and_seed_of_the_config() -> None:
    def train(data: Any, seed: int) -> torch.Tensor:
        torch.manual_seed(0)
        model = MDN(1, 1, SMALL, make_line())
        fit(model, data, config=replace(TRAINING, steps=5, batch_size=50, seed=seed))
        return model.head.linear.weight

    assert torch.equal(train(make_line(), 3), train(PointBatches(make_line(), 50, 3), 3))
    assert not torch.equal(train(make_line(), 3), train(make_line(), 4))


def test_trained_model_is_in_evaluation_mode() -> None:
    model = MDN(1, 1, MDNConfig(target_noise=0.5), make_line())
    fit(model, make_line(), config=replace(TRAINING, steps=2))
    assert not model.training
    assert model.loss(make_batch(make_line())).total == model.loss(make_batch(make_line())).total


def test_points_in_float64_are_converted() -> None:
    points = Points(*(part.double() for part in make_line()))
    model = MDN(1, 1, SMALL, points)
    fit(model, points, config=replace(TRAINING, steps=2))
    assert model(points.x).mean.dtype == torch.float32


def test_constant_input_column_is_not_scaled() -> None:
    x = torch.cat([make_line().x, torch.full((500, 1), 0.1)], 1)
    model = MDN(2, 1, SMALL, Points(x, make_line().y)).eval()
    assert float(model.input_scale[1]) == 1
    assert model.body(torch.zeros(1, 2)).isfinite().all()


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (0, 1, r"inputs: received 0, expected 1 or more"),
        (1, -1, r"out_features: received -1, expected a whole number of 1 or more"),
        (2, 1, r"data: received inputs \(500, 1\), expected \(N, 2\)"),
        (1, 2, r"data: received targets \(500, 1\), expected \(N, 2\)"),
    ],
    ids=["no inputs", "negative targets", "shape of x", "shape of y"],
)
def test_invalid_sizes_are_errors(inputs: int, targets: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MDN(inputs, targets, None, make_line())


def test_exhausted_validation_data_are_an_error() -> None:
    with pytest.raises(InputError, match="valid: received generator, expected batches that can be iterated"):
        fit(
            MDN(1, 1, None, make_line()),
            make_line(),
            iter(PointBatches(make_line(), 500)),
            config=replace(TRAINING, steps=4),
        )
