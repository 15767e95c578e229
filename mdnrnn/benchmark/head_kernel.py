"""Benchmark of the likelihood kernel on a GPU.

The time of the kernel is compared with the time of plain PyTorch, and with the time to copy the mixture parameters in
memory. The copy is a lower bound of the time of the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mdnrnn.benchmark.timing import take_turns
from mdnrnn.distributions import Step, StepDistribution
from mdnrnn.nn.parameters import MixtureShape, StepParameters

_ROWS = 1 << 20
"""Number of rows. It is so large that the launch time of a kernel is negligible."""
_EVENTS = 3
_WIDTH = 0.1
"""Bin width, in units of the standard deviation of the motions."""


@dataclass(frozen=True, kw_only=True)
class RowsBenchmark:
    """Time of the kernel for a loss and its gradient with respect to the mixture parameters and event logits."""

    speedup: float
    """Time of plain PyTorch divided by the time of the kernel."""
    milliseconds: float
    copy_fraction: float
    """Time to copy the parameters divided by the time of the kernel. The kernel reads and writes as many bytes as the
    copy."""
    copy_gigabytes_per_second: float
    rows: int


def benchmark_rows(
    components: int, features: int, repeats: int, device: torch.device, *, bin_widths: bool, count: int = _ROWS
) -> RowsBenchmark | None:
    """Measure the time of the loss of diagonal Gaussian mixtures and three events, and of its gradient.

    Return None if no kernel computes this loss.

    Args:
        components: number of mixture components K.
        features: number of target features D.
        repeats: number of timed rounds.
        device: the device; without CUDA there is no kernel.
        bin_widths: whether to compute bin probabilities instead of densities.
        count: number of rows.
    """
    shape = MixtureShape(features, components, math.log(1e-3))
    size = shape.size + _EVENTS
    if not StepParameters(torch.empty(0, size, device=device), shape, _EVENTS).uses_kernel(torch.empty(0, features)):
        return None
    rows = torch.randn(count, size, device=device, requires_grad=True)
    value = Step(torch.randn(count, features, device=device), torch.randint(0, _EVENTS, (count,), device=device))
    width = torch.full((count, features), _WIDTH, device=device) if bin_widths else None
    copied = torch.empty_like(rows)

    def call(nll: Callable[[StepParameters, Step, Tensor | None], tuple[Tensor, Tensor]]) -> Callable[[], object]:
        def loss_and_gradient() -> None:
            rows.grad = None
            motion, event = nll(StepParameters(rows, shape, _EVENTS), value, width)
            (motion.mean() + event.mean()).backward()

        return loss_and_gradient

    times = take_turns(
        {
            "kernel": call(StepParameters.nll),
            "plain": call(StepDistribution.nll),
            "copy": lambda: copied.copy_(rows.detach()),
        },
        repeats,
        device,
    )
    return RowsBenchmark(
        speedup=times["plain"] / times["kernel"],
        milliseconds=1e3 * times["kernel"],
        copy_fraction=times["copy"] / times["kernel"],
        copy_gigabytes_per_second=2 * rows.numel() * rows.element_size() / times["copy"] / 1e9,
        rows=count,
    )
