"""Toy demos: train a mixture density network and a squared-error network, evaluate both, and draw figures."""

from __future__ import annotations

import math
import signal
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mdnrnn.data.static import PointBatches, Points
from mdnrnn.data.toys import TOYS
from mdnrnn.distributions import GaussianMixture
from mdnrnn.files.atomic import make_folder, write_bytes, write_json
from mdnrnn.models.base import Model
from mdnrnn.models.feedforward import MDN, SquaredErrorNetwork
from mdnrnn.render.figures import densities
from mdnrnn.render.figures.html_page import Section, html_page
from mdnrnn.render.figures.losses import loss_figure
from mdnrnn.render.figures.panels import MAX_POINTS
from mdnrnn.render.raster import figure_bytes
from mdnrnn.tasks.toy_settings import DEMOS
from mdnrnn.training.config import TrainConfig
from mdnrnn.training.metrics import read_metrics
from mdnrnn.training.trainer import fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HELD_OUT = 50_000
"""Number of held-out points."""
KS_LIMIT = math.sqrt(-0.5 * math.log(0.01 / 2) / HELD_OUT)
"""99th percentile of the Kolmogorov-Smirnov distance (`ks_distance`) for a calibrated model and `HELD_OUT` points.

It is computed from the asymptotic distribution.
"""
_CHUNK = 10_000
"""Number of points per evaluation batch."""
_GRID = 400
"""Number of grid points per axis of a figure."""


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """Measured values of a demo, in the units of the data. Likelihoods and the entropy are in nats per point."""

    name: str
    n: int
    """Number of training points."""
    test_nll: float
    """Mean negative log-likelihood of the held-out points."""
    floor: float
    """Conditional entropy of the targets, which is the lower bound of the expected negative log-likelihood. It is
    computed with an error below 1e-3."""
    gap: float
    """Difference test_nll - floor."""
    baseline_mse: float
    """Mean squared error of the squared-error network on the same held-out points."""
    seconds: float
    """Time of training and evaluation, in seconds."""
    parameters: int
    """Number of parameters of the mixture density network."""


@dataclass(frozen=True)
class DemoReport:
    """Measured values and pictures of a demo.

    `pictures`: name of each picture -> contents of a PNG file.
    """

    result: DemoResult
    baseline_parameters: int
    """Number of parameters of the squared-error network."""
    coverage: list[float]
    """Fraction of the held-out targets inside the central 90% interval of the predicted density, per target dimension.
    """
    distance: list[float]
    """Kolmogorov-Smirnov distance between the probability integral transforms of the held-out targets and the uniform
    distribution, per target dimension."""
    pictures: dict[str, bytes]


CAPTIONS = {
    "samples": "The data, the curve of the squared-error network, and as many samples of the mixture as data points.",
    "components": "Means of the components; darker means have larger weights.",
    "density": "The conditional density with its quantiles.",
    "calibration": "Histogram of the cumulative probabilities of held-out targets; flat if calibrated.",
    "loss": "The training loss (including regularization noise), the held-out loss and the entropy.",
}
"""Caption of each picture."""


def run_demo(name: str, *, n: int | None = None, seed: int = 0, device: str = "auto") -> DemoReport:
    """Train a mixture density network and a squared-error network on a toy problem, and evaluate both.

    The report contains the values measured on held-out points, and the figures.

    Args:
        name: key of `DEMOS`.
        n: number of training points; by default the number in the published data set.
        seed: random seed of the points and the networks.
        device: device for training.
    """
    demo, toy = DEMOS[name], TOYS[name]
    start = time.perf_counter()
    dataset = toy.make_dataset(n, seed)
    config, training = demo.scale_to(len(dataset.points.x) / toy.size)
    training = replace(training, seed=seed, device=device)
    inputs, targets = dataset.points.x.shape[1], dataset.points.y.shape[1]
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        baseline = SquaredErrorNetwork(inputs, targets, demo.baseline, dataset.points)
        model = MDN(inputs, targets, config, dataset.points)
    _train(baseline, dataset.points, replace(training, steps=demo.steps))
    records = _train(model, dataset.points, training)
    held_out = dataset.sample(HELD_OUT, seed)
    nll, pit = measure(model, held_out)
    entropy = dataset.entropy()
    result = DemoResult(
        name=name,
        n=len(dataset.points.x),
        test_nll=nll,
        floor=entropy,
        gap=nll - entropy,
        baseline_mse=squared_error(baseline, held_out),
        seconds=time.perf_counter() - start,
        parameters=_count_parameters(model),
    )
    coverage = ((pit > 0.05) & (pit < 0.95)).double().mean(0).tolist()
    figures = {
        **_density_figures(name, dataset.points, held_out, model, baseline),
        "calibration": densities.pit_figure(pit.numpy(), coverage=coverage, labels=demo.axes),
        "loss": loss_figure(records, {"floor": entropy, "held out": nll}),
    }
    pictures = {name: figure_bytes(figures[name], ".png") for name in CAPTIONS}
    return DemoReport(result, _count_parameters(baseline), coverage, ks_distance(pit), pictures)


