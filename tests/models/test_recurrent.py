"""MDNRNN: stepping is the forward pass, padding and company change nothing, eight sequences are learnt by heart."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mdnrnn.data.batches import Batch, Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.distributions import Step, StepDistribution
from mdnrnn.models.base import Condition, StepShape, negative_log_likelihood
from mdnrnn.models.recurrent import MDNRNN, MDNRNNConfig
from tests.conftest import batches_of, random_corpus, small_model

CORPORA = {
    "plain": random_corpus([5, 9, 2, 7]),
    "labels": random_corpus([5, 9, 2, 7], classes=("a", "b", "c")),
    "inputs": random_corpus([5, 9, 2, 7], inputs=3),
}
CONFIGS: dict[str, dict[str, Any]] = {
    "one layer": {},
    "three layers": {"layers": 3},
    "no position": {"position": False},
    "dropout, which evaluation ignores": {"dropout": 0.5},
}


def double(batch: Batch) -> Batch:
    """The batch in float64."""
    wide = lambda step: Step(*(t if t is None or not t.is_floating_point() else t.double() for t in step))  # noqa: E731
    return replace(batch, target=wide(batch.target), previous=wide(batch.previous))


def parameters_of(steps: StepDistribution) -> torch.Tensor:
    parts = (steps.motion.logits, steps.motion.means.flatten(-2), steps.motion.log_scales.flatten(-2))
    return torch.cat([*parts, steps.event_logits], -1)


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
    model = small_model(corpus, **config).eval()
    indices = np.array([0, 1, 2, 3])
    batch = double(batches_of(corpus).batch(indices))
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
    model, data = small_model(corpus, layers=2).eval(), batches_of(corpus)

    def nats(indices: list[int]) -> dict[int, torch.Tensor]:
        batch = double(data.batch(np.array(indices)))
        motion, event = negative_log_likelihood(model(batch), batch)
        return dict(zip(indices, (motion + event).split(batch.lengths.tolist()), strict=True))

    together, reversed_, alone = nats([0, 1, 2, 3]), nats([3, 2, 1, 0]), {i: nats([i])[i] for i in range(4)}
    for i in range(4):
        torch.testing.assert_close(together[i], alone[i])
        torch.testing.assert_close(together[i], reversed_[i])


def test_the_future_is_not_seen() -> None:
    corpus = random_corpus([12])
    model, batch = small_model(corpus).eval(), double(batches_of(corpus).batch(np.array([0])))
    before = parameters_of(model(batch))
    changed = batch.previous.motion.clone()
    changed[7] += 1
    after = parameters_of(model(replace(batch, previous=batch.previous._replace(motion=changed))))
    torch.testing.assert_close(after[:7], before[:7])
    assert (after[7:] != before[7:]).any(-1).all()


def test_a_model_learns_eight_sequences_by_heart(doodles: Corpus) -> None:
    """From 8 or more nats a point to under 2; the null model is near 9."""
    torch.manual_seed(0)
    model = MDNRNN(StepShape.of(doodles), MDNRNNConfig(hidden=128, components=5, dropout=0.0))
    batch = Batches(doodles, "train", Normalizer.of(doodles)).batch(np.arange(8))
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
    model, batch = small_model(corpus, dropout=0.5), double(batches_of(corpus).batch(np.array([0, 1])))
    torch.manual_seed(0)
    assert not torch.equal(parameters_of(model(batch)), parameters_of(model(batch)))
    model.eval()
    assert torch.equal(parameters_of(model(batch)), parameters_of(model(batch)))


def test_a_label_changes_what_is_drawn_and_is_required() -> None:
    corpus = CORPORA["labels"]
    model = small_model(corpus).eval()
    start = model.start(2)
    steps, _ = model.step(start, model.initial_state(2, Condition(torch.tensor([0, 1]))))
    assert not torch.equal(parameters_of(steps)[0], parameters_of(steps)[1])
    with pytest.raises(ValueError, match="expects a label from 0 to 2"):
        model.initial_state(2)


def test_the_start_is_sound() -> None:
    """Orthogonal recurrent gates, forget bias 1, means spread as widely as normalised data."""
    torch.manual_seed(0)
    model = MDNRNN(StepShape(), MDNRNNConfig(hidden=64))
    core = model.decoder.lstm.layers[0]
    for gate in core.get_parameter("weight_hh_l0").chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(64), atol=1e-5, rtol=0)
    bias = core.get_parameter("bias_ih_l0") + core.get_parameter("bias_hh_l0")
    assert [float(part.mean().detach()) for part in bias.chunk(4)] == [0, 1, 0, 0]
    steps, _ = model.step(model.start(1), model.initial_state(1))
    spread = float(steps.motion.variance.mean().detach().sqrt())
    assert 0.7 < spread < 1.5
    assert float(steps.motion.means.std().detach()) > 0.4


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"hidden": 0}, "model.hidden is 0; expected at least 1"),
        ({"dropout": 1.0}, "model.dropout is 1.0"),
        ({"scale_floor": 0.0}, "model.scale_floor is 0.0"),
    ],
)
def test_impossible_configs_are_refused(settings: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        MDNRNNConfig(**settings)  # type: ignore[arg-type]
