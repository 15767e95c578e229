"""Run all speed benchmarks, and write their results as Markdown tables."""

from __future__ import annotations

import json
import platform
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from mdnrnn.benchmark.corpora import benchmark_corpus
from mdnrnn.benchmark.generate import benchmark_generate
from mdnrnn.benchmark.head import benchmark_head
from mdnrnn.benchmark.importing import benchmark_import
from mdnrnn.benchmark.limits import copy, matrix_product
from mdnrnn.benchmark.live import benchmark_live
from mdnrnn.benchmark.timing import Machine, take_turns
from mdnrnn.benchmark.train import benchmark_train
from mdnrnn.device import choose_device
from mdnrnn.errors import InputError
from mdnrnn.files.atomic import write_bytes
from mdnrnn.runs.presets import PRESETS

_BATCHES = 3
_REPEATS = 3
_BEGIN, _END = "<!-- benchmark table -->", "<!-- end of benchmark table -->"


def benchmark_all(*, drawings: int = 20_000, live_steps: int = 20_000, device: str = "auto") -> dict[str, Any]:
    """Run all speed benchmarks.

    Return a dictionary with the keys date, machine, limits (hardware limits), head, train (a dictionary by preset),
    generate, import (a dictionary by format) and live.

    Args:
        drawings: number of drawings in the large file of the import benchmark.
        live_steps: number of steps of the live generation benchmark.
        device: name of the device, see `mdnrnn.device.choose_device`.
    """
    where = choose_device(device)
    machine = asdict(Machine.of(where))
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": {**machine, "processor": _processor()},
        "limits": _limits(where),
        "head": asdict(benchmark_head(compiled=False, device=device)),
        "train": {
            preset: asdict(
                benchmark_train(benchmark_corpus(preset), preset, repeats=_REPEATS, batches=_BATCHES, device=device)
            )
            for preset in PRESETS
        },
        "generate": asdict(benchmark_generate(repeats=_REPEATS, device=device)),
        "import": {name: asdict(figures) for name, figures in benchmark_import(drawings).items()},
        "live": asdict(benchmark_live(steps=live_steps)),
    }


def _limits(device: torch.device) -> dict[str, float]:
    """Return FLOP/s of a large matrix product in float32 and in bfloat16, and bytes per second of a large copy."""
    work = {precision: matrix_product(device, precision) for precision in ("float32", "bfloat16")}
    work["copy"] = copy(device)
    times = take_turns({name: run for name, (run, _) in work.items()}, 5, device)
    return {name: amount / times[name] for name, (_, amount) in work.items()}


