"""Triton kernel that computes the negative log-likelihood of steps and its gradient, and reads the parameters once.

The formulas are those of `density.py`, `discretized.py` and `cholesky.py` in mdnrnn/distributions. The formulas for one
feature of one component are in component.py. A row contains the parameters of one step, in the order of
nn/parameters.py.

**Memory traffic.** When the forward pass has read the parameters into registers, it also computes and writes their
gradient. The gradient is multiplied by 1 / S, because the training loss is the mean over S steps. If the loss is this
mean, the backward pass only checks that the upstream gradient is 1 / S. Both passes together then take one read and one
write of S R numbers (R parameters per step), which is the minimum. Computing the gradient in the backward pass instead
would take one more read and twice the arithmetic. For any other loss, the backward pass rescales the gradient in place,
which takes one more read and one more write.

**Layout.** Steps have D features, and mixtures have K components. A chunk is a group of L components that is processed
at once; the loop over the chunks is unrolled. A tile contains one chunk of N rows, padded to P features, where P is D
rounded up to a power of two. L P elements of a row are adjacent in memory. Few threads share a row, so most additions
of a sum over components are within a thread. K is padded only to a multiple of L. In the last tile, row indices beyond
the last row are replaced by the index of the last row, and the results for these duplicates are not stored.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from mdnrnn.kernels import next_power_of_two
from mdnrnn.kernels.component import add_floor, density, discretized

# All tiles must have the same assignment of elements to threads; otherwise, threads would have to exchange data. Triton
# derives the assignment from the alignment and strides of pointers. Therefore specialization on alignment is disabled,
# and `max_contiguous` declares positions along a row as contiguous even if they are not. If pointers are not
# specialized on alignment, Triton uses this hint only to order the threads. A wrong hint does not change the results.
_POINTERS = (
    "rows", "motion", "bin_width", "event", "shift", "motion_nll", "event_nll", "gradient", "by_motion", "by_event"
)  # fmt: skip
_WARPS = 4
_ROWS = 8 * _WARPS
"""Maximum number of rows N per program; N is smaller if rows are long."""
_MIN_ADJACENT = 8
"""Minimum number L P of adjacent elements of a row in a tile: 32 bytes in float32, 16 bytes in bfloat16."""
_MAX_CHUNKS = 12
"""Maximum number of chunks of L components. Also the maximum number of means per thread: N is halved until this maximum
is met or until a tile has at most one element per thread."""


@triton.jit
def _multiply(a, b):
    return a * b


@triton.jit
def _event_nll(
    rows, event, shift, nll, gradient, row_count, gradient_scale,
    R: tl.constexpr, E: tl.constexpr, SHIFTED: tl.constexpr, GRADIENT: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """Store the negative log-likelihoods of the events of N rows and, if GRADIENT, their gradient.

    The last E elements of a row are the event logits: those of DOWN, UP and END if E = 3, those of DOWN and END if
    E = 2. If SHIFTED, `shift` is added to the last logit. R is the length of a row.
    """
    flat = tl.arange(0, N)[:, None] * 4 + tl.arange(0, 4)[None, :]
    row, slot = tl.minimum(flat // 4, row_count - 1), flat % 4
    position = tl.max_contiguous(row * R + (R - E) + slot, (1, 4))
    row = tl.max_contiguous(row, (1, 4))
    logits = tl.load(rows + position, mask=slot < E, other=-float("inf")).to(tl.float32)
    if SHIFTED:
        logits += tl.load(shift + row, mask=slot == E - 1, other=0.0)
    is_event = slot * (2 // (E - 1)) == tl.load(event + row).to(tl.int32)
    top = tl.max(logits, 1, keep_dims=True)
    exponentials = tl.exp(logits - top)
    total = tl.sum(exponentials, 1, keep_dims=True)
    event_logit = tl.max(tl.where(is_event, logits, -float("inf")), 1, keep_dims=True)
    mask = (flat // 4 < row_count) & (slot < E)
    tl.store(nll + row, top - event_logit + tl.log(total), mask=mask & (slot == 0))
    if GRADIENT:
        by_logits = exponentials / total - tl.where(is_event, 1.0, 0.0)
        tl.store(gradient + position, gradient_scale * by_logits, mask=mask)


@triton.jit(do_not_specialize_on_alignment=_POINTERS)
def _nll_kernel(
    rows, motion, bin_width, event, shift, motion_nll, event_nll, gradient, count, gradient_scale, log_floor,
    R: tl.constexpr, K: tl.constexpr, D: tl.constexpr, E: tl.constexpr, DISCRETIZED: tl.constexpr, FULL: tl.constexpr,
    PER_DIMENSION: tl.constexpr, SHIFTED: tl.constexpr, GRADIENT: tl.constexpr,
    N: tl.constexpr, L: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """Store the negative log-likelihoods of the N steps of one program instance, out of S steps in all.

    `rows` are the parameters of all steps, R per step. `count` is S. If DISCRETIZED, the likelihood of a motion is the
    probability of its bin of width `bin_width`. Otherwise, the likelihood of a motion is its density. If FULL, each
    component has a slope (the regression coefficient of feature 1 on feature 0), and D = 2. If PER_DIMENSION, every
    feature has its own mixture. If SHIFTED, `shift` (S,) is added to the last event logit. If GRADIENT, the gradient
    times `gradient_scale` is stored. The module docstring defines N, L and P.
    """
    first = tl.program_id(0).to(tl.int64) * N
    row_count = tl.minimum(count - first, N).to(tl.int32)
    rows += first * R
    gradient += first * R
    if E > 0:
        _event_nll(
            rows, event + first, shift + first, event_nll + first, gradient, row_count, gradient_scale,
            R, E, SHIFTED, GRADIENT, N,
        )  # fmt: skip

    flat = (tl.arange(0, N)[:, None, None] * L + tl.arange(0, L)[None, :, None]) * P + tl.arange(0, P)[None, None, :]
    # `lane` is the index of a component within its chunk of L components.
    row, lane, feature = tl.minimum(flat // (L * P), row_count - 1), flat // P % L, flat % P
    position = tl.max_contiguous(row * D + feature, (1, L, P))
    x = tl.load(motion + first * D + position, mask=feature < D, other=0.0)
    if DISCRETIZED:
        w = tl.load(bin_width + first * D + position, mask=feature < D, other=0.0)
        log_w = tl.log(tl.where(w > 0, w, 1.0))
    if PER_DIMENSION:
        parameter_at = tl.max_contiguous(row * R + feature * K + lane, (1, L, P))
        logit_at = parameter_at
    else:
        parameter_at = tl.max_contiguous(row * R + lane * D + feature, (1, L, P))
        logit_at = tl.max_contiguous(row * R + lane, (1, L, P))
    logit_count: tl.constexpr = K * D if PER_DIMENSION else K
    chunk: tl.constexpr = L if PER_DIMENSION else L * D  # distance in memory between the means of adjacent chunks

    inverse_floor = tl.exp(-log_floor)
    logits = ()
    joints = ()
    factors = ()
    by_means = ()
    by_scales = ()
    by_slopes = ()
    top = tl.full((N, L, P), -float("inf"), tl.float32)
    joint_top = top
    for c in tl.static_range((K + L - 1) // L):
        valid = c * L + lane < K
        mask = valid & (feature < D)
        logit = tl.load(rows + logit_at + c * L, mask=mask, other=0.0).to(tl.float32)
        logit = tl.where(valid, logit, -float("inf"))
        mean = tl.load(rows + parameter_at + (logit_count + c * chunk), mask=mask, other=0.0).to(tl.float32)
        raw = tl.load(rows + parameter_at + (logit_count + K * D + c * chunk), mask=mask, other=0.0).to(tl.float32)
        distance = x - mean
        if FULL:
            slope = tl.load(rows + logit_at + (K + 2 * K * D + c * L), mask=valid, other=0.0).to(tl.float32)
            slope = tl.where(feature == 1, slope, 0.0)
            first_distance = tl.sum(tl.where(feature == 0, distance, 0.0), 2, keep_dims=True)
            distance -= slope * first_distance

        m, r, inverse, by_raw = add_floor(raw, log_floor, inverse_floor)
        if DISCRETIZED:
            exponent, factor, by_distance, by_scale = discretized(distance, m, r, inverse, w, log_w)
        else:
            exponent, factor, by_distance, by_scale = density(distance, m, r, inverse)
        if not PER_DIMENSION:
            exponent = tl.sum(tl.where(feature < D, exponent, 0.0), 2, keep_dims=True)
            factor = tl.reduce(tl.where(feature < D, factor, 1.0), 2, _multiply, keep_dims=True)
        joint = logit + exponent
        top = tl.maximum(top, logit)
        joint_top = tl.maximum(joint_top, joint)
        logits += (logit,)
        joints += (joint,)
        factors += (factor,)
        if GRADIENT:
            if FULL:
                by_second = tl.sum(tl.where(feature == 1, by_distance, 0.0), 2, keep_dims=True)
                by_slopes += (by_second * first_distance,)
                by_distance -= tl.where(feature == 0, tl.sum(slope, 2, keep_dims=True) * by_second, 0.0)
            by_means += (by_distance,)
            by_scales += (by_scale * by_raw,)

    top = tl.max(top, 1, keep_dims=True)
    joint_top = tl.max(joint_top, 1, keep_dims=True)
    weights = ()
    joint_weights = ()
    total = tl.zeros((N, L, P), tl.float32)
    joint_total = total
    for c in tl.static_range((K + L - 1) // L):
        weights += (tl.exp(logits[c] - top),)
        joint_weights += (tl.exp(joints[c] - joint_top) * factors[c],)
        total += weights[c]
        joint_total += joint_weights[c]
    total = tl.sum(total, 1, keep_dims=True)
    joint_total = tl.sum(joint_total, 1, keep_dims=True)
    nll = top - joint_top + tl.log(total) - tl.log(joint_total)
    if PER_DIMENSION:
        nll = tl.sum(tl.where(feature < D, nll, 0.0), 2, keep_dims=True)
    row_mask = flat // (L * P) < row_count
    nll_at = motion_nll + first + tl.max_contiguous(row, (1, L, P))
    tl.store(nll_at, nll, mask=row_mask & (lane == 0) & (feature == 0))

    if GRADIENT:
        weight_scale, joint_scale = gradient_scale / total, gradient_scale / joint_total
        for c in tl.static_range((K + L - 1) // L):
            mask = row_mask & (c * L + lane < K) & (feature < D)
            logit_mask = mask if PER_DIMENSION else mask & (feature == 0)
            posterior = joint_weights[c] * joint_scale
            tl.store(gradient + logit_at + c * L, weights[c] * weight_scale - posterior, mask=logit_mask)
            tl.store(gradient + parameter_at + (logit_count + c * chunk), posterior * by_means[c], mask=mask)
            by_raw_scale = -posterior * by_scales[c]
            tl.store(gradient + parameter_at + (logit_count + K * D + c * chunk), by_raw_scale, mask=mask)
            if FULL:
                tl.store(gradient + logit_at + (K + 2 * K * D + c * L), posterior * by_slopes[c], mask=logit_mask)


@triton.jit(do_not_specialize_on_alignment=_POINTERS)
def _rescale(
    gradient, by_motion, by_event, motion_stride, event_stride, count, gradient_scale,
    R: tl.constexpr, E: tl.constexpr, N: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Multiply N rows of `gradient` in place by the upstream gradients divided by `gradient_scale`.

    The upstream gradients are `by_event` (S,) for the last E columns and `by_motion` (S,) for all other columns. If the
    upstream gradients of the N rows are all equal to `gradient_scale`, the rows are neither read nor written.
    """
    first = tl.program_id(0).to(tl.int64) * N
    row, column = tl.arange(0, N)[:, None], tl.arange(0, WIDTH)[None, :]
    row_mask = first + row < count
    motion = tl.load(by_motion + (first + row) * motion_stride, mask=row_mask, other=gradient_scale)
    event = tl.load(by_event + (first + row) * event_stride, mask=row_mask, other=gradient_scale)
    if tl.max(tl.max(((motion != gradient_scale) | (event != gradient_scale)).to(tl.int32), 0), 0) > 0:
        for c in tl.static_range((R + WIDTH - 1) // WIDTH):
            at = gradient + first * R + row * R + c * WIDTH + column
            mask = row_mask & (c * WIDTH + column < R)
            old = tl.load(at, mask=mask, other=0.0).to(tl.float32)
            upstream = tl.where(c * WIDTH + column < R - E, motion, event)
            tl.store(at, old * (upstream / gradient_scale), mask=mask)


class Layout(NamedTuple):
    """Layout of the parameters of one step (a row).

    A row contains K logits, K D means, K D raw log scales, slopes (full covariances only) and E event logits.
    Per-dimension mixtures have D K logits instead of K. `log_floor` is the log of the lower bound of component scales.
    """

    features: int
    components: int
    events: int
    log_floor: float
    covariance: str

    @property
    def constants(self) -> dict[str, Any]:
        """Compile-time constants of the kernel, including the tile sizes N, L and P."""
        d, full = self.features, self.covariance == "full" and self.features == 2
        padded = next_power_of_two(d)
        adjacent, rows = max(_MIN_ADJACENT, padded), _ROWS
        elements, threads = self.components * padded, 32 * _WARPS
        while elements > _MAX_CHUNKS * adjacent:
            adjacent *= 2
        while rows * elements > _MAX_CHUNKS * threads and rows * adjacent > threads:
            rows //= 2
        return {
            "K": self.components, "D": d, "E": self.events, "FULL": full,
            "PER_DIMENSION": self.covariance == "per-dimension", "N": rows, "L": adjacent // padded, "P": padded,
        }  # fmt: skip


def step_nll(
    rows: Tensor,
    motion: Tensor,
    event: Tensor,
    bin_width: Tensor | None,
    end_logit_shift: Tensor | None,
    layout: Layout,
) -> tuple[Tensor, Tensor]:
    """Return the negative log-likelihoods of motions and of events in nats, shape (S,) each.

    The results are differentiable with respect to `rows` and `end_logit_shift`. The gradient is computed together with
    the results and rescaled in place by the backward pass. Therefore only one backward pass per call is possible; a
    second backward pass raises `RuntimeError`.

    Args:
        rows: R parameters of each step, in the order of `Layout`, shape (S, R).
        motion: shape (S, D).
        event: integer events (see `mdnrnn.pen_events`), shape (S,).
        bin_width: bin widths, 0 for a continuous feature, shape (S, D) or (D,); None if all features are continuous.
        end_logit_shift: value to add to the last event logit, shape (S,); None to add nothing.
        layout: layout of the rows.
    """
    inputs = (rows, end_logit_shift)
    differentiable = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)
    bin_width = None if bin_width is None else bin_width.to(motion).expand_as(motion)
    nll: tuple[Tensor, Tensor] = _StepNLL.apply(rows, end_logit_shift, motion, event, bin_width, layout, differentiable)
    return nll


