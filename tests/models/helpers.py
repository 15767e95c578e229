"""Parameters of step distributions as one tensor, and repeated rows of flat steps."""

import torch
from torch import Tensor

from mdnrnn.distributions import Step, StepDistribution


def flatten_parameters(steps: StepDistribution) -> Tensor:
    """Return all parameters of step distributions of batch shape (S,), side by side, shape (S, n)."""
    motion = steps.motion
    parts = [motion.logits, motion.means, motion.log_scales, steps.event_logits]
    slopes = getattr(motion, "slopes", None)
    return torch.cat([part.flatten(1) for part in (*parts, *([] if slopes is None else [slopes]))], -1)


def repeat_step(steps: Step, row: int, copies: int) -> Step:
    """Return one row of flat steps, repeated."""
    inputs = None if steps.inputs is None else steps.inputs[row].expand(copies, -1)
    return Step(steps.motion[row].expand(copies, -1), steps.event[row].expand(copies), inputs)
