"""Supported sizes and dtypes of the recurrent kernels."""

import pytest
import torch

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
