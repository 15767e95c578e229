"""Conditions of the fast generation path: which models and sampling options it supports.

The general path calls `model.step` and samples from `sampling(distribution)`. The fast path replaces these calls by
equivalent code. It is therefore used only if the modules and the sampling options have exactly the types of this
package, without overridden methods and without forward hooks. Every other model takes the general path.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture, StepDistribution
from mdnrnn.distributions.mixture_parameters import MixtureParameters
from mdnrnn.generation.sampling import Sampling
from mdnrnn.generation.state import can_share_batch
from mdnrnn.models.base import SequenceModel
from mdnrnn.models.handwriting import EndOfTextHead
from mdnrnn.nn.attention_window import StackState, WindowLSTM, WindowStack
from mdnrnn.nn.decoder import DecoderState, StepDecoder, StepFeatures
from mdnrnn.nn.gru import GRU
from mdnrnn.nn.heads import StepHead
from mdnrnn.nn.layer_norm import LayerNormLayer, LayerNormLSTM
from mdnrnn.nn.lstm import LSTM, is_plain_layer
from mdnrnn.nn.parameters import MixtureShape, StepParameters
from mdnrnn.pen_events import END

_HEADS = {StepHead, EndOfTextHead}
_CORES = {LSTM, LayerNormLSTM, WindowStack, GRU}
_MODULES = {StepDecoder, StepFeatures, LayerNormLayer, WindowLSTM, nn.LSTM, nn.GRU, nn.Linear, nn.LayerNorm}
_MODULES |= _HEADS | _CORES | {nn.ModuleList}
_DISTRIBUTIONS = {
    MixtureShape, StepParameters, StepDistribution, MixtureParameters, GaussianMixture, PerDimensionMixture,
}  # fmt: skip
_DTYPES = {torch.float32, torch.float64}
_SAMPLING_OPTIONS = {
    "temperature", "scale_temperature", "event_temperature", "bias", "top_k", "top_p", "event_top_k", "event_top_p",
    "endless", "min_strokes", "max_strokes", "stop",
}  # fmt: skip
"""Fields of `Sampling` that `FusedSampler` or, for both paths, `EndRules` implements."""


def supports_fast_path(model: SequenceModel, sampling: Sampling) -> bool:
    """Return whether the fast path generates the same steps as the general path, given a model and sampling options."""
    has_default_step = getattr(type(model), "step", None) is SequenceModel.step and "step" not in vars(model)
    return (
        has_default_step
        and _is_supported_decoder(model.decoder)
        and (model.component_choices, model.shape.features)
        == (model.decoder.head.component_choices, model.decoder.head.shape.features)
        and _is_supported_sampling(sampling)
        and all(_methods(each) == methods for each, methods in _ORIGINAL_METHODS.items())
    )


def has_default_state(decoder: StepDecoder, state: Any) -> bool:
    """Return whether a state has the types and shapes of the decoder's own initial state.

    If `initial_state` of the model returns another kind of state, the model takes the general path.

    Args:
        decoder: decoder that the fast path supports.
        state: result of the model's `initial_state`, or the state after a prefix.
    """
    if type(state) is not DecoderState or not isinstance(state.context, Tensor) or state.context.ndim != 3:
        return False
    lstm = None
    if type(decoder.core) is WindowStack:
        if type(state.core) is not StackState:
            return False
        lstm = decoder.core.initial_state(state.core.text)
    default = decoder.initial_state(state.context[0], lstm)
    return type(state.core) is type(default.core) and can_share_batch(default, state)


def supports_packed_lstm(decoder: StepDecoder) -> bool:
    """Return whether `PackedStepper` supports a decoder: whether the decoder has an `LSTM` without skip connections.

    Args:
        decoder: decoder that the fast path supports.
    """
    return type(decoder.core) is LSTM and not decoder.core.skip


def _is_supported_decoder(decoder: Any) -> bool:
    return (
        type(decoder) is StepDecoder
        and type(decoder.features) is StepFeatures
        and type(decoder.core) in _CORES
        and _is_supported_head(decoder.head)
        and not any(map(_is_modified, decoder.modules()))
        and {parameter.dtype for parameter in decoder.parameters()} in [{dtype} for dtype in _DTYPES]
        and not global_hooks._global_forward_hooks
        and not global_hooks._global_forward_pre_hooks
    )


def _is_supported_head(head: Any) -> bool:
    if type(head) not in _HEADS or type(head.shape) is not MixtureShape or type(head.linear) is not nn.Linear:
        return False
    has_all_rows = head.linear.bias is not None and len(head.linear.weight) == head.shape.size + head.events
    return has_all_rows and head.events <= END + 1


def _is_modified(module: nn.Module) -> bool:
    """Return whether a module has an unknown type, forward hooks, or a method replaced on the instance.

    Parametrizations such as weight normalization change the type of a module.
    """
    return (
        type(module) not in _MODULES
        or bool(module._forward_hooks or module._forward_pre_hooks)
        or module._compiled_call_impl is not None
        or not vars(module).keys().isdisjoint(_method_names(type(module)))  # type: ignore[arg-type]
        or (type(module) is nn.LSTM and not is_plain_layer(module))
    )


def _is_supported_sampling(sampling: Sampling) -> bool:
    """Return whether the fast path implements the sampling options.

    Fields of `Sampling` that the fast path does not implement must have their default values.
    """
    if type(sampling) is not Sampling:
        return False
    unknown = [field for field in dataclasses.fields(sampling) if field.name not in _SAMPLING_OPTIONS]
    return all(getattr(sampling, field.name) == field.default for field in unknown)


@lru_cache
def _method_names(module_class: type) -> frozenset[str]:
    return frozenset(name for name in dir(module_class) if callable(getattr(module_class, name)))


def _methods(each: type) -> dict[str, Any]:
    """Return the methods and properties that a class defines itself, except those that create or copy an object.

    `torch.compile` replaces `nn.Module.__init__` and `nn.Module.__setstate__`.
    """
    methods = {name: value for name, value in vars(each).items() if callable(value) or isinstance(value, property)}
    return {name: value for name, value in methods.items() if name not in ("__init__", "__setstate__")}


_ORIGINAL_METHODS = {
    each: _methods(each) for each in (nn.Module, SequenceModel, Sampling, *sorted(_MODULES | _DISTRIBUTIONS, key=str))
}
"""Methods of the classes whose code the fast path duplicates.

If the program has replaced one of these methods by its own, the fast path is not used.
"""
