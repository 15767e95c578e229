"""Fused sampler: sample steps from the input of a step head without computing the whole distribution.

To sample a step, the parameters of one component are sufficient (one per dimension for per-dimension mixtures). The
sampler copies the head's linear layer and reorders its outputs: first the logits of all categorical choices, then the
parameters of each component side by side. One call of softmax computes the probabilities of the components and of the
event. Mean and scale are computed for the selected component only. The formulas are those of `mdnrnn.distributions` and
`mdnrnn.nn.parameters`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mdnrnn.distributions import cholesky
from mdnrnn.distributions.categorical import (
    bias_logits,
    cumulative_weights,
    invert_cdf,
    log_scale_shift,
    temper_logits,
    truncate_logits,
)
from mdnrnn.generation.sampling import Sampling
from mdnrnn.nn.heads import StepHead
from mdnrnn.nn.parameters import add_floor
from mdnrnn.pen_events import DOWN, END


class FusedSampler:
    """Computes `sampling(head(features)).transform(noise, bin_width)` for B sequences.

    Results are stored in fixed buffers, as CUDA graphs require, and are valid until the next call.

    The attribute `groups` is the number of categorical choices per step, G: one choice of a component (D choices for
    per-dimension mixtures) and, if there are events, one choice of the event.

    Args:
        head: step head of one of the types that `fast_path` supports.
        sampling: sampling options.
        batch: number of sequences B.
    """

    def __init__(self, head: StepHead, sampling: Sampling, batch: int) -> None:
        self.head, self.sampling, self.features = head, sampling, head.shape.features
        # Otherwise the same operations apply to the logits of the components and of the events.
        self.is_split = sampling.truncates or sampling.resolved_event_temperature != sampling.temperature
        weight, bias = head.linear.weight.detach(), head.linear.bias.detach()
        dtype = torch.promote_types(weight.dtype, torch.float32)
        logit_rows, component_rows = _order_rows(head, sampling.endless)
        order = torch.cat([logit_rows.flatten(), component_rows.flatten()]).to(weight.device)
        # An appended row with weights 0 and bias -inf gives the logit of outcomes that cannot be selected.
        self.weight = torch.cat([weight, torch.zeros_like(weight[:1])]).to(dtype)[order].t().contiguous()
        self.bias = torch.cat([bias, bias.new_full((1,), -torch.inf)]).to(dtype)[order]
        self.floor = self.bias.new_full((), head.shape.log_floor)
        self.log_scale_shift = log_scale_shift(sampling.resolved_scale_temperature) - sampling.bias
        self._allocate(batch, logit_rows, component_rows)

    def _allocate(self, batch: int, logit_rows: Tensor, component_rows: Tensor) -> None:
        """Allocate buffers and create views of their parts."""
        (self.groups, classes), (choices, _, numbers), d = logit_rows.shape, component_rows.shape, self.features
        has_events, empty, device = self.groups > choices, self.bias.new_empty, self.bias.device
        self.outputs = empty(batch, len(self.bias))
        self.logits = self.outputs[:, : logit_rows.numel()].unflatten(1, (self.groups, classes))
        self.component_logits = self.logits[:, :choices]
        self.end_logit = self.logits[:, choices:, END] if has_events else None
        self.cumulative = empty(batch, self.groups, classes)
        self.total = self.cumulative[..., -1:]
        self.components = self.outputs[:, logit_rows.numel() :].unflatten(1, (choices, classes, numbers))
        self.selected = torch.zeros(batch, self.groups, 1, dtype=torch.long, device=device)
        self.event = self.selected[:, choices, 0] if has_events else torch.full((batch,), DOWN, device=device)
        last_classes = [self.head.shape.components - 1] * choices + [END] * (self.groups - choices)
        self.last_classes = torch.tensor(last_classes, device=device).unsqueeze(-1)
        self.component_index = self.selected[:, :choices, :, None].expand(-1, -1, -1, numbers)
        self.component = empty(batch, choices, 1, numbers)
        per_choice = d // choices
        mean, raw_scale, below = self.component[:, :, 0].split([per_choice, per_choice, numbers - 2 * per_choice], -1)
        self.mean, self.raw_scale = (part[:, 0] if choices == 1 else part[..., 0] for part in (mean, raw_scale))
        self.below_diagonal, self.slopes = below[:, 0], None
        if self.head.shape.covariance == "full":
            rows, columns = torch.tril_indices(d, d, -1, device=device)
            self.slope_index, self.flat_slopes = rows * d + columns, self.bias.new_zeros(batch, d * d)
            self.slopes = self.flat_slopes.unflatten(1, (d, d))

    def __call__(
        self,
        features: Tensor,
        uniform: Tensor,
        normal: Tensor,
        bin_width: Tensor | None = None,
        all_positive: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return motions (B, D) and events (B,).

        Args:
            features: input of the head, shape (B, I).
            uniform: noise in [0, 1) that selects the components and the event, in this order, shape (B, G, 1).
            normal: standard normal noise of the motion, shape (B, D).
            bin_width: bin widths of the grid to which motions are rounded, shape (D,) or (B, D); 0 for a continuous
                feature. None if motions are not rounded.
            all_positive: whether the caller guarantees that all bin widths are positive.
        """
        torch.addmm(self.bias, features.to(self.bias.dtype), self.weight, out=self.outputs)
        shift = self.head.end_logit_shift(features)
        if shift is not None and self.end_logit is not None:
            self.end_logit.add_(shift)
        if self.sampling.bias:
            self.component_logits.copy_(bias_logits(self.component_logits, self.sampling.bias))
        logits = self.logits
        if self.is_split:
            logits = self._restrict(logits)
        elif self.sampling.temperature != 1:
            logits = temper_logits(logits, self.sampling.temperature)
        cumulative = cumulative_weights(logits, self.cumulative)
        invert_cdf(cumulative, self.total, uniform, self.last_classes, out=self.selected)
        torch.gather(self.components, 2, self.component_index, out=self.component)
        log_scale = add_floor(self.raw_scale, self.floor)
        if self.log_scale_shift:
            log_scale.add_(self.log_scale_shift)
        if self.slopes is not None:
            self.flat_slopes.index_copy_(1, self.slope_index, self.below_diagonal)
        motion = cholesky.transform_noise(self.mean, log_scale, self.slopes, normal, bin_width, all_positive)
        return motion, self.event

    def _restrict(self, logits: Tensor) -> Tensor:
        """Apply the temperatures, top-k and top-p to the logits (B, G, outcomes)."""
        sampling, choices = self.sampling, self.component_logits.shape[1]
        components = temper_logits(logits[:, :choices], sampling.temperature)
        events = temper_logits(logits[:, choices:], sampling.resolved_event_temperature)
        components = truncate_logits(components, sampling.top_k, sampling.top_p)
        events = truncate_logits(events, sampling.event_top_k, sampling.event_top_p)
        return torch.cat([components, events], 1)


