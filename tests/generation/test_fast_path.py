"""Tests that overridden methods are honored: generation equals a reference by `model.step` in every batch size."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from mdnrnn.data.batch import Batch
from mdnrnn.distributions import GaussianMixture, Step, StepDistribution
from mdnrnn.generation.fast_path import supports_fast_path
from mdnrnn.generation.loop import generate
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.base import Condition, SequenceModel, StepShape
from mdnrnn.models.configs import Core, MDNRNNConfig
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.nn import lstm
from mdnrnn.nn.decoder import DecoderState, StepDecoder, StepFeatures
from mdnrnn.nn.heads import StepHead
from mdnrnn.nn.lstm import LSTM, LSTMState
from mdnrnn.nn.parameters import MixtureShape
from mdnrnn.pen_events import END
from tests.generation.helpers import assert_same_sequences, generate_reference
from tests.helpers import make_sketch_model, random_corpus

N, MAX_STEPS, SEED = 10, 22, 3
CONFIG = MDNRNNConfig(hidden=16, components=4, layers=2, dropout=0.0)


class TopOne(Sampling):
    """Samples from the largest component only."""

    def __call__(self, steps: StepDistribution) -> StepDistribution:
        motion = steps.motion
        assert isinstance(motion, GaussianMixture)
        logits = motion.logits.masked_fill(motion.logits < motion.logits.amax(-1, keepdim=True), -torch.inf)
        largest = GaussianMixture(logits, motion.means, motion.log_scales, motion.slopes, validate_args=False)
        return super().__call__(StepDistribution(largest, steps.event_logits))


class SharperModel(MDNRNN):
    """Overrides `step`."""

    def step(self, previous: Step, state: Any) -> tuple[StepDistribution, Any]:
        steps, state = super().step(previous, state)
        return steps.tempered(1.0, 0.1), state


class BoundedModel(MDNRNN):
    """Has a stopping rule: a sequence ends when its first coordinate exceeds 4."""

    def finished(self, state: DecoderState) -> Tensor:
        return state.position[0, :, 0] > 4


class SharperHead(StepHead):
    """Overrides `forward`."""

    def forward(self, features: Tensor) -> Any:
        return super().forward(features).tempered(1.0, 0.1)


class ShiftedHead(StepHead):
    """Overrides `end_logit_shift`."""

    def end_logit_shift(self, features: Tensor) -> Tensor:
        return features[..., :1] + 1


class LeakyLSTM(LSTM):
    """Overrides `step`."""

    def step(self, inputs: Tensor, state: LSTMState, lower: Tensor | None = None) -> tuple[Tensor, LSTMState]:
        outputs, state = super().step(inputs, state, lower)
        return outputs, LSTMState(state.hidden, 0.5 * state.cell)


class StandardizingDecoder(StepDecoder):
    """Overrides `step_hidden`."""

    def step_hidden(self, previous: Step, state: DecoderState) -> tuple[Tensor, DecoderState]:
        hidden, state = super().step_hidden(previous, state)
        return hidden / (1e-3 + hidden.abs().amax(-1, keepdim=True)), state


class SharperShape(MixtureShape):
    """Overrides `unpack`."""

    def unpack(self, parameters: Tensor) -> Any:
        return super().unpack(parameters).tempered(1.0, 0.1)


class HalvedLinear(nn.Linear):
    """Overrides `forward`."""

    def forward(self, features: Tensor) -> Tensor:
        return 0.5 * super().forward(features)


class AutoregressiveState(NamedTuple):
    """The last two motions, shape (1, B, 2) each, and the number of steps, shape (1, B, 1)."""

    motions: tuple[Tensor, Tensor]
    steps: Tensor


class AutoregressiveModel(SequenceModel):
    """A second-order autoregressive model without a decoder; it ends a sequence after 20 steps."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = StepShape()
        self.linear = nn.Linear(4, 4 * 5 + 3)

    def initial_state(self, batch_size: int, condition: Condition | None = None) -> AutoregressiveState:
        zeros = self.linear.bias.new_zeros(1, batch_size, 2)
        return AutoregressiveState((zeros, zeros), zeros[..., :1])

    def step(self, previous: Step, state: Any) -> tuple[StepDistribution, AutoregressiveState]:
        last = previous.motion.unsqueeze(0)  # shares its memory with the caller's tensor
        parameters = self.linear(torch.cat([last[0], state.motions[0][0]], -1))
        logits, means, log_scales, event_logits = parameters.split([4, 8, 8, 3], -1)
        motion = GaussianMixture(logits, means.unflatten(-1, (4, 2)), log_scales.unflatten(-1, (4, 2)) - 1)
        state = AutoregressiveState((last, state.motions[0]), state.steps + 1)
        return StepDistribution(motion, event_logits - torch.tensor([0.0, 0.0, 2.0]).to(event_logits)), state

    def finished(self, state: Any) -> Tensor:
        return state.steps[0, :, 0] >= 20

    def forward(self, batch: Batch) -> StepDistribution:
        raise NotImplementedError


