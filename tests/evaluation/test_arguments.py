"""Arguments of `evaluate`: data that do not fit the model, seeds of any size, restored modes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputError
from mdnrnn.evaluation.likelihood import evaluate
from tests.helpers import make_episodes, make_model, make_sketch_model, make_touches, random_corpus

CORPUS = random_corpus([4, 6])
LABELED = random_corpus([4, 6, 5], classes=("a", "b", "c"))
assert LABELED.label is not None


def batches(corpus: Corpus) -> Batches:
    return Batches(corpus, "test", Normalizer.from_corpus(corpus))


DATA: dict[str, tuple[Corpus, Callable[[], Any], str]] = {
    "features": (CORPUS, lambda: batches(make_touches()), "touches has 3 features and 0 inputs per step; the model"),
    "inputs": (random_corpus([4], inputs=2), lambda: batches(CORPUS), "has 2 features and 0 inputs .* expects 2 and 2"),
    "no classes": (LABELED, lambda: batches(CORPUS), "random has no classes; the model expects a label from 0 to 2"),
    "too many classes": (
        random_corpus([4], classes=("a", "b")),
        lambda: batches(replace(LABELED, label=np.full(9, 2, np.int32))),
        "random has labels 2 to 2; the model expects 0 to 1",
    ),
    "negative label": (
        LABELED, lambda: batches(replace(LABELED, label=np.full(9, -1, np.int32))), "has labels -1 to -1"
    ),
    "corpus": (CORPUS, lambda: CORPUS, "data: received Corpus, expected Batches of a split"),
}  # fmt: skip


@pytest.mark.parametrize(("corpus", "make_data", "message"), DATA.values(), ids=DATA)
def test_data_that_do_not_fit_the_model_are_rejected(
    corpus: Corpus, make_data: Callable[[], Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(make_model(corpus).float(), make_data())


def test_strokes_are_rejected_by_a_model_that_only_knows_end() -> None:
    episodes, drawings = make_episodes(), make_touches()
    model = make_model(replace(episodes, inputs=None)).float()
    with pytest.raises(InputError, match=r"touches has 3 kinds of events; the model expects 2 \(no UP\)"):
        evaluate(model, batches(drawings))


@pytest.mark.parametrize("seed", [-1, 1.5, None, "1"])
def test_seeds_that_are_not_whole_numbers_are_rejected(seed: Any) -> None:
    with pytest.raises(InputError, match=r"seed: received .*, expected a whole number >= 0"):
        evaluate(make_model(CORPUS).float(), batches(CORPUS), seed)


def test_seeds_of_any_size_give_different_samples() -> None:
    """Latents of a Sketch-RNN and dequantization noise differ between all seeds; equal seeds give equal results."""
    model, data = make_sketch_model(CORPUS).float(), batches(CORPUS)
    seeds = [0, 2**31, 2**63, 2**64 - 1, 2**64, 2**64 + 1, 2**200]
    results = [evaluate(model, data, seed) for seed in seeds]
    assert len({(result.nll_per_sequence, result.density_nll_per_sequence) for result in results}) == len(seeds)
    assert len({result.density_nll_per_sequence for result in results}) == len(seeds)
    assert evaluate(model, data, np.uint64(2**63)) == results[2]  # type: ignore[arg-type]
    assert evaluate(model, data, 2**200) == results[-1]


def test_shards_do_not_change_the_likelihood() -> None:
    """`evaluate` divides the batches itself."""
    model, data = make_model(CORPUS).float(), replace(batches(CORPUS), batch_size=1)
    assert evaluate(model, data.shard(1, 2)) == evaluate(model, data)


def test_modes_of_all_modules_are_restored() -> None:
    model = make_model(LABELED).float().train()
    model.decoder.head.eval()
    modes = [module.training for module in model.modules()]
    evaluate(model, batches(LABELED))
    assert [module.training for module in model.modules()] == modes
    model.decoder.head.linear.weight.data = model.decoder.head.linear.weight.data[:, :1]
    with pytest.raises(RuntimeError):
        evaluate(model, batches(LABELED))
    assert [module.training for module in model.modules()] == modes