@torch.no_grad()
def measure(model: MDN, points: Points) -> tuple[float, Tensor]:
    """Return the mean negative log-likelihood in nats per point, and the probability integral transforms (N, D).

    N is the number of points, D the number of target dimensions.
    """
    model.eval()
    nll, pits = 0.0, []
    for batch in PointBatches(points, _CHUNK):
        batch = batch.to(model.input_mean.device)
        mixture = model(batch.x)
        nll -= float(mixture.log_prob(batch.y).cpu().double().sum())
        pits.append(mixture.pit(batch.y).cpu())
    return nll / len(points.x), torch.cat(pits)


def ks_distance(values: Tensor) -> list[float]:
    """Return the Kolmogorov-Smirnov distance of each column of `values` (N, D) from the uniform distribution."""
    ordered, n = values.double().sort(0).values, len(values)
    rank = torch.arange(n, dtype=torch.float64).unsqueeze(1)
    return torch.maximum((rank + 1) / n - ordered, ordered - rank / n).amax(0).tolist()


@torch.no_grad()
def squared_error(model: SquaredErrorNetwork, points: Points) -> float:
    """Return the mean squared error over points and target dimensions, in squared units of the targets."""
    x, y = (tensor.to(model.input_mean.device) for tensor in points)
    return float((model.eval()(x) - y).square().cpu().double().mean())


def _train(model: Model, points: Points, training: TrainConfig) -> list[dict[str, float]]:
    """Train a model and return the records of its metrics file; see `read_metrics`.

    Raises:
        KeyboardInterrupt: SIGINT stopped the training.
        SystemExit: another signal stopped the training.
    """
    with tempfile.TemporaryDirectory() as folder:
        interrupted = fit(model, points, None, folder, training).interrupted
        if interrupted == signal.SIGINT:
            raise KeyboardInterrupt
        if interrupted:
            raise SystemExit(128 + interrupted)
        return read_metrics(Path(folder))


def _count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def _density_figures(
    name: str, points: Points, held_out: Points, model: MDN, baseline: SquaredErrorNetwork
) -> dict[str, Figure]:
    """Return the figures "samples", "components" and "density"; see `CAPTIONS`."""
    model, baseline, axes = model.cpu(), baseline.cpu(), DEMOS[name].axes
    x = torch.linspace(float(points.x.min()), float(points.x.max()), _GRID).unsqueeze(1)
    mixture = model(x)
    assert isinstance(mixture, GaussianMixture)
    sample_x = held_out.x[: min(len(points.x), MAX_POINTS)]
    samples = model(sample_x).sample(generator=torch.Generator().manual_seed(0))
    data = _to_cloud(points.x, points.y)
    y = torch.stack([_make_axis(column) for column in points.y.unbind(1)], 1)
    marginals = [mixture.marginal(i) for i in range(y.shape[1])]
    maps = [
        marginal.log_prob(column[:, None, None]).exp() for marginal, column in zip(marginals, y.unbind(1), strict=True)
    ]
    levels = torch.tensor(densities.LEVELS).unsqueeze(1)
    quantiles = [marginal.icdf(levels).squeeze(-1) for marginal in marginals]
    return {
        "samples": densities.samples_figure(
            data, _to_cloud(x, baseline(x)), _to_cloud(sample_x, samples), labels=axes, title=TOYS[name].title
        ),
        "components": densities.components_figure(
            data, x[:, 0].numpy(), mixture.log_weights.exp().numpy(), mixture.means.numpy(), labels=axes
        ),
        "density": densities.density_figure(
            x[:, 0].numpy(), y.numpy(), torch.stack(maps, -1).numpy(), torch.stack(quantiles, -1).numpy(), labels=axes
        ),
    }


def _to_cloud(x: Tensor, y: Tensor) -> densities.PointCloud:
    return densities.PointCloud(x[:, 0].numpy(), y.numpy())


def _make_axis(values: Tensor) -> Tensor:
    """Return evenly spaced points over the range of the values, with a margin of 5% on each side."""
    margin = 0.05 * (values.max() - values.min())
    return torch.linspace(float(values.min() - margin), float(values.max() + margin), _GRID)


def save_demo(report: DemoReport, folder: Path) -> list[Path]:
    """Write the pictures and result.json to a folder and return the paths of the pictures."""
    make_folder(folder)
    write_json(folder / "result.json", asdict(report.result))
    paths = [folder / f"{name}.png" for name in report.pictures]
    for path, picture in zip(paths, report.pictures.values(), strict=True):
        write_bytes(path, picture)
    return paths


def save_index(reports: list[DemoReport], path: Path) -> None:
    """Write all reports as one self-contained HTML page."""
    sections = [
        Section(
            name=report.result.name,
            title=TOYS[report.result.name].title,
            description=f"{DEMOS[report.result.name].description} Source: {TOYS[report.result.name].source}.",
            figures=[(CAPTIONS[name], picture) for name, picture in report.pictures.items()],
            summary=asdict(report.result),
        )
        for report in reports
    ]
    write_bytes(path, html_page("Mixture density networks on toy problems", sections).encode())
