"""Steps drawn straight from what a head takes: as its distribution would draw them, of which most is never made.

A step needs one component. So the head's row is laid out anew, once: first the logits of all that is picked from, side
by side, then the components' parameters, those of each together. One softmax picks component and event; mean and scale
are computed of the component that was picked. The formulas are those of the distributions.
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
)
from mdnrnn.events import DOWN, END
from mdnrnn.generation.sampling import Sampling
from mdnrnn.nn.heads import StepHead
from mdnrnn.nn.parameters import add_floor


class FusedSampler:
    """Draws the steps of B sequences: what `sampling(head(features)).transform(noise, bin_width)` draws.

    Of buffers that stay where they are: what it returns is good until the next draw.
    """

    def __init__(self, head: StepHead, sampling: Sampling, batch: int) -> None:
        self.head, self.sampling, self.features = head, sampling, head.shape.features
        weight, bias = head.linear.weight.detach(), head.linear.bias.detach()
        wide = torch.promote_types(weight.dtype, torch.float32)
        picks, blocks = _layout(head, sampling.endless)
        order = torch.cat([picks.flatten(), blocks.flatten()]).to(weight.device)
        # The last row is what cannot be: no weights, a bias of -inf.
        self.weight = torch.cat([weight, torch.zeros_like(weight[:1])]).to(wide)[order].t().contiguous()
        self.bias = torch.cat([bias, bias.new_full((1,), -torch.inf)]).to(wide)[order]
        self.floor = self.bias.new_full((), head.shape.log_floor)
        self.shift = log_scale_shift(sampling.resolved_scale_temperature) - sampling.bias
        self._place(batch, picks, blocks)

    def _place(self, batch: int, picks: Tensor, blocks: Tensor) -> None:
        """The buffers, and views of what is in them."""
        (groups, kinds), (component_choices, _, numbers), d = picks.shape, blocks.shape, self.features
        self.groups, empty, device = groups, self.bias.new_empty, self.bias.device
        self.row = empty(batch, len(self.bias))
        self.logits = self.row[:, : picks.numel()].unflatten(1, (groups, kinds))
        self.of_motion = self.logits[:, :component_choices]
        self.of_end = self.logits[:, component_choices:, END] if groups > component_choices else None
        self.ends = empty(batch, groups, kinds)
        self.whole = self.ends[..., -1:]
        self.blocks = self.row[:, picks.numel() :].unflatten(1, (component_choices, kinds, numbers))
        self.picked = torch.zeros(batch, groups, 1, dtype=torch.long, device=device)
        self.event = (
            self.picked[:, component_choices, 0]
            if groups > component_choices
            else torch.full((batch,), DOWN, device=device)
        )
        last = [self.head.shape.components - 1] * component_choices + [END] * (groups - component_choices)
        self.last = torch.tensor(last, device=device).unsqueeze(-1)
        self.index = self.picked[:, :component_choices, :, None].expand(-1, -1, -1, numbers)
        self.chosen = empty(batch, component_choices, 1, numbers)
        each = d // component_choices
        parts = self.chosen[:, :, 0].split([each, each, numbers - 2 * each], -1)
        self.mean, self.raw = (part[:, 0] if component_choices == 1 else part[..., 0] for part in parts[:2])
        self.below, self.slopes = parts[2][:, 0], None
        if self.head.shape.covariance == "full":
            rows, columns = torch.tril_indices(d, d, -1, device=device)
            self.at, self.flat = rows * d + columns, self.bias.new_zeros(batch, d * d)
            self.slopes = self.flat.unflatten(1, (d, d))

    def __call__(
        self, features: Tensor, uniform: Tensor, normal: Tensor, bin_width: Tensor | None = None, whole: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Motions (B, D) and events (B,).

        Args:
            features: what the head takes, (B, I).
            uniform: what picks the components and then the event, if there are events, (B, groups, 1).
            normal: what moves in the components, (B, D).
            bin_width: widths of the grid's bin_widths, (D,) or (B, D); `whole`: none of them is 0.
        """
        torch.addmm(self.bias, features.to(self.bias.dtype), self.weight, out=self.row)
        odds = self.head.end_logit_shift(features)
        if odds is not None and self.of_end is not None:
            self.of_end.add_(odds)
        logits = self.logits
        if self.sampling.bias:
            self.of_motion.copy_(bias_logits(self.of_motion, self.sampling.bias))
        if self.sampling.temperature != 1:
            logits = temper_logits(logits, self.sampling.temperature)
        invert_cdf(cumulative_weights(logits, self.ends), self.whole, uniform, self.last, out=self.picked)
        torch.gather(self.blocks, 2, self.index, out=self.chosen)
        log_scale = add_floor(self.raw, self.floor)
        if self.shift:
            log_scale.add_(self.shift)
        if self.slopes is not None:
            self.flat.index_copy_(1, self.at, self.below)
        return cholesky.transform_noise(self.mean, log_scale, self.slopes, normal, bin_width, whole), self.event


def _layout(head: StepHead, endless: bool) -> tuple[Tensor, Tensor]:
    """Which of the head's rows stand where: logits (groups, kinds), a group for each choice of a component and one for
    the events if there are any; blocks (component_choices, kinds, numbers), means, raw scales and slopes of each component.

    The number of the head's rows stands for what cannot be.
    """
    shape, component_choices = head.shape, head.component_choices
    k, impossible = shape.components, shape.size + head.events
    kinds, groups = max(k, END + 1) if head.events else k, component_choices + (head.events > 0)
    logits, *parts = torch.arange(shape.size).split(shape.sizes)
    picks = torch.full((groups, kinds), impossible)
    picks[:component_choices, :k] = logits.view(component_choices, k)
    if head.events:
        events = [0, 1, 2] if head.events == END + 1 else [DOWN, END]
        picks[-1, events] = torch.arange(shape.size, impossible)
        picks[-1, END] = impossible if endless else picks[-1, END]
    blocks = torch.cat([part.view(component_choices, k, len(part) // (component_choices * k)) for part in parts], -1)
    return picks, blocks[:, torch.arange(kinds).clamp(max=k - 1)]
