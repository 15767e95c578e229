"""Compile the likelihood kernel for a GPU, without one, and check that threads exchange no data between tiles."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mdnrnn
from mdnrnn.kernels import TRITON_INSTALLED

CASES = [
    (covariance, is_discretized, dtype)
    for covariance, is_discretized in (("diagonal", False), ("full", True), ("per-dimension", True))
    for dtype in ("*fp32", "*bf16")
]

COMPILE = """
import json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from mdnrnn.kernels.mixture import _WARPS, Layout, _nll_kernel

def compile_kernel(covariance, is_discretized, dtype):
    components = 20
    layout = Layout(2, components, 3, -7.0, covariance)
    columns = sum({"diagonal": (1, 4), "full": (1, 4, 1), "per-dimension": (2, 4)}[covariance]) * components + 3
    constants = {"R": columns, "DISCRETIZED": is_discretized, "SHIFTED": True, "GRADIENT": True, **layout.constants}
    scalars = {"event": "*i64", "count": "i32", "gradient_scale": "fp32", "log_floor": "fp32"}
    types = {**scalars, "rows": dtype, "gradient": dtype}
    names = _nll_kernel.arg_names
    signature = {name: "constexpr" if name in constants else types.get(name, "*fp32") for name in names}
    source = ASTSource(_nll_kernel, signature, constexprs={(names.index(name),): v for name, v in constants.items()})
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": _WARPS})
    vectors = [line for line in compiled.asm["ptx"].splitlines() if "global.v" in line or "local." in line]
    return compiled.metadata.shared, compiled.asm["ttgir"].count("convert_layout"), vectors

print(json.dumps([compile_kernel(*case) for case in json.loads(sys.argv[1])]))
"""


@pytest.mark.skipif(not TRITON_INSTALLED, reason="no Triton")
def test_threads_exchange_no_data() -> None:
    """No shared memory and no layout conversion; no vector access, which `max_contiguous` would make incorrect."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    paths = [str(Path(mdnrnn.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    process = subprocess.run(
        [sys.executable, "-c", COMPILE, json.dumps(CASES)], capture_output=True, text=True, env=environment
    )
    assert process.returncode == 0, process.stderr
    for case, result in zip(CASES, json.loads(process.stdout), strict=True):
        assert result == [0, 0, []], case
