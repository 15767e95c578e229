"""The nats of steps under a head's rows, and their gradient, by one Triton kernel that reads each row once.

The formulas are those of distributions/density.py, discretized.py and cholesky.py, a component's in component.py; how a row
lies is told by nn/rows.py.

**Bytes.** The kernel knows the row when it knows the nats, so it writes the gradient at once, times 1 / S: a training's
loss is the mean over its S steps, and then nothing is left for the backward pass but to see that it is so. That is one
read and one write of the rows, the fewest there can be. To read them again in the backward pass would be one read more
and the arithmetic twice. A loss that is no plain mean has the gradient scaled in place: a read and a write more.

**Layout.** A tile is N rows x L components x P features, L P numbers side by side in memory, few threads a row: sums
over components are mostly sums in a thread. The components come in chunks of L, unrolled, so K needs no padding beyond.
Rows past the last are read as the last, and not written.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from mdnrnn.kernels import padded
from mdnrnn.kernels.component import cell, density, add_floor

# One layout of threads serves all tiles, and nothing is handed from one to another. Triton would choose other layouts
# where numbers are aligned or lie elsewhere: so it is told of no alignment, and by max_contiguous, be it so or not,
# that places along a row are neighbors. It orders threads by that; without alignments nothing else follows from it.
_POINTERS = (
    "rows", "motion", "width", "event", "shift", "motion_nats", "event_nll", "gradient", "by_motion", "by_event"
)  # fmt: skip
_WARPS = 4
_ROWS = 8 * _WARPS
"""N, rows of a program, where there are few numbers in a row."""
_SIDE = 8
"""L P, numbers of a row side by side, where a tile is small: 32 bytes of float32, or 16 of bfloat16."""
_CHUNKS = 12
"""The most chunks of components, and the most numbers of a kind (means, say) that a thread holds."""


@triton.jit
def _times(a, b):
    return a * b


@triton.jit
def _events(
    rows, event, shift, nats, gradient, real, share,
    R: tl.constexpr, E: tl.constexpr, SHIFTED: tl.constexpr, GRADIENT: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """Nats of the events of N rows, E logits at the end of each: of 3, all; of 2, the first and the last."""
    flat = tl.arange(0, N)[:, None] * 4 + tl.arange(0, 4)[None, :]
    row, slot = tl.minimum(flat // 4, real - 1), flat % 4
    place = tl.max_contiguous(row * R + (R - E) + slot, (1, 4))
    row = tl.max_contiguous(row, (1, 4))
    logits = tl.load(rows + place, mask=slot < E, other=-float("inf")).to(tl.float32)
    if SHIFTED:
        logits += tl.load(shift + row, mask=slot == E - 1, other=0.0)
    hit = slot * (2 // (E - 1)) == tl.load(event + row).to(tl.int32)
    top = tl.max(logits, 1, keep_dims=True)
    odds = tl.exp(logits - top)
    total = tl.sum(odds, 1, keep_dims=True)
    chosen = tl.max(tl.where(hit, logits, -float("inf")), 1, keep_dims=True)
    own = (flat // 4 < real) & (slot < E)
    tl.store(nats + row, top - chosen + tl.log(total), mask=own & (slot == 0))
    if GRADIENT:
        tl.store(gradient + place, share * (odds / total - tl.where(hit, 1.0, 0.0)), mask=own)


@triton.jit(do_not_specialize_on_alignment=_POINTERS)
def _likelihood(
    rows, motion, width, event, shift, motion_nats, event_nll, gradient, count, share, log_floor,
    R: tl.constexpr, K: tl.constexpr, D: tl.constexpr, E: tl.constexpr, CELLS: tl.constexpr, FULL: tl.constexpr,
    APART: tl.constexpr, SHIFTED: tl.constexpr, GRADIENT: tl.constexpr,
    N: tl.constexpr, L: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """Nats of N of `count` rows (S, R), and `share` times their gradient.

    CELLS: there are widths. FULL: slopes, D = 2. APART: a mixture for every feature. SHIFTED: `shift` (S,) is added to
    the last event logit.
    """
    first = tl.program_id(0).to(tl.int64) * N
    real = tl.minimum(count - first, N).to(tl.int32)
    rows += first * R
    gradient += first * R
    if E > 0:
        _events(
            rows, event + first, shift + first, event_nll + first, gradient, real, share, R, E, SHIFTED, GRADIENT, N
        )

    flat = (tl.arange(0, N)[:, None, None] * L + tl.arange(0, L)[None, :, None]) * P + tl.arange(0, P)[None, None, :]
    row, lane, feature = tl.minimum(flat // (L * P), real - 1), flat // P % L, flat % P
    place = tl.max_contiguous(row * D + feature, (1, L, P))
    x = tl.load(motion + first * D + place, mask=feature < D, other=0.0)
    if CELLS:
        w = tl.load(width + first * D + place, mask=feature < D, other=0.0)
        log_w = tl.log(tl.where(w > 0, w, 1.0))
    if APART:
        step = tl.max_contiguous(row * R + feature * K + lane, (1, L, P))
        weight = step
    else:
        step = tl.max_contiguous(row * R + lane * D + feature, (1, L, P))
        weight = tl.max_contiguous(row * R + lane, (1, L, P))
    weights: tl.constexpr = K * D if APART else K
    chunk: tl.constexpr = L if APART else L * D

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
        some = c * L + lane < K
        there = some & (feature < D)
        logit = tl.load(rows + weight + c * L, mask=there, other=0.0).to(tl.float32)
        logit = tl.where(some, logit, -float("inf"))
        mean = tl.load(rows + step + (weights + c * chunk), mask=there, other=0.0).to(tl.float32)
        raw = tl.load(rows + step + (weights + K * D + c * chunk), mask=there, other=0.0).to(tl.float32)
        distance = x - mean
        if FULL:
            slope = tl.load(rows + weight + (K + 2 * K * D + c * L), mask=some, other=0.0).to(tl.float32)
            slope = tl.where(feature == 1, slope, 0.0)
            ahead = tl.sum(tl.where(feature == 0, distance, 0.0), 2, keep_dims=True)
            distance -= slope * ahead

        m, r, inverse, by_raw = add_floor(raw, log_floor, inverse_floor)
        if CELLS:
            exponent, factor, by_distance, by_scale = cell(distance, m, r, inverse, w, log_w)
        else:
            exponent, factor, by_distance, by_scale = density(distance, m, r, inverse)
        if not APART:
            exponent = tl.sum(tl.where(feature < D, exponent, 0.0), 2, keep_dims=True)
            factor = tl.reduce(tl.where(feature < D, factor, 1.0), 2, _times, keep_dims=True)
        joint = logit + exponent
        top = tl.maximum(top, logit)
        joint_top = tl.maximum(joint_top, joint)
        logits += (logit,)
        joints += (joint,)
        factors += (factor,)
        if GRADIENT:
            if FULL:
                by_second = tl.sum(tl.where(feature == 1, by_distance, 0.0), 2, keep_dims=True)
                by_slopes += (by_second * ahead,)
                by_distance -= tl.where(feature == 0, tl.sum(slope, 2, keep_dims=True) * by_second, 0.0)
            by_means += (by_distance,)
            by_scales += (by_scale * by_raw,)

    top = tl.max(top, 1, keep_dims=True)
    joint_top = tl.max(joint_top, 1, keep_dims=True)
    odds = ()
    shares = ()
    total = tl.zeros((N, L, P), tl.float32)
    joint_total = total
    for c in tl.static_range((K + L - 1) // L):
        odds += (tl.exp(logits[c] - top),)
        shares += (tl.exp(joints[c] - joint_top) * factors[c],)
        total += odds[c]
        joint_total += shares[c]
    total = tl.sum(total, 1, keep_dims=True)
    joint_total = tl.sum(joint_total, 1, keep_dims=True)
    nats = top - joint_top + tl.log(total) - tl.log(joint_total)
    if APART:
        nats = tl.sum(tl.where(feature < D, nats, 0.0), 2, keep_dims=True)
    inside = flat // (L * P) < real
    tl.store(motion_nats + first + tl.max_contiguous(row, (1, L, P)), nats, mask=inside & (lane == 0) & (feature == 0))

    if GRADIENT:
        per, joint_per = share / total, share / joint_total
        for c in tl.static_range((K + L - 1) // L):
            own = inside & (c * L + lane < K) & (feature < D)
            once = own if APART else own & (feature == 0)
            part = shares[c] * joint_per
            tl.store(gradient + weight + c * L, odds[c] * per - part, mask=once)
            tl.store(gradient + step + (weights + c * chunk), part * by_means[c], mask=own)
            tl.store(gradient + step + (weights + K * D + c * chunk), -part * by_scales[c], mask=own)
            if FULL:
                tl.store(gradient + weight + (K + 2 * K * D + c * L), part * by_slopes[c], mask=once)


@triton.jit(do_not_specialize_on_alignment=_POINTERS)
def _rescale(
    gradient, by_motion, by_event, motion_step, event_step, count, share,
    R: tl.constexpr, E: tl.constexpr, N: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """N rows of a gradient times `share`, brought to gradients by_motion (S,) and, of the last E columns, by_event (S,)
    of the nats: where all of these are `share`, nothing is left to do, and the rows are not touched."""
    first = tl.program_id(0).to(tl.int64) * N
    row, column = tl.arange(0, N)[:, None], tl.arange(0, WIDE)[None, :]
    real = first + row < count
    motion = tl.load(by_motion + (first + row) * motion_step, mask=real, other=share)
    event = tl.load(by_event + (first + row) * event_step, mask=real, other=share)
    if tl.max(tl.max(((motion != share) | (event != share)).to(tl.int32), 0), 0) > 0:
        for c in tl.static_range((R + WIDE - 1) // WIDE):
            place = gradient + first * R + row * R + c * WIDE + column
            there = real & (c * WIDE + column < R)
            old = tl.load(place, mask=there, other=0.0).to(tl.float32)
            tl.store(place, old * (tl.where(c * WIDE + column < R - E, motion, event) / share), mask=there)


class Layout(NamedTuple):
    """How a row lies: K logits, K D means and raw log scales of a floor, slopes of full covariance, E event logits; per
    dimension, K of the first of each of D."""

    features: int
    components: int
    events: int
    log_floor: float
    covariance: str

    @property
    def constants(self) -> dict[str, Any]:
        """What the kernel is compiled for."""
        d, full = self.features, self.covariance == "full" and self.features == 2
        wide, side, rows = padded(d), max(_SIDE, padded(d)), _ROWS
        numbers, threads = self.components * wide, 32 * _WARPS
        while numbers > _CHUNKS * side:
            side *= 2
        while rows * numbers > _CHUNKS * threads and rows * side > threads:
            rows //= 2
        return {
            "K": self.components, "D": d, "E": self.events, "FULL": full, "APART": self.covariance == "per-dimension",
            "N": rows, "L": side // wide, "P": wide,
        }  # fmt: skip


def step_nll(
    rows: Tensor, motion: Tensor, event: Tensor, width: Tensor | None, end_shift: Tensor | None, layout: Layout
) -> tuple[Tensor, Tensor]:
    """NLL (S,) of motions (S, D) and of events (S,) under rows (S, R), with gradients to the rows and the shift.

    `width`: of bin_widths, (S, D) or (D,), 0 where a feature has none. `end_shift`: (S,), added to the last event logit.
    The gradient can be taken once: it is made with the nats, and handed out.
    """
    differentiable = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (rows, end_shift))
    width = None if width is None else width.to(motion).expand_as(motion)
    nats: tuple[Tensor, Tensor] = _StepNats.apply(rows, end_shift, motion, event, width, layout, differentiable)
    return nats


class _StepNats(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        end_shift: Tensor | None,
        motion: Tensor,
        event: Tensor,
        width: Tensor | None,
        layout: Layout,
        differentiable: bool,
    ) -> tuple[Tensor, Tensor]:
        rows, motion, event = rows.contiguous(), motion.contiguous(), event.contiguous()
        width = motion if width is None else width.contiguous()
        shift = motion if end_shift is None else end_shift.float().contiguous()
        count = len(rows)
        nats = motion.new_zeros(2, count)
        ctx.gradient = torch.empty_like(rows) if differentiable else None
        ctx.share, ctx.events = 1 / max(1, count), layout.events
        ctx.shifts = None if end_shift is None else end_shift.dtype
        if count:
            constants = layout.constants
            with torch.cuda.device_of(rows):
                _likelihood[(triton.cdiv(count, constants["N"]),)](
                    rows, motion, width, event, shift, nats[0], nats[1], rows if ctx.gradient is None else ctx.gradient,
                    count, ctx.share, layout.log_floor, rows.shape[1], CELLS=width is not motion,
                    SHIFTED=end_shift is not None, GRADIENT=differentiable, num_warps=_WARPS, enable_fp_fusion=True,
                    **constants,
                )  # fmt: skip
        ctx.set_materialize_grads(False)
        return nats[0], nats[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_motion: Tensor | None, by_event: Tensor | None) -> tuple[Tensor | None, ...]:
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is None:
            raise RuntimeError("the gradient of a step's nats was asked for twice; compute the nats again")
        count, columns = gradient.shape
        if count:
            none = gradient.new_zeros(1, dtype=torch.float32).expand(count)
            by_motion, by_event = (none if grad is None else grad.float() for grad in (by_motion, by_event))
            with torch.cuda.device_of(gradient):
                _rescale[(triton.cdiv(count, _ROWS),)](
                    gradient, by_motion, by_event, by_motion.stride(0), by_event.stride(0), count, ctx.share,
                    columns, ctx.events, _ROWS, 128,
                )  # fmt: skip
        by_shift = gradient[:, -1].to(ctx.shifts) if ctx.shifts and ctx.needs_input_grad[1] else None
        return gradient, by_shift, None, None, None, None, None
