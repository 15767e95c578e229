"""Tests of handwriting synthesis: steps, the influence of the text, stopping, resuming, bfloat16, errors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mdnrnn.data.batch import Batch, to_code_points
from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus, Sequence, mark_end, pack
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.synthetic.corpora import make_pen_text
from mdnrnn.distributions import Step, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.generation.loop import generate
from mdnrnn.models.base import Condition, StepShape
from mdnrnn.models.configs import HandwritingConfig, MDNRNNConfig
from mdnrnn.models.handwriting import EndOfTextHead, HandwritingRNN
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.pen_events import END
from mdnrnn.training.callbacks import Callback, TrainingState
from mdnrnn.training.checkpoint import CHECKPOINT_FILE
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.step import Objective, train_step
from mdnrnn.training.trainer import fit
from tests.helpers import to_float64

SMALL = HandwritingConfig(hidden=12, layers=3, window=3, components=4)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """Four lines by each of six writers, shortened to 20 to 43 points and 3 to 7 characters."""
    lines = make_pen_text(4, {"train": 4, "valid": 1, "test": 1})

    def shorten(i: int) -> Sequence:
        line = lines[i]
        assert line.text is not None
        motion, event = line.motion[: 20 + i], line.event[: 20 + i]
        return line._replace(motion=motion, event=mark_end(event), text=line.text[: 3 + i % 5])

    return pack(lines.metadata, {split: [shorten(i) for i in lines.indices(split)] for split in lines.splits})


def make_model(corpus: Corpus, config: HandwritingConfig = SMALL) -> HandwritingRNN:
    torch.manual_seed(0)
    return HandwritingRNN(StepShape.from_corpus(corpus), config)


def make_batch(corpus: Corpus, indices: list[int]) -> Batch:
    return Batches(corpus, "train", Normalizer.from_corpus(corpus)).batch(np.array(indices))


@pytest.mark.parametrize("position", [False, True])
def test_steps_equal_forward(corpus: Corpus, position: bool) -> None:
    model = make_model(corpus, replace(SMALL, position=position)).double().eval()
    batch = to_float64(make_batch(corpus, [0, 3, 5]))
    expected = model(batch)
    for b in range(3):
        rows = torch.nonzero(batch.sequence_of_row() == b)[:, 0]
        assert batch.text is not None
        state = model.initial_state(1, Condition(text=batch.text[b : b + 1, : int((batch.text[b] > 0).sum())]))
        for row in rows:
            previous = Step(batch.previous.motion[row : row + 1], batch.previous.event[row : row + 1])
            step, state = model.step(previous, state)
            torch.testing.assert_close(step.motion.means[0], expected.motion.means[row])
            torch.testing.assert_close(step.event_logits[0], expected.event_logits[row])


def test_odds_of_end_are_proportional_to_the_weight_of_the_end_mark() -> None:
    """Weights below 1e-3 count as 1e-3. The remaining distribution does not depend on the weight."""
    head = EndOfTextHead(7, 2, 4, 3).double()
    features = torch.randn(5, 7, dtype=torch.float64)
    with torch.no_grad():
        head.linear.weight[:, -1] = 0  # the linear layer ignores the mark

    def steps(mark: float) -> StepDistribution:
        return head(torch.cat([features[:, :-1], torch.full((5, 1), mark, dtype=torch.float64)], -1))

    def odds(mark: float) -> torch.Tensor:
        log_probs = torch.log_softmax(steps(mark).event_logits, -1)
        return (log_probs[:, END] - log_probs[:, :END].logsumexp(-1)).exp()

    torch.testing.assert_close(odds(0.5), 0.5 * odds(1.0))
    torch.testing.assert_close(odds(0.0), 1e-3 * odds(1.0))
    torch.testing.assert_close(steps(0.0).event_logits[:, :END], steps(1.0).event_logits[:, :END])
    torch.testing.assert_close(steps(0.0).motion.means, steps(1.0).motion.means)


def test_steps_equal_forward_with_skip_connections(corpus: Corpus) -> None:
    """An MDN-RNN with skip connections; every layer reads the features, and the head reads all layers."""
    shape = StepShape.from_corpus(corpus)
    model = MDNRNN(shape, MDNRNNConfig(hidden=8, layers=3, skip=True, covariance="full", dropout=0.0)).eval()
    width = model.decoder.features.width
    assert [layer.weight_ih_l0.shape[1] for layer in model.decoder.core.layers] == [width, width + 8, width + 8]
    assert model.decoder.head.linear.in_features == 24
    batch = make_batch(corpus, [1])
    expected, state = model(batch), model.initial_state(1)
    for t in range(batch.points):
        previous = Step(batch.previous.motion[t : t + 1], batch.previous.event[t : t + 1])
        step, state = model.step(previous, state)
        torch.testing.assert_close(step.motion.means[0], expected.motion.means[t], atol=1e-5, rtol=1e-5)


def test_likelihood_depends_on_the_text_of_the_line_only(corpus: Corpus) -> None:
    model = make_model(corpus).eval()
    one, two = make_batch(corpus, [0]), make_batch(corpus, [0, 5])
    torch.testing.assert_close(model.loss(one).total, _loss_of_first(model, two), atol=1e-5, rtol=1e-5)
    assert one.text is not None
    other_text = replace(one, text=one.text.flip(1))
    assert not torch.allclose(model.loss(other_text).total, model.loss(one).total, atol=1e-6)


def _loss_of_first(model: HandwritingRNN, batch: Batch) -> torch.Tensor:
    steps, rows = model(batch), batch.sequence_of_row() == 0
    assert batch.bin_width is not None
    return -steps.discretized_log_prob(batch.target, batch.bin_width)[rows].mean()


def test_attention_is_the_window_of_the_steps(corpus: Corpus) -> None:
    model, batch = make_model(corpus).eval(), make_batch(corpus, [0, 5])
    assert batch.text is not None
    phi = model.attention(batch)
    assert phi.shape == (batch.points, batch.text.shape[1] + 1)
    state = model.initial_state(2, Condition(text=batch.text))
    _, state = model.step(model.initial_step(2), state)
    first = phi[torch.tensor([0, int(batch.lengths[0])])]
    context = torch.einsum("bu,ubc->bc", first, state.core.text.characters)
    torch.testing.assert_close(context, state.core.window.context[0])


def test_generation_stops_when_the_window_passes_the_text(corpus: Corpus) -> None:
    """The window moves 0.2 characters per step and passes U characters at U + 1/2, after 5 U + 3 steps; the event END
    has probability 0."""
    model = make_model(corpus).eval()
    with torch.no_grad():
        model.decoder.core.first.window.weight.zero_()
        alpha, beta, delta = model.decoder.core.first.window.bias.chunk(3)
        for part, value in ((alpha, 0.0), (beta, 0.0), (delta, float(np.log(0.2)))):
            part.fill_(value)
        model.decoder.head.linear.bias[-1] = -100.0
    letter = corpus.alphabet[5]
    lines = generate(model, 3, Condition(text=to_code_points([letter, letter * 4, letter * 9])), max_steps=40)
    assert [len(line.event) for line in lines] == [8, 23, 40]
    assert [int(line.event[-1]) == END for line in lines] == [True, True, False]


def test_error_messages(corpus: Corpus) -> None:
    model = make_model(corpus)
    with pytest.raises(InputError, match="text: received 'ж♞', which the model's alphabet does not contain"):
        model.initial_state(1, Condition(text=to_code_points(["ж♞"])))
    with pytest.raises(InputError, match="text: received none"):
        model.initial_state(1)
    with pytest.raises(InputError, match="received drawings without texts"):
        HandwritingRNN(StepShape(), SMALL)
    with pytest.raises(InputError, match=r"model\.layers: received 1, expected a whole number >= 2"):
        HandwritingConfig(layers=1)


def test_resumed_training_gives_the_same_weights(corpus: Corpus, tmp_path: Path) -> None:
    """Stopped after a checkpoint and resumed, with dropout."""
    config = SequenceTrainConfig(steps=6, batch_size=6, warmup=2, validations=2, checkpoint_seconds=0.0)
    data, model_config = config.splits(corpus, Normalizer.from_corpus(corpus)), replace(SMALL, dropout=0.2)

    class Stop(Exception):
        pass

    class StopAfterValidation(Callback):
        def on_validation(self, state: TrainingState) -> None:
            raise Stop

    fit(make_model(corpus, model_config), *data, tmp_path / "whole", config)
    with pytest.raises(Stop):
        fit(make_model(corpus, model_config), *data, tmp_path / "stopped", config, [StopAfterValidation()])
    assert fit(make_model(corpus, model_config), *data, tmp_path / "stopped", config).progress.step == 6
    whole, stopped = (
        torch.load(tmp_path / name / CHECKPOINT_FILE, weights_only=True)["model"] for name in ("whole", "stopped")
    )
    initial = make_model(corpus, model_config).state_dict()
    assert all(torch.equal(tensor, stopped[name]) for name, tensor in whole.items())
    assert any(not torch.equal(tensor, initial[name]) for name, tensor in whole.items())


def test_training_in_bfloat16_lowers_the_loss_as_in_float32(corpus: Corpus) -> None:
    """Ten steps on one batch: the losses agree within 5% and are at least 5% lower than at the start."""
    batch, losses, start = make_batch(corpus, [0, 3, 5]), [], 0.0
    for precision in ("float32", "bfloat16"):
        model = make_model(corpus)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2, fused=True)
        start = float(model.loss(batch).total.detach())
        for step in range(10):
            train_step(Objective(model), optimizer, batch, torch.device("cpu"), precision, 1.0, step)
        losses.append(float(model.loss(batch).total.detach()))
    assert losses[0] < 0.95 * start
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
