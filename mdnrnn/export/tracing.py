"""Trace the graphs of a model by `torch.export`."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import NamedTuple

import torch
from torch.distributions import Distribution
from torch.export import Dim, ExportedProgram

from mdnrnn.errors import InputError
from mdnrnn.export.examples import USUAL, Dimensions, Example, Sizes, make_examples
from mdnrnn.models.base import SequenceModel

_OLDEST_TORCH = "2.8"
_LARGE = 2**31
"""Size above which a limit of a size does not matter."""
_SMALL = (Dimensions(1, 0, 1), Dimensions(1, 1, 2))
"""Sizes at which traces are compared with the model. `torch.export` assumes that sizes are 2 or more."""
_TOLERANCE = 1e-4
UNGUARDED = {"check_guards": False} if "check_guards" in signature(ExportedProgram.module).parameters else {}
"""Arguments of `ExportedProgram.module` to not check sizes of inputs that `torch.export` assumes to be 2 or more."""


class Graph(NamedTuple):
    """A traced graph.

    `program`: the trace. `inputs`, `outputs`: names, in order. `sizes`: names of the sizes of inputs that vary.
    """

    program: ExportedProgram
    inputs: list[str]
    outputs: list[str]
    sizes: Sizes


def trace_graphs(model: SequenceModel) -> dict[str, Graph]:
    """Return the graphs of a model by name: "step", "initial" and, if the model has an encoder, "encoder".

    The graphs run on the CPU.

    Raises:
        InputError: the model cannot be traced, a trace is not valid for all sizes, or PyTorch is too old.
    """
    if torch.__version__ < _OLDEST_TORCH:
        raise InputError(
            f"export: received PyTorch {torch.__version__}, expected {_OLDEST_TORCH} or newer; upgrade it with: "
            "pip install -U torch"
        )
    model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    with torch.no_grad(), quiet(), _without_validation():
        return {name: _trace(name, example) for name, example in make_examples(model).items()}


def _trace(name: str, example: Example) -> Graph:
    batch, inputs = Dim("B", min=1), example.make_inputs(USUAL)
    dynamic = {
        key: {dim: batch if size == "B" else Dim.DYNAMIC for dim, size in sizes.items()}
        for key, sizes in example.sizes.items()
    }
    try:
        program = torch.export.export(example.module, (inputs,), dynamic_shapes=(dynamic,), strict=False)
        is_valid = _is_valid(program, example)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"model: received a model whose graph {name!r} torch.export cannot trace: {error}") from error
    if not is_valid:
        raise InputError(
            f"model: received a model whose graph {name!r} torch.export cannot trace for all sizes; do not branch on "
            "the size of a state or of a batch, and cut a state by state[torch.sym_max(size - n, 0):]"
        )
    return Graph(program, list(inputs), list(program.call_spec.out_spec.context), example.sizes)


def _is_valid(program: ExportedProgram, example: Example) -> bool:
    """Return whether a trace does not limit the sizes, and agrees with the module at small sizes."""
    if any(sizes.lower > 2 or sizes.upper < _LARGE for sizes in program.range_constraints.values()):
        return False
    traced = program.module(**UNGUARDED)
    for dimensions in _SMALL:
        inputs = example.make_inputs(dimensions)
        outputs = traced(inputs)
        for name, expected in example.module(inputs).items():
            if outputs[name].shape != expected.shape or not torch.allclose(
                outputs[name].double(), expected.double(), _TOLERANCE, _TOLERANCE, equal_nan=True
            ):
                return False
    return True


@contextmanager
def quiet() -> Iterator[None]:
    """Hide warnings and log messages of `torch.export` and `torch.onnx` within the context."""
    previous = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


@contextmanager
def _without_validation() -> Iterator[None]:
    """Do not check the values of distributions within the context: a graph has no values when it is traced."""
    previous = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(previous)
