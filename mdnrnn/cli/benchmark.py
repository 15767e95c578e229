"""`mdnrnn benchmark NAME`: measure speed, relative to plain PyTorch and to hardware limits, and compare likelihoods."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from mdnrnn.cli.dispatch import choose, summary
from mdnrnn.cli.options import DataOption, DeviceOption, Json, RunFolder, Seed, parse, print_json

Repeats = Annotated[int, arg(help="Number of timed rounds; the median is reported.")]
Minutes = Annotated[float, arg(help="Training time in minutes.")]
KeptRun = Annotated[Path | None, arg(help="Folder for the trained run; by default the run is deleted.")]


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """Options of all benchmarks."""

    json: Json = False

    def arguments(self) -> dict[str, Any]:
        """Return the options, except --json, as keyword arguments of the benchmark function."""
        return {name: value for name, value in vars(self).items() if name != "json"}

    def measure(self) -> Any:
        """Run the benchmark and return its results, a dataclass or a dictionary."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class AllOptions(BenchmarkOptions):
    """Run all speed benchmarks: head, training, generation, import and live generation.

    This takes about ten minutes.
    """

    drawings: int = 20_000
    """Number of drawings in the files of the import benchmark."""
    live_steps: int = 20_000
    """Number of steps of the live generation benchmark."""
    device: DeviceOption = "auto"

    def measure(self) -> Any:
        """Run the benchmarks. With --json return a nested dictionary, else a flat one."""
        from mdnrnn.benchmark.suite import benchmark_all

        results = benchmark_all(**self.arguments())
        return results if self.json else dict(_flatten(results))


@dataclass(frozen=True, kw_only=True)
class HeadOptions(BenchmarkOptions):
    """Measure the time of the mixture head and its loss, compared with PyTorch's mixture distribution.

    The time includes the forward and the backward pass. On a GPU, the time of the fused likelihood kernel is compared
    with that of plain PyTorch and with the time to copy the mixture parameters.
    """

    rows: int = 25_000
    """Number of predictions per call."""
    components: int = 20
    """Number of mixture components."""
    features: int = 2
    """Number of target dimensions."""
    in_features: int = 64
    """Input size of the head."""
    repeats: Repeats = 20
    compiled: bool = True
    """Whether to repeat the comparison with the head and its baseline both compiled by torch.compile. This takes about
    a minute."""
    device: DeviceOption = "auto"

    def measure(self) -> Any:
        """Run the benchmark."""
        from mdnrnn.benchmark import benchmark_head

        return benchmark_head(**self.arguments())


@dataclass(frozen=True, kw_only=True)
class TrainOptions(BenchmarkOptions):
    """Measure the training speed in points per second, compared with a plain PyTorch loop and the hardware limit.

    Results with "same_memory" in their name are for a plain loop that has the memory settings of mdnrnn: freed memory
    is kept for reuse. Results with "scale_tril" in their name exist for Sketch-RNN models only. They are for a plain
    loop that uses Cholesky factors instead of covariance matrices.
    """

    preset: Annotated[str, arg(metavar="PRESET")] = "stroke"
    """Preset of the model and the training."""
    data: Annotated[str | None, arg(metavar="DATA")] = None
    """Data: a catalog name, a file or a folder; by default a small data set that suits the preset."""
    hidden: int | None = None
    """Hidden size of the decoder; by default that of the preset."""
    batch_size: int | None = None
    """Number of sequences per batch; by default 100, or 32 for handwriting."""
    repeats: Repeats = 5
    batches: int = 8
    """Number of batches per round. They cover the range from the shortest to the longest sequences of the data."""
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
    """Measure generation: drawings per second by batch size, and time per step relative to a matrix-vector product."""

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
    """Measure the import of each format on one core: drawings per second and peak memory."""

    drawings: int = 100_000
    """Number of drawings in the larger file; the smaller file has 10,000."""

    def measure(self) -> Any:
        """Run the benchmark."""
        from mdnrnn.benchmark import benchmark_import

        formats = benchmark_import(self.drawings)
        return dict(_flatten({name: dataclasses.asdict(figures) for name, figures in formats.items()}))


