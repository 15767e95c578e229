"""Compile all kernels for a GPU, without one: they fit into shared memory, or exchange no data between threads.

Compilation needs a process without Triton's interpreter: `main` at the end is its program. Triton caches the results by
the sources of the kernels, so that only changed kernels are compiled again.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import mdnrnn
from mdnrnn.kernels import TRITON_INSTALLED

pytestmark = pytest.mark.skipif(not TRITON_INSTALLED, reason="no Triton")

PRODUCTS = {
    "input_products", "weight", "sums", "hiddens", "d_outputs", "d_sums",
    "window_weight", "window_bias", "characters", "joined", "d_hidden", "d_context", "d_gates", "d_coefficients",
}  # fmt: skip
"""Names of the arguments in the dtype of the products, except d_hidden of the layer norm kernel."""
LIKELIHOODS = [
    (covariance, is_discretized, dtype)
    for covariance, is_discretized in (("diagonal", False), ("full", True), ("per-dimension", True))
    for dtype in ("*fp32", "*bf16")
]


def compile_kernel(
    kernel: Any, types: dict[str, str], constants: dict[str, Any], attributes: Any, **options: Any
) -> Any:
    """Compile a kernel for compute capability 9.0."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    source = ASTSource(kernel, types, constants, attributes)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)


def compile_recurrent_kernels() -> list[int]:
    """Return the shared memory of each kernel in bytes."""
    from mdnrnn.kernels import attention_window, layer_norm

    products = torch.empty(0, dtype=torch.bfloat16)
    norm_constants = layer_norm._constants(512, products)
    window_constants = attention_window._constants(400, 79, 10, products.dtype)
    kernels: list[tuple[Any, dict[str, Any]]] = [
        (layer_norm._forward, norm_constants),
        (layer_norm._backward, norm_constants),
        (attention_window._forward, {"SAVE": True, **window_constants}),
        (attention_window._forward, {"SAVE": False, **window_constants}),
        (attention_window._backward, window_constants),
    ]
    shared = []
    for kernel, constants in kernels:
        sizes = {name: value for name, value in constants.items() if name.isupper()}
        types = dict.fromkeys(kernel.arg_names, "*fp32") | dict.fromkeys(sizes, "constexpr")
        types |= {name: "*bf16" for name in kernel.arg_names if name in PRODUCTS}
        types |= {"d_hidden": "*fp32"} if kernel is layer_norm._backward else {}
        scalars = {"steps": "i32", "batch": "i32", "length": "i32", "epsilon": "fp32"}
        types |= {name: kind for name, kind in scalars.items() if name in types}
        options = {name: value for name, value in constants.items() if name.islower()}
        pointers = [(index,) for index, name in enumerate(kernel.arg_names) if types[name].startswith("*")]
        alignments = {key: [["tt.divisibility", 16]] for key in pointers}  # those of tensors
        shared.append(compile_kernel(kernel, types, sizes, alignments, **options).metadata.shared)
    return shared


def compile_likelihood_kernel(covariance: str, is_discretized: bool, dtype: str) -> tuple[int, int, list[str]]:
    """Return the shared memory in bytes, the number of layout conversions, and the vector and local memory accesses.

    8 components are two chunks of the tile that up to 24 components have.
    """
    from mdnrnn.kernels.mixture import _WARPS, Layout, _nll_kernel

    components = 8
    layout = Layout(2, components, 3, -7.0, covariance)
    columns = sum({"diagonal": (1, 4), "full": (1, 4, 1), "per-dimension": (2, 4)}[covariance]) * components + 3
    constants = {"R": columns, "DISCRETIZED": is_discretized, "SHIFTED": True, "GRADIENT": True, **layout.constants}
    scalars = {"event": "*i64", "count": "i32", "gradient_scale": "fp32", "log_floor": "fp32"}
    types = {**scalars, "rows": dtype, "gradient": dtype}
    signature = {name: "constexpr" if name in constants else types.get(name, "*fp32") for name in _nll_kernel.arg_names}
    compiled = compile_kernel(_nll_kernel, signature, constants, None, num_warps=_WARPS)
    accesses = [line for line in compiled.asm["ptx"].splitlines() if "global.v" in line or "local." in line]
    return compiled.metadata.shared, compiled.asm["ttgir"].count("convert_layout"), accesses


@pytest.fixture(scope="module")
def compiled() -> dict[str, Any]:
    """Results of `main`."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    paths = [str(Path(mdnrnn.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    process = subprocess.run([sys.executable, __file__], capture_output=True, text=True, env=environment)
    assert process.returncode == 0, process.stderr
    results: dict[str, Any] = json.loads(process.stdout)
    return results


def test_shared_memory_of_recurrent_kernels(compiled: dict[str, Any]) -> None:
    """GPUs with bfloat16 have at least 99 KB of shared memory."""
    assert max(compiled["recurrent"]) <= 99 * 1024


def test_threads_of_the_likelihood_kernel_exchange_no_data(compiled: dict[str, Any]) -> None:
    """No shared memory and no layout conversion; no vector access, which `max_contiguous` would make incorrect."""
    for case, result in zip(LIKELIHOODS, compiled["likelihood"], strict=True):
        assert result == [0, 0, []], case


def main() -> None:
    """Compile all kernels and print the results."""
    likelihood = [compile_likelihood_kernel(*case) for case in LIKELIHOODS]
    print(json.dumps({"recurrent": compile_recurrent_kernels(), "likelihood": likelihood}))


if __name__ == "__main__":
    main()
