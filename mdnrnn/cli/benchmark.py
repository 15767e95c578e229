"""`mdnrnn benchmark head|train|generate|import`: speed, as ratios measured in one run where there is a baseline."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import tyro

from mdnrnn.benchmark import benchmark_generate, benchmark_head, benchmark_import, benchmark_train
from mdnrnn.cli.arguments import parse, print_json
from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.synthetic.corpora import make_pen_text
from mdnrnn.errors import InputError
from mdnrnn.presets import KINDS, PRESETS
from mdnrnn.training.config import Device

Json = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True, kw_only=True)
class HeadBenchmarkOptions:
    """A call of the head with its loss, forward and backward, over PyTorch's own mixture on a linear layer."""

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
    """Real points a second in training, over those of a plain PyTorch loop of the same network.

    Names that end in same_memory: the plain loop, too, keeps freed memory. Names with scale_tril: it is given Cholesky
    factors in place of covariance matrices, where the preset has such.
    """

    preset: str = "stroke"
    """Whose model: stroke, sketch, handwriting, or one of their kin."""
    data: str | None = None
    """A catalog name, a file or a folder; by default the doodles, or for a model that writes, a few lines of pen text
    that are made on the spot."""
    hidden: int | None = None
    """Units of the LSTM that decodes; by default the preset's."""
    batch_size: int | None = None
    """Sequences in a batch; by default 100, of lines of text 32."""
    repeats: int = 5
    """Turns of each; the median counts."""
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


def _corpus(data: str | None, preset: str) -> Corpus:
    if data is None and preset in PRESETS and KINDS[PRESETS[preset].kind].model.writes:
        return make_pen_text(5, {"train": 64, "valid": 1, "test": 1})
    corpus = open_corpus(data or "doodles")
    corpus.check()
    return corpus


def main(arguments: list[str]) -> int:
    """Measure and print."""
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print("usage: mdnrnn benchmark {head,train,generate,import} ...")
        print("\nmdnrnn benchmark WHAT --help tells its options.")
        return 0 if arguments else 2
    figures: dict[str, Any]
    if name == "head":
        of_head = parse(HeadBenchmarkOptions, "benchmark head", arguments[1:])
        sizes = asdict(of_head)
        as_json = sizes.pop("json")
        figures = asdict(benchmark_head(**sizes))
    elif name == "train":
        of_train = parse(TrainBenchmarkOptions, "benchmark train", arguments[1:])
        sizes = asdict(of_train)
        as_json, corpus = sizes.pop("json"), _corpus(sizes.pop("data"), of_train.preset)
        figures = asdict(benchmark_train(corpus, **sizes))
    elif name == "generate":
        of_generate = parse(GenerateBenchmarkOptions, "benchmark generate", arguments[1:])
        sizes = asdict(of_generate)
        as_json = sizes.pop("json")
        figures = asdict(benchmark_generate(**sizes))
    elif name == "import":
        of_import = parse(ImportBenchmarkOptions, "benchmark import", arguments[1:])
        as_json = of_import.json
        by_format = benchmark_import(of_import.drawings)
        figures = {f"{name}_{key}": value for name, of in by_format.items() for key, value in asdict(of).items()}
    else:
        raise InputError(f"unknown benchmark {name!r}; expected head, train, generate or import")
    if as_json:
        print_json(figures)
    else:
        told = {key: value for key, value in figures.items() if value is not None}
        width = max(map(len, told)) + 2
        for key, value in told.items():
            print(f"{key:{width}}{value:,.3f}" if isinstance(value, float) else f"{key:{width}}{value}")
    return 0
