"""Operations on the logits of categorical variables (mixture components and events).

Sampling, temperature, bias, and truncation to the most probable classes.
"""

import math

import torch
from torch import Tensor

from mdnrnn.distributions.function_transforms import is_transformed

_LOW_TEMPERATURE = 1e-6
"""Temperature below which logits are shifted before the division. Above it, the shift would only change rounding."""


def sample_categorical(logits: Tensor, uniform: Tensor) -> Tensor:
    """Sample class indices by inverting the cumulative distribution function.

    Args:
        logits: unnormalized log probabilities, shape (..., K).
        uniform: uniform noise in [0, 1), shape (...) or (*sample_shape, ...).

    Returns:
        Class indices from 0 to K - 1; the shape is that of `uniform`.
    """
    cumulative = cumulative_weights(logits)
    if uniform.shape != cumulative.shape[:-1]:
        cumulative = cumulative.expand(*uniform.shape, cumulative.shape[-1]).contiguous()
    return invert_cdf(cumulative, cumulative[..., -1:], uniform.unsqueeze(-1), cumulative.shape[-1] - 1).squeeze(-1)


def select_component(component: Tensor, *parameters: Tensor) -> list[Tensor]:
    """Return the parameters of the selected components, shape (*sample_shape, ..., P) each.

    Args:
        component: component indices, shape (*sample_shape, ...).
        parameters: parameters of all components, shape (..., K, P) each.
    """
    index = component[..., None, None].expand(*component.shape, 1, parameters[0].shape[-1])
    if component.shape != parameters[0].shape[:-2]:  # several samples per distribution
        parameters = tuple(each.expand(*component.shape, *each.shape[-2:]) for each in parameters)
    return [each.gather(-2, index).squeeze(-2) for each in parameters]


def cumulative_weights(logits: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the cumulative probabilities of the classes, shape (..., K).

    Args:
        logits: unnormalized log probabilities, shape (..., K).
        out: result buffer, shape (..., K).
    """
    if out is None:
        return torch.softmax(logits, -1).cumsum(-1)
    return torch.softmax(logits, -1, out=out).cumsum_(-1)


def invert_cdf(
    cumulative: Tensor, total: Tensor, uniform: Tensor, last: int | Tensor, out: Tensor | None = None
) -> Tensor:
    """Return the class whose interval of the cumulative distribution function contains the uniform noise.

    Due to rounding, the last cumulative probability can be below 1. Noise above this value could select a class of
    probability 0. Therefore the noise is multiplied by the last cumulative probability, `total`. If the cumulative
    probabilities are NaN, the result is clamped to a valid class.

    Under function transforms, which do not vectorize a binary search, the intervals below the noise are counted.

    Args:
        cumulative: cumulative probabilities, shape (..., K), as returned by `cumulative_weights`.
        total: the last cumulative probability, shape (..., 1).
        uniform: uniform noise in [0, 1), shape (..., 1).
        last: index of the last valid class; results are clamped to it.
        out: result buffer of int64, shape (..., 1).

    Returns:
        Class indices, shape (..., 1).
    """
    value = uniform * total
    if out is None and is_transformed():
        return (cumulative <= value).sum(-1, keepdim=True).clamp(max=last)
    return torch.searchsorted(cumulative, value.contiguous(), right=True, out=out).clamp_(max=last)


def temper_logits(logits: Tensor, temperature: float) -> Tensor:
    """Return logits / temperature, for low temperatures shifted so that the largest result is 0.

    At temperature 0, the result is 0 for the largest logit (the first one in case of ties) and -inf for all others.

    Raises `ValueError` if the temperature is negative, infinite or NaN.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature: received {temperature}, expected a number >= 0")
    if temperature == 0:
        largest = torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).bool()
        return torch.zeros_like(logits).masked_fill(~largest, -math.inf)
    if temperature < _LOW_TEMPERATURE:
        # The quotients of the logits could overflow. The reciprocal of the smallest normal number is finite.
        smallest = torch.finfo(logits.dtype).tiny
        return (logits - logits.amax(-1, keepdim=True)) / max(temperature, smallest)
    return logits / temperature


def log_scale_shift(temperature: float) -> float:
    """Return the number to add to log scales so that variances are multiplied by `temperature`.

    Raises `ValueError` if the temperature is negative, infinite or NaN.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"scale_temperature: received {temperature}, expected a number >= 0")
    return 0.5 * math.log(temperature) if temperature > 0 else -math.inf


def bias_logits(logits: Tensor, bias: float) -> Tensor:
    """Return logits x (1 + bias), as in the biased sampling of Graves (arXiv:1308.0850, section 5.4).

    For large biases the results are shifted so that the largest is 0.

    Raises `ValueError` if the bias is not a finite number above -1.
    """
    if not -1 < bias < math.inf:
        raise ValueError(f"bias: received {bias}, expected a number above -1")
    if bias > 1 / _LOW_TEMPERATURE:  # the products of the logits could overflow
        return (logits - logits.amax(-1, keepdim=True)) * min(1 + bias, torch.finfo(logits.dtype).max)
    return logits * (1 + bias)


def truncate_logits(logits: Tensor, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    """Return logits (..., K) in which all but the most probable classes are -inf.

    `top_k` keeps the k most probable classes (Fan et al., arXiv:1805.04833). `top_p` keeps the smallest number of
    classes, the most probable first, whose total probability is at least `top_p` (nucleus sampling, Holtzman et al.,
    arXiv:1904.09751). With both, `top_p` applies to the renormalized probabilities of the k classes. Classes that are
    as probable as the last class kept are also kept. None keeps all classes.

    Raises `ValueError` if `top_k` is less than 1, or if `top_p` is not above 0 and at most 1.
    """
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k: received {top_k}, expected a whole number >= 1")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p: received {top_p}, expected a number above 0 and at most 1")
    if top_k is not None and top_k < logits.shape[-1]:
        smallest = logits.topk(top_k, -1).values[..., -1:]
        logits = logits.masked_fill(logits < smallest, -math.inf)
    if top_p is not None and top_p < 1:
        ordered = logits.sort(-1, descending=True).values
        probs = torch.softmax(ordered, -1)
        kept = (probs.cumsum(-1) - probs < top_p).sum(-1, keepdim=True).clamp_min(1)  # 0 if the logits are NaN
        logits = logits.masked_fill(logits < ordered.gather(-1, kept - 1), -math.inf)
    return logits
