"""`mdnrnn benchmark NAME`: speed relative to plain PyTorch and to hardware limits, and likelihoods."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from mdnrnn.cli.dispatch import choose, summary
from mdnrnn.cli.options import DataOption, DeviceOption, Json, Seed, parse, print_json

Repeats = Annotated[int, arg(help="Number of timed rounds; the median is reported.")]
Minutes = Annotated[float, arg(help="Training time in minutes.")]
KeptRun = Annotated[Path | None, arg(help="Folder for the trained run; by default the run is deleted.")]


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """Options of all benchmarks."""

    json: Json = False

    def arguments(self) -> dict[str, Any]:
        """Return the fields of the subclass by name: the arguments of its benchmark function."""
        return {name: value for name, value in vars(self).items() if name != "json"}

    def measure(self) -> Any:
        """Run the benchmark and return its results: a dataclass, or a dictionary."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class AllOptions(BenchmarkOptions):
    """All speed benchmarks: head, training, generation, import and live generation.

    They take about ten minutes.
    """

    drawings: int = 20_000
    """Number of drawings to import."""
    live_steps: int = 20_000
    """Number of steps of the live benchmark."""
    device: DeviceOption = "auto"

    def measure(self) -> Any:
        """Return the results; flattened unless --json is set."""
        from mdnrnn.benchmark.suite import benchmark_all

        results = benchmark_all(**self.arguments())
        return results if self.json else dict(_flatten(results))


@dataclass(frozen=True, kw_only=True)
class HeadOptions(BenchmarkOptions):
    """Time of the mixture head with its loss, compared with PyTorch's mixture distribution.

    The time includes the forward and backward pass. On a GPU, the fused kernel is also compared with plain PyTorch and
    with the time to copy the parameters.
    """

    rows: int = 25_000
    """Number of predictions per call."""
    components: int = 20
    """Number of mixture components."""
    features: int = 2
    """Number of target dimensions."""
    in_features: int = 64
    """Input size of the linear layer."""
    repeats: Repeats = 20
    compiled: bool = True
    """Whether to measure both implementations also with torch.compile, which takes about a minute."""
    device: DeviceOption = "auto"

    def measure(self) -> Any:
        """Run the benchmark."""
        from mdnrnn.benchmark import benchmark_head

        return benchmark_head(**self.arguments())


@dataclass(frozen=True, kw_only=True)
class TrainOptions(BenchmarkOptions):
    """Points per second in training, compared with a plain PyTorch loop and the hardware limit.

    Results named "same_memory" are for a plain loop with the memory settings of mdnrnn (freed memory is kept for
    reuse). Results named "scale_tril" are for a plain loop that uses Cholesky factors instead of covariance matrices,
    if the preset has full covariances.
    """

    preset: str = "stroke"
    """Preset of the model and the training."""
    data: str | None = None
    """Data: a catalog name, a file or a folder; by default a small data set that suits the preset."""
    hidden: int | None = None
    """Hidden size of the decoder; by default that of the preset."""
    batch_size: int | None = None
    """Number of sequences per batch; by default 100, or 32 for handwriting."""
    repeats: Repeats = 5
    batches: int = 8
    """Number of batches per round; together they cover all sequence lengths."""
    device: DeviceOption = "auto"

    def measure(self) -> Any:
        """Run the benchmark."""
        from mdnrnn.benchmark import benchmark_train
        from mdnrnn.benchmark.corpora import benchmark_corpus
        from mdnrnn.data.catalog import open_corpus
        from mdnrnn.runs.presets import PRESETS

        arguments = self.arguments()
        data = arguments.pop("data")
        if data is None and self.preset in PRESETS:
            return benchmark_train(benchmark_corpus(self.preset), **arguments)
        corpus = open_corpus(data or "doodles")
        corpus.check()
        return benchmark_train(corpus, **arguments)


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(BenchmarkOptions):
    """Drawings per second in batches and one at a time, and time per step relative to its matrix-vector products."""

    hidden: int = 512
    """Hidden size of the LSTM."""
    steps: int = 128
    """Number of steps per drawing."""
    repeats: Repeats = 5
    device: DeviceOption = "auto"

    def measure(self) -> Any:
        """Run the benchmark."""
        from mdnrnn.benchmark import benchmark_generate

        return benchmark_generate(**self.arguments())


