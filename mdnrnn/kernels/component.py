"""Triton functions for one feature of one component: density or probability of a bin, and its derivatives.

A density or probability is represented as exp(E) F with an exponent E and a factor F of moderate size. This avoids one
logarithm per component, which would take as long as all other operations of a density. The standard deviation, or
scale, is s = exp(raw) + exp(f), where raw is an output of the network and f is the log of the lower bound of s. With
m = max(raw, f) and r = 1 / (1 + exp(-|raw - f|)), the scale is s = exp(m) / r. E contains m, and F contains r.

Probabilities of bins are defined as in distributions/discretized.py. For a bin of width w whose center is a distance d
from the mean, let z = |d| / s, h = w / (2 s), y = z h, a = z - h and b = z + h. The probability of the bin is
P = Q(a) - Q(b), where Q is the upper tail probability of the standard normal distribution. Let
g(t) = Q(t) exp(t^2 / 2). Because b^2 - a^2 = 4 y, one formula replaces the plain and the tail formula of
distributions/discretized.py:

    P = exp(-a^2 / 2) (g(a) - exp(-2 y) g(b))  if a >= 0,  P = 1 - exp(-a^2 / 2) (g(-a) + exp(-2 y) g(b))  otherwise

This formula loses precision for small h. If h < 0.1 and y < 0.5, the narrow formula of distributions/discretized.py is
used instead, with two more terms:

    log P = log(2 h) - z^2/2 - log(2 pi)/2 + y^2/6 - y^4/180 - h^2/6 - h^2 y^2/45 + h^4/90
"""

import math

import triton
import triton.language as tl

_ROOT = tl.constexpr(1 / math.sqrt(2 * math.pi))
_HALF_LOG_TWO_PI = tl.constexpr(0.5 * math.log(2 * math.pi))
_NARROW_H = tl.constexpr(0.1)
_NARROW_Y = tl.constexpr(0.5)


@triton.jit
def _mills_ratio(t):
    """Return g(t) = Q(t) exp(t^2 / 2) for t >= 0, with a relative error of 4e-7 in float32.

    Q is the upper tail probability of the standard normal distribution. The approximation is k / (k + t) times a
    polynomial in (k - t) / (k + t) with k = 3.25, similar to Shepherd and Laframboise, "Chebyshev approximation of
    (1 + 2x) exp(x^2) erfc(x)" (Mathematics of Computation, 1981). The coefficients minimize the relative error.
    """
    r = 3.25 / (t + 3.25)
    q = 2 * r - 1
    p = -3.237201611e-05 * q + 4.398918624e-05
    p = p * q + 3.081994544e-04
    p = p * q - 3.566527724e-04
    p = p * q - 2.545112344e-03
    p = p * q + 3.368720081e-04
    p = p * q + 2.489750708e-02
    p = p * q + 8.444742522e-02
    p = p * q + 1.659960552e-01
    p = p * q + 2.269041229e-01
    return p * r


@triton.jit
def add_floor(raw, log_floor, inverse_floor):
    """Compute the scale s = exp(raw) + exp(log_floor) without overflow, and represent it as s = exp(m) / r.

    Return m = max(raw, log_floor), r = exp(m) / s, 1 / s, and the derivative of log s with respect to raw. The argument
    `inverse_floor` is exp(-log_floor).
    """
    ratio = tl.exp(-tl.abs(raw - log_floor))
    above, r = raw > log_floor, 1 / (1 + ratio)
    return (
        tl.maximum(raw, log_floor),
        r,
        tl.where(above, ratio, 1.0) * r * inverse_floor,
        tl.where(above, 1.0, ratio) * r,
    )


@triton.jit
def density(distance, m, r, inverse):
    """Return E and F of a normal density exp(E) F, and two derivatives of the log density.

    The derivatives are with respect to `distance`, which is x - mean, and with respect to the log scale. The scale s
    (standard deviation) is given in two forms: s = exp(m) / r, and `inverse` = 1 / s.
    """
    z = distance * inverse
    return -m - 0.5 * z * z - _HALF_LOG_TWO_PI, r, -z * inverse, z * z - 1


@triton.jit
def discretized(distance, m, r, inverse, bin_width, log_bin_width):
    """Return E and F of the probability exp(E) F of a bin, and two derivatives of the log probability.

    The derivatives are with respect to `distance`, which is bin center - mean, and with respect to the log scale. For
    `m`, `r` and `inverse`, see `density`. If `bin_width` is 0, `log_bin_width` must be 0, and the results equal
    the results of `density`.
    """
    absolute = tl.abs(distance)
    a, b = (absolute - 0.5 * bin_width) * inverse, (absolute + 0.5 * bin_width) * inverse
    z, h = absolute * inverse, 0.5 * bin_width * inverse
    y = z * h
    by_y = y * (1 / 3 - (y * y + 2 * h * h) / 45)
    narrow = (h < _NARROW_H) & (y < _NARROW_Y)
    exponent = log_bin_width - m - _HALF_LOG_TWO_PI - 0.5 * z * z
    exponent += y * y * (1 / 6 - y * y / 180 - h * h / 45) - h * h * (1 / 6 - h * h / 90)
    narrow_by_scale = z * z - 1 - 2 * y * by_y + h * h * (1 / 3 + 2 * (y * y - h * h) / 45)

    inside = a < 0  # the mean lies inside the bin
    near = tl.exp(tl.where(inside, -0.5 * a * a, 0.0))
    far = near * tl.exp(-2 * y)
    mills_a = _mills_ratio(tl.abs(a))
    prob = tl.where(inside, 1 - near * mills_a, mills_a) - far * _mills_ratio(b)
    normalizer = _ROOT / tl.where(narrow, 1.0, prob)
    at_a, at_b = near * normalizer, far * normalizer
    by_z = tl.where(narrow, h * by_y - z, at_b - at_a)
    return (
        tl.where(narrow, exponent, tl.where(inside, 0.0, -0.5 * a * a)),
        tl.where(narrow, r, prob),
        tl.where(distance < 0, -by_z, by_z) * inverse,
        tl.where(narrow, narrow_by_scale, a * at_a - b * at_b),
    )
