"""MDNRNN: stepping is the forward pass, padding and company change nothing, eight sequences are learned by heart."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.windows import Windows
from mdnrnn.distributions import Step, StepDistribution
from mdnrnn.models.base import Condition, StepShape, negative_log_likelihood
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.models.recurrent import MDNRNN, weighted_event_nll
from mdnrnn.runs.presets import PRESETS
from tests.helpers import make_batches, make_controls, make_episodes, make_model, random_corpus, to_float64

CORPORA = {
    "plain": random_corpus([5, 9, 2, 7]),
    "labels": random_corpus([5, 9, 2, 7], classes=("a", "b", "c")),
    "inputs": random_corpus([5, 9, 2, 7], inputs=3),
    "a stream": make_controls((5, 9, 2, 7)),
    "a world": make_episodes((5, 9, 2, 7)),
}
CONFIGS: dict[str, dict[str, Any]] = {
    "one layer": {},
    "three layers": {"layers": 3},
    "no position": {"position": False},
    "a mixture for each feature": {"covariance": "per-dimension"},
    "dropout, which evaluation ignores": {"dropout": 0.5},
}


def parameters_of(steps: StepDistribution) -> torch.Tensor:
    parts = (steps.motion.logits, steps.motion.means, steps.motion.log_scales, steps.event_logits)
    return torch.cat([part.flatten(1) for part in parts], -1)


def one_step(steps: Step, row: int, copies: int) -> Step:
    """Row `row` of flat steps, `copies` times."""
    inputs = None if steps.inputs is None else steps.inputs[row].expand(copies, -1)
    return Step(steps.motion[row].expand(copies, -1), steps.event[row].expand(copies), inputs)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA.keys())
@pytest.mark.parametrize("copies", [1, 40], ids=["small batch", "large batch"])
def test_stepping_gives_the_distributions_that_forward_gives(
    corpus: Corpus, config: dict[str, Any], copies: int
) -> None:
    model = make_model(corpus, **config).eval()
    indices = np.array([0, 1, 2, 3])
    batch = to_float64(make_batches(corpus).batch(indices))
    whole = parameters_of(model(batch))
    row = 0
    for b, index in enumerate(indices):
        length = int(batch.lengths[b])
        label = None if batch.label is None else batch.label[b].expand(copies)
        state = model.initial_state(copies, Condition(label))
        for t in range(length):
            previous = one_step(batch.previous, row, copies)
            steps, state = model.step(previous, state)
            torch.testing.assert_close(parameters_of(steps)[-1], whole[row], msg=f"sequence {index}, step {t}")
            row += 1
    assert row == batch.points


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA.keys())
def test_padding_and_company_change_no_likelihood(corpus: Corpus) -> None:
    model, data = make_model(corpus, layers=2).eval(), make_batches(corpus)

    def nll(indices: list[int]) -> dict[int, torch.Tensor]:
        batch = to_float64(data.batch(np.array(indices)))
        motion, event = negative_log_likelihood(model(batch), batch)
        return dict(zip(indices, (motion + event).split(batch.lengths.tolist()), strict=True))

    together, reversed_, alone = nll([0, 1, 2, 3]), nll([3, 2, 1, 0]), {i: nll([i])[i] for i in range(4)}
    for i in range(4):
        torch.testing.assert_close(together[i], alone[i])
        torch.testing.assert_close(together[i], reversed_[i])


def test_the_future_is_not_seen() -> None:
    corpus = random_corpus([12])
    model, batch = make_model(corpus).eval(), to_float64(make_batches(corpus).batch(np.array([0])))
    before = parameters_of(model(batch))
    changed = batch.previous.motion.clone()
    changed[7] += 1
    after = parameters_of(model(replace(batch, previous=batch.previous._replace(motion=changed))))
    torch.testing.assert_close(after[:7], before[:7])
    assert (after[7:] != before[7:]).any(-1).all()


def test_a_model_learns_eight_sequences_by_heart(doodles: Corpus) -> None:
    """From 8 or more nats a point to under 2; the null model is near 9."""
    torch.manual_seed(0)
    model = MDNRNN(StepShape.from_corpus(doodles), MDNRNNConfig(hidden=128, components=5, dropout=0.0))
    batch = Batches(doodles, "train", Normalizer.from_corpus(doodles)).batch(np.arange(8))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    fall = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=1000)
    first = float(model.loss(batch).total.detach())
    for _ in range(1000):
        optimizer.zero_grad()
        loss = model.loss(batch).total
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        fall.step()
    assert first > 8
    assert float(loss.detach()) < 2


def test_dropout_drops_in_training_only() -> None:
    corpus = random_corpus([9, 9])
    model, batch = make_model(corpus, dropout=0.5), to_float64(make_batches(corpus).batch(np.array([0, 1])))
    torch.manual_seed(0)
    assert not torch.equal(parameters_of(model(batch)), parameters_of(model(batch)))
    model.eval()
    assert torch.equal(parameters_of(model(batch)), parameters_of(model(batch)))


def test_a_label_changes_what_is_drawn_and_is_required() -> None:
    corpus = CORPORA["labels"]
    model = make_model(corpus).eval()
    start = model.initial_step(2)
    steps, _ = model.step(start, model.initial_state(2, Condition(torch.tensor([0, 1]))))
    assert not torch.equal(parameters_of(steps)[0], parameters_of(steps)[1])
    with pytest.raises(ValueError, match="expects a label from 0 to 2"):
        model.initial_state(2)


def test_the_start_is_sound() -> None:
    """Orthogonal recurrent gates, forget bias 1, means spread as widely as normalized data."""
    torch.manual_seed(0)
    model = MDNRNN(StepShape(), MDNRNNConfig(hidden=64))
    core = model.decoder.lstm.layers[0]
    for gate in core.get_parameter("weight_hh_l0").chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(64), atol=1e-5, rtol=0)
    bias = core.get_parameter("bias_ih_l0") + core.get_parameter("bias_hh_l0")
    assert [float(part.mean().detach()) for part in bias.chunk(4)] == [0, 1, 0, 0]
    steps, _ = model.step(model.initial_step(1), model.initial_state(1))
    spread = float(steps.motion.variance.mean().detach().sqrt())
    assert 0.7 < spread < 1.5
    assert float(steps.motion.means.std().detach()) > 0.4


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"hidden": 0}, "model.hidden: received 0, expected a whole number >= 1"),
        ({"dropout": 1.0}, "model.dropout: received 1.0"),
        ({"scale_floor": 0.0}, "model.scale_floor: received 0.0"),
    ],
)
def test_impossible_configs_are_refused(settings: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        MDNRNNConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "corpus", [make_controls(), make_episodes(), random_corpus([30, 45])], ids=["stream", "world", "strokes"]
)
def test_windows_that_go_on_give_what_the_whole_sequence_gives(corpus: Corpus) -> None:
    """The mean loss of all windows of an epoch, each after the state of the one before, is that of whole sequences."""
    model = make_model(corpus, layers=2).eval()
    data = make_batches(corpus, 1)
    carried, total, points = None, 0.0, 0
    for batch in Windows(data, 7, carry=True).epoch(0):  # one lane: all windows in order
        loss = model.loss_with_state(to_float64(batch), carried)
        carried, total, points = loss.state, total + loss.total.item() * batch.points, points + batch.points
    assert points == len(corpus.event[corpus.rows("train")])
    whole = model.loss(to_float64(make_batches(corpus).batch(np.asarray(corpus.indices("train")))))
    assert total / points == pytest.approx(whole.total.item(), abs=1e-9)


def test_what_does_not_go_on_starts_anew() -> None:
    """The first step of a performance is the same whatever was played before it, that of a window is not."""
    model, (batch, *_) = make_model(make_controls()).eval(), Windows(make_batches(make_controls(), 3), 9, carry=True).epoch(0)
    batch = to_float64(batch)
    left = model.loss_with_state(batch, None).state
    anew, after = (
        model.loss_with_state(replace(batch, continues=torch.full((batch.size,), continues)), left).total
        for continues in (False, True)
    )
    assert anew.item() == pytest.approx(model.loss(batch).total.item(), abs=1e-12)
    assert abs(anew.item() - after.item()) > 1e-6


def test_no_gradient_flows_into_the_window_before() -> None:
    model, batches = make_model(make_controls()), iter(Windows(make_batches(make_controls(), 3), 9, carry=True).epoch(0))
    left = model.loss_with_state(to_float64(next(batches)), None).state
    assert not any(tensor.requires_grad for part in left for tensor in (part if isinstance(part, tuple) else (part,)))


def test_the_world_model_has_the_published_number_of_weights() -> None:
    """CarRacing (Ha and Schmidhuber, arXiv:1803.10122): 422,368, and PyTorch's second bias vector of 4 x 256."""
    shape = StepShape(features=32, events=0, inputs=3, offsets=0)
    model = MDNRNN(shape, PRESETS["world"].model)
    assert sum(parameter.numel() for parameter in model.parameters()) == 422_368 + 4 * 256


