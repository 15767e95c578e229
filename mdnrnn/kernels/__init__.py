"""Triton kernels for a GPU. Each has its plain PyTorch beside it in the code that calls it: same numbers, any device.

Triton comes with PyTorch's CUDA builds. Where it is not installed, or a tensor lies on no GPU, `usable` says so and
nothing here is called: import the modules with kernels only then. TRITON_INTERPRET=1 runs kernels on a CPU, in Triton's
interpreter: so they are tested.
"""

from importlib.util import find_spec

from torch import Tensor

_MOST = 160
"""K times D, padded: what compiles without spills on sm_90."""
TRITON = find_spec("triton") is not None


def usable(tensor: Tensor) -> bool:
    """Whether kernels can work on a tensor where it lies."""
    return TRITON and tensor.is_cuda


def padded(features: int) -> int:
    """The power of two that a tile's features are padded to."""
    return 1 << (features - 1).bit_length()


def fits(components: int, features: int) -> bool:
    """Whether a mixture of K components of D features is small enough for a program's registers."""
    return components * padded(features) <= _MOST