def make_model(model_class: type[MDNRNN] = MDNRNN, **parts: Any) -> MDNRNN:
    """Make a model in float64 with spread outputs and rare END events; `parts` replace parts of the decoder's class."""
    torch.manual_seed(0)
    model = model_class(StepShape(), CONFIG).double().eval()
    for name, part_class in parts.items():
        part = model.decoder if name == "decoder" else model.decoder.get_submodule(name)
        part.__class__ = part_class
    with torch.no_grad():
        nn.init.normal_(model.decoder.head.linear.weight, std=0.5)
        model.decoder.head.linear.bias[model.decoder.head.shape.size + END] -= 3
    return model


def make_model_with_core(core: Core) -> MDNRNN:
    torch.manual_seed(0)
    model = MDNRNN(StepShape(), replace(CONFIG, core=core)).double().eval()
    with torch.no_grad():
        nn.init.normal_(model.decoder.head.linear.weight, std=0.5)
        model.decoder.head.linear.bias[model.decoder.head.shape.size + END] -= 3
    return model


def make_hooked_model(module: Callable[[MDNRNN], nn.Module]) -> MDNRNN:
    """Make a model with a forward hook, without effect, on one of its modules."""
    model = make_model()
    module(model).register_forward_hook(lambda hooked, inputs, output: None)
    return model


def narrow_mixture(module: nn.Module, inputs: Any, output: Any) -> Any:
    return output.tempered(1.0, 0.1)


def make_model_with_changed_head() -> MDNRNN:
    """Make a model with a forward hook that changes the head's output."""
    model = make_model()
    model.decoder.head.register_forward_hook(narrow_mixture)
    return model


def make_model_with_replaced_step() -> MDNRNN:
    """Make a model whose `step` is replaced on the instance."""
    model = make_model()
    plain_step = model.step

    def step(previous: Step, state: Any) -> tuple[StepDistribution, Any]:
        steps, state = plain_step(previous, state)
        return steps.tempered(1.0, 0.1), state

    model.step = step  # type: ignore[method-assign]
    return model


def make_parametrized_model(module: Callable[[MDNRNN], nn.Module], name: str = "weight") -> MDNRNN:
    model = make_model()
    weight_norm(module(model), name)
    return model


def make_model_with_replaced_method(module: Callable[[MDNRNN], Any], name: str, change: Callable[[Any], Any]) -> MDNRNN:
    """Make a model with a method that is replaced on the instance; `change` is applied to its result."""
    model = make_model()
    instance = module(model)
    method = getattr(instance, name)
    setattr(instance, name, lambda *arguments: change(method(*arguments)))
    return model


def make_model_with_input_hook() -> MDNRNN:
    """Make a model with a forward pre-hook that changes the input of the head's linear layer."""
    model = make_model()
    model.decoder.head.linear.register_forward_pre_hook(lambda module, inputs: (0.5 * inputs[0],))
    return model


def make_model_with_layer_hook() -> MDNRNN:
    """Make a model with a forward hook that changes the state of the lower LSTM layer."""
    model = make_model()
    model.decoder.core.layers[0].register_forward_hook(
        lambda module, inputs, output: (output[0], (0.5 * output[1][0], 0.5 * output[1][1]))
    )
    return model


def make_model_with_shape() -> MDNRNN:
    model = make_model()
    model.decoder.head.shape = SharperShape(*model.decoder.head.shape)
    return model


def halve_state(result: tuple[Tensor, LSTMState]) -> tuple[Tensor, LSTMState]:
    return result[0], LSTMState(result[1].hidden, 0.5 * result[1].cell)


