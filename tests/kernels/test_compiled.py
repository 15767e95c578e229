"""The likelihood kernel as it is compiled for a GPU, without one: tiles that no thread hands to another."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mdnrnn
from mdnrnn.kernels import TRITON_INSTALLED

COMPILE = """
import json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from mdnrnn.kernels.mixture import _WARPS, Layout, _likelihood

components, covariance, cells, dtype = json.loads(sys.argv[1])
layout = Layout(2, components, 3, -7.0, covariance)
columns = sum({"diagonal": (1, 4), "full": (1, 4, 1), "per-dimension": (2, 4)}[covariance]) * components + 3
constants = {"R": columns, "CELLS": cells, "SHIFTED": True, "GRADIENT": True, **layout.constants}
numbers = {"event": "*i64", "count": "i32", "share": "fp32", "log_floor": "fp32", "rows": dtype, "gradient": dtype}
names = _likelihood.arg_names
signature = {name: "constexpr" if name in constants else numbers.get(name, "*fp32") for name in names}
source = ASTSource(_likelihood, signature, constexprs={(names.index(name),): v for name, v in constants.items()})
built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": _WARPS})
threads = [line for line in built.asm["ptx"].splitlines() if "global.v" in line or "local." in line]
print(json.dumps([built.metadata.shared, built.asm["ttgir"].count("convert_layout"), threads]))
"""


@pytest.mark.skipif(not TRITON_INSTALLED, reason="no Triton")
@pytest.mark.parametrize("dtype", ["*fp32", "*bf16"])
@pytest.mark.parametrize(("covariance", "cells"), [("diagonal", False), ("full", True), ("per-dimension", True)])
def test_threads_share_nothing(covariance: str, cells: bool, dtype: str) -> None:
    """No shared memory, no change of layout; and no vectors, which what Triton is told of neighbors would not bear."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    paths = [str(Path(mdnrnn.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, json.dumps([20, covariance, cells, dtype])],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [0, 0, []]
