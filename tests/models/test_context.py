"""Context vectors in all recurrent models: predictions, missing vectors, windows and generation."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.synthetic.corpora import make_pen_text
from mdnrnn.data.training_windows import Windows
from mdnrnn.errors import InputError
from mdnrnn.generation.loop import generate
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.base import Condition, SequenceModel, StepShape
from mdnrnn.models.configs import HandwritingConfig
from mdnrnn.models.handwriting import HandwritingRNN
from tests.generation.helpers import assert_same_sequences, generate_reference
from tests.helpers import CORES, make_batches, make_controls, make_model, make_sketch_model, random_corpus, to_float64
from tests.models.helpers import flatten_parameters, repeat_step

ENDLESS = Sampling(endless=True)


def add_context(corpus: Corpus, size: int = 3) -> Corpus:
    """Return the corpus with a random context vector per sequence."""
    return replace(corpus, context=np.random.default_rng(1).normal(size=(len(corpus), size)).astype(np.float32))


STROKES = add_context(random_corpus([5, 9, 2, 7]))
LABELED = add_context(random_corpus([5, 9, 2, 7], classes=("a", "b")))
LINES = add_context(make_pen_text(4, {"train": 4}))


def make_text_model() -> HandwritingRNN:
    torch.manual_seed(0)
    shape = replace(StepShape.from_corpus(LINES), classes=0)
    return HandwritingRNN(shape, HandwritingConfig(hidden=12, components=3)).double()


MODELS: dict[str, tuple[Callable[[], SequenceModel], Corpus]] = {
    **{f"mdnrnn {name}": (partial(make_model, STROKES, **core), STROKES) for name, core in CORES.items()},
    "mdnrnn with labels": (lambda: make_model(LABELED), LABELED),
    "sketch": (lambda: make_sketch_model(LABELED), LABELED),
    "sketch without latent": (lambda: make_sketch_model(LABELED, latent=0), LABELED),
    "sketch with layer norm": (lambda: make_sketch_model(STROKES, cell="layer-norm"), STROKES),
    "handwriting": (make_text_model, LINES),
}
each_model = pytest.mark.parametrize(("make", "corpus"), MODELS.values(), ids=MODELS)


def make_condition(model: SequenceModel, corpus: Corpus, n: int = 4) -> Condition:
    """Return the condition of the first n sequences of a corpus, with random latents if the model needs them."""
    batch = to_float64(make_batches(corpus).batch(np.arange(n)))
    return Condition.from_batch(batch, torch.randn(n, model.latent).double() if model.latent else None)


@each_model
def test_steps_equal_forward(make: Callable[[], SequenceModel], corpus: Corpus) -> None:
    model = make().eval()
    batch = to_float64(make_batches(corpus).batch(np.arange(4)))
    condition = make_condition(model, corpus)
    forward: Any = model.decode(batch, condition.latent) if model.latent else model(batch)  # type: ignore[operator]
    expected, row = flatten_parameters(forward), 0
    for b, length in enumerate(batch.lengths.tolist()):
        state = model.initial_state(1, Condition(*(None if part is None else part[b : b + 1] for part in condition)))
        for t in range(length):
            steps, state = model.step(repeat_step(batch.previous, row + t, 1), state)
            torch.testing.assert_close(flatten_parameters(steps)[0], expected[row + t], msg=f"sequence {b}, step {t}")
        row += length


@each_model
def test_every_step_depends_on_the_context_of_its_own_sequence(
    make: Callable[[], SequenceModel], corpus: Corpus
) -> None:
    model, condition = make().eval(), make_condition(make(), corpus)
    assert condition.context is not None
    context = condition.context.clone()
    context[1] += 1
    states = [model.initial_state(4, each) for each in (condition, condition._replace(context=context))]
    previous = model.initial_step(4)
    for _ in range(3):
        outputs = [model.step(previous, state) for state in states]
        states = [state for _, state in outputs]
        before, after = (flatten_parameters(steps) for steps, _ in outputs)
        assert ((before != after).any(-1) == torch.tensor([False, True, False, False])).all()


@each_model
def test_missing_context_and_context_of_another_size_are_errors(
    make: Callable[[], SequenceModel], corpus: Corpus
) -> None:
    model = make()
    condition = make_condition(model, corpus)
    with pytest.raises(InputError, match="context: received none, expected 3 numbers per sequence"):
        model.initial_state(4, condition._replace(context=None))
    with pytest.raises(InputError, match=r"context: received shape \(4, 2\), expected \(4, 3\)"):
        generate(model, 4, condition._replace(context=torch.zeros(4, 2)))


@each_model
def test_generated_sequences_equal_the_reference(make: Callable[[], SequenceModel], corpus: Corpus) -> None:
    model = make().eval()
    condition = make_condition(model, corpus)
    sequences = generate(model, 4, condition, max_steps=12, seed=3, batch_size=3)
    expected = [
        generate_reference(
            model, i, 3, 12, Condition(*(None if part is None else part[i : i + 1] for part in condition))
        )
        for i in range(4)
    ]
    assert_same_sequences(sequences, expected)


def test_context_is_not_carried_over_between_windows() -> None:
    corpus = add_context(make_controls((30, 40)))
    model = make_model(corpus).eval()
    first, second = list(Windows(make_batches(corpus, 2), 9, carry=True).epoch(0))[:2]
    state = model.loss_with_state(to_float64(first), None).state
    second = to_float64(second)
    assert second.context is not None
    losses = [
        model.loss_with_state(replace(second, context=context), state).total.item()
        for context in (second.context, second.context + 1)
    ]
    assert losses[0] != losses[1]


def test_context_for_a_model_without_context_is_an_error() -> None:
    with pytest.raises(InputError, match="context: received values for a model without a context vector; omit context"):
        generate(make_model(random_corpus([4])), 2, Condition(context=torch.zeros(2, 3)))