MODELS: dict[str, Callable[[], SequenceModel]] = {
    "plain": make_model,
    "GRU": lambda: make_model_with_core("gru"),
    "transformer": lambda: make_model_with_core("transformer"),
    "stopping rule": lambda: make_model(BoundedModel),
    "model.step": lambda: make_model(SharperModel),
    "replaced step": make_model_with_replaced_step,
    "head.forward": lambda: make_model(head=SharperHead),
    "head.end_logit_shift": lambda: make_model(head=ShiftedHead),
    "LSTM.step": lambda: make_model(core=LeakyLSTM),
    "decoder.step_hidden": lambda: make_model(decoder=StandardizingDecoder),
    "hook on the head": make_model_with_changed_head,
    "pre-hook on the linear layer": make_model_with_input_hook,
    "hook on an LSTM layer": make_model_with_layer_hook,
    "subclass of Linear": lambda: make_model(MDNRNN, **{"head.linear": HalvedLinear}),
    "subclass of MixtureShape": make_model_with_shape,
    "replaced LSTM.step": lambda: make_model_with_replaced_method(lambda m: m.decoder.core, "step", halve_state),
    "replaced head.forward": lambda: make_model_with_replaced_method(
        lambda m: m.decoder.head, "forward", lambda steps: steps.tempered(1.0, 0.1)
    ),
    "replaced features": lambda: make_model_with_replaced_method(
        lambda m: m.decoder.features, "from_step", lambda features: 0.5 * features
    ),
    "weight norm": lambda: make_parametrized_model(lambda m: m.decoder.head.linear),
    "weight norm of a layer": lambda: make_parametrized_model(lambda m: m.decoder.core.layers[0], "weight_hh_l0"),
    "no decoder": lambda: AutoregressiveModel().double(),
}
FAST = {"plain", "GRU", "stopping rule"}
UNCHANGED = {"plain", "no decoder", "weight norm", "weight norm of a layer"}
SAMPLINGS = {
    "default": Sampling(),
    "tempered": Sampling(temperature=0.6, bias=0.2),
    "events": Sampling(event_temperature=1.5, event_top_p=0.97),
    "components": Sampling(top_k=3, top_p=0.8),
    "strokes": Sampling(min_strokes=2, max_strokes=4),
    "subclass": TopOne(),
}
OWN_SAMPLINGS = [sampling for sampling in SAMPLINGS.values() if type(sampling) is Sampling]


@pytest.mark.parametrize(
    ("kind", "sampling"),
    [(kind, "default") for kind in MODELS]
    + [(kind, name) for kind in ("plain", "stopping rule", "model.step") for name in SAMPLINGS if name != "default"],
)
def test_generation_equals_model_step_in_every_batch_size(kind: str, sampling: str) -> None:
    """With batch size 3, sequences take the slots of finished ones; with 8, the batch shrinks at the end."""
    model, options = MODELS[kind](), SAMPLINGS[sampling]
    expected = [generate_reference(model, i, SEED, MAX_STEPS, sampling=options) for i in range(N)]
    lengths = {len(sequence.event) for sequence in expected}
    assert len(lengths) > 2
    for batch_size in (1, 3, 8):
        actual = generate(model, N, sampling=options, seed=SEED, max_steps=MAX_STEPS, batch_size=batch_size)
        assert_same_sequences(actual, expected)


@pytest.mark.parametrize("kind", sorted(set(MODELS) - UNCHANGED))
def test_overridden_methods_change_the_sequences(kind: str) -> None:
    """Otherwise the comparison with the reference would show nothing. Weight normalization changes no values."""
    plain, changed = (generate(model, N, seed=SEED, max_steps=MAX_STEPS) for model in (make_model(), MODELS[kind]()))
    pairs = zip(plain, changed, strict=True)
    assert not all(
        len(one.motion) == len(other.motion) and np.allclose(one.motion, other.motion) for one, other in pairs
    )


@pytest.mark.parametrize("kind", MODELS)
def test_only_models_without_overridden_methods_take_the_fast_path(kind: str) -> None:
    model = MODELS[kind]()
    assert supports_fast_path(model, Sampling()) == (kind in FAST)
    assert supports_fast_path(model, Sampling(temperature=0.5, endless=True)) == (kind in FAST)
    assert all(supports_fast_path(model, options) == (kind in FAST) for options in OWN_SAMPLINGS)
    assert not supports_fast_path(model, TopOne())


