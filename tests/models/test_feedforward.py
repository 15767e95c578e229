"""Feedforward networks: units of the data, losses that are likelihoods, the training loop of the sequences."""

import math
import os
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
from mdnrnn.training.checkpoint import WEIGHTS_FILE
from mdnrnn.training.config import TrainConfig
from mdnrnn.training.metrics import read_metrics
from mdnrnn.training.trainer import fit

TRAINING = TrainConfig(
    steps=400, batch_size=200, learning_rate=5e-3, final_rate=0.0, clip=10.0, precision="float32", device="cpu"
)


def line(n: int = 500, scale: float = 1.0, shift: float = 0.0) -> Points:
    """y = 2 x + noise of 0.5, in units and with an origin of their own."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 1, generator=generator)
    y = 2 * x + 0.5 * torch.randn(n, 1, generator=generator)
    return Points(scale * x + shift, scale * y + shift)


def batch(points: Points) -> PointBatch:
    (whole,) = PointBatches(points, len(points.x))
    return whole


@torch.no_grad()
def nll(model: MDN, points: Points) -> float:
    """Of points, without what is of training alone."""
    return float(model.eval().loss(batch(points)).total)


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_lectures_networks_have_286_and_510_parameters() -> None:
    plain = SquaredErrorNetwork(1, 1, BodyConfig(widths=(15, 15), activation="tanh"))
    mixture = MDN(1, 1, MDNConfig(widths=(15, 15), activation="relu", components=5))
    assert (parameters(plain), parameters(mixture)) == (286, 510)


@pytest.mark.parametrize("covariance", ["diagonal", "full", "isotropic", "shared", "per-dimension"])
def test_the_loss_is_the_mean_nats_of_the_distribution_it_returns(covariance: Any) -> None:
    problem = TOYS["spiral-2d"].make_dataset(200)
    model = MDN(1, 2, MDNConfig(covariance=covariance, components=3, widths=(8,)), problem.points).eval()
    expected = -model(problem.points.x).log_prob(problem.points.y).mean()
    torch.testing.assert_close(model.loss(batch(problem.points)).total, expected, rtol=1e-5, atol=1e-5)


def test_a_fit_does_not_depend_on_the_units_of_the_data() -> None:
    """The same problem a million times as large: densities fall by the logarithm, all else stays."""
    results = []
    for scale, shift in ((1.0, 0.0), (1e6, 5e6)):
        points = line(scale=scale, shift=shift)
        torch.manual_seed(0)
        model = MDN(1, 1, MDNConfig(components=2, widths=(8,)), points)
        fit(model, PointBatches(points, 200), config=replace(TRAINING, steps=50))
        results.append(nll(model, points))
    assert results[1] - math.log(1e6) == pytest.approx(results[0], abs=0.02)


def test_one_component_learns_the_line_and_its_noise() -> None:
    """The floor is the noise's entropy; 500 points and a handful of parameters leave a few hundredths."""
    points = line()
    torch.manual_seed(0)
    model = MDN(1, 1, MDNConfig(components=1, widths=(16,)), points)
    fit(model, points, config=TRAINING)
    floor = 0.5 * math.log(2 * math.pi * math.e * 0.25)
    assert floor - 0.05 < nll(model, line(20_000)) < floor + 0.05


def test_the_squared_error_network_learns_the_mean() -> None:
    points = line()
    torch.manual_seed(0)
    model = SquaredErrorNetwork(1, 1, BodyConfig(widths=(16,)), points)
    fit(model, points, config=TRAINING)
    x = torch.tensor([[-1.0], [0.0], [1.0]])
    torch.testing.assert_close(model(x).detach(), 2 * x, rtol=0, atol=0.15)


def test_standardized_units_start_as_the_targets_mixture() -> None:
    """Before any training, whatever x: the targets of all x together, so about their entropy."""
    points = Points(torch.randn(4000, 1), 30 + 5 * torch.randn(4000, 1))
    model = MDN(1, 1, MDNConfig(components=5), points).eval()
    entropy = 0.5 * math.log(2 * math.pi * math.e * 25)
    assert nll(model, points) == pytest.approx(entropy, abs=0.1)


def test_noise_on_inputs_and_rewards_for_entropy_are_of_training_alone() -> None:
    points = line()
    plain = MDN(1, 1, MDNConfig(components=3, widths=(8,)), points)
    config = MDNConfig(components=3, widths=(8,), input_noise=0.5, target_noise=0.5, weight_entropy=1.0)
    noisy = MDN(1, 1, config, points)
    noisy.load_state_dict(plain.state_dict())
    whole = batch(points)
    assert nll(noisy, points) == nll(plain, points)
    losses = {float(noisy.train().loss(whole).total.detach()) for _ in range(3)}
    assert len(losses) == 3
    rewarded = MDN(1, 1, replace(config, input_noise=0.0, target_noise=0.0), points)
    rewarded.load_state_dict(plain.state_dict())
    log_weights = plain(points.x).log_weights
    entropy = -(log_weights.exp() * log_weights).sum(-1).mean()
    torch.testing.assert_close(rewarded.train().loss(whole).total, plain.loss(whole).total - entropy)


class StopsAt(MDN):
    """Sends itself SIGTERM in a step."""

    step = 0
    stop_at = 0

    def loss(self, batch: PointBatch) -> Loss:
        self.step += 1
        if self.step == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().loss(batch)


