"""What the kernels take, and that they compile for a GPU: of that, their tests in the interpreter tell nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import mdnrnn
from mdnrnn.kernels import layer_norm, window


@pytest.mark.parametrize(
    ("hidden", "dtype", "wide", "expected"),
    [
        (512, torch.bfloat16, torch.float32, True),
        (192, torch.float32, torch.float32, True),
        (500, torch.float32, torch.float32, False),
        (512, torch.float64, torch.float64, False),
        (512, torch.float16, torch.float32, False),
        (512, torch.bfloat16, torch.bfloat16, False),
    ],
)
def test_what_kernels_of_layer_norm_take(hidden: int, dtype: torch.dtype, wide: torch.dtype, expected: bool) -> None:
    assert layer_norm.is_supported(hidden, dtype, wide) == expected


def test_what_kernels_of_a_window_take() -> None:
    """C up to 128, K up to 16, and 16 divides H."""
    types = torch.bfloat16, torch.float32
    assert window.is_supported(400, 80, 10, *types)
    assert not any(window.is_supported(*sizes, *types) for sizes in ((401, 80, 10), (400, 129, 10), (400, 80, 17)))


PRODUCTS = {
    "inward", "weight", "sums", "hiddens", "d_outputs", "d_sums",
    "matrix", "window", "shift", "characters", "both", "d_hidden", "d_seen", "d_gates", "d_form",
}  # fmt: skip
"""Arguments in the type of products, by name; the derivative by a hidden state of layer_norm is not."""


def compile_kernels() -> None:
    """Compiles all for compute capability 9.0, which takes no GPU, and prints the shared memory of each."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    narrow = torch.empty(0, dtype=torch.bfloat16)
    norm, text = layer_norm._tiles(512, narrow), window._tiles(400, 79, 10, narrow.dtype)
    kernels: list[tuple[Any, dict[str, Any]]] = [
        (layer_norm._forward, norm),
        (layer_norm._backward, norm),
        (window._forward, {"KEEP": True, **text}),
        (window._forward, {"KEEP": False, **text}),
        (window._backward, text),
    ]
    shared = []
    for kernel, cut in kernels:
        sizes = {name: value for name, value in cut.items() if name.isupper()}
        types = dict.fromkeys(kernel.arg_names, "*fp32") | dict.fromkeys(sizes, "constexpr")
        types |= {name: "*bf16" for name in kernel.arg_names if name in PRODUCTS}
        types |= {"d_hidden": "*fp32"} if kernel is layer_norm._backward else {}
        scalars = {"steps": "i32", "batch": "i32", "length": "i32", "epsilon": "fp32"}
        types |= {name: kind for name, kind in scalars.items() if name in types}
        options = {name: value for name, value in cut.items() if name.islower()}
        pointers = [(place,) for place, name in enumerate(kernel.arg_names) if types[name].startswith("*")]
        aligned = {key: [["tt.divisibility", 16]] for key in pointers}  # as tensors are
        source = ASTSource(kernel, types, sizes, aligned)
        done = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        shared.append(done.metadata.shared)
    print(json.dumps(shared))


def test_kernels_compile(tmp_path: Path) -> None:
    """In a process without the interpreter; 99 KB of shared memory are the least of GPUs with bfloat16."""
    package = str(Path(mdnrnn.__file__).parents[1])
    place = {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": package}
    done = subprocess.run([sys.executable, __file__], env=os.environ | place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert max(json.loads(done.stdout)) <= 99 * 1024


if __name__ == "__main__":
    compile_kernels()
