"""Example inputs of the graphs of a model, and the sizes of the inputs that vary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mdnrnn.distributions import Step
from mdnrnn.errors import InputError
from mdnrnn.export.graphs import EncoderGraph, InitialGraph, StepGraph
from mdnrnn.export.states import flatten_state
from mdnrnn.generation.state import check_state
from mdnrnn.models.base import Condition, SequenceModel
from mdnrnn.models.latent import LatentModel

Sizes = dict[str, dict[int, str]]
"""Name of each size that varies, for example "B" or "U + 1", by the name of the input and the index of the
dimension."""


class Dimensions(NamedTuple):
    """Sizes of example inputs: batch size B, number of steps T and number of characters U."""

    batch: int
    steps: int
    characters: int


USUAL = Dimensions(3, 2, 7)
"""Sizes at which graphs are traced. They differ, so that no two sizes are taken for the same."""


class Example(NamedTuple):
    """Module of a graph, a function that makes example inputs, and the sizes that vary."""

    module: nn.Module
    make_inputs: Callable[[Dimensions], dict[str, Tensor]]
    sizes: Sizes


def make_examples(model: SequenceModel) -> dict[str, Example]:
    """Return an example for each graph of a model; see `mdnrnn.export.graphs`.

    Raises:
        InputError: the state of the model does not consist of tensors of a fixed structure.
    """
    examples = {"step": _step_example(model), "initial": _initial_example(model)}
    if isinstance(model, LatentModel) and model.latent:
        examples["encoder"] = _encoder_example(model)
    return examples


def _step_example(model: SequenceModel) -> Example:
    """Return the example of a step.

    The batch is the second-to-last dimension of a state tensor. Other dimensions vary if they depend on the number of
    steps T before the step, or on the number of characters U.
    """

    def make_inputs(dimensions: Dimensions) -> dict[str, Tensor]:
        previous = _example_step(model, dimensions.batch)._asdict()
        parts = {name: part for name, part in previous.items() if part is not None}
        return {**parts, **flatten_state(_example_state(model, dimensions))}

    other_characters = USUAL._replace(characters=USUAL.characters + 1)
    inputs, initial, other_text = map(make_inputs, (USUAL, USUAL._replace(steps=0), other_characters))
    if initial.keys() != inputs.keys():
        changed = ", ".join(sorted(initial.keys() ^ inputs.keys()))
        raise InputError(f"model: received None for {changed}, expected a tensor; begin with an empty tensor")
    sizes: Sizes = {}
    for name, tensor in inputs.items():
        sizes[name] = {tensor.ndim - 2 if name.startswith("state") else 0: "B"}
        shapes = zip(tensor.shape, initial[name].shape, other_text[name].shape, strict=True)
        for dim, (size, initial_size, other_size) in enumerate(shapes):
            if size != other_size:
                sizes[name][dim] = _add("U", size - USUAL.characters)
            elif size != initial_size:
                sizes[name][dim] = _add("T", size - USUAL.steps)
    return Example(StepGraph(model, _example_state(model, USUAL)), make_inputs, sizes)


def _add(size: str, number: int) -> str:
    return f"{size} {'+' if number > 0 else '-'} {abs(number)}" if number else size


def _initial_example(model: SequenceModel) -> Example:
    def make_inputs(dimensions: Dimensions) -> dict[str, Tensor]:
        condition = _example_condition(model, dimensions)._asdict()
        parts = {name: part for name, part in condition.items() if part is not None}
        return parts or {"batch_size": torch.tensor(dimensions.batch)}

    sizes: Sizes = {name: {} if name == "batch_size" else {0: "B"} for name in make_inputs(USUAL)}
    if "text" in sizes:
        sizes["text"][1] = "U"
    return Example(InitialGraph(model), make_inputs, sizes)


def _encoder_example(model: LatentModel) -> Example:
    def make_inputs(dimensions: Dimensions) -> dict[str, Tensor]:
        batch, steps = dimensions.batch, max(1, dimensions.steps)
        label = _example_condition(model, dimensions).label
        return {
            "motion": _example_step(model, batch).motion.unsqueeze(1).repeat(1, steps, 1),
            "event": torch.zeros(batch, steps, dtype=torch.long),
            "lengths": torch.full((batch,), steps),
            **({} if label is None else {"label": label}),
        }

    sizes = {name: {0: "B", 1: "T"} if name in ("motion", "event") else {0: "B"} for name in make_inputs(USUAL)}
    return Example(EncoderGraph(model), make_inputs, sizes)


def _example_condition(model: SequenceModel, dimensions: Dimensions) -> Condition:
    """Return a condition with all variables that the model takes, except the inputs of the steps."""
    shape, like, (batch, _, characters) = model.shape, next(model.parameters()), dimensions
    return Condition(
        label=like.new_ones(batch, shape.classes) / shape.classes if shape.classes else None,
        latent=like.new_zeros(batch, model.latent) if model.latent else None,
        text=torch.full((batch, characters), ord(shape.alphabet[0])) if model.uses_text else None,
        context=like.new_zeros(batch, shape.context) if shape.context else None,
    )


def _example_step(model: SequenceModel, batch: int) -> Step:
    step = model.initial_step(batch)
    return step._replace(inputs=step.motion.new_zeros(batch, model.shape.inputs) if model.shape.inputs else None)


def _example_state(model: SequenceModel, dimensions: Dimensions) -> Any:
    """Return the state of the model after the given number of steps."""
    state = model.initial_state(dimensions.batch, _example_condition(model, dimensions))
    check_state(state, dimensions.batch)
    for _ in range(dimensions.steps):
        _, state = model.step(_example_step(model, dimensions.batch), state)
        check_state(state, dimensions.batch)
    return state
