"""The manner in which steps are drawn: tempered or not, on which grid, within which bounds."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mdnrnn.generation.sampling import Sampling


class BinWidths(NamedTuple):
    """BinWidths of the grid's bin_widths, (D,), and those of first steps where they are others; whether none of all is 0."""

    bin_width: Tensor | None
    first: Tensor | None
    whole: bool

    @classmethod
    def of(cls, bin_width: Tensor | None, first: Tensor | None, like: Tensor) -> BinWidths:
        """As `generate` is given them, where `like` is."""
        given = next((part for part in (bin_width, first) if part is not None), None)
        if given is None:
            return cls(None, None, False)
        usual = like.new_zeros(given.shape) if bin_width is None else bin_width.to(like)
        opening = usual if first is None else first.to(like)
        whole = bool((usual > 0).all() and (opening > 0).all())
        return cls(usual, None if torch.equal(usual, opening) else opening, whole)


class SamplingConstraints(NamedTuple):
    """Sampling, grid, and bounds (2, P) or None."""

    sampling: Sampling
    widths: BinWidths
    bounds: Tensor | None


def clip_to_bounds(motion: Tensor, place: Tensor, bounds: Tensor) -> Tensor:
    """Motions (B, D) from a place (B, D), cut short where they would lead beyond the bounds (2, P) of its first P."""
    wide = bounds.shape[1]
    kept = (place + motion)[:, :wide].clamp(*bounds) - place[:, :wide]
    return torch.cat([kept, motion[:, wide:]], 1)
