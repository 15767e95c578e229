"""Conversion of a traced graph to a PT2 file, which `torch.export.load` reads."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from mdnrnn.export.tracing import Graph, quiet

METADATA_FILE = "metadata.json"
"""Name of the extra file that contains the metadata."""


def encode_pt2(graph: Graph, metadata: Mapping[str, Any]) -> bytes:
    """Return a PT2 file with the given metadata and `input_names`.

    The module of the file maps a dictionary of tensors, in the order of `input_names`, to a dictionary of tensors.
    """
    buffer = io.BytesIO()
    _remove_unused_weights(graph.program)
    _remove_debug_information(graph.program)
    text = json.dumps({**metadata, "input_names": graph.inputs})
    with quiet():
        torch.export.save(graph.program, buffer, extra_files={METADATA_FILE: text})
    return buffer.getvalue()


def _remove_unused_weights(program: ExportedProgram) -> None:
    """Remove the weights that a graph does not read, such as those of the decoder in the graph of the encoder."""
    unused = {node.name: node for node in program.graph.nodes if node.op == "placeholder" and not node.users}
    specs = program.graph_signature.input_specs
    for spec in list(specs):
        if spec.kind != InputKind.USER_INPUT and spec.arg.name in unused:
            specs.remove(spec)
            program.graph.erase_node(unused[spec.arg.name])
            program.state_dict.pop(spec.target, None)
            program.constants.pop(spec.target, None)
    program.graph_module.recompile()


def _remove_debug_information(program: ExportedProgram) -> None:
    """Remove the stack traces, which contain the file names of the model's code."""
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            node.meta.pop("stack_trace", None)
