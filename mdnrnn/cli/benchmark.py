"""`mdnrnn benchmark WHAT`: speed as ratios, and likelihoods beside others', measured in one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from mdnrnn.benchmark import (
    benchmark_generate,
    benchmark_head,
    benchmark_import,
    benchmark_live,
    benchmark_size,
    benchmark_touch,
    benchmark_train,
    benchmark_world,
)
from mdnrnn.benchmark.everything import benchmark_all, write_table
from mdnrnn.benchmark.material import material
from mdnrnn.cli.arguments import parse, print_json
from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.corpus import Corpus
from mdnrnn.errors import InputError
from mdnrnn.runs.presets import PRESETS
from mdnrnn.training.config import Device

Json = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True, kw_only=True)
class HeadBenchmarkOptions:
    """A call of the head with its loss, forward and backward, over PyTorch's own mixture on a linear layer; on a GPU
    also the kernel that takes nats of steps from a head's rows, beside plain PyTorch and a copy of the rows."""

    rows: int = 25_000
    """Predictions in a call."""
    components: int = 20
    """Of the mixture."""
    features: int = 2
    """Dimensions of a target."""
    in_features: int = 64
    """Of the linear layer."""
    repeats: int = 20
    """Turns of each; the median counts."""
    compiled: bool = True
    """Whether to measure both compiled, too (the compiler takes a minute)."""
    device: Device = "auto"
    """Where to compute."""
    json: Json = False
    """Print JSON."""


@dataclass(frozen=True, kw_only=True)
class TrainBenchmarkOptions:
    """Real points a second in training, over those of a plain PyTorch loop of the same network, and of what the machine
    can do at best.

    Names that end in same_memory: the plain loop, too, keeps freed memory. Names with scale_tril: it is given Cholesky
    factors in place of covariance matrices, where the preset has such.
    """

    preset: str = "stroke"
    """Whose model and training."""
    data: str | None = None
    """A catalog name, a file or a folder; by default the doodles or, for what is not for drawings, a little of what the
    preset is for, made on the spot."""
    hidden: int | None = None
    """Units of the LSTM that decodes; by default the preset's."""
    batch_size: int | None = None
    """Sequences in a batch; by default 100, of lines of text 32."""
    repeats: int = 5
    """Turns of each; the median counts."""
    batches: int = 8
    """Timed in a turn, of all lengths."""
    device: Device = "auto"
    """Where to compute."""
    json: Json = False
    """Print JSON."""


@dataclass(frozen=True, kw_only=True)
class GenerateBenchmarkOptions:
    """Drawings a second in batches and one at a time; a step over its matrix-vector product."""

    hidden: int = 512
    """Units of the LSTM."""
    steps: int = 128
    """Of every drawing."""
    repeats: int = 5
    """Turns of each; the median counts."""
    device: Device = "auto"
    """Where to compute."""
    json: Json = False
    """Print JSON."""


@dataclass(frozen=True, kw_only=True)
class ImportBenchmarkOptions:
    """Drawings a second from files of each format to a corpus, on one core, and the memory that it takes."""

    drawings: int = 100_000
    """In the larger file; the smaller one has 10,000."""
    json: Json = False
    """Print JSON."""


@dataclass(frozen=True, kw_only=True)
class TouchBenchmarkOptions:
    """Our touch model beside RoboJam of the same size, trained for as long, and the null model: likelihoods, taps, and
    answers to held-out calls."""

    data: str
    """Touch performances: a catalog name, a file or a folder."""
    minutes: float = 10.0
    """Of training, each."""
    out: Path | None = None
    """A folder to keep our run in."""
    seed: int = 0
    """Of all of it."""
    json: Json = False
    """Print JSON."""


@dataclass(frozen=True, kw_only=True)
class WorldBenchmarkOptions:
    """A world model of a system whose likelihood is known, and its dreams (mdnrnn data get rollouts)."""

    minutes: float = 4.0
    """Of training."""
    out: Path | None = None
    """A folder to keep the run in."""
    seed: int = 0
    """Of all of it."""
    json: Json = False
    """Print JSON."""


@dataclass(frozen=True, kw_only=True)
class LiveBenchmarkOptions:
    """How long a step of a performer takes on one core, and whether it takes more and more memory."""

    preset: str = "gesture-s"
    """Whose sizes."""
    steps: int = 100_000
    """How many are played."""
    json: Json = False
    """Print JSON."""


