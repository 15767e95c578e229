"""Write a trained model as ONNX or PT2, one file per graph.

`model.onnx` contains the graph of a step. The other graphs are in files beside it: `model.initial.onnx` and, if the
model has an encoder, `model.encoder.onnx`. `mdnrnn.export.graphs` describes the inputs and outputs of the graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mdnrnn.errors import InputError
from mdnrnn.export.graphs import GRAPHS
from mdnrnn.export.metadata import describe_model, describe_run
from mdnrnn.export.onnx_format import check_packages, encode_onnx
from mdnrnn.export.pt2_format import encode_pt2
from mdnrnn.export.tracing import Graph, trace_graphs
from mdnrnn.files.atomic import write_bytes
from mdnrnn.models.base import SequenceModel
from mdnrnn.runs.run import Run


def export_onnx(run: Run | SequenceModel, path: Path | str) -> list[Path]:
    """Write a trained model as ONNX files, and return their paths.

    Existing files are replaced. Each file has metadata, in which each value is encoded as JSON; see
    `mdnrnn.export.metadata`.

    Args:
        run: a run, or any sequence model. The metadata of a model do not describe its data.
        path: file of the graph of a step. The files of the other graphs are beside it.

    Raises:
        InputError: the packages of the extra `onnx` are missing, the model cannot be exported, or a file cannot be
            written.
    """
    check_packages()
    return _export(run, Path(path), encode_onnx)


def export_pt2(run: Run | SequenceModel, path: Path | str) -> list[Path]:
    """Write a trained model as PT2 files, and return their paths.

    See `export_onnx` for the arguments. `torch.export.load` reads the files. The extra file `metadata.json` in each
    file contains the metadata.
    """
    return _export(run, Path(path), encode_pt2)


def _export(run: Run | SequenceModel, path: Path, encode: Callable[[Graph, Mapping[str, Any]], bytes]) -> list[Path]:
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it, or use another path")
    model, metadata = (run.model, describe_run(run)) if isinstance(run, Run) else (run, describe_model(run))
    graphs = trace_graphs(model)
    files = {name: encode(graph, {"graph": name, **metadata}) for name, graph in graphs.items()}
    paths = {name: path if name == "step" else path.with_suffix(f".{name}{path.suffix}") for name in GRAPHS}
    for name, file in paths.items():
        if name in files:
            write_bytes(file, files[name])
        else:
            file.unlink(missing_ok=True)  # left by the export of another model
    return [paths[name] for name in files]