def _order_rows(head: StepHead, endless: bool) -> tuple[Tensor, Tensor]:
    """Return the indices of the rows of the head's weight matrix that compute each logit and each component parameter.

    A step is sampled by several categorical choices: one or more choices of a component and, if there are events, the
    choice of an event. All choices are padded to the same number of outcomes. Padding outcomes cannot be selected. If
    `endless` is true, END cannot be selected either.

    Args:
        head: step head.
        endless: whether END is excluded.

    Returns:
        Two tensors of row indices. The first tensor is for the logits and has shape (choices, outcomes); the choice of
        the event is last. If an outcome cannot be selected, its index is one past the last row. The second tensor is
        for the parameters of each component: means, raw log scales and slopes (see `mdnrnn.distributions.cholesky`). It
        has shape (component choices, outcomes, parameters per component). Padding outcomes repeat the indices of
        the last component.
    """
    shape, choices = head.shape, head.component_choices
    k, missing = shape.components, shape.size + head.events
    classes, groups = max(k, END + 1) if head.events else k, choices + (head.events > 0)
    logits, *parts = torch.arange(shape.size).split(shape.sizes)
    logit_rows = torch.full((groups, classes), missing)
    logit_rows[:choices, :k] = logits.view(choices, k)
    if head.events:
        events = [0, 1, 2] if head.events == END + 1 else [DOWN, END]
        logit_rows[-1, events] = torch.arange(shape.size, missing)
        logit_rows[-1, END] = missing if endless else logit_rows[-1, END]
    component_rows = torch.cat([part.view(choices, k, len(part) // (choices * k)) for part in parts], -1)
    return logit_rows, component_rows[:, torch.arange(classes).clamp(max=k - 1)]