class _StepNLL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        end_logit_shift: Tensor | None,
        motion: Tensor,
        event: Tensor,
        bin_width: Tensor | None,
        layout: Layout,
        differentiable: bool,
    ) -> tuple[Tensor, Tensor]:
        rows, motion, event = rows.contiguous(), motion.contiguous(), event.contiguous()
        # Pointers must be valid even if the kernel does not use them. Therefore `motion` and `rows` replace None.
        bin_width = motion if bin_width is None else bin_width.contiguous()
        shift = motion if end_logit_shift is None else end_logit_shift.float().contiguous()
        count = len(rows)
        nll = motion.new_zeros(2, count)
        ctx.gradient = torch.empty_like(rows) if differentiable else None
        ctx.gradient_scale, ctx.events = 1 / max(1, count), layout.events
        ctx.shift_dtype = None if end_logit_shift is None else end_logit_shift.dtype
        if count:
            constants = layout.constants
            gradient = rows if ctx.gradient is None else ctx.gradient
            with torch.cuda.device_of(rows):
                _nll_kernel[(triton.cdiv(count, constants["N"]),)](
                    rows, motion, bin_width, event, shift, nll[0], nll[1], gradient,
                    count, ctx.gradient_scale, layout.log_floor, rows.shape[1], DISCRETIZED=bin_width is not motion,
                    SHIFTED=end_logit_shift is not None, GRADIENT=differentiable, num_warps=_WARPS,
                    enable_fp_fusion=True, **constants,
                )  # fmt: skip
        ctx.set_materialize_grads(False)
        return nll[0], nll[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_motion: Tensor | None, by_event: Tensor | None) -> tuple[Tensor | None, ...]:
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is None:
            raise RuntimeError("step_nll: received a second backward pass, expected one; call step_nll again")
        count, columns = gradient.shape
        if count:
            zeros = gradient.new_zeros(1, dtype=torch.float32).expand(count)
            by_motion, by_event = (zeros if grad is None else grad.float() for grad in (by_motion, by_event))
            with torch.cuda.device_of(gradient):
                _rescale[(triton.cdiv(count, _ROWS),)](
                    gradient, by_motion, by_event, by_motion.stride(0), by_event.stride(0), count, ctx.gradient_scale,
                    columns, ctx.events, _ROWS, 128,
                )  # fmt: skip
        by_shift = gradient[:, -1].to(ctx.shift_dtype) if ctx.shift_dtype and ctx.needs_input_grad[1] else None
        return gradient, by_shift, None, None, None, None, None
