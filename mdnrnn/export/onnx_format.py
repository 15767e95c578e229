"""Conversion of a traced graph to ONNX."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping
from typing import Any

import torch

from mdnrnn.errors import InputError
from mdnrnn.export.tracing import Graph, quiet

OPSET = 20
"""Version of the ONNX operators. The graphs need no operator of a newer version, and older runtimes can read them."""


def encode_onnx(graph: Graph, metadata: Mapping[str, Any]) -> bytes:
    """Return an ONNX file with the given metadata; each value is encoded as JSON.

    Raises:
        InputError: the graph contains an operation that cannot be converted.
    """
    import onnx

    try:
        with quiet():
            program = torch.onnx.export(
                graph.program,
                input_names=graph.inputs,
                output_names=graph.outputs,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        cause = error.__cause__ or error
        raise InputError(f"model: received a model that cannot be converted to ONNX: {cause}") from error
    assert program is not None
    model = program.model_proto
    for part in (model.graph, *model.functions):
        _remove_debug_information(part)
    _name_sizes(model.graph, graph)
    onnx.helper.set_model_props(model, {key: json.dumps(value, ensure_ascii=False) for key, value in metadata.items()})
    return model.SerializeToString()


def check_packages() -> None:
    """Raise `InputError` if a package that `encode_onnx` needs is missing."""
    try:
        importlib.import_module("onnx")
        importlib.import_module("onnxscript")  # imported by `torch.onnx.export`
    except ImportError as error:
        raise InputError(
            f"export: the package {error.name} is missing; install it with: pip install mdnrnn[onnx]"
        ) from error


def _remove_debug_information(part: Any) -> None:
    """Remove information such as the file names of the model's code, and the shapes of intermediate results.

    Args:
        part: a graph, a function or a node; nodes may contain graphs, for example the body of a loop.
    """
    del part.metadata_props[:]
    part.doc_string = ""
    if hasattr(part, "node"):
        del part.value_info[:]
        for node in part.node:
            _remove_debug_information(node)
    else:
        for attribute in part.attribute:
            if attribute.HasField("g"):
                _remove_debug_information(attribute.g)


def _name_sizes(proto: Any, graph: Graph) -> None:
    """Name variable sizes as in `Graph.sizes`, instead of by the symbols of the exporter."""
    names = {proto.output[0].type.tensor_type.shape.dim[0].dim_param: "B"}
    for value in proto.input:
        dims = value.type.tensor_type.shape.dim
        names |= {dims[dim].dim_param: name for dim, name in graph.sizes.get(value.name, {}).items()}
    for value in (*proto.input, *proto.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"\w+", lambda match: names.get(match[0], match[0]), dim.dim_param)
