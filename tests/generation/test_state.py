"""Recurrent states in generation: states that grow, wrong shapes, and states that stopping rules and policies read."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mdnrnn.data.batch import Batch
from mdnrnn.distributions import GaussianMixture, Step, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.generation.loop import generate
from mdnrnn.generation.sampling import Sampling
from mdnrnn.generation.state import can_share_batch
from mdnrnn.generation.steppers import ModelStepper, PackedStepper, make_stepper
from mdnrnn.models.base import Condition, SequenceModel, StepShape
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.nn.decoder import DecoderState
from mdnrnn.tasks.performer import Performer
from tests.generation.helpers import assert_same_sequences, generate_reference
from tests.helpers import make_episodes, make_run, random_corpus

N, MAX_STEPS, SEED = 8, 40, 3


class Cache(NamedTuple):
    """Keys and values of all steps so far, shape (t, B, 4) each; None before the first step if `starts_empty`."""

    keys: Tensor | None
    values: Tensor | None


class AttentionModel(SequenceModel):
    """Single-head attention over the previous motions, with a key/value cache that grows by one row per step."""

    def __init__(self, starts_empty: bool, capacity: int = 1000) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.shape, self.starts_empty, self.capacity = StepShape(), starts_empty, capacity
        self.project, self.head = nn.Linear(2, 12), nn.Linear(4, 4 * 5 + 3)
        nn.init.normal_(self.head.weight, std=0.7)
        with torch.no_grad():
            self.head.bias[-1] -= 3  # sequences of 2 to 40 steps
        self.double()

    def initial_state(self, batch_size: int, condition: Condition | None = None) -> Cache:
        if self.starts_empty:
            return Cache(None, None)
        empty = self.head.bias.new_zeros(0, batch_size, 4)
        return Cache(empty, empty)

    def step(self, previous: Step, state: Any) -> tuple[StepDistribution, Cache]:
        query, key, value = self.project(previous.motion).unsqueeze(0).chunk(3, -1)
        keys = key if state.keys is None else torch.cat([state.keys, key])[-self.capacity :]
        values = value if state.values is None else torch.cat([state.values, value])[-self.capacity :]
        weights = torch.softmax((query * keys).sum(-1, keepdim=True), 0)
        parameters = self.head(torch.tanh((weights * values).sum(0)))
        logits, means, log_scales, event_logits = parameters.split([4, 8, 8, 3], -1)
        motion = GaussianMixture(logits, means.unflatten(-1, (4, 2)), log_scales.unflatten(-1, (4, 2)) - 1)
        return StepDistribution(motion, event_logits), Cache(keys, values)

    def forward(self, batch: Batch) -> StepDistribution:
        raise NotImplementedError


@pytest.mark.parametrize("options", [(False,), (True,), (False, 5)], ids=["no steps", "None", "window of 5 steps"])
def test_growing_states_give_the_sequences_of_single_steps(options: tuple[Any, ...]) -> None:
    model = AttentionModel(*options).eval()
    expected = [generate_reference(model, i, SEED, MAX_STEPS) for i in range(N)]
    assert len({len(sequence.event) for sequence in expected}) > 3
    assert max(len(sequence.event) for sequence in expected) > 16
    for batch_size in (1, 3, N):
        actual = generate(model, N, seed=SEED, max_steps=MAX_STEPS, batch_size=batch_size)
        assert_same_sequences(actual, expected)


def test_states_can_share_a_batch_if_only_the_batch_sizes_differ() -> None:
    state = (torch.zeros(2, 3, 4), None)
    assert can_share_batch(state, (torch.zeros(2, 5, 4), None))
    for other in (
        (torch.zeros(1, 3, 4), None), (torch.zeros(2, 3, 1), None), (torch.zeros(3, 4), None), (None, None),
        (torch.zeros(2, 3, 4), torch.zeros(3, 4)), (torch.zeros(2, 3, 4),), torch.zeros(2, 3, 4),
    ):  # fmt: skip
        assert not can_share_batch(state, other)


STATES: dict[str, tuple[Any, str]] = {
    "batch first": ((torch.zeros(3, 1, 5),), r"shape \(3, 1, 5\), expected the batch size 3 in the second-to-last"),
    "no batch": ((torch.zeros(2, 1, 5),), r"shape \(2, 1, 5\), expected the batch size 3"),
    "vector": ((torch.zeros(3),), r"shape \(3,\), expected the batch size 3"),
    "number": ((0,), "received int, expected a NamedTuple of tensors"),
    "dictionary": ({"a": torch.zeros(2, 3, 1)}, "received dict, expected a NamedTuple of tensors"),
}


@pytest.mark.parametrize(("state", "message"), STATES.values(), ids=STATES)
def test_states_without_a_batch_dimension_are_rejected(
    state: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = AttentionModel(False)
    monkeypatch.setattr(model, "initial_state", lambda batch_size, condition: state)
    with pytest.raises(InputError, match=message):
        generate(model, 3)


class OneRowModel(MDNRNN):
    """Returns an LSTM state of one row, which would be broadcast to all sequences."""

    def initial_state(self, batch_size: int, condition: Condition | None = None) -> DecoderState:
        state = super().initial_state(batch_size, condition)
        return state._replace(core=state.core._replace(hidden=state.core.hidden[:, :1]))


def test_states_of_one_row_are_rejected() -> None:
    model = OneRowModel(StepShape(), MDNRNNConfig(hidden=8, components=2))
    with pytest.raises(InputError, match=r"received a tensor of shape \(1, 1, 8\), expected the batch size 3"):
        generate(model, 3)


class TaggedState(NamedTuple):
    """A `DecoderState` with another part."""

    core: Any
    position: Tensor
    context: Tensor
    tag: Tensor


class TaggedModel(MDNRNN):
    """Returns another initial state than the decoder's own."""

    def initial_state(self, batch_size: int, condition: Condition | None = None) -> Any:
        state = super().initial_state(batch_size, condition)
        return TaggedState(*state, state.position[..., :1])


