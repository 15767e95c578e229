"""`Batch`: sequences that are stored end to end, without padding. `Batch.pad` adds the padding for the LSTM."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mdnrnn.data.batch_arguments import check_bin_width, check_indices, check_sequences, unpad_sequences
from mdnrnn.data.corpus import Sequence
from mdnrnn.distributions.step import Step
from mdnrnn.pen_events import START


@dataclass(frozen=True)
class Batch:
    """B sequences, stored end to end as S real (unpadded) steps. Motions are normalized."""

    target: Step
    """Steps to predict: motion (S, D) and event (S,)."""
    previous: Step
    """Step before each target: motion (S, D) and event (S,). For the first step of a sequence, the previous step
    has motion 0 and event START. `previous.inputs`, (S, A) or None, are the model inputs for the prediction of the
    target."""
    bin_width: Tensor | None
    """(S, D), normalized bin widths of the targets, 0 for continuous features; None if all features are continuous."""
    lengths: Tensor
    """(B,), number of steps of each sequence."""
    label: Tensor | None
    """(B,), class indices, or None."""
    indices: Tensor
    """(B,), indices of the sequences in the corpus."""
    slots: Tensor
    """(S,), index of each step in a flattened padded layout (T, B): t * B + b for step t of sequence b."""
    steps: int
    """Number of steps T of the longest sequence."""
    text: Tensor | None = None
    """(B, U), code points of the texts, padded with zeros, or None."""
    context: Tensor | None = None
    """(B, C), context vectors, or None."""
    continues: Tensor | None = None
    """(B,), whether each sequence continues the sequence with the same index b in the preceding batch, so that the LSTM
    state is carried over. Only `Windows` with `carry` sets this field; otherwise it is None."""
    idle: bool = False
    """Whether a batch that several processes share has no sequence for this process. The batch then contains a
    placeholder sequence, which has weight 0 in the loss."""

    @classmethod
    def from_padded(
        cls,
        motion: Any,
        event: Any,
        lengths: Any,
        *,
        label: Any = None,
        inputs: Any = None,
        text: Iterable[str] | None = None,
        context: Any = None,
        bin_width: Any = None,
        indices: Any = None,
    ) -> Batch:
        """Build a batch from padded tensors or arrays; the batch is on the CPU.

        The values of the padding are ignored. Motions, bin widths and inputs are in normalized units: `Normalizer`
        converts raw units.

        Args:
            motion: (B, T, D), batch first.
            event: (B, T), event codes DOWN (0), UP (1) and END (2); booleans are True if the pen lifts after the point.
            lengths: (B,), number of real steps of each sequence.
            label: (B,), class indices.
            inputs: (B, T, A), model inputs for the prediction of each step.
            text: B texts.
            context: (B, C), context vectors.
            bin_width: (D,) or (B, T, D), bin widths, 0 for continuous features; None if all features are continuous.
            indices: (B,), indices of the sequences in the data, for error messages; by default 0 to B - 1.

        Raises:
            InputError: an argument has a wrong shape, type or value.
        """
        sequences, is_real = unpad_sequences(motion, event, lengths, label, inputs, text, context)
        if bin_width is not None:
            bin_width = check_bin_width(bin_width, (*is_real.shape, sequences[0].motion.shape[1]))[is_real]
        return cls.from_sequences(sequences, bin_width=bin_width, indices=indices)

    @classmethod
    def from_sequences(cls, sequences: Iterable[Sequence], *, bin_width: Any = None, indices: Any = None) -> Batch:
        """Build a batch from sequences of any lengths; the batch is on the CPU.

        Use it as `collate_fn` of a `torch.utils.data.DataLoader` over a data set of sequences.

        Args:
            sequences: B sequences, whose fields are tensors or arrays. Motions and inputs are in normalized units:
                `Normalizer` converts raw units. The fields `writer` and `logvar` are not used.
            bin_width: (D,) or (S, D), normalized bin widths, 0 for continuous features; None if all features are
                continuous. S is the sum of the lengths.
            indices: (B,), indices of the sequences in the data, for error messages; by default 0 to B - 1.

        Raises:
            InputError: an argument has a wrong shape, type or value.
        """
        sequences = check_sequences(sequences)
        motion = np.concatenate([sequence.motion for sequence in sequences]).astype(np.float32)
        inputs = [sequence.inputs for sequence in sequences if sequence.inputs is not None]
        labels = [sequence.label for sequence in sequences if sequence.label is not None]
        texts = [sequence.text for sequence in sequences if sequence.text is not None]
        contexts = [sequence.context for sequence in sequences if sequence.context is not None]
        batch = assemble(
            motion,
            np.concatenate([sequence.event for sequence in sequences]),
            None if bin_width is None else check_bin_width(bin_width, motion.shape),
            np.array([len(sequence.event) for sequence in sequences]),
            np.zeros(len(sequences), bool),
            np.concatenate(inputs) if inputs else None,
            np.array(labels, np.int64) if labels else None,
            check_indices(indices, len(sequences)),
            to_code_points(texts) if texts else None,
        )
        return replace(batch, context=torch.from_numpy(np.stack(contexts).astype(np.float32)) if contexts else None)

    @property
    def size(self) -> int:
        """Number of sequences B."""
        return self.indices.shape[0]

    @property
    def points(self) -> int:
        """Number of real steps S."""
        return self.slots.shape[0]

    def sequence_of_row(self) -> Tensor:
        """Return, for each step, the index b of its sequence in the batch, shape (S,)."""
        return self.slots % self.size

    def backward_slots(self) -> Tensor:
        """Return the equivalent of `slots` for a layout in which every sequence is reversed in time, shape (S,)."""
        sequence = self.sequence_of_row()
        return (self.lengths[sequence] - 1) * self.size + 2 * sequence - self.slots

    def last_slots(self) -> Tensor:
        """Return, for each sequence, the index of its last real entry in the flattened padded layout; shape (B,).

        The indices are the same in the layout of `backward_slots`: the padding of a reversed sequence also comes last.
        """
        return (self.lengths - 1) * self.size + torch.arange(self.size, device=self.lengths.device)

    def pad(self, rows: Tensor, slots: Tensor | None = None) -> Tensor:
        """Arrange rows (S, F) as a padded tensor (T, B, F), with zeros after the end of each sequence.

        Row i is placed at index slots[i] of the flattened layout (T, B). By default, `slots` is `self.slots`.
        """
        padded = rows.new_zeros(self.steps * self.size, rows.shape[-1])
        slots = self.slots if slots is None else slots
        return padded.index_copy(0, slots, rows).view(self.steps, self.size, -1)

    def unpad(self, padded: Tensor) -> Tensor:
        """Return the real (unpadded) rows (S, F) of a padded tensor (T, B, F); the inverse of `pad`."""
        return padded.flatten(0, 1).index_select(0, self.slots)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`; its tensors are copied asynchronously from pinned memory."""
        if device.type == "cpu":
            return self
        return replace(
            self,
            target=Step(*(_move(part, device) for part in self.target)),
            previous=Step(*(_move(part, device) for part in self.previous)),
            bin_width=_move(self.bin_width, device),
            lengths=_move(self.lengths, device),
            label=_move(self.label, device),
            indices=_move(self.indices, device),
            slots=_move(self.slots, device),
            text=_move(self.text, device),
            context=_move(self.context, device),
            continues=_move(self.continues, device),
        )


