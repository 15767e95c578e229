"""Picking a class by its logits, and tempering them: mixtures and events do it alike."""

import math

import torch
from torch import Tensor


def pick(logits: Tensor, uniform: Tensor) -> Tensor:
    """The class that each of `uniform` (...), in [0, 1), falls into: those of `logits` (..., K) lie end to end."""
    edges = torch.softmax(logits, -1).cumsum(-1)
    if uniform.shape != edges.shape[:-1]:
        edges = edges.expand(*uniform.shape, edges.shape[-1]).contiguous()
    # Rounding can leave the last edge below 1: it is what a draw is a fraction of, lest a class of no weight be drawn.
    value = (uniform.unsqueeze(-1) * edges[..., -1:]).contiguous()
    picked = torch.searchsorted(edges, value, right=True).squeeze(-1)
    return picked.clamp_(max=edges.shape[-1] - 1)  # logits that are no numbers have no class: take one that exists


def tempered_logits(logits: Tensor, temperature: float) -> Tensor:
    """Logits / temperature; at 0 all the weight goes to the largest (the first of equals)."""
    if not 0 <= temperature < math.inf:
        raise ValueError(f"a temperature of {temperature} was received; expected 0 or more")
    if temperature == 0:
        best = torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).bool()
        return torch.zeros_like(logits).masked_fill(~best, -math.inf)
    return logits / temperature
