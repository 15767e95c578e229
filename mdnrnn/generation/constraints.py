"""Sampling constraints: sampling options, the grid of the motions, and bounds of the position."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mdnrnn.generation.sampling import Sampling


class BinWidths(NamedTuple):
    """Normalized bin widths of the grid to which motions are rounded.

    `bin_width`: bin widths from the second step of a sequence on, shape (D,); 0 for a continuous feature. None if
    motions are not rounded. `first`: bin widths of the first step of a sequence, shape (D,). None if `bin_width` also
    applies to the first step. `all_positive`: whether all numbers in `bin_width` and `first` are positive.
    """

    bin_width: Tensor | None
    first: Tensor | None
    all_positive: bool

    @classmethod
    def from_arguments(cls, bin_width: Tensor | None, first: Tensor | None, like: Tensor) -> BinWidths:
        """Return the bin widths with the device and dtype of `like`.

        Args:
            bin_width: argument `bin_width` of `generate`.
            first: argument `first_bin_width` of `generate`.
            like: tensor with the device and dtype of the result.
        """
        template = next((part for part in (bin_width, first) if part is not None), None)
        if template is None:
            return cls(None, None, False)
        usual = like.new_zeros(template.shape) if bin_width is None else bin_width.to(like)
        first = usual if first is None else first.to(like)
        all_positive = bool((usual > 0).all() and (first > 0).all())
        return cls(usual, None if torch.equal(usual, first) else first, all_positive)


class SamplingConstraints(NamedTuple):
    """Sampling options, bin widths and bounds.

    `bounds`: lower and upper bounds of the first P features of the position (the sum of the normalized motions), shape
    (2, P). None if positions are not bounded.
    """

    sampling: Sampling
    bin_widths: BinWidths
    bounds: Tensor | None


def clip_to_bounds(motion: Tensor, position: Tensor, bounds: Tensor) -> Tensor:
    """Shorten motions so that the next positions are within the bounds.

    Args:
        motion: motions, shape (B, D).
        position: positions before the motions, shape (B, D).
        bounds: lower and upper bounds of the position's first P features, shape (2, P).

    Returns:
        The shortened motions, shape (B, D).
    """
    p = bounds.shape[1]
    clipped = (position + motion)[:, :p].clamp(*bounds) - position[:, :p]
    return torch.cat([clipped, motion[:, p:]], 1)
