"""One feature under one component, in a kernel: the probability of a cell or the density, and its derivatives.

A probability is kept as exp(E) F, F a factor near 1: a component then takes no logarithm, which costs as much as the
rest of a density. Where the smooth floor of the scales is f, s = exp(raw) + exp(f) = exp(m) (1 + exp(-|raw - f|)) with
m = max(raw, f): m goes to E and r = 1 / (1 + ...) to F.

Of cells, see distributions/cell.py: walls at a = z - h and b = z + h, y = z h. With Q(t) = exp(-t^2 / 2) g(t) its plain
and its tail form are one, since b^2 - a^2 = 4 y:

    P = exp(-a^2 / 2) (g(a) - exp(-2 y) g(b))  where a >= 0,  P = 1 - exp(-a^2 / 2) (g(-a) + exp(-2 y) g(b))  elsewhere

which loses digits where h is small. So the narrow form goes as far as h < 0.1, with more of the expansion:

    log P = log(2 h) - z^2/2 - log(2 pi)/2 + y^2/6 - y^4/180 - h^2/6 - h^2 y^2/45 + h^4/90
"""

import math

import triton
import triton.language as tl

_ROOT = tl.constexpr(1 / math.sqrt(2 * math.pi))
_HALF_LOG_TWO_PI = tl.constexpr(0.5 * math.log(2 * math.pi))
_NARROW = tl.constexpr(0.1)
_FLAT = tl.constexpr(0.5)


@triton.jit
def _mills(t):
    """g(t) = Q(t) exp(t^2 / 2) for t >= 0, of relative error 4e-7 in float32.

    A polynomial in (t - k) / (t + k), after Shepherd and Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2)
    erfc(x)" (Mathematics of Computation, 1981); these coefficients are fitted to have the least relative error.
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
    """m, r and 1 / s of the scale s = exp(raw) + floor = exp(m) / r, and the derivative of log s by raw."""
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
    """E and F of a density at a distance from the mean, and the derivatives of its log by distance and log scale; the
    scale, 1 / inverse, is exp(m) / r."""
    z = distance * inverse
    return -m - 0.5 * z * z - _HALF_LOG_TWO_PI, r, -z * inverse, z * z - 1


@triton.jit
def cell(distance, m, r, inverse, width, log_width):
    """The same of the probability of a cell; where its width is 0, of the density (log_width: 0)."""
    absolute = tl.abs(distance)
    a, b = (absolute - 0.5 * width) * inverse, (absolute + 0.5 * width) * inverse
    z, h = absolute * inverse, 0.5 * width * inverse
    y = z * h
    by_y = y * (1 / 3 - (y * y + 2 * h * h) / 45)
    narrow = (h < _NARROW) & (y < _FLAT)
    exponent = log_width - m - _HALF_LOG_TWO_PI - 0.5 * z * z
    exponent += y * y * (1 / 6 - y * y / 180 - h * h / 45) - h * h * (1 / 6 - h * h / 90)
    narrow_by_scale = z * z - 1 - 2 * y * by_y + h * h * (1 / 3 + 2 * (y * y - h * h) / 45)

    inside = a < 0
    near = tl.exp(tl.where(inside, -0.5 * a * a, 0.0))
    far = near * tl.exp(-2 * y)
    lower = _mills(tl.abs(a))
    prob = tl.where(inside, 1 - near * lower, lower) - far * _mills(b)
    per = _ROOT / tl.where(narrow, 1.0, prob)
    at_a, at_b = near * per, far * per
    by_z = tl.where(narrow, h * by_y - z, at_b - at_a)
    return (
        tl.where(narrow, exponent, tl.where(inside, 0.0, -0.5 * a * a)),
        tl.where(narrow, r, prob),
        tl.where(distance < 0, -by_z, by_z) * inverse,
        tl.where(narrow, narrow_by_scale, a * at_a - b * at_b),
    )
