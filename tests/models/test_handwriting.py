"""Models that write a text: forward equals stepping, the text decides, errors tell what is wrong."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mdnrnn.data.batches import Batch, Batches, to_code_points
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.synthetic.corpora import make_pen_text
from mdnrnn.distributions import Step, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.events import END
from mdnrnn.generation.loop import generate
from mdnrnn.models.base import Condition, StepShape
from mdnrnn.models.configs import HandwritingConfig, MDNRNNConfig
from mdnrnn.models.handwriting import EndOfTextHead, HandwritingRNN
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.training.checkpoint import CHECKPOINT_FILE
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.step import Objective, train_step
from mdnrnn.training.trainer import fit

SMALL = HandwritingConfig(hidden=12, layers=3, window=3, components=4)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_pen_text(4, {"train": 4, "valid": 1, "test": 1})


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def _batch(corpus: Corpus, indices: list[int]) -> Batch:
    return Batches(corpus, "train", Normalizer.from_corpus(corpus)).batch(np.array(indices))


@pytest.mark.parametrize("position", [False, True])
def test_forward_is_stepping(corpus: Corpus, position: bool) -> None:
    model = HandwritingRNN(StepShape.from_corpus(corpus), replace(SMALL, position=position)).double().eval()
    batch = _batch(corpus, [0, 3, 5])
    batch = replace(batch, target=_double(batch.target), previous=_double(batch.previous))
    everything = model(batch)
    for b in range(3):
        rows = torch.nonzero(batch.sequence_of_row() == b)[:, 0]
        assert batch.text is not None
        state = model.initial_state(1, Condition(text=batch.text[b : b + 1, : int((batch.text[b] > 0).sum())]))
        for row in rows:
            previous = Step(batch.previous.motion[row : row + 1], batch.previous.event[row : row + 1])
            step, state = model.step(previous, state)
            torch.testing.assert_close(step.motion.means[0], everything.motion.means[row])
            torch.testing.assert_close(step.event_logits[0], everything.event_logits[row])


def test_a_line_is_as_likely_to_end_as_the_mark_behind_its_text_is_seen() -> None:
    """The odds of END against the other events, from one weight of the mark to another; the rest is left as it is."""
    head = EndOfTextHead(7, 2, 4, 3).double()
    features = torch.randn(5, 7, dtype=torch.float64)
    with torch.no_grad():
        head.linear.weight[:, -1] = 0  # the linear part alone sees no difference

    def steps(mark: float) -> StepDistribution:
        return head(torch.cat([features[:, :-1], torch.full((5, 1), mark, dtype=torch.float64)], -1))

    def odds(mark: float) -> torch.Tensor:
        logs = torch.log_softmax(steps(mark).event_logits, -1)
        return (logs[:, END] - logs[:, :END].logsumexp(-1)).exp()

    torch.testing.assert_close(odds(0.5), 0.5 * odds(1.0))
    torch.testing.assert_close(odds(0.0), 1e-3 * odds(1.0))
    torch.testing.assert_close(steps(0.0).event_logits[:, :END], steps(1.0).event_logits[:, :END])
    torch.testing.assert_close(steps(0.0).motion.means, steps(1.0).motion.means)


def _double(step: Step) -> Step:
    return step._replace(motion=step.motion.double())


def test_skip_connections_step_as_they_go_over_a_batch(corpus: Corpus) -> None:
    shape = StepShape.from_corpus(corpus)
    model = MDNRNN(shape, MDNRNNConfig(hidden=8, layers=3, skip=True, covariance="full", dropout=0.0)).eval()
    width = model.decoder.features.width
    assert [core.weight_ih_l0.shape[1] for core in model.decoder.lstm.layers] == [width, width + 8, width + 8]
    assert model.decoder.head.linear.in_features == 24
    batch = _batch(corpus, [1])
    everything, state = model(batch), model.initial_state(1)
    for t in range(batch.points):
        previous = Step(batch.previous.motion[t : t + 1], batch.previous.event[t : t + 1])
        step, state = model.step(previous, state)
        torch.testing.assert_close(step.motion.means[0], everything.motion.means[t], atol=1e-5, rtol=1e-5)


def test_the_text_counts_and_only_its_own(corpus: Corpus) -> None:
    model = HandwritingRNN(StepShape.from_corpus(corpus), SMALL).eval()
    one, two = _batch(corpus, [0]), _batch(corpus, [0, 5])
    torch.testing.assert_close(model.loss(one).total, _loss_of_first(model, two), atol=1e-5, rtol=1e-5)
    assert one.text is not None
    other = replace(one, text=one.text.flip(1))
    assert not torch.allclose(model.loss(other).total, model.loss(one).total, atol=1e-6)


def _loss_of_first(model: HandwritingRNN, batch: Batch) -> torch.Tensor:
    steps, rows = model(batch), batch.sequence_of_row() == 0
    assert batch.bin_width is not None
    motion = steps.motion.discretized_log_prob(batch.target.motion, batch.bin_width) + steps.event_log_prob(
        batch.target.event
    )
    return -motion[rows].mean()


def test_what_the_window_saw_is_in_the_attention(corpus: Corpus) -> None:
    model = HandwritingRNN(StepShape.from_corpus(corpus), SMALL).eval()
    batch = _batch(corpus, [0, 5])
    assert batch.text is not None
    phi = model.attention(batch)
    assert phi.shape == (batch.points, batch.text.shape[1] + 1)
    state = model.initial_state(2, Condition(text=batch.text))
    _, state = model.step(model.initial_step(2), state)
    first = phi[torch.tensor([0, int(batch.lengths[0])])]
    seen = torch.einsum("bu,ubc->bc", first, state.lstm.text.characters)
    torch.testing.assert_close(seen, state.lstm.window.seen[0])


def test_drawing_stops_where_the_window_leaves_the_text(corpus: Corpus) -> None:
    """A window that moves a fifth of a character a step, and END that never comes: U characters take 5 U steps."""
    model = HandwritingRNN(StepShape.from_corpus(corpus), SMALL).eval()
    with torch.no_grad():
        model.decoder.lstm.first.window.weight.zero_()
        alpha, beta, delta = model.decoder.lstm.first.window.bias.chunk(3)
        for part, value in ((alpha, 0.0), (beta, 0.0), (delta, float(np.log(0.2)))):
            part.fill_(value)
        model.decoder.head.linear.bias[-1] = -100.0
    letters = corpus.alphabet[5]
    drawn = generate(model, 3, Condition(text=to_code_points([letters, letters * 4, letters * 9])), max_steps=40)
    # Past the middle between the place behind the last character, U, and the one after that.
    assert [len(line.event) for line in drawn] == [8, 23, 40]
    assert [int(line.event[-1]) == END for line in drawn] == [True, True, False]


def test_errors(corpus: Corpus) -> None:
    model = HandwritingRNN(StepShape.from_corpus(corpus), SMALL)
    with pytest.raises(InputError, match="which the model has not learned"):
        model.initial_state(1, Condition(text=to_code_points(["ж♞"])))
    with pytest.raises(InputError, match="received none"):
        model.initial_state(1)
    with pytest.raises(InputError, match="no texts"):
        HandwritingRNN(StepShape(), SMALL)
    with pytest.raises(InputError, match=r"model\.layers: received 1, expected a whole number >= 2"):
        HandwritingConfig(layers=1)


def test_a_training_goes_on_where_it_was(corpus: Corpus, tmp_path: Path) -> None:
    """Two ends in the same weights: at once, and taken up again after a checkpoint, dropout and all."""
    config = SequenceTrainConfig(steps=6, batch_size=6, warmup=2, validations=2, checkpoint_seconds=0.0)
    data = config.splits(corpus, Normalizer.from_corpus(corpus))

    def model() -> HandwritingRNN:
        torch.manual_seed(0)
        return HandwritingRNN(StepShape.from_corpus(corpus), replace(SMALL, dropout=0.2))

    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    fit(model(), *data, tmp_path / "whole", config)
    with pytest.raises(Stop):
        fit(model(), *data, tmp_path / "stopped", config, stop)
    assert fit(model(), *data, tmp_path / "stopped", config).progress.step == 6
    whole, stopped = (
        torch.load(tmp_path / name / CHECKPOINT_FILE, weights_only=True)["model"] for name in ("whole", "stopped")
    )
    assert all(torch.equal(tensor, stopped[name]) for name, tensor in whole.items())
    assert any(not torch.equal(tensor, model().state_dict()[name]) for name, tensor in whole.items())


def test_a_few_steps_in_bfloat16_lower_the_loss_as_in_float32(corpus: Corpus) -> None:
    """Ten steps on one batch, each way: to within a twentieth of one another, and well below where they began."""
    batch, ends, start = _batch(corpus, list(range(8))), [], 0.0
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        model = HandwritingRNN(StepShape.from_corpus(corpus), SMALL)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2, fused=True)
        start = float(model.loss(batch).total.detach())
        for step in range(10):
            train_step(Objective(model), optimizer, batch, torch.device("cpu"), precision, 1.0, step)
        ends.append(float(model.loss(batch).total.detach()))
    assert ends[0] < 0.95 * start
    assert ends[1] == pytest.approx(ends[0], rel=0.05)
