"""The toy demos: train a mixture density network and its squared-error twin on a static problem, measure, draw."""

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
from mdnrnn.data.toys import TOYS, ToyProblem
from mdnrnn.device import single_thread
from mdnrnn.distributions import GaussianMixture
from mdnrnn.files import make_folder, write_bytes, write_json
from mdnrnn.models.base import Model
from mdnrnn.models.configs import BodyConfig, MDNConfig
from mdnrnn.models.feedforward import MDN, SquaredErrorNetwork
from mdnrnn.render import figure_bytes, loss_figure
from mdnrnn.render.figures import densities
from mdnrnn.render.figures.html_page import Section, index_page
from mdnrnn.render.figures.panels import SHOWN
from mdnrnn.training.config import Device, TrainConfig
from mdnrnn.training.metrics import read_metrics
from mdnrnn.training.trainer import fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HELD_OUT = 50_000
"""Fresh points that a demo is measured on."""
KS_LIMIT = math.sqrt(-0.5 * math.log(0.01 / 2) / HELD_OUT)
"""The distance that 99 of 100 calibrated models stay below."""
_CHUNK = 10_000
"""Points that a network sees at once when it is measured."""
_GRID = 400
_MANY = 10
"""Times the published size from which points are many."""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """A toy problem with the networks and the training that suit it at its published size."""

    toy: ToyProblem
    what: str
    model: MDNConfig
    baseline: BodyConfig
    steps: int = 2000
    axes: tuple[str, ...] = ("x", "y")

    def sized(self, n: int) -> tuple[MDNConfig, TrainConfig]:
        """The network and its training for n points.

        Few points are smoothed by noise, which falls as they grow more; many are worth finer detail, half as many
        components again, larger batches and more steps.
        """
        growth = n / self.toy.size
        noise, detail = min(1 / growth, 2.0), min(max(growth, 1.0) ** 0.5, 5.0)
        model = replace(
            self.model,
            input_noise=self.model.input_noise * noise,
            target_noise=self.model.target_noise * noise,
            detail=self.model.detail * detail,
            components=self.model.components if growth < _MANY else self.model.components * 3 // 2,
        )
        training = TrainConfig(
            steps=round(self.steps * min(detail, 4.0)),
            batch_size=500 if growth < _MANY else 2000,
            learning_rate=5e-3,
            final_rate=0.0,
            clip=10.0,
            precision="float32",
        )
        return model, training


