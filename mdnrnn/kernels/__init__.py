"""Triton kernels for GPUs, and the functions that say when they can be used.

For each kernel, the calling code contains a PyTorch implementation that gives the same results on any device. Triton is
part of PyTorch's CUDA builds. If it is not installed or a tensor is not on a GPU, `kernels_available` returns False and
no kernel is called: import the modules with kernels only if it returns True. With TRITON_INTERPRET=1 the kernels run on
a CPU in Triton's interpreter, which the tests use.
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

    For full covariances the kernel supports a single slope, D = 2. For diagonal covariances it supports D for which the
    product of D probabilities does not underflow. K times D is bounded by what compiles for sm_90 without spills.
    """
    max_features = {"per-dimension": 384, "diagonal": 8, "full": 2}.get(covariance, 0)
    return features <= max_features and components * next_power_of_two(features) <= 384
