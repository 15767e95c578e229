"""Check the condition and the prefix that `generate` receives, and convert them to the model's device and dtype."""

from __future__ import annotations

import torch
from torch import Tensor

from mdnrnn.distributions import Step
from mdnrnn.errors import InputError, quantity
from mdnrnn.generation.arguments import check_shape, to_real_tensor, to_tensor
from mdnrnn.models.base import Condition, SequenceModel, StepShape
from mdnrnn.pen_events import DOWN, UP


def check_condition(condition: Condition | None, model: SequenceModel, n: int) -> Condition:
    """Return the condition of n sequences, on the model's device and with its dtype.

    Args:
        condition: label (n,) or (n, classes), inputs (n, T, A), latent (n, Z), text (n, U) and context (n, C). Each of
            these variables can be None. A condition of None has no variables.
        model: the model.
        n: number of sequences.

    Raises:
        InputError: the condition has a variable that the model does not take, or a shape, a dtype or a value is
            invalid.
    """
    label, inputs, latent, text, context = condition or Condition()
    like, shape = next(model.parameters()), model.shape
    if label is not None:
        label = _check_label(label, n, shape.classes).to(like.device)
    if inputs is not None:
        if not shape.inputs:
            raise InputError("inputs: received values for a model without inputs; omit inputs")
        inputs = to_real_tensor("inputs", inputs, (n, "T", shape.inputs)).to(like)
    if latent is not None:
        if not model.latent:
            raise InputError("latents: received values for a model without a latent vector; omit latents")
        latent = to_real_tensor("latents", latent, (n, model.latent)).to(like)
    if text is not None:
        if not model.uses_text:
            raise InputError("text: received texts for a model without text input; omit the texts")
        text = _check_text(text, n).to(like.device)
    if context is not None:
        if not shape.context:
            raise InputError("context: received values for a model without a context vector; omit context")
        context = to_real_tensor("context", context, (n, shape.context)).to(like)
    return Condition(label, inputs, latent, text, context)


def _check_label(label: Tensor, n: int, classes: int) -> Tensor:
    """Return class indices (n,) as int64. Return weights (n, classes) that blend classes unchanged."""
    label = to_tensor("label", label)
    if not classes:
        raise InputError("label: received labels for a model without classes; omit the labels")
    if label.is_floating_point():
        return to_real_tensor("label: weights", label, (n, classes))
    check_shape("label: class indices", label, (n,))
    if not bool(((label >= 0) & (label < classes)).all()):
        raise InputError(f"label: received {label.min()} to {label.max()}, expected 0 to {classes - 1}")
    return label.long()


def _check_text(text: Tensor, n: int) -> Tensor:
    """Return Unicode code points (n, U) as int64.

    Raises:
        InputError: the shape or the dtype is invalid, or a row does not consist of one or more positive code points,
            followed by zeros as padding.
    """
    text = to_tensor("text", text)
    check_shape("text", text, (n, "U"))
    if text.is_floating_point():
        raise InputError(f"text: received dtype {text.dtype}, expected integer code points")
    if n and (not text.shape[1] or bool((text < 0).any()) or not bool((text[:, 0] > 0).all())):
        raise InputError("text: received an empty text or a negative code point, expected code points of 1 or more")
    if bool(((text[:, :-1] == 0) & (text[:, 1:] > 0)).any()):
        raise InputError("text: received a 0 between code points, expected zeros only after the last character")
    return text.long()


def check_prefix(prefix: Step | None, model: SequenceModel, inputs: Tensor | None) -> Step | None:
    """Return the prefix on the model's device and with its dtype.

    Args:
        prefix: step with normalized motion (P, D), event (P,), and inputs (P, A) or None. None for no prefix.
        model: the model.
        inputs: inputs (n, T, A) of the condition, or None.

    Raises:
        InputError: a shape, a dtype or a value is invalid, or the condition has fewer inputs than the prefix has steps.
    """
    if prefix is None:
        return None
    like, shape = next(model.parameters()), model.shape
    motion = to_real_tensor("prefix: motion", prefix.motion, ("P", shape.features)).to(like)
    event = _check_events(prefix.event, len(motion)).to(like.device)
    if inputs is not None and inputs.shape[1] < len(motion):
        raise InputError(
            f"inputs: received {quantity(inputs.shape[1], 'steps')}, expected at least {len(motion)}, as in the prefix"
        )
    return Step(motion, event, _check_prefix_inputs(prefix.inputs, len(motion), shape, like))


def _check_events(event: Tensor, steps: int) -> Tensor:
    event = to_tensor("prefix: event", event)
    check_shape("prefix: event", event, (steps,))
    if not bool(((event == DOWN) | (event == UP)).all()):
        raise InputError(
            f"prefix: event: received {event.min()} to {event.max()}, expected {DOWN} (DOWN) or {UP} (UP) at every "
            "step; replace END by UP"
        )
    return event.long()


def _check_prefix_inputs(inputs: Tensor | None, steps: int, shape: StepShape, like: Tensor) -> Tensor | None:
    if inputs is None:
        return None
    if not shape.inputs:
        raise InputError("prefix: inputs: received values for a model without inputs; omit inputs")
    return to_real_tensor("prefix: inputs", inputs, (steps, shape.inputs)).to(like)


def check_policy_inputs(inputs: Tensor, rows: int, like: Tensor, width: int) -> Tensor:
    """Return the inputs that a policy has chosen, with the device and dtype of `like`.

    Raises:
        InputError: the inputs are not a tensor of shape (rows, width).
    """
    if not isinstance(inputs, torch.Tensor) or inputs.shape != (rows, width):
        received = tuple(inputs.shape) if isinstance(inputs, torch.Tensor) else type(inputs).__name__
        raise InputError(f"policy: received inputs of shape {received}, expected ({rows}, {width})")
    return inputs.to(like)