def test_stopped_and_resumed_ends_in_the_same_weights(tmp_path: Path) -> None:
    points, config = line(), replace(TRAINING, steps=30, batch_size=64, checkpoint_seconds=0.0)
    noisy = MDNConfig(components=2, widths=(8,), input_noise=0.1)

    def model(kind: type[MDN] = MDN) -> MDN:
        torch.manual_seed(0)
        return kind(1, 1, noisy, points)

    def run(network: MDN, folder: Path) -> Any:
        folder.mkdir(exist_ok=True)
        return fit(network, PointBatches(points, 64), None, folder, config)

    whole, stopped = model(), model(StopsAt)
    run(whole, tmp_path / "whole")
    assert isinstance(stopped, StopsAt)
    stopped.stop_at = 13
    assert run(stopped, tmp_path / "stopped").interrupted == signal.SIGTERM
    torch.manual_seed(99)
    resumed = model()
    assert run(resumed, tmp_path / "stopped").interrupted is None
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_without_validation_data_the_last_weights_are_kept(tmp_path: Path) -> None:
    points = line()
    torch.manual_seed(0)
    model = MDN(1, 1, MDNConfig(components=2, widths=(8,)), points)
    fit(model, PointBatches(points, 100), None, tmp_path, replace(TRAINING, steps=40))
    records = read_metrics(tmp_path)
    assert [record["step"] for record in records] == [20, 40]
    assert all("valid_loss" not in record for record in records)
    last = torch.load(tmp_path / "last.pt", weights_only=True)["model"]
    assert all(torch.equal(last[name], tensor) for name, tensor in model.state_dict().items())
    assert (tmp_path / WEIGHTS_FILE).exists()


def test_with_validation_data_the_best_weights_are_kept(tmp_path: Path) -> None:
    """Twenty points and a large network: it gets worse after its best, and goes back to it."""
    points, valid = line(20), line(2000)
    torch.manual_seed(0)
    model = MDN(1, 1, MDNConfig(), points)
    fit(model, PointBatches(points, 20), valid, tmp_path, TRAINING)
    losses = [record["valid_loss"] for record in read_metrics(tmp_path) if "valid_loss" in record]
    assert len(losses) == TRAINING.validations
    assert losses[-1] > min(losses) + 0.5
    assert nll(model, valid) == pytest.approx(min(losses), abs=1e-4)


def test_a_training_without_a_folder_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    points = line()
    fit(MDN(1, 1, None, points), PointBatches(points, 100), config=replace(TRAINING, steps=2))
    assert not list(tmp_path.iterdir())


def test_broken_points_are_named_by_number() -> None:
    points = line(30)
    points.y[17] = float("nan")
    model = MDN(1, 1, MDNConfig(components=2))
    with pytest.raises(InputError, match=r"at step 1, examples 0, 1, .*17.*look at them"):
        fit(model, PointBatches(points, 30), config=replace(TRAINING, steps=2))


@pytest.mark.parametrize(
    ("settings", "complaint"),
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
def test_impossible_configs_are_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        MDN(1, 1, MDNConfig(**settings))


def test_points_are_batched_as_the_config_says() -> None:
    """The same weights as from batches made by hand of the config's size and seed, other ones at another seed."""

    def weights(data: Any, seed: int) -> torch.Tensor:
        torch.manual_seed(0)
        model = MDN(1, 1, MDNConfig(components=2, widths=(8,)), line())
        fit(model, data, config=replace(TRAINING, steps=5, batch_size=50, seed=seed))
        return model.head.linear.weight

    assert torch.equal(weights(line(), 3), weights(PointBatches(line(), 50, 3), 3))
    assert not torch.equal(weights(line(), 3), weights(line(), 4))


def test_a_trained_model_is_ready_to_use() -> None:
    """In eval mode, so without noise; an interrupted or broken training leaves it so too."""
    model = MDN(1, 1, MDNConfig(target_noise=0.5), line())
    fit(model, line(), config=replace(TRAINING, steps=2))
    assert not model.training
    assert model.loss(batch(line())).total == model.loss(batch(line())).total


def test_points_of_other_precision_are_taken_as_they_are() -> None:
    points = Points(*(part.double() for part in line()))
    model = MDN(1, 1, MDNConfig(components=2, widths=(8,)), points)
    fit(model, points, config=replace(TRAINING, steps=2))
    assert model(points.x).mean.dtype == torch.float32


def test_a_column_that_never_changes_does_no_harm() -> None:
    x = torch.cat([line().x, torch.full((500, 1), 0.1)], 1)
    model = MDN(2, 1, MDNConfig(components=2, widths=(8,)), Points(x, line().y)).eval()
    assert float(model.input_scale[1]) == 1
    assert model.body(torch.zeros(1, 2)).isfinite().all()


@pytest.mark.parametrize(
    ("inputs", "targets", "complaint"),
    [
        (0, 1, r"inputs: received 0, expected 1 or more"),
        (1, -1, r"out_features: received -1, expected a whole number of 1 or more"),
        (2, 1, r"data: received inputs \(500, 1\), expected \(N, 2\)"),
        (1, 2, r"data: received targets \(500, 1\), expected \(N, 2\)"),
    ],
    ids=["no inputs", "fewer than no targets", "data of fewer inputs", "data of fewer targets"],
)
def test_sizes_that_do_not_fit_are_refused(inputs: int, targets: int, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        MDN(inputs, targets, None, line())


def test_validation_data_that_is_spent_is_refused() -> None:
    with pytest.raises(InputError, match="valid: received no batch"):
        fit(MDN(1, 1, None, line()), line(), iter(PointBatches(line(), 500)), config=replace(TRAINING, steps=4))