@dataclass(frozen=True, kw_only=True)
class SizeOptions(BenchmarkOptions):
    """Measure training on millions of drawings: opening time, memory, and speed relative to training on thousands."""

    drawings: int = 10_000_000
    """Number of drawings; 10 million take 2.3 GB of disk space and a minute to generate."""
    folder: Path | None = None
    """Folder in which the drawings are kept for later benchmarks; by default the drawings are deleted."""
    steps: int = 1000
    """Number of training steps on each corpus."""
    preset: Annotated[str, arg(metavar="PRESET")] = "stroke-small"
    """Preset of the model and the training."""

    def measure(self) -> Any:
        """Run the benchmark."""
        from mdnrnn.benchmark import benchmark_size

        return benchmark_size(**self.arguments())


@dataclass(frozen=True, kw_only=True)
class TouchOptions(BenchmarkOptions):
    """Compare a touch model with RoboJam and a null model: likelihood, prediction of taps, responses.

    RoboJam is the model of Martin and Torresen (arXiv:1711.10746). It has the same size as the touch model and is
    trained for the same time.
    """

    data: DataOption
    minutes: Minutes = 10.0
    out: KeptRun = None
    seed: Seed = 0

    def measure(self) -> Any:
        """Run the benchmark."""
        from mdnrnn.benchmark import benchmark_touch
        from mdnrnn.training.memory import keep_freed_memory

        keep_freed_memory()
        return benchmark_touch(**self.arguments())


@dataclass(frozen=True, kw_only=True)
class WorldOptions(BenchmarkOptions):
    """Compare a world model with the simulated system that it is trained on: likelihoods and rollouts.

    The benchmark needs the data set rollouts; get it with: mdnrnn data get rollouts
    """

    minutes: Minutes = 4.0
    out: KeptRun = None
    seed: Seed = 0

    def measure(self) -> Any:
        """Run the benchmark."""
        from mdnrnn.benchmark import benchmark_world
        from mdnrnn.training.memory import keep_freed_memory

        keep_freed_memory()
        return benchmark_world(**self.arguments())


@dataclass(frozen=True, kw_only=True)
class LiveOptions(BenchmarkOptions):
    """Measure the latency and the memory growth of live generation, step by step on one core."""

    preset: Annotated[str, arg(metavar="PRESET")] = "gesture-s"
    """Preset that defines the size of the model."""
    steps: int = 100_000
    """Number of measured steps."""

    def measure(self) -> Any:
        """Run the benchmark."""
        from mdnrnn.benchmark import benchmark_live

        return benchmark_live(**self.arguments())


@dataclass(frozen=True, kw_only=True)
class ExportOptions(BenchmarkOptions):
    """Measure an exported model: sizes of the files, and CPU time per step in onnxruntime and PyTorch on one core."""

    run: RunFolder
    batch_size: int = 1
    """Number of sequences."""
    steps: int = 500
    """Number of steps per round."""
    repeats: Repeats = 9

    def measure(self) -> Any:
        """Run the benchmark."""
        from mdnrnn.benchmark import benchmark_export

        return benchmark_export(**self.arguments())


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Write the results of mdnrnn benchmark all --json as a table to a Markdown file."""

    figures: Annotated[list[Path], Positional, arg(metavar="FILE [FILE ...]")]
    """Result files, one per machine: outputs of mdnrnn benchmark all --json."""
    readme: Path
    """Markdown file to update. The table replaces the text between its two marker comments."""


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
    "export": ExportOptions,
}


def main(arguments: list[str]) -> int:
    """Run a benchmark and print its results, or write the table of results."""
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
    """Yield (key, value) pairs of nested dictionaries; nested keys are joined by "_"."""
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}_")
        else:
            yield f"{prefix}{name}", value
