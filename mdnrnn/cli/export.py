"""`mdnrnn export RUN --out FILE`: write a trained model as ONNX or PT2, for programs without mdnrnn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mdnrnn.cli.options import RunFolder, parse
from mdnrnn.errors import InputError

Format = Literal["onnx", "pt2"]


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Write a trained model as ONNX or PT2, for programs without mdnrnn.

    The output file contains one step of the model. Files beside it contain the initial state and, for models with a
    latent vector, the encoder: for example model.initial.onnx and model.encoder.onnx.
    """

    run: RunFolder
    out: Path
    """Output file; its extension selects the format: .onnx .pt2."""
    format: Format | None = None
    """Output format, if the extension does not select it: onnx or pt2 (torch.export)."""


def main(arguments: list[str]) -> int:
    """Export the model and print the files."""
    options = parse(ExportOptions, "export", arguments)
    suffix = options.out.suffix.lower()
    named = suffix[1:] if suffix in (".onnx", ".pt2") else None
    if named is None and options.format is None:
        raise InputError(f"--out: received {options.out}, expected a file that ends in .onnx or .pt2; or pass --format")
    if named and options.format not in (None, named):
        raise InputError(f"--format: received {options.format} for {options.out}, expected {named}; omit --format")
    from mdnrnn.export.files import export_onnx, export_pt2
    from mdnrnn.runs.run import load

    export = export_onnx if (options.format or named) == "onnx" else export_pt2
    for path in export(load(options.run), options.out):
        print(f"{path}: {path.stat().st_size:,} bytes")
    return 0
