"""Triton kernels for a GPU. Each has its plain PyTorch beside it in the code that calls it: same numbers, any device.

Triton comes with PyTorch's CUDA builds. Where it is not installed, or a tensor lies on no GPU, `kernels_available` says so and
nothing here is called: import the modules with kernels only then. TRITON_INTERPRET=1 runs kernels on a CPU, in Triton's
interpreter: so they are tested.
"""

from importlib.util import find_spec

from torch import Tensor

TRITON_INSTALLED = find_spec("triton") is not None


def kernels_available(tensor: Tensor) -> bool:
    """Whether kernels can work on a tensor where it lies."""
    return TRITON_INSTALLED and tensor.is_cuda


def padded(features: int) -> int:
    """The power of two that a tile's features are padded to."""
    return 1 << (features - 1).bit_length()


def has_mixture_kernel(covariance: str, components: int, features: int) -> bool:
    """Whether there is a kernel for mixtures of a covariance, of K components of D features.

    Of full covariance there is one for one slope; of diagonal one for products of D probabilities that do not
    underflow. What compiles for sm_90 without spills bounds K times D.
    """
    most = {"per-dimension": 384, "diagonal": 8, "full": 2}
    return features <= most.get(covariance, 0) and components * padded(features) <= 384
