"""Picking a class by its logits, and tempering and biasing them: mixtures and events do it alike."""

import math

import torch
from torch import Tensor


def sample_categorical(logits: Tensor, uniform: Tensor) -> Tensor:
    """The class that each of `uniform` (...), in [0, 1), falls into: those of `logits` (..., K) lie end to end."""
    edges = cumulative_weights(logits)
    if uniform.shape != edges.shape[:-1]:
        edges = edges.expand(*uniform.shape, edges.shape[-1]).contiguous()
    return invert_cdf(edges, edges[..., -1:], uniform.unsqueeze(-1), edges.shape[-1] - 1).squeeze(-1)


def cumulative_weights(logits: Tensor, out: Tensor | None = None) -> Tensor:
    """Where the classes of `logits` (..., K) end, laid end to end from 0 to 1: (..., K)."""
    if out is None:
        return torch.softmax(logits, -1).cumsum(-1)
    return torch.softmax(logits, -1, out=out).cumsum_(-1)


def invert_cdf(ends: Tensor, whole: Tensor, uniform: Tensor, last: int | Tensor, out: Tensor | None = None) -> Tensor:
    """The class that each of `uniform` (..., 1) falls into: (..., 1), at most `last`; classes as `cumulative_weights` gives them,
    and the last of their ends, `whole` (..., 1).

    Rounding can leave that below 1: it is what a draw is a fraction of, lest a class of no weight be drawn. Logits that
    are no numbers have no class: then it is one that exists.
    """
    value = (uniform * whole).contiguous()
    return torch.searchsorted(ends, value, right=True, out=out).clamp_(max=last)


def temper_logits(logits: Tensor, temperature: float) -> Tensor:
    """Logits / temperature; at 0 all the weight goes to the largest (the first of equals)."""
    if not 0 <= temperature < math.inf:
        raise ValueError(f"a temperature of {temperature} was received; expected 0 or more")
    if temperature == 0:
        best = torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).bool()
        return torch.zeros_like(logits).masked_fill(~best, -math.inf)
    return logits / temperature


def temper_log_scale(temperature: float) -> float:
    """What log scales are raised by where variances are multiplied by `temperature`."""
    if not 0 <= temperature < math.inf:
        raise ValueError(f"scale_temperature: received {temperature}, expected 0 or more")
    return 0.5 * math.log(temperature) if temperature > 0 else -math.inf


def bias_logits(logits: Tensor, bias: float) -> Tensor:
    """Logits x (1 + bias), Graves' probability bias."""
    if not -1 < bias < math.inf:
        raise ValueError(f"bias: received {bias}, expected a number above -1")
    return logits * (1 + bias)
