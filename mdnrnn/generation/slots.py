"""Batched generation in slots.

Each row of the batch is a slot. When the sequence in a slot ends, the next waiting sequence is generated in this slot.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mdnrnn.distributions import Step
from mdnrnn.generation.chunk import ChunkGenerator
from mdnrnn.generation.constraints import SamplingConstraints
from mdnrnn.generation.cuda_graph import GraphedFunction
from mdnrnn.generation.noise import NOISE_CHUNK
from mdnrnn.generation.prefix import SequenceInitializer
from mdnrnn.generation.steppers import make_stepper
from mdnrnn.generation.stopping import EndRules
from mdnrnn.pen_events import END

_REFILL_FRACTION = 8
"""Free slots are refilled together, because each computation of initial states takes time.

They are refilled when 1 / `_REFILL_FRACTION` of all slots are free, or when there is a free slot for every waiting
sequence.
"""


class GeneratedSequence(NamedTuple):
    """A generated sequence, including its prefix, or a part of such a sequence.

    `motion`: normalized motions, shape (T, D). `event`: shape (T,). `inputs`: inputs of the steps, shape (T, A), or
    None.
    """

    motion: np.ndarray
    event: np.ndarray
    inputs: np.ndarray | None = None


class SlotGenerator:
    """Generates sequences in a fixed number of slots.

    Args:
        initializer: computes the initial states.
        constraints: sampling options, bin widths and bounds.
        limits: maximum number of new steps of each sequence, shape (n,).
        slots: number of sequences generated at the same time.
    """

    def __init__(
        self, initializer: SequenceInitializer, constraints: SamplingConstraints, limits: np.ndarray, slots: int
    ) -> None:
        self.initializer, self.constraints, self.limits, self.slots = initializer, constraints, limits, slots
        self.parts: list[list[GeneratedSequence]] = [[] for _ in limits]
        self.next_index = 0
        self.is_growing = False
        """Whether states grow from step to step, so that a new sequence cannot join sequences that have begun."""
        self._begin()

    def _begin(self) -> None:
        """Fill all slots with the next waiting sequences."""
        count = min(self.slots, len(self.limits) - self.next_index)
        self.indices = np.arange(self.next_index, self.next_index + count)
        self.next_index += count
        self.done, self.remaining = np.full(count, self.initializer.prefix_length), self.limits[self.indices]
        states, initializer, constraints = self.initializer(self.indices), self.initializer, self.constraints
        self.noises: list[np.random.Generator | None] = list(states.noises)
        self.device = states.position.device
        stepper = make_stepper(initializer.model, constraints.sampling, states.previous, states.state)
        prefix = initializer.prefix or Step(states.position[:0], states.previous.event[:0])
        rules = EndRules(constraints.sampling, prefix, count)
        self.chunk = ChunkGenerator(initializer, constraints, stepper, rules, states.position)
        self.graph: GraphedFunction[list[Tensor]] | None = None
        # Policies, stopping rules and general models may run code that a CUDA graph cannot record.
        own_code = initializer.policy is not None or rules.stop is not None or not self.chunk.is_fast
        if self.device.type == "cuda" and not own_code:
            self.graph = GraphedFunction(partial(self.chunk.generate, NOISE_CHUNK), self.device)

    def generate(self) -> list[list[GeneratedSequence]]:
        """Generate all sequences. Return, for each sequence, a list of its consecutive parts."""
        while self.remaining.any():
            self.chunk.prepare(self.noises, self.indices, self.done)
            steps = min(NOISE_CHUNK, int(self.remaining.max()))
            self._store(_to_host(self.chunk.generate(steps) if self.graph is None else self.graph()))
            self._refill()
        return self.parts

    def _store(self, results: list[np.ndarray]) -> None:
        """Append the new steps of each sequence, up to its END or its limit.

        Args:
            results: motion (steps, B, D), event (steps, B) and, if there are inputs, inputs (steps, B, A).
        """
        is_end, steps = results[1] == END, len(results[1])
        has_end = is_end.any(0)
        lengths = np.minimum(np.where(has_end, is_end.argmax(0) + 1, steps), self.remaining)
        for row in np.flatnonzero(self.remaining):
            part = GeneratedSequence(*(result[: lengths[row], row] for result in results))
            self.parts[self.indices[row]].append(part)
        self.done += steps
        self.remaining = np.where(has_end, 0, np.maximum(self.remaining - steps, 0))

    def _refill(self) -> None:
        """Fill free slots with the next waiting sequences.

        If states grow, waiting sequences start only when all slots are free. If no sequence is waiting, or if waiting
        sequences cannot start because states grow, free slots are removed from the batch. With a CUDA graph, free slots
        are kept, because the batch size of the graph is fixed.
        """
        free = np.flatnonzero(self.remaining == 0)
        for row in free:
            self.noises[row] = None
        waiting = len(self.limits) - self.next_index
        if self.is_growing and waiting:
            if len(free) == len(self.remaining):
                self._begin()
                return
            waiting = 0
        if waiting and len(free) >= max(1, min(len(self.remaining) // _REFILL_FRACTION, waiting)):
            self._start(free[:waiting])
        elif not waiting and len(free) and self.remaining.any() and self.graph is None:
            self._keep(np.flatnonzero(self.remaining))

    def _start(self, rows: np.ndarray) -> None:
        indices = np.arange(self.next_index, self.next_index + len(rows))
        states = self.initializer(indices)
        if not self.chunk.stepper.accepts(states.state):
            self.is_growing = True
            self._refill()
            return
        self.chunk.replace_rows(torch.from_numpy(rows).to(self.device), states)
        for row, noise in zip(rows, states.noises, strict=True):
            self.noises[row] = noise
        self.indices[rows], self.done[rows] = indices, self.initializer.prefix_length
        self.remaining[rows] = self.limits[indices]
        self.next_index += len(rows)

    def _keep(self, rows: np.ndarray) -> None:
        self.chunk = self.chunk.select_rows(torch.from_numpy(rows).to(self.device))
        self.noises = [self.noises[row] for row in rows]
        self.indices, self.done, self.remaining = self.indices[rows], self.done[rows], self.remaining[rows]


def _to_host(parts: list[Tensor]) -> list[np.ndarray]:
    """Return the tensors as arrays on the host, with one synchronization for all of them."""
    if not parts[0].is_cuda:
        return [part.cpu().numpy() for part in parts]
    pinned = [part.to("cpu", non_blocking=True) for part in parts]
    torch.cuda.current_stream(parts[0].device).synchronize()
    return [part.numpy().copy() for part in pinned]