def test_a_head_with_further_events_takes_the_general_path() -> None:
    model = make_model()
    model.decoder.head = StepHead(CONFIG.hidden, 2, CONFIG.components, events=5).double()
    assert not supports_fast_path(model, Sampling())


@pytest.mark.parametrize(
    "module",
    [
        lambda model: model.decoder,
        lambda model: model.decoder.core,
        lambda model: model.decoder.core.layers[1],
        lambda model: model.decoder.head,
        lambda model: model.decoder.head.linear,
    ],
    ids=["decoder", "LSTM", "layer", "head", "linear"],
)
def test_models_with_forward_hooks_do_not_take_the_fast_path(module: Callable[[MDNRNN], nn.Module]) -> None:
    assert supports_fast_path(make_model(), Sampling())
    assert not supports_fast_path(make_hooked_model(module), Sampling())


def test_global_forward_hooks_disable_the_fast_path() -> None:
    model = make_model()
    handle = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: None)
    try:
        assert not supports_fast_path(model, Sampling())
    finally:
        handle.remove()
    assert supports_fast_path(model, Sampling())


PATCHES: dict[str, tuple[type, str]] = {
    "StepHead.forward": (StepHead, "forward"), "GaussianMixture.transform": (GaussianMixture, "transform"),
    "Linear.forward": (nn.Linear, "forward"), "SequenceModel.step": (SequenceModel, "step"),
    "StepFeatures.from_step": (StepFeatures, "from_step"), "Sampling.__call__": (Sampling, "__call__"),
}  # fmt: skip


@pytest.mark.parametrize(("patched", "name"), PATCHES.values(), ids=PATCHES)
def test_method_replaced_on_a_class_disables_the_fast_path(
    patched: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, method = make_model(), getattr(patched, name)
    monkeypatch.setattr(patched, name, lambda *arguments, **options: method(*arguments, **options))
    assert not supports_fast_path(model, Sampling())
    monkeypatch.undo()
    assert supports_fast_path(model, Sampling())


@pytest.mark.parametrize("name", ["__init__", "__setstate__"])
def test_replaced_constructors_do_not_disable_the_fast_path(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.compile` replaces them for all modules of the process."""
    model, method = make_model(), getattr(nn.Module, name)
    monkeypatch.setattr(nn.Module, name, lambda *arguments, **options: method(*arguments, **options))
    assert supports_fast_path(model, Sampling())


def test_functions_take_the_place_of_sampling_options() -> None:
    model = make_model()
    expected = generate(model, 3, sampling=Sampling(temperature=0.5), seed=SEED, max_steps=9)
    sampling: Any = lambda steps: steps.tempered(0.5)  # noqa: E731
    assert_same_sequences(generate(model, 3, sampling=sampling, seed=SEED, max_steps=9), expected)


def test_models_with_further_modules_do_not_take_the_fast_path() -> None:
    model = make_model()
    model.decoder.dropout = nn.Dropout()
    assert not supports_fast_path(model, Sampling())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_models_in_half_precision_do_not_take_the_fast_path(dtype: torch.dtype) -> None:
    """The fast path samples in float32, which rounds differently."""
    assert not supports_fast_path(make_model().to(dtype), Sampling())
    mixed = make_model()
    mixed.decoder.head.float()
    assert not supports_fast_path(mixed, Sampling())


@pytest.mark.parametrize("kind", ["hook on an LSTM layer", "weight norm of a layer"])
def test_changed_layers_step_alike_in_small_and_large_batches(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS[kind]()
    small = generate(model, N, seed=SEED, max_steps=MAX_STEPS)
    monkeypatch.setattr(lstm, "_SEQUENCE_KERNEL_FROM", 1)
    assert_same_sequences(generate(model, N, seed=SEED, max_steps=MAX_STEPS), small)


@pytest.mark.parametrize(
    "settings", [{}, {"cell": "layer-norm"}, {"kl_weight": 0.0}], ids=["plain", "layer norm", "no z"]
)
def test_sketch_models_take_the_fast_path_and_equal_model_step(settings: dict[str, Any]) -> None:
    model = make_sketch_model(random_corpus([3]), **settings).eval()
    assert supports_fast_path(model, Sampling())
    expected = [generate_reference(model, i, SEED, 20) for i in range(5)]
    for batch_size in (1, 5):
        assert_same_sequences(generate(model, 5, seed=SEED, max_steps=20, batch_size=batch_size), expected)
