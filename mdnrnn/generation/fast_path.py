"""Conditions of the fast generation path: which models and sampling options it supports.

The general path calls `model.step` and samples from `sampling(distribution)`. The fast path replaces these calls by
equivalent code. It is therefore used only if the modules and the sampling options have exactly the types of this
package, without overridden methods and without forward hooks.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import nn
from torch.nn.modules import module as global_hooks

from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.base import SequenceModel
from mdnrnn.models.handwriting import EndOfTextHead
from mdnrnn.nn.attention_window import WindowLSTM, WindowStack
from mdnrnn.nn.decoder import StepDecoder, StepFeatures
from mdnrnn.nn.heads import StepHead
from mdnrnn.nn.layer_norm import LayerNormLayer, LayerNormLSTM
from mdnrnn.nn.lstm import LSTM

_HEADS = {StepHead, EndOfTextHead}
_LSTMS = {LSTM, LayerNormLSTM, WindowStack}
_PARTS = {LayerNormLayer, WindowLSTM, nn.LSTM, nn.Linear, nn.LayerNorm, nn.ModuleList}
_METHODS = {"forward", "step", "step_hidden", "end_logit_shift"}
_SAMPLING_OPTIONS = {"temperature", "scale_temperature", "bias", "endless"}
"""Fields of `Sampling` that `FusedSampler` implements."""


def supports_fast_path(model: SequenceModel, sampling: Sampling) -> bool:
    """Return whether the fast path generates the same steps as the general path, given a model and sampling options."""
    has_default_step = type(model).step is SequenceModel.step and "step" not in vars(model)
    return has_default_step and _is_supported_decoder(model.decoder) and _is_supported_sampling(sampling)


def supports_packed_lstm(decoder: StepDecoder) -> bool:
    """Return whether `PackedStepper` supports a decoder: it needs a plain LSTM without skip connections.

    Args:
        decoder: decoder that the fast path supports.
    """
    return type(decoder.lstm) is LSTM and not decoder.lstm.skip


def _is_supported_decoder(decoder: Any) -> bool:
    return (
        type(decoder) is StepDecoder
        and type(decoder.features) is StepFeatures
        and type(decoder.lstm) in _LSTMS
        and type(decoder.head) in _HEADS
        and not any(map(_is_modified, decoder.modules()))
        and not global_hooks._global_forward_hooks
        and not global_hooks._global_forward_pre_hooks
    )


def _is_modified(module: nn.Module) -> bool:
    """Return whether a module has an unknown type, forward hooks, or a method replaced on the instance.

    Parametrizations such as weight normalization change the type of a module.
    """
    is_known = type(module) in {StepDecoder, StepFeatures} | _LSTMS | _HEADS | _PARTS
    return not is_known or bool(module._forward_hooks or module._forward_pre_hooks or vars(module).keys() & _METHODS)


def _is_supported_sampling(sampling: Sampling) -> bool:
    """Return whether `FusedSampler` implements the sampling options.

    Fields of `Sampling` that `FusedSampler` does not implement must have their default values.
    """
    if type(sampling) is not Sampling:
        return False
    unknown = [field for field in dataclasses.fields(sampling) if field.name not in _SAMPLING_OPTIONS]
    return all(getattr(sampling, field.name) == field.default for field in unknown)
