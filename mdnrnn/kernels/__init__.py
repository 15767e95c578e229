"""Triton kernels for GPUs, and functions that check whether they can be used.

For each kernel, there is a PyTorch implementation in the calling module that gives the same results on any device. The
kernels are used only if `kernels_available` returns True, i.e. if Triton, which is part of PyTorch's CUDA builds, is
installed and the tensor is on a GPU. Kernel modules import Triton; import them only if `kernels_available` returns
True. The tests also run the kernels on a CPU: they replace `kernels_available` and set the environment variable
TRITON_INTERPRET=1, which selects Triton's interpreter.
"""

from importlib.util import find_spec

from torch import Tensor

TRITON_INSTALLED = find_spec("triton") is not None


def kernels_available(tensor: Tensor) -> bool:
    """Return whether Triton is installed and the tensor is on a GPU."""
    return TRITON_INSTALLED and tensor.is_cuda


def next_power_of_two(n: int) -> int:
    """Return the smallest power of two that is at least n."""
    return 1 << (n - 1).bit_length()


def has_mixture_kernel(covariance: str, components: int, features: int) -> bool:
    """Return whether the kernel of `mdnrnn.kernels.mixture` supports a mixture of K components and D features.

    Full covariances are supported for D <= 2, i.e. with at most one off-diagonal parameter per component. Diagonal
    covariances are supported for D <= 8, because a product of D factors can underflow for larger D. For per-dimension
    mixtures, D has no separate limit. In all three cases, K times D, with D rounded up to a power of two, must be at
    most 384. Up to this limit, the kernel compiles for sm_90 without register spills. Other covariance structures are
    not supported.
    """
    max_features = {"per-dimension": 384, "diagonal": 8, "full": 2}.get(covariance, 0)
    return features <= max_features and components * next_power_of_two(features) <= 384
