"""`mdnrnn benchmark train|generate`: speed as ratios measured in one run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import tyro

from mdnrnn.benchmark import benchmark_generate, benchmark_train
from mdnrnn.cli.arguments import parse, print_json
from mdnrnn.data.catalog import open_corpus
from mdnrnn.errors import InputError
from mdnrnn.training.config import Device

Json = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True, kw_only=True)
class TrainBenchmarkOptions:
    """Real points a second in training, over those of a plain PyTorch loop."""

    data: str = "doodles"
    """A catalog name, a file or a folder."""
    hidden: int = 512
    """Units of the LSTM."""
    batch_size: int = 100
    """Sequences in a batch."""
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


def main(arguments: list[str]) -> int:
    """Measure and print."""
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print("usage: mdnrnn benchmark {train,generate} ...\n\nmdnrnn benchmark WHAT --help tells its options.")
        return 0 if arguments else 2
    figures: dict[str, Any]
    if name == "train":
        options = parse(TrainBenchmarkOptions, "benchmark train", arguments[1:])
        corpus = open_corpus(options.data)
        corpus.check()
        result = benchmark_train(
            corpus,
            hidden=options.hidden,
            batch_size=options.batch_size,
            repeats=options.repeats,
            device=options.device,
        )
        as_asked, figures = options.json, asdict(result)
    elif name == "generate":
        chosen = parse(GenerateBenchmarkOptions, "benchmark generate", arguments[1:])
        drawn = benchmark_generate(
            hidden=chosen.hidden, steps=chosen.steps, repeats=chosen.repeats, device=chosen.device
        )
        as_asked, figures = chosen.json, asdict(drawn)
    else:
        raise InputError(f"unknown benchmark {name!r}; expected train or generate")
    if as_asked:
        print_json(figures)
    else:
        for key, value in figures.items():
            print(f"{key:26}{value:,.3f}" if isinstance(value, float) else f"{key:26}{value}")
    return 0
