"""Supported sizes and dtypes of the recurrent kernels, and their compilation for a GPU, which needs no GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import mdnrnn
from mdnrnn.kernels import attention_window, layer_norm


@pytest.mark.parametrize(
    ("hidden", "dtype", "state_dtype", "expected"),
    [
        (512, torch.bfloat16, torch.float32, True),
        (192, torch.float32, torch.float32, True),
        (500, torch.float32, torch.float32, False),
        (512, torch.float64, torch.float64, False),
        (512, torch.float16, torch.float32, False),
        (512, torch.bfloat16, torch.bfloat16, False),
    ],
)
def test_layer_norm_kernels_support(hidden: int, dtype: torch.dtype, state_dtype: torch.dtype, expected: bool) -> None:
    assert layer_norm.is_supported(hidden, dtype, state_dtype) == expected


def test_window_kernels_support() -> None:
    """H that is a multiple of 16, C up to 128 and K up to 16."""
    dtypes = torch.bfloat16, torch.float32
    assert attention_window.is_supported(400, 80, 10, *dtypes)
    assert not any(
        attention_window.is_supported(*sizes, *dtypes) for sizes in ((401, 80, 10), (400, 129, 10), (400, 80, 17))
    )


PRODUCTS = {
    "input_products", "weight", "sums", "hiddens", "d_outputs", "d_sums",
    "window_weight", "window_bias", "characters", "joined", "d_hidden", "d_context", "d_gates", "d_coefficients",
}  # fmt: skip
"""Names of the arguments in the dtype of the products, except d_hidden of the layer norm kernel."""


def compile_kernels() -> None:
    """Compile all kernels for compute capability 9.0, without a GPU, and print the shared memory of each."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

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
        source = ASTSource(kernel, types, sizes, alignments)
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        shared.append(compiled.metadata.shared)
    print(json.dumps(shared))


def test_kernels_compile(tmp_path: Path) -> None:
    """In a process without the interpreter; GPUs with bfloat16 have at least 99 KB of shared memory."""
    package = str(Path(mdnrnn.__file__).parents[1])
    variables = {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": package}
    process = subprocess.run([sys.executable, __file__], env=os.environ | variables, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert max(json.loads(process.stdout)) <= 99 * 1024


if __name__ == "__main__":
    compile_kernels()