def _move(tensor: Any, device: torch.device) -> Any:
    if tensor is None:
        return None
    if device.type == "cuda":  # from pinned memory, the copy does not block
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def to_code_points(texts: list[str]) -> Tensor:
    """Convert texts to Unicode code points (B, U), padded with zeros."""
    codes = np.zeros((len(texts), max(map(len, texts), default=0)), np.int64)
    for row, text in zip(codes, texts, strict=True):
        row[: len(text)] = [ord(letter) for letter in text]
    return torch.from_numpy(codes)


def assemble(
    motion: np.ndarray,
    event: np.ndarray,
    bin_widths: np.ndarray | None,
    lengths: np.ndarray,
    has_previous: np.ndarray,
    inputs: np.ndarray | None,
    label: np.ndarray | None,
    indices: np.ndarray,
    text: Tensor | None,
) -> Batch:
    """Build a batch from segments that are packed end to end.

    If has_previous[b] is true, the first row of segment b is not a target: it is only the previous step of the second
    row.
    """
    firsts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    previous, previous_event = np.roll(motion, 1, axis=0), np.roll(event.astype(np.int64), 1)
    previous[firsts], previous_event[firsts] = 0, START
    if has_previous.any():
        kept = np.delete(np.arange(len(event)), firsts[has_previous])
        motion, event, previous, previous_event = (part[kept] for part in (motion, event, previous, previous_event))
        bin_widths, inputs = (None if part is None else part[kept] for part in (bin_widths, inputs))
        lengths = lengths - has_previous
        firsts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    time = np.arange(len(event)) - firsts.repeat(lengths)
    slots = time * len(indices) + np.arange(len(indices)).repeat(lengths)
    previous_inputs = None if inputs is None else torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float32))
    return Batch(
        target=Step(torch.from_numpy(motion), torch.from_numpy(event.astype(np.int64))),
        previous=Step(torch.from_numpy(previous), torch.from_numpy(previous_event), previous_inputs),
        bin_width=None if bin_widths is None else torch.from_numpy(np.array(bin_widths)),
        lengths=torch.from_numpy(lengths),
        label=None if label is None else torch.from_numpy(label),
        indices=torch.from_numpy(np.asarray(indices, dtype=np.int64)),
        slots=torch.from_numpy(slots),
        steps=int(lengths.max()),
        text=text,
    )
