"""Exported models: sizes of the files, and time per step in onnxruntime and in PyTorch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from mdnrnn.benchmark.timing import Machine, take_turns
from mdnrnn.device import single_thread
from mdnrnn.distributions import Step
from mdnrnn.errors import InputError
from mdnrnn.export.examples import Dimensions, make_examples
from mdnrnn.export.files import export_onnx
from mdnrnn.export.graphs import distribution_parameters
from mdnrnn.export.states import rebuild_state
from mdnrnn.runs.run import load

_CHARACTERS = 20
"""Number of characters of the text, for a model that reads a text."""


@dataclass(frozen=True, kw_only=True)
class ExportBenchmark:
    """Sizes of ONNX files in bytes, and CPU time per step on one core in milliseconds."""

    run: str
    batch_size: int
    step_bytes: int
    initial_bytes: int
    encoder_bytes: int | None
    """None for a model without encoder."""
    onnx_ms: float
    torch_ms: float
    machine: Machine


def benchmark_export(run: Path | str, *, batch_size: int = 1, steps: int = 500, repeats: int = 9) -> ExportBenchmark:
    """Export a run as ONNX, and measure the time per step in onnxruntime and of `model.step` in PyTorch.

    Args:
        run: run folder or name of a bundled model.
        batch_size: number of sequences.
        steps: number of steps per round.
        repeats: number of timed rounds; the median is reported.
    """
    for name, value in (("batch_size", batch_size), ("steps", steps)):
        if value < 1:
            raise InputError(f"{name}: received {value}, expected 1 or more")
    model = load(run).model
    with TemporaryDirectory() as folder, single_thread(), torch.inference_mode():
        paths = export_onnx(model, Path(folder) / "model.onnx")
        sizes: list[int | None] = [path.stat().st_size for path in paths]
        example = make_examples(model)["step"]
        inputs = example.make_inputs(Dimensions(batch_size, 1, _CHARACTERS))
        session = _open_session(paths[0])

        def run_onnx() -> None:
            feed = {name: tensor.numpy() for name, tensor in inputs.items()}
            names = [output.name.removeprefix("next_") for output in session.get_outputs()]
            for _ in range(steps):
                outputs = session.run(None, feed)
                feed |= {name: array for name, array in zip(names, outputs, strict=True) if name in feed}

        def run_torch() -> None:
            previous = Step(inputs["motion"], inputs["event"], inputs.get("inputs"))
            state = rebuild_state(example.module.template, inputs)
            for _ in range(steps):
                distribution, state = model.step(previous, state)
                distribution_parameters(distribution)

        seconds = take_turns(
            {"onnx": run_onnx, "torch": run_torch}, repeats, torch.device("cpu"), clock=time.process_time
        )
    step_bytes, initial_bytes, encoder_bytes = [*sizes, None][:3]
    assert step_bytes is not None
    assert initial_bytes is not None
    return ExportBenchmark(
        run=str(run),
        batch_size=batch_size,
        step_bytes=step_bytes,
        initial_bytes=initial_bytes,
        encoder_bytes=encoder_bytes,
        onnx_ms=1e3 * seconds["onnx"] / steps,
        torch_ms=1e3 * seconds["torch"] / steps,
        machine=Machine.of(torch.device("cpu")),
    )


def _open_session(path: Path) -> Any:
    """Return a session of onnxruntime with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)