@dataclass(frozen=True, kw_only=True)
class ImportOptions(BenchmarkOptions):
    """Import speed in drawings per second, and memory use, for each format on one core."""

    drawings: int = 100_000
    """Number of drawings in the larger file; the smaller file has 10,000."""

    def measure(self) -> Any:
        """Run the benchmark."""
        from mdnrnn.benchmark import benchmark_import

        formats = benchmark_import(self.drawings)
        return dict(_flatten({name: dataclasses.asdict(figures) for name, figures in formats.items()}))


@dataclass(frozen=True, kw_only=True)
class SizeOptions(BenchmarkOptions):
    """Training on millions of drawings compared with thousands: time to open the data, memory, points per second."""

    drawings: int = 10_000_000
    """Number of drawings; 10 million take 2.3 GB of disk space and a minute to generate."""
    folder: Path | None = None
    """Folder that keeps the drawings for later benchmarks; by default the drawings are deleted."""
    steps: int = 1000
    """Number of training steps on each corpus."""
    preset: str = "stroke-small"
    """Preset of the model and the training."""

    def measure(self) -> Any:
        """Run the benchmark."""
        from mdnrnn.benchmark import benchmark_size

        return benchmark_size(**self.arguments())


@dataclass(frozen=True, kw_only=True)
class TouchOptions(BenchmarkOptions):
    """The touch model compared with a RoboJam model of equal size and a null model: likelihoods, taps and responses.

    The touch model and the RoboJam model are trained for the same time.
    """

    data: DataOption
    minutes: Minutes = 10.0
    out: KeptRun = None
    seed: Seed = 0

    def measure(self) -> Any:
        """Run the benchmark."""
        from mdnrnn.benchmark import benchmark_touch

        return benchmark_touch(**self.arguments())


@dataclass(frozen=True, kw_only=True)
class WorldOptions(BenchmarkOptions):
    """A world model compared with the simulated system it is trained on: likelihoods and rollouts.

    The benchmark needs the data set rollouts; get it with: mdnrnn data get rollouts
    """

    minutes: Minutes = 4.0
    out: KeptRun = None
    seed: Seed = 0

    def measure(self) -> Any:
        """Run the benchmark."""
        from mdnrnn.benchmark import benchmark_world

        return benchmark_world(**self.arguments())


@dataclass(frozen=True, kw_only=True)
class LiveOptions(BenchmarkOptions):
    """Latency and memory of live generation, step by step on one core."""

    preset: str = "gesture-s"
    """Preset that defines the sizes of the model."""
    steps: int = 100_000
    """Number of measured steps."""

    def measure(self) -> Any:
        """Run the benchmark."""
        from mdnrnn.benchmark import benchmark_live

        return benchmark_live(**self.arguments())


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Write the results of mdnrnn benchmark all --json to a table in a Markdown file."""

    figures: Annotated[list[Path], Positional, arg(metavar="FILE [FILE ...]")]
    """Result files, one per machine; the output of mdnrnn benchmark all --json."""
    readme: Path
    """Markdown file to update; the table is written between its two marker comments."""


BENCHMARKS: dict[str, type[BenchmarkOptions]] = {
    "all": AllOptions,
    "head": HeadOptions,
    "train": TrainOptions,
    "generate": GenerateOptions,
    "import": ImportOptions,
    "size": SizeOptions,
    "touch": TouchOptions,
    "world": WorldOptions,
    "live": LiveOptions,
}


def main(arguments: list[str]) -> int:
    """Run a benchmark and print its results, or write the table."""
    name = choose(
        arguments,
        {name: summary(options) for name, options in {**BENCHMARKS, "table": TableOptions}.items()},
        command="mdnrnn benchmark",
        kind="benchmark",
        usage="usage: mdnrnn benchmark BENCHMARK ...",
    )
    if name == "table":
        table = parse(TableOptions, "benchmark table", arguments[1:])
        from mdnrnn.benchmark.suite import write_table

        write_table(table.figures, table.readme)
        return 0
    options = parse(BENCHMARKS[name], f"benchmark {name}", arguments[1:])
    results = options.measure()
    figures: dict[str, Any] = results if isinstance(results, dict) else dataclasses.asdict(results)
    if options.json:
        print_json(figures)
    else:
        _print_figures({key: value for key, value in figures.items() if value is not None})
    return 0


def _print_figures(figures: dict[str, Any]) -> None:
    width = max(map(len, figures)) + 2
    for key, value in figures.items():
        print(f"{key:{width}}{value:,.3f}" if isinstance(value, float) else f"{key:{width}}{value}")


def _flatten(figures: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested dictionaries with their joined keys."""
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}_")
        else:
            yield f"{prefix}{name}", value