@pytest.mark.parametrize("weight", [0.5, 1.0, 10.0])
def test_weighed_ends_are_scored_at_odds_that_many_times_higher(weight: float) -> None:
    """By hand, of two events: an end of probability p and a step of 1 - p."""
    probability = 0.03
    logits = torch.tensor([math.log(1 - probability), -math.inf, math.log(probability)], dtype=torch.float64)
    high = weight * probability / (weight * probability + 1 - probability)
    expected = -(weight * math.log(high) + math.log(1 - high)) / 2
    assert float(weighted_event_nll(logits.expand(2, 3), torch.tensor([2, 0]), weight)) == pytest.approx(expected)


def test_the_probability_of_an_end_is_true_however_it_is_weighed() -> None:
    """The least of the weighed nats of 300 ends among 10,000 steps is at their share: its gradient is 0 there."""
    for weight in (1.0, 10.0):
        share = torch.tensor(0.03, dtype=torch.float64, requires_grad=True)
        logits = torch.stack([torch.log(1 - share), torch.tensor(-math.inf, dtype=torch.float64), torch.log(share)])
        event = torch.tensor([2] * 300 + [0] * 9700)
        weighted_event_nll(logits.expand(10_000, 3), event, weight).backward()
        assert share.grad is not None
        assert abs(float(share.grad)) < 1e-9


def test_training_descends_the_weighed_ends() -> None:
    corpus = make_episodes()
    model, batch = make_model(corpus, end_weight=10.0), to_float64(make_batches(corpus).batch(np.arange(4)))
    loss = model.loss(batch)
    assert loss.total == loss.terms["motion"] + loss.terms["event"]
    assert model.objective(loss, batch, 0) == loss.terms["motion"] + loss.terms["weighed"]
    assert loss.terms["weighed"] > loss.terms["event"]


def test_labels_are_learnt_in_windows_that_go_on() -> None:
    corpus = random_corpus([40, 50], classes=("a", "b"))
    model, batches = make_model(corpus), list(Windows(make_batches(corpus, 2), 9, carry=True).epoch(0))
    left = model.loss_with_state(to_float64(batches[0]), None).state
    model.loss_with_state(to_float64(batches[1]), left).total.backward()
    assert batches[1].continues is not None
    assert batches[1].continues.any()
    assert model.label.weight is not None
    assert model.label.weight.grad is not None
    assert model.label.weight.grad.abs().sum() > 0
