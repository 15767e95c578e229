"""The steps of a single sequence on a CPU, by NumPy, in the buffers of its stepper and its draw.

At every step the weights sweep the caches, and whatever comes next begins cold: an operation of NumPy's then costs a
third of one of PyTorch's (1.3 and 3.7 microseconds, measured on Zen 4), and NumPy's matrix-vector product a half. Its
threads and PyTorch's stand in each other's way: let PyTorch have one meanwhile.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from mdnrnn.distributions.categorical import bias_logits, temper_logits
from mdnrnn.events import DOWN
from mdnrnn.generation.fused_sampler import FusedSampler
from mdnrnn.generation.sampling import Sampling
from mdnrnn.generation.steppers import PackedLayer, PackedStepper
from mdnrnn.nn.decoder import StepDecoder
from mdnrnn.nn.heads import StepHead
from mdnrnn.nn.lstm import LSTM

_MOST = 80.0
"""Log scale above which a scale is beyond float32."""


class OneRow:
    """What `PackedStepper` and `FusedSampler` do, to float32 rounding: they hold the state, before and after."""

    @staticmethod
    def covers(decoder: StepDecoder, sampling: Sampling) -> bool:
        """Whether it takes a decoder: on a CPU, of float32, of the parts that are usual."""
        bias = decoder.head.linear.bias
        return (
            bias.device.type == "cpu"
            and bias.dtype == torch.float32
            and isinstance(decoder.lstm, LSTM)
            and not decoder.lstm.skip
            and not decoder.features.inputs
            and type(decoder.head) is StepHead
            and decoder.head.shape.covariance != "full"
            and sampling.temperature > 0
        )

    def __init__(self, stepper: PackedStepper, draw: FusedSampler) -> None:
        self.layers = [_Layer(layer) for layer in stepper.layers]
        self.motion, self.event, self.position = (
            part.numpy()[0] for part in (stepper.motion, stepper.event, stepper.position)
        )
        self.offsets, self.scale, self.kinds = stepper.offsets.numpy()[0], stepper.scale, stepper.kinds.numpy()
        _, self.component_choices, kinds, _ = draw.blocks.shape
        self.each = draw.features // self.component_choices
        # Tempering and biasing of logits are linear: what makes the logits is tempered and biased, once.
        weight, bias = draw.weight.clone(), draw.bias.clone()
        picked, of_motion = draw.groups * kinds, self.component_choices * kinds
        for part in (weight, bias):
            part[..., :of_motion] = bias_logits(part[..., :of_motion], draw.sampling.bias)
            part[..., :picked] = temper_logits(part[..., :picked], draw.sampling.temperature)
        self.weight, self.bias = weight.numpy(), bias.numpy()
        self.row = np.empty_like(self.bias)
        self.logits = self.row[:picked].reshape(draw.groups, kinds)
        self.blocks = self.row[picked:].reshape(self.component_choices, kinds, -1)
        self.last = draw.last.flatten().tolist()
        self.floor, self.factor = math.exp(draw.head.shape.log_floor), math.exp(draw.shift)

    def step(self, uniform: np.ndarray, normal: list[float], bin_width: list[float] | None) -> tuple[list[float], int]:
        """One step on: its motion, D numbers, and its event.

        Args:
            uniform: (groups, 1).
            normal: D numbers.
            bin_width: widths, D numbers; None: there is no grid.
        """
        if self.position.size:
            self.position += self.offsets * self.scale
        hidden = self.layers[0](None)
        for layer in self.layers[1:]:
            hidden = layer(hidden)
        np.dot(hidden, self.weight, out=self.row)
        self.row += self.bias
        ends = np.exp(self.logits - self.logits.max(1, keepdims=True))
        np.cumsum(ends, axis=1, out=ends)
        picked = (ends <= uniform * ends[:, -1:]).sum(1).tolist()
        motion: list[float] = []
        for choice in range(self.component_choices):
            numbers = self.blocks[choice, min(picked[choice], self.last[choice])].tolist()
            for mean, raw in zip(numbers[: self.each], numbers[self.each :], strict=True):
                scale = (math.exp(min(raw, _MOST)) + self.floor) * self.factor
                motion.append(mean + scale * normal[len(motion)])
        if bin_width is not None:
            motion = [round(x / width) * width if width else x for x, width in zip(motion, bin_width, strict=True)]
        event = min(picked[-1], self.last[-1]) if len(picked) > self.component_choices else DOWN
        self.motion[:] = motion
        if self.event.size:
            self.event[:] = self.kinds[event]
        return motion, event


class _Layer:
    """An LSTM layer: sigmoid(x) = (1 + tanh(x / 2)) / 2, so that one tanh does for all gates."""

    def __init__(self, layer: PackedLayer) -> None:
        matrix, size = layer.matrix, layer.matrix.outputs // 4
        squashed = slice(0, 2 * size), slice(3 * size, 4 * size)
        halves = np.ones((4 * size, 1), np.float32)
        for rows in squashed:
            halves[rows] = 0.5
        self.weight, first = np.empty((4 * size, matrix.inputs), np.float32), 0
        for part in matrix.parts:
            np.multiply(part.numpy(), halves, out=self.weight[:, first : first + part.shape[1]])
            first += part.shape[1]
        self.gates = np.empty(4 * size, np.float32)
        self.squashed = [self.gates[rows] for rows in squashed]
        self.enter, self.keep, self.new, self.leave = self.gates.reshape(4, size)
        self.row, self.entering, self.hidden, self.cell = (
            part.numpy()[0] for part in (layer.row, layer.entering, layer.hidden, layer.cell)
        )

    def __call__(self, below: np.ndarray | None) -> np.ndarray:
        if below is not None:
            self.entering[:] = below
        np.dot(self.weight, self.row, out=self.gates)
        np.tanh(self.gates, out=self.gates)
        for gates in self.squashed:
            gates += 1
            gates *= 0.5
        self.cell *= self.keep
        self.enter *= self.new
        self.cell += self.enter
        np.tanh(self.cell, out=self.new)
        np.multiply(self.new, self.leave, out=self.hidden)
        return self.hidden
