"""Generation of B sequences in chunks of up to NOISE_CHUNK steps.

The results of a chunk stay on the device, so that the caller can copy them to the host once per chunk, not once per
step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mdnrnn.generation.arguments import check_shape
from mdnrnn.generation.condition import check_policy_inputs
from mdnrnn.generation.constraints import SamplingConstraints, clip_to_bounds
from mdnrnn.generation.distribution_sampler import DistributionSampler, StepSampler
from mdnrnn.generation.fused_sampler import FusedSampler
from mdnrnn.generation.noise import NOISE_CHUNK, fill_noise
from mdnrnn.generation.prefix import InitialStates, SequenceInitializer
from mdnrnn.generation.steppers import ModelStepper, Stepper
from mdnrnn.generation.stopping import EndRules
from mdnrnn.models.base import SequenceModel
from mdnrnn.pen_events import END


class ChunkGenerator:
    """Generates B sequences. Each call of `generate` generates up to NOISE_CHUNK steps.

    The attribute `is_fast` tells whether the fast path is used; see `mdnrnn.generation.fast_path`.

    Args:
        initializer: provides the model, the condition and the policy.
        constraints: sampling options, bin widths and bounds.
        stepper: result of `make_stepper` for the B sequences.
        rules: stroke limits and stopping rule of the B sequences.
        position: position of each sequence: the sum of its normalized motions so far, shape (B, D).
    """

    def __init__(
        self,
        initializer: SequenceInitializer,
        constraints: SamplingConstraints,
        stepper: Stepper,
        rules: EndRules,
        position: Tensor,
    ) -> None:
        self.initializer, self.constraints, self.stepper, self.rules = initializer, constraints, stepper, rules
        self.position = position
        model, sampling, batch, device = initializer.model, constraints.sampling, len(position), position.device
        choices, features = model.component_choices, model.shape.features
        self.is_fast = not isinstance(stepper, ModelStepper)
        self.sampler: StepSampler
        if self.is_fast:
            self.sampler = FusedSampler(model.decoder.head, sampling, batch)
        else:
            self.sampler = DistributionSampler(sampling, choices)
        self.host_noise = [
            torch.empty(batch, *shape, dtype=torch.float32, device="cpu", pin_memory=position.is_cuda)
            for shape in ((choices + 1, NOISE_CHUNK), (NOISE_CHUNK, features))
        ]
        dtype = torch.promote_types(next(model.parameters()).dtype, torch.float32)
        self.noise = [part.to(device, dtype, copy=False) for part in self.host_noise]
        self.uniforms = self.noise[0][:, : self.sampler.groups].permute(2, 0, 1).unsqueeze(-1).unbind(0)
        self.normals = self.noise[1].unbind(1)
        self.indices = torch.zeros(batch, dtype=torch.long, device=device)
        self.is_first = torch.zeros(batch, 1, dtype=torch.bool, device=device)
        """Whether the first step of the chunk is the first step of the sequence, for each row, shape (B, 1)."""
        self.known_inputs = position.new_zeros(NOISE_CHUNK, batch, model.shape.inputs)
        default_rule = getattr(type(model), "finished", None) is SequenceModel.finished
        self.has_stopping_rule = not default_rule or "finished" in vars(model)

    def replace_rows(self, rows: Tensor, states: InitialStates) -> None:
        """Replace the sequences in the given rows by new sequences with the given initial states."""
        self.stepper.replace_rows(rows, states.previous, states.state)
        self.rules.replace_rows(rows)
        self.position[rows] = states.position

    def select_rows(self, rows: Tensor) -> ChunkGenerator:
        """Return a generator for the sequences in the given rows."""
        stepper, rules = self.stepper.select_rows(rows), self.rules.select_rows(rows)
        return ChunkGenerator(self.initializer, self.constraints, stepper, rules, self.position[rows])

    def prepare(self, noises: list[np.random.Generator | None], indices: np.ndarray, done: np.ndarray) -> None:
        """Copy the noise of the next chunk to the device. If the condition contains inputs, also copy the inputs.

        Args:
            noises: noise streams of the B sequences; None for a row whose sequence has ended.
            indices: indices of the sequences, shape (B,).
            done: number of steps that each sequence has so far, including its prefix, shape (B,).
        """
        for row, noise in enumerate(noises):
            if noise is not None:
                fill_noise(noise, self.host_noise[0][row].numpy(), self.host_noise[1][row].numpy())
        for part, host_part in zip(self.noise, self.host_noise, strict=True):
            if part is not host_part:
                part.copy_(host_part, non_blocking=True)
        self.indices.copy_(torch.from_numpy(indices))
        self.is_first.copy_(torch.from_numpy(done == 0).unsqueeze(1))
        inputs = self.initializer.condition.inputs
        if inputs is not None:
            times = np.minimum(done + np.arange(NOISE_CHUNK)[:, None], inputs.shape[1] - 1)
            self.known_inputs.copy_(inputs[self.indices, torch.from_numpy(times).to(inputs.device)])

    def generate(self, steps: int) -> list[Tensor]:
        """Generate the next steps of all sequences.

        Returns:
            Motion (steps, B, D) and event (steps, B). If the condition or a policy provides inputs, also inputs
            (steps, B, A).
        """
        results: list[tuple[Tensor, ...]] = []
        for time in range(steps):
            inputs = self._choose_inputs(time)
            motion, event = self._sample(self.stepper.step(inputs), time)
            self.stepper.set_previous(motion, event)
            results.append((motion, event) if inputs is None else (motion, event, inputs))
        return [torch.stack(part) for part in zip(*results, strict=True)]

    def _sample(self, output: Any, time: int) -> tuple[Tensor, Tensor]:
        """Return motions (B, D) and events (B,) sampled from the output of the stepper.

        Motions are shortened so that positions stay within the bounds. Events are changed by the stroke limits. If the
        model's stopping rule (`SequenceModel.finished`) or that of the sampling options ends a sequence, the event of
        this sequence is END.
        """
        bin_widths, bounds = self.constraints.bin_widths, self.constraints.bounds
        bin_width = bin_widths.bin_width
        if time == 0 and bin_width is not None and bin_widths.first is not None:
            bin_width = torch.where(self.is_first, bin_widths.first, bin_width)
        noise = self.uniforms[time], self.normals[time]
        motion, event = self.sampler(output, *noise, bin_width, bin_widths.all_positive)
        if bounds is not None:
            motion = clip_to_bounds(motion, self.position, bounds)
            self.position.add_(motion)
        event = event.clone()  # the fused sampler reuses its buffer
        if self.rules.is_active:
            event = self.rules.limit_strokes(event)
        if self.has_stopping_rule:
            finished = self.initializer.model.finished(self.stepper.state)
            if finished is not None:
                check_shape("finished: mask", finished, tuple(event.shape))
                event.masked_fill_(finished.bool(), END)
        if self.rules.is_active:
            stopped = self.rules.stopped(motion, event)
            event = event if stopped is None else event.masked_fill(stopped, END)
            self.rules.append(motion, event)
        return motion, event

    def _choose_inputs(self, time: int) -> Tensor | None:
        """Return the inputs (B, A) of a step, or None if neither the condition nor a policy provides inputs.

        Inputs of the condition are used even if there is a policy. If the policy chooses the inputs, the inputs of the
        first step of a sequence are zeros.
        """
        policy = self.initializer.policy
        if self.initializer.condition.inputs is not None:
            return self.known_inputs[time]
        if policy is None:
            return None
        if time == 0 and bool(self.is_first.all()):
            return self.known_inputs[0]
        inputs = policy(self.stepper.motion.clone(), self.stepper.state, self.indices)
        inputs = check_policy_inputs(inputs, len(self.indices), self.position, self.initializer.model.shape.inputs)
        return torch.where(self.is_first, 0, inputs) if time == 0 else inputs
