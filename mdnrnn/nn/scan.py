"""A loop over the time steps of a recurrent core that `torch.export` can trace for sequences of any length."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def scan_steps(core: Any, inputs: Tensor, state: Any) -> Tensor:
    """Return the outputs (T, B, width) of a core for inputs (T, B, I), computed by `core.step`.

    `torch.export` unrolls other loops and thereby fixes T.

    Args:
        core: module with a method `step`; see `StepDecoder`.
        inputs: inputs of all steps.
        state: state before the first step, a NamedTuple of tensors.
    """
    from torch._higher_order_ops.scan import scan  # no public name exports it

    def step(parts: tuple[Tensor, ...], step_inputs: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        outputs, next_state = core.step(step_inputs, type(state)(*parts))
        return tuple(next_state), outputs.clone()

    # Copies, because `scan` requires tensors that do not share memory.
    return scan(step, tuple(part.clone() for part in state), inputs)[1]
