"""Nats of steps and their gradient from a head's rows: the kernel, plain PyTorch and a copy of the rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mdnrnn.benchmark.timing import take_turns
from mdnrnn.distributions import Step, StepDistribution
from mdnrnn.nn.parameters import MixtureShape, StepRows

_ROWS = 1 << 20
"""Enough that the launch of a kernel counts for nothing."""
_EVENTS = 3
_WIDTH = 0.1
"""Of bin_widths, in units of the motions' standard deviation."""


@dataclass(frozen=True, kw_only=True)
class RowsBenchmark:
    """Of a loss and its gradient with respect to the rows."""

    speedup: float
    """Plain over the kernel."""
    milliseconds: float
    copy_fraction: float
    """A copy's time over the kernel's: both read the rows and write as much."""
    copy_gigabytes_per_second: float
    rows: int


def benchmark_rows(
    components: int, features: int, repeats: int, device: torch.device, *, bin_widths: bool, count: int = _ROWS
) -> RowsBenchmark | None:
    """Of diagonal mixtures beside three events, `count` rows of them; None where no kernel is taken."""
    shape = MixtureShape(features, components, math.log(1e-3))
    size = shape.size + _EVENTS
    if not StepRows(torch.empty(0, size, device=device), shape, _EVENTS).fuses(torch.empty(0, features)):
        return None
    rows = torch.randn(count, size, device=device, requires_grad=True)
    value = Step(torch.randn(count, features, device=device), torch.randint(0, _EVENTS, (count,), device=device))
    width = torch.full((count, features), _WIDTH, device=device) if bin_widths else None
    copied = torch.empty_like(rows)

    def call(nats: Callable[[StepRows, Step, Tensor | None], tuple[Tensor, Tensor]]) -> Callable[[], object]:
        def loss_and_gradient() -> None:
            rows.grad = None
            motion, event = nats(StepRows(rows, shape, _EVENTS), value, width)
            (motion.mean() + event.mean()).backward()

        return loss_and_gradient

    times = take_turns(
        {
            "kernel": call(StepRows.nll),
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