def test_models_with_their_own_initial_state_take_the_general_path() -> None:
    torch.manual_seed(0)
    config = MDNRNNConfig(hidden=8, components=2, dropout=0.0)
    plain, tagged = MDNRNN(StepShape(), config).double().eval(), TaggedModel(StepShape(), config).double().eval()
    for model, expected in ((plain, PackedStepper), (tagged, ModelStepper)):
        stepper = make_stepper(model, Sampling(), model.initial_step(3), model.initial_state(3))
        assert type(stepper) is expected
    sequences = [generate_reference(tagged, i, SEED, 20) for i in range(3)]
    assert_same_sequences(generate(tagged, 3, seed=SEED, max_steps=20), sequences)


class BoundedModel(MDNRNN):
    """Ends a sequence when its first coordinate is beyond 3, by a position that the decoder does not read."""

    def finished(self, state: DecoderState) -> Tensor:
        return state.position[0, :, 0].abs() > 3


def make_bounded_model() -> BoundedModel:
    torch.manual_seed(0)
    model = BoundedModel(StepShape(), MDNRNNConfig(hidden=16, components=4, dropout=0.0, position=False)).double()
    nn.init.normal_(model.decoder.head.linear.weight, std=0.5)
    with torch.no_grad():
        model.decoder.head.linear.bias[-1] = -9
    return model.eval()


def test_stopping_rules_read_positions_that_the_decoder_does_not_read() -> None:
    model = make_bounded_model()
    expected = [generate_reference(model, i, SEED, MAX_STEPS) for i in range(N)]
    assert len({len(sequence.event) for sequence in expected}) > 3
    for batch_size in (1, 3, N):
        actual = generate(model, N, seed=SEED, max_steps=MAX_STEPS, batch_size=batch_size)
        assert_same_sequences(actual, expected)


def test_policies_read_positions_that_the_decoder_does_not_read() -> None:
    """The position is the sum of the motions so far, without the previous one, which the model has not read."""
    run = make_run(make_episodes())

    def policy(motion: Tensor, state: DecoderState, indices: Tensor) -> Tensor:
        return state.position[0, :, :2]

    for sequence in generate(run.model, 4, policy=policy, sampling=Sampling(endless=True), max_steps=20, batch_size=3):
        assert sequence.inputs is not None
        positions = np.cumsum(sequence.motion[:-2, :2], 0)
        np.testing.assert_allclose(sequence.inputs[2:], positions, rtol=1e-4, atol=1e-4)


def test_stopping_rules_with_a_wrong_shape_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_bounded_model()
    monkeypatch.setattr(model, "finished", lambda state: torch.ones(1, dtype=torch.bool))
    with pytest.raises(InputError, match=r"finished: mask: received shape \(1,\), expected \(3,\)"):
        generate(model, 3)


def test_performer_applies_stopping_rules() -> None:
    """It plays the events of sequence 0 of `Run.generate`, up to END."""
    run = make_run(random_corpus([9]))
    run.model.__class__ = BoundedModel
    run.model.decoder.head.linear.bias.data[-1] = -9
    sequence = run.generate(1, seed=2, max_steps=300)[0]
    assert len(sequence.event) < 300
    performer = Performer(run, seed=2)
    assert [performer.play().event for _ in sequence.event] == sequence.event.tolist()