DEMOS = {
    "sine": Demo(
        toy=TOYS["sine"],
        what="Several y for one x: the squared-error network averages over them, the mixture has a branch for each.",
        model=MDNConfig(input_noise=0.06, target_noise=0.01),
        baseline=BodyConfig(),
    ),
    "forward-sine": Demo(
        toy=TOYS["forward-sine"],
        what="One y for each x, with Gaussian noise: here squared error is right, and one component is enough.",
        model=MDNConfig(components=1, detail=3.0),
        baseline=BodyConfig(detail=3.0),
    ),
    "arcsine": Demo(
        toy=TOYS["arcsine"],
        what="The inverse sine with the small networks of the lecture: 286 parameters and 510.",
        model=MDNConfig(widths=(15, 15), activation="relu", components=5),
        baseline=BodyConfig(widths=(15, 15), activation="tanh"),
        steps=6000,
    ),
    "spiral": Demo(
        toy=TOYS["spiral"],
        what="A spiral that crosses each vertical line many times, with Gaussian noise.",
        model=MDNConfig(detail=3.0),
        baseline=BodyConfig(),
        steps=3000,
    ),
    "spiral-jitter": Demo(
        toy=TOYS["spiral-jitter"],
        what="Ten spirals with uniform noise: sharp edges, which a mixture of Gaussians can only approach.",
        model=MDNConfig(detail=5.0),
        baseline=BodyConfig(),
        steps=3000,
    ),
    "spiral-2d": Demo(
        toy=TOYS["spiral-2d"],
        what="A point of the plane from a number: two targets at once.",
        model=MDNConfig(components=5),
        baseline=BodyConfig(),
        steps=3000,
        axes=("z", "x1", "x2"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What a demo measured, in nats and in the data's units."""

    name: str
    n: int
    test_nll: float
    """Mean over 50,000 fresh points."""
    floor: float
    """The exact conditional entropy: no model can do better on average."""
    gap: float
    baseline_mse: float
    """The squared-error network's, on the same fresh points."""
    seconds: float
    """For all of it but the pictures."""
    parameters: int
    """Of the mixture density network."""


@dataclass(frozen=True)
class DemoReport:
    """A demo as it was run: what it measured, its pictures as PNG by name, with what they show."""

    demo: Demo
    result: DemoResult
    baseline_parameters: int
    coverage: list[float]
    """Share of the held-out targets inside their central 90% intervals, one a dimension."""
    distance: list[float]
    """Kolmogorov-Smirnov distance of their integral transforms from uniform, one a dimension."""
    pictures: dict[str, bytes]


CAPTIONS = {
    "samples": "The data; the squared-error network's curve over them; as many samples of the mixture.",
    "components": "Where the components' means lie, each as dark as its weight.",
    "density": "The conditional density as a map, with the quantiles of every x.",
    "calibration": "Held-out targets by their cumulative probability: flat is calibrated.",
    "loss": "The training loss (with the noise that smooths it, where there is any), the held-out one, and the floor.",
}


@single_thread()  # more gain these small networks nothing, and cost them much where cores are shared
def run_demo(name: str, *, n: int | None = None, seed: int = 0, device: Device = "auto") -> DemoReport:
    """Draw the points, train both networks, measure them on fresh points, draw the figures."""
    demo = DEMOS[name]
    started = time.perf_counter()
    problem = demo.toy.make_dataset(n, seed)
    config, training = demo.sized(len(problem.points.x))
    training = replace(training, seed=seed, device=device)
    inputs, targets = problem.points.x.shape[1], problem.points.y.shape[1]
    torch.manual_seed(seed)
    baseline = SquaredErrorNetwork(inputs, targets, demo.baseline, problem.points)
    model = MDN(inputs, targets, config, problem.points)
    _train(baseline, problem.points, replace(training, steps=demo.steps))
    records = _train(model, problem.points, training)
    fresh = problem.sample(HELD_OUT, seed)
    nll, pit = measure(model, fresh)
    floor = problem.entropy()
    result = DemoResult(
        name=name,
        n=len(problem.points.x),
        test_nll=nll,
        floor=floor,
        gap=nll - floor,
        baseline_mse=squared_error(baseline, fresh),
        seconds=time.perf_counter() - started,
        parameters=_count(model),
    )
    coverage = ((pit > 0.05) & (pit < 0.95)).double().mean(0).tolist()
    figures = {
        **_figures(demo, problem.points, fresh, model, baseline),
        "calibration": densities.pit_figure(pit.numpy(), coverage=coverage, labels=demo.axes),
        "loss": loss_figure(records, {"floor": floor, "held out": nll}),
    }
    pictures = {name: figure_bytes(figures[name], ".png") for name in CAPTIONS}
    return DemoReport(demo, result, _count(baseline), coverage, ks_distance(pit), pictures)


@torch.no_grad()
def measure(model: MDN, points: Points) -> tuple[float, Tensor]:
    """Mean nats of points, and their probability integral transforms (N, D)."""
    model.eval()
    nats, pits = 0.0, []
    for batch in PointBatches(points, _CHUNK):
        batch = batch.to(model.input_mean.device)
        mixture = model(batch.x)
        nats -= float(mixture.log_prob(batch.y).double().sum())
        pits.append(mixture.pit(batch.y).cpu())
    return nats / len(points.x), torch.cat(pits)


def ks_distance(values: Tensor) -> list[float]:
    """Kolmogorov-Smirnov distance of each column of values (N, D) from the uniform distribution."""
    ordered, n = values.double().sort(0).values, len(values)
    rank = torch.arange(n, dtype=torch.float64).unsqueeze(1)
    return torch.maximum((rank + 1) / n - ordered, ordered - rank / n).amax(0).tolist()


@torch.no_grad()
def squared_error(model: SquaredErrorNetwork, points: Points) -> float:
    """Mean squared error over points and dimensions, in the units of the targets."""
    x, y = (tensor.to(model.input_mean.device) for tensor in points)
    return float((model.eval()(x) - y).square().double().mean())


def _train(model: Model, points: Points, training: TrainConfig) -> list[dict[str, float]]:
    """The records of the training."""
    with tempfile.TemporaryDirectory() as folder:
        interrupted = fit(model, points, None, folder, training).interrupted
        if interrupted == signal.SIGINT:
            raise KeyboardInterrupt
        if interrupted:
            raise SystemExit(128 + interrupted)
        return read_metrics(Path(folder))


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def _figures(demo: Demo, points: Points, fresh: Points, model: MDN, baseline: SquaredErrorNetwork) -> dict[str, Figure]:
    """What the networks make of x: the samples, the components, the density."""
    model, baseline = model.cpu(), baseline.cpu()
    x = torch.linspace(float(points.x.min()), float(points.x.max()), _GRID).unsqueeze(1)
    mixture = model(x)
    assert isinstance(mixture, GaussianMixture)
    shown = fresh.x[: min(len(points.x), SHOWN)]
    drawn = model(shown).sample(generator=torch.Generator().manual_seed(0))
    data = _plain(points.x, points.y)
    y = torch.stack([_axis(column) for column in points.y.unbind(1)], 1)
    parts = [mixture.marginal(i) for i in range(y.shape[1])]
    maps = [part.log_prob(column[:, None, None]).exp() for part, column in zip(parts, y.unbind(1), strict=True)]
    levels = torch.tensor(densities.LEVELS).unsqueeze(1)
    lines = [part.icdf(levels).squeeze(-1) for part in parts]
    return {
        "samples": densities.samples_figure(
            data, _plain(x, baseline(x)), _plain(shown, drawn), labels=demo.axes, title=demo.toy.title
        ),
        "components": densities.components_figure(
            data, x[:, 0].numpy(), mixture.log_weights.exp().numpy(), mixture.means.numpy(), labels=demo.axes
        ),
        "density": densities.density_figure(
            x[:, 0].numpy(), y.numpy(), torch.stack(maps, -1).numpy(), torch.stack(lines, -1).numpy(), labels=demo.axes
        ),
    }


def _plain(x: Tensor, y: Tensor) -> densities.Cloud:
    return densities.Cloud(x[:, 0].numpy(), y.numpy())


def _axis(values: Tensor) -> Tensor:
    """A grid over all of the values and a little beyond."""
    margin = 0.05 * (values.max() - values.min())
    return torch.linspace(float(values.min() - margin), float(values.max() + margin), _GRID)


def save_demo(report: DemoReport, folder: Path) -> list[Path]:
    """The pictures and result.json in `folder`; the result is where the pictures are."""
    make_folder(folder)
    write_json(folder / "result.json", asdict(report.result))
    paths = [folder / f"{name}.png" for name in report.pictures]
    for path, picture in zip(paths, report.pictures.values(), strict=True):
        write_bytes(path, picture)
    return paths


def save_index(reports: list[DemoReport], path: Path) -> None:
    """All of them as one self-contained page."""
    sections = [
        Section(
            name=report.result.name,
            title=report.demo.toy.title,
            description=f"{report.demo.what} The problem is of: {report.demo.toy.source}.",
            figures=[(CAPTIONS[name], picture) for name, picture in report.pictures.items()],
            summary=asdict(report.result),
        )
        for report in reports
    ]
    write_bytes(path, index_page("Mixture density networks on static problems", sections).encode())
