"""Triton kernels for GPUs, and functions that check whether they can be used.

For each kernel, the calling code contains a PyTorch implementation that gives the same results on any device. Triton is
part of PyTorch's CUDA builds. If Triton is not installed or a tensor is not on a GPU, `kernels_available` returns False
and no kernel is called. Import the kernel modules only if it returns True. With TRITON_INTERPRET=1, the kernels run in
Triton's interpreter on a CPU; the tests use this mode.
"""

from importlib.util import find_spec

from torch import Tensor

TRITON_INSTALLED = find_spec("triton") is not None


def kernels_available(tensor: Tensor) -> bool:
    """Return whether kernels can run on the tensor's device."""
    return TRITON_INSTALLED and tensor.is_cuda


def next_power_of_two(n: int) -> int:
    """Return the smallest power of two that is at least n."""
    return 1 << (n - 1).bit_length()


def has_mixture_kernel(covariance: str, components: int, features: int) -> bool:
    """Return whether a kernel exists for mixtures of K components of D features with the given covariance.

    For full covariances, the kernel supports D <= 2, which needs at most one slope per component. For diagonal
    covariances, D is limited so that the product of D factors does not underflow. K times D is limited so that the
    kernel compiles for sm_90 without register spills.
    """
    max_features = {"per-dimension": 384, "diagonal": 8, "full": 2}.get(covariance, 0)
    return features <= max_features and components * next_power_of_two(features) <= 384