def _processor() -> str:
    """Return the model name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def write_table(files: list[Path], readme: Path) -> None:
    """Replace the text between two marker comments of a Markdown file by tables of results, one per machine.

    Args:
        files: outputs of `mdnrnn benchmark all --json`, one per machine.
        readme: Markdown file that contains each of the two marker comments exactly once.
    """
    text = readme.read_text(encoding="utf-8")
    if text.count(_BEGIN) != 1 or text.count(_END) != 1:
        raise InputError(
            f"{readme}: missing or repeated marker lines; expected {_BEGIN} and {_END} once each; correct the file"
        )
    before, rest = text.split(_BEGIN)
    tables = "\n\n".join(table(_read(file)) for file in files)
    write_bytes(readme, f"{before}{_BEGIN}\n{tables}\n{_END}{rest.split(_END)[1]}".encode())


def _read(file: Path) -> dict[str, Any]:
    try:
        figures = json.loads(file.read_bytes())
        figures["machine"], figures["train"], figures["generate"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} is not a result file; expected the output of mdnrnn benchmark all --json; run the benchmark again"
        ) from error
    return dict(figures)


def table(figures: dict[str, Any]) -> str:
    """Return the results of `benchmark_all` on one machine as a Markdown table."""
    machine, limits = figures["machine"], figures["limits"]
    named = dict.fromkeys([machine["device_name"], machine["processor"]])
    description = (
        f"{', '.join(named)}, {machine['threads']} threads, torch {machine['torch_version']}, Python "
        f"{machine['python_version']}, {figures['date']}. Hardware limits, measured in the same run: matrix product "
        f"{_si(limits['bfloat16'])}FLOP/s in bfloat16 and {_si(limits['float32'])}FLOP/s in float32, copy "
        f"{_si(limits['copy'])}B/s (bytes read plus bytes written)."
    )
    lines = [
        textwrap.fill(description, 125),
        "",
        "| benchmark | result | speedup over plain PyTorch | relative to a reference |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {' | '.join(row)} |" for rows in _ROWS for row in rows(figures)]
    return "\n".join(lines)


def _train_rows(figures: dict[str, Any]) -> Iterator[list[str]]:
    for preset, own in figures["train"].items():
        speedup = "" if own["speedup"] is None else f"{own['speedup']:.1f}"
        yield [
            f"training, preset `{preset}`, H {own['hidden']}",
            f"{own['points_per_second']:,.0f} points per second",
            speedup,
            f"{own['fraction_of_matmul']:.0%} of a matrix product in {own['precision']}",
        ]


def _generate_rows(figures: dict[str, Any]) -> Iterator[list[str]]:
    own = figures["generate"]
    for size, rate in own["drawings_per_second"].items():
        share = own["fraction_of_matmul"][size]
        yield [
            f"generating drawings of {own['steps']} steps, batch {int(size):,}, H {own['hidden']}",
            f"{rate:,.0f} per second",
            "",
            f"{share:.0%} of a matrix product in float32",
        ]
    yield [
        f"generating one step at batch size 1, H {own['hidden']}",
        f"{own['step_microseconds']:.0f} µs",
        "",
        f"{own['step_over_matvec']:.2f} times the matrix-vector product of its weights by `torch.mv`",
    ]
    yield [
        f"generating 1,000 drawings with a mean length of {own['sheep_mean_steps']:.0f} steps",
        f"{own['sheep_seconds']:.1f} s",
        "",
        "",
    ]


def _head_rows(figures: dict[str, Any]) -> Iterator[list[str]]:
    own = figures["head"]
    operations = 6.0 * own["rows"] * own["in_features"] * own["components"] * (1 + 2 * own["features"])
    yield [
        f"head and loss, {own['rows']:,} rows, forward and backward",
        f"{own['milliseconds']:.1f} ms",
        f"{own['speedup']:.1f}",
        f"{operations / own['milliseconds'] * 1e3 / figures['limits']['float32']:.0%} of a matrix product in float32",
    ]
    if own["step_milliseconds"] is not None:
        for kind, what in (("", "densities"), ("cell_", "bin probabilities")):
            yield [
                f"likelihood kernel, {own['step_rows']:,} steps, {what}, forward and backward",
                f"{own[f'step_{kind}milliseconds']:.2f} ms",
                f"{own[f'step_{kind}speedup']:.1f}",
                f"{own[f'step_{kind}copy_fraction']:.0%} of a copy of the parameters",
            ]


def _import_rows(figures: dict[str, Any]) -> Iterator[list[str]]:
    for name, own in figures["import"].items():
        alone = own["parse_per_second"]
        yield [
            f"import of {name}",
            f"{own['per_second']:,.0f} drawings per second",
            "",
            f"{own['per_second'] / alone:.0%} of the rate of only parsing the file as JSON" if alone else "",
        ]


def _live_rows(figures: dict[str, Any]) -> Iterator[list[str]]:
    own = figures["live"]
    yield [
        f"one live step, preset `{own['preset']}`, one core",
        f"median {own['median_ms']:.2f} ms, 99th percentile {own['p99_ms']:.2f} ms",
        "",
        f"{own['median_ms'] / own['matvec_ms']:.0f} times the matrix-vector products of its weights",
    ]


_ROWS: tuple[Callable[[dict[str, Any]], Iterator[list[str]]], ...] = (
    _train_rows,
    _generate_rows,
    _head_rows,
    _import_rows,
    _live_rows,
)


def _si(value: float) -> str:
    """Return a number as text with three significant digits and an SI prefix."""
    for prefix, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if value >= size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:.3g} "
