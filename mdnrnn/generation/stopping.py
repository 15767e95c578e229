"""Ends of sequences: the stroke limits and the stopping rule of `Sampling`, which change sampled events."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mdnrnn.distributions import Step
from mdnrnn.errors import InputError, quantity
from mdnrnn.generation.arguments import check_shape
from mdnrnn.generation.sampling import Sampling
from mdnrnn.pen_events import DOWN, END, UP


class StepHistory(NamedTuple):
    """All steps of B sequences so far, including those of a prefix; the newest step of each sequence is the last.

    Rows of sequences with fewer than T steps start with padding: motion 0 and event DOWN. The position of the padding
    is therefore 0, the origin of the sequence. T depends on the other sequences in the batch.

    `motion`: motions, shape (B, T, D). `event`: events, shape (B, T). `length`: number of steps of each sequence, shape
    (B,).
    """

    motion: Tensor
    event: Tensor
    length: Tensor

    @property
    def position(self) -> Tensor:
        """Running sums of the motions, shape (B, T, D). Features that are not offsets have no position."""
        return self.motion.cumsum(1)

    def append(self, motion: Tensor, event: Tensor) -> StepHistory:
        """Return the history with one more step: motions (B, D) and events (B,)."""
        motions = torch.cat([self.motion, motion.unsqueeze(1)], 1)
        return StepHistory(motions, torch.cat([self.event, event.unsqueeze(1)], 1), self.length + 1)

    def replace_rows(self, rows: Tensor, prefix: Step) -> StepHistory:
        """Return the history in which the sequences in the given rows (N,) have only the steps of the prefix."""
        motion, event, steps = torch.zeros_like(self.motion), torch.full_like(self.event, DOWN), len(prefix.event)
        motion[:, motion.shape[1] - steps :], event[:, event.shape[1] - steps :] = prefix.motion, prefix.event
        motion = self.motion.index_copy(0, rows, motion[rows])
        event = self.event.index_copy(0, rows, event[rows])
        return StepHistory(motion, event, self.length.index_fill(0, rows, steps)).without_padding()

    def select_rows(self, rows: Tensor) -> StepHistory:
        """Return the history of the sequences in the given rows (N,)."""
        return StepHistory(self.motion[rows], self.event[rows], self.length[rows]).without_padding()

    def without_padding(self) -> StepHistory:
        """Return the history without columns that contain only padding."""
        first = self.event.shape[1] - int(self.length.max())
        return StepHistory(self.motion[:, first:], self.event[:, first:], self.length)


StoppingRule = Callable[[StepHistory], Tensor]
"""Function (history) -> mask that ends sequences.

It is called after each step. The mask is boolean, shape (B,). A sequence ends with its newest step if its element is
true: the event of this step becomes END. Each element of the mask must depend only on the same row of the history, and
not on T, so that a sequence does not depend on the other sequences in the batch. The rows may include sequences that
have ended; their elements have no effect. `Run.generate` and the functions that take a run call the rule with motions
in raw units, `generate` calls it with normalized motions.
"""


class EndRules:
    """Applies the stroke limits and the stopping rule of the sampling options to B sequences.

    Args:
        sampling: sampling options.
        prefix: steps of the prefix, with motion (P, D) and event (P,).
        batch: number of sequences B.
    """

    def __init__(self, sampling: Sampling, prefix: Step, batch: int) -> None:
        self.sampling, self.prefix, device = sampling, prefix, prefix.event.device
        # Any function of a distribution can take the place of `Sampling`; it has no such options.
        limits = [getattr(sampling, name, None) for name in ("min_strokes", "max_strokes")]
        self.min_strokes, self.max_strokes = limits
        self.stop: StoppingRule | None = getattr(sampling, "stop", None)
        self.strokes: Tensor | None = None
        """Number of strokes that have ended, shape (B,); None without stroke limits."""
        if limits != [None, None]:
            self.strokes = torch.full((batch,), count_strokes(prefix.event), device=device)
        self.history: StepHistory | None = None
        """Steps of the sequences so far; None without a stopping rule."""
        if self.stop is not None:
            motion, event = (part.expand(batch, *part.shape) for part in prefix[:2])
            self.history = StepHistory(motion, event, torch.full((batch,), len(prefix.event), device=device))
        self.is_active = self.strokes is not None or self.history is not None
        """Whether there is a stroke limit or a stopping rule."""

    def limit_strokes(self, event: Tensor) -> Tensor:
        """Return the sampled events (B,): END is UP before stroke `min_strokes`, UP is END at stroke `max_strokes`."""
        if self.strokes is None:
            return event
        strokes = self.strokes + 1  # if the pen lifts after this step
        if self.min_strokes is not None:
            event = event.masked_fill((event == END) & (strokes < self.min_strokes), UP)
        if self.max_strokes is not None:
            event = event.masked_fill((event == UP) & (strokes >= self.max_strokes), END)
        return event

    def stopped(self, motion: Tensor, event: Tensor) -> Tensor | None:
        """Return a mask of the sequences that the stopping rule ends after a step, shape (B,); None without a rule.

        Args:
            motion: motions of the step, shape (B, D).
            event: events of the step, shape (B,).
        """
        if self.stop is None or self.history is None:
            return None
        mask = self.stop(self.history.append(motion, event))
        if not isinstance(mask, Tensor):
            raise InputError(f"stop: received {type(mask).__name__}, expected a tensor of {len(event)} booleans")
        check_shape("stop: mask", mask, tuple(event.shape))
        return mask.bool()

    def append(self, motion: Tensor, event: Tensor) -> None:
        """Count the strokes that end with a step and append the step to the history; motions (B, D), events (B,)."""
        if self.strokes is not None:
            self.strokes.add_(event != DOWN)
        if self.history is not None:
            self.history = self.history.append(motion, event)

    def replace_rows(self, rows: Tensor) -> None:
        """Replace the sequences in the given rows (N,) by sequences that have only the steps of the prefix."""
        if self.strokes is not None:
            self.strokes[rows] = count_strokes(self.prefix.event)
        if self.history is not None:
            self.history = self.history.replace_rows(rows, self.prefix)

    def select_rows(self, rows: Tensor) -> EndRules:
        """Return the rules for the sequences in the given rows (N,)."""
        selected = EndRules(self.sampling, self.prefix, len(rows))
        if self.strokes is not None:
            selected.strokes = self.strokes[rows]
        if self.history is not None:
            selected.history = self.history.select_rows(rows)
        return selected


def count_strokes(event: Tensor) -> int:
    """Return the number of strokes that end in a sequence with the given events (T,)."""
    return int((event != DOWN).sum())


def check_stroke_limits(sampling: Sampling, events: int, prefix: Step | None) -> None:
    """Raise `InputError` if stroke limits do not apply to a model, or if a prefix already has the maximum of strokes.

    Args:
        sampling: sampling options.
        events: number of events E of the model; 3 for strokes.
        prefix: prefix with event (P,), or None.
    """
    for name in ("min_strokes", "max_strokes"):
        limit = getattr(sampling, name, None)
        if limit is not None and events != END + 1:
            raise InputError(f"{name}: received {limit} for data without strokes, expected None; omit {name}")
    strokes, limit = 0 if prefix is None else count_strokes(prefix.event), getattr(sampling, "max_strokes", None)
    if limit is not None and strokes >= limit:
        raise InputError(
            f"max_strokes: received {limit} for a prefix of {quantity(strokes, 'strokes')}, expected {strokes + 1} or "
            "more; increase max_strokes or shorten the prefix"
        )