@dataclass(frozen=True, kw_only=True)
class AllBenchmarkOptions:
    """Head, training of each preset, generation, import and a live step, in one run, beside the machine's limits; takes
    about ten minutes."""

    drawings: int = 20_000
    """To import."""
    live_steps: int = 20_000
    """To play."""
    device: Device = "auto"
    """Where to compute."""
    json: Json = False
    """Print JSON."""


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """A table in Markdown of what mdnrnn benchmark all --json has printed."""

    figures: Annotated[list[Path], tyro.conf.Positional]
    """Files, one for each machine."""
    readme: Path
    """Where the table goes, between the lines that mark its place."""


@dataclass(frozen=True, kw_only=True)
class SizeBenchmarkOptions:
    """Training on millions of drawings: seconds to open them and to begin, memory, points a second beside thousands."""

    drawings: int = 10_000_000
    """How many; 10 million take 2.3 GB of disk and are made in a minute."""
    folder: Path | None = None
    """Where to keep them, and to find them again; by default they are removed."""
    steps: int = 1000
    """Of training, on either corpus."""
    preset: str = "stroke-small"
    """Whose model and batches."""
    json: Json = False
    """Print JSON."""


def _corpus(data: str | None, preset: str) -> Corpus:
    if data is None and preset in PRESETS:
        return material(preset)
    corpus = open_corpus(data or "doodles")
    corpus.check()
    return corpus


def _train(options: TrainBenchmarkOptions) -> object:
    return benchmark_train(_corpus(options.data, options.preset), **_settings(options, "data"))


def _import(options: ImportBenchmarkOptions) -> dict[str, object]:
    by_format = benchmark_import(options.drawings)
    return {f"{name}_{key}": value for name, of in by_format.items() for key, value in asdict(of).items()}


def _all(options: AllBenchmarkOptions) -> dict[str, Any]:
    found = benchmark_all(**_settings(options))
    return found if options.json else dict(_flat(found))


def _flat(figures: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}_")
        else:
            yield f"{prefix}{name}", value


BENCHMARKS: dict[str, tuple[type[Any], Callable[[Any], Any]]] = {
    "all": (AllBenchmarkOptions, _all),
    "head": (HeadBenchmarkOptions, lambda options: benchmark_head(**_settings(options))),
    "train": (TrainBenchmarkOptions, _train),
    "generate": (GenerateBenchmarkOptions, lambda options: benchmark_generate(**_settings(options))),
    "import": (ImportBenchmarkOptions, _import),
    "size": (SizeBenchmarkOptions, lambda options: benchmark_size(**_settings(options))),
    "touch": (TouchBenchmarkOptions, lambda options: benchmark_touch(**_settings(options))),
    "world": (WorldBenchmarkOptions, lambda options: benchmark_world(**_settings(options))),
    "live": (LiveBenchmarkOptions, lambda options: benchmark_live(**_settings(options))),
}


def _settings(options: Any, *but: str) -> dict[str, Any]:
    return {name: value for name, value in vars(options).items() if name not in ("json", *but)}


def main(arguments: list[str]) -> int:
    """Measure and print."""
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(f"usage: mdnrnn benchmark {{{','.join([*BENCHMARKS, 'table'])}}} ...")
        print("\nmdnrnn benchmark WHAT --help tells its options.")
        return 0 if arguments else 2
    if name == "table":
        options = parse(TableOptions, "benchmark table", arguments[1:])
        write_table(options.figures, options.readme)
        return 0
    if name not in BENCHMARKS:
        raise InputError(f"unknown benchmark {name!r}; expected one of {', '.join([*BENCHMARKS, 'table'])}")
    kind, measure = BENCHMARKS[name]
    asked = parse(kind, f"benchmark {name}", arguments[1:])
    found = measure(asked)
    figures: dict[str, Any] = found if isinstance(found, dict) else asdict(found)
    if asked.json:
        print_json(figures)
        return 0
    told = {key: value for key, value in figures.items() if value is not None}
    width = max(map(len, told)) + 2
    for key, value in told.items():
        print(f"{key:{width}}{value:,.3f}" if isinstance(value, float) else f"{key:{width}}{value}")
    return 0
