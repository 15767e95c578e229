"""Batches from padded arrays and from sequences: equal to those of the corpus pipeline, and errors."""

from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mdnrnn.data.batch import Batch
from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus, Sequence
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.synthetic.corpora import make_pen_text
from mdnrnn.errors import InputError
from mdnrnn.pen_events import DOWN, END, UP
from tests.helpers import make_controls, make_episodes, random_corpus

CORPORA: dict[str, Corpus] = {
    "drawings": random_corpus([4, 9, 1, 6]),
    "labels and inputs": random_corpus([5, 2, 8], classes=("a", "b"), inputs=3),
    "no bin width": random_corpus([5, 2, 8], bin_width=None),
    "streams": make_controls((7, 12, 4)),
    "episodes": make_episodes(),
    "context": Corpus.from_arrays(
        [np.ones((3, 2)), np.ones((1, 2))], context=np.array([[1.5, 2], [3, 4]]), splits=["train"] * 2
    ),
    "texts": make_pen_text(3, {"train": 3, "valid": 0, "test": 0}),
}


def normalized(corpus: Corpus) -> list[Sequence]:
    """Return the training sequences in normalized units."""
    normalizer = Normalizer.from_corpus(corpus)
    sequences = [corpus[i] for i in corpus.indices("train")]
    return [each._replace(motion=normalizer.normalize(each.motion, 0)) for each in sequences]


def expected_batch(corpus: Corpus) -> Batch:
    data = Batches(corpus, "train", Normalizer.from_corpus(corpus))
    return data.batch(np.asarray(corpus.indices("train")))


def pad(arrays: list[np.ndarray], fill: float = np.nan) -> np.ndarray:
    padded = np.full((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]), fill, arrays[0].dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return padded


def assert_same(one: Any, other: Any) -> None:
    """Assert that two batches, steps or tensors are equal, with equal dtypes."""
    if isinstance(one, Tensor):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    elif isinstance(one, tuple):
        for part, other_part in zip(one, other, strict=True):
            assert_same(part, other_part)
    elif isinstance(one, Batch):
        for field in fields(Batch):
            assert_same(getattr(one, field.name), getattr(other, field.name))
    else:
        assert one == other


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA.keys())
def test_batch_from_sequences_is_that_of_the_pipeline(corpus: Corpus) -> None:
    expected = expected_batch(corpus)
    assert_same(Batch.from_sequences(normalized(corpus), bin_width=expected.bin_width), expected)


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA.keys())
@pytest.mark.parametrize("kind", [np.asarray, torch.tensor], ids=["arrays", "tensors"])
def test_batch_from_padded_is_that_of_the_pipeline(corpus: Corpus, kind: Any) -> None:
    """The padding consists of NaN and invalid events."""
    expected, sequences = expected_batch(corpus), normalized(corpus)
    lengths = [len(each.event) for each in sequences]
    optional: dict[str, Any] = {}
    if sequences[0].label is not None:
        optional["label"] = kind([each.label for each in sequences])
    if sequences[0].inputs is not None:
        optional["inputs"] = kind(pad([each.inputs for each in sequences if each.inputs is not None]))
    if sequences[0].text is not None:
        optional["text"] = [each.text for each in sequences]
    if sequences[0].context is not None:
        optional["context"] = kind(np.stack([each.context for each in sequences if each.context is not None]))
    if expected.bin_width is not None:
        optional["bin_width"] = kind(pad(list(np.split(expected.bin_width.numpy(), np.cumsum(lengths)[:-1])), 0))
    motion, event = pad([each.motion for each in sequences]), pad([each.event for each in sequences], 77)
    batch = Batch.from_padded(kind(motion), kind(event), kind(lengths), **optional)
    assert_same(batch, expected)


def test_bin_widths_per_feature_apply_to_all_steps() -> None:
    corpus = CORPORA["drawings"]
    widths = Normalizer.from_corpus(corpus).bin_widths(corpus.metadata)
    sequences, expected = normalized(corpus), expected_batch(corpus)
    assert_same(Batch.from_sequences(sequences, bin_width=widths), expected)
    motion, event = pad([each.motion for each in sequences]), pad([each.event for each in sequences], 0)
    lengths = [len(each.event) for each in sequences]
    assert_same(Batch.from_padded(motion, event, lengths, bin_width=widths), expected)


def test_indices_and_booleans_are_used() -> None:
    sequence = Sequence(np.ones((3, 2)), np.array([False, True, False]))
    batch = Batch.from_sequences([sequence, sequence], indices=[7, 3])
    assert batch.indices.tolist() == [7, 3]
    assert batch.target.event.tolist() == [DOWN, UP, DOWN] * 2


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 and later
@pytest.mark.parametrize("workers", [0, 2])
def test_loader_over_own_sequences_is_reproducible(workers: int) -> None:
    corpus = random_corpus([3 + i % 5 for i in range(20)])
    sequences = normalized(corpus)
    collate = partial(Batch.from_sequences, bin_width=Normalizer.from_corpus(corpus).bin_widths(corpus.metadata))

    def load() -> list[Batch]:
        generator = torch.Generator().manual_seed(0)
        loader: Any = DataLoader(
            sequences,  # type: ignore[arg-type]  # a list is a data set
            batch_size=6,
            shuffle=True,
            collate_fn=collate,
            num_workers=workers,
            generator=generator,
        )
        return list(loader)

    batches, again = load(), load()
    assert [batch.size for batch in batches] == [6, 6, 6, 2]
    for batch, other in zip(batches, again, strict=True):
        assert_same(batch, other)
    loaded = [part for batch in batches for part in batch.target.motion.split(batch.lengths.tolist())]
    assert sorted(part.numpy().tobytes() for part in loaded) == sorted(each.motion.tobytes() for each in sequences)


MOTION, EVENT, LENGTHS = np.zeros((3, 5, 2)), np.zeros((3, 5), np.int64), np.array([5, 2, 3])
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "time first": ({"motion": MOTION.swapaxes(0, 1)}, r"event: received shape \(3, 5\), expected \(5, 3\)"),
    "one sequence": ({"motion": MOTION[0]}, r"motion: received shape \(5, 2\), expected \(B, T, D\) of size 1 or more"),
    "no sequences": ({"motion": MOTION[:0]}, r"motion: received shape \(0, 5, 2\), expected \(B, T, D\)"),
    "complex": ({"motion": MOTION * 1j}, r"motion\[0\]: received dtype complex128, expected integers or floats"),
    "NaN": ({"motion": MOTION * np.nan}, r"motion\[0\]: received NaN or infinite values, expected finite numbers"),
    "events in two columns": ({"event": np.zeros((3, 5, 1))}, r"event: received shape \(3, 5, 1\), expected \(3, 5\)"),
    "unknown event": ({"event": EVENT + 3}, r"event\[0\]: received 3, expected DOWN"),
    "float events": ({"event": EVENT + 0.0}, r"event\[0\]: received dtype float64, expected integers or booleans"),
    "early END": ({"event": EVENT + END}, r"event\[0\]: received END before the last step, expected END in the last"),
    "two lengths": ({"lengths": [5, 5]}, r"lengths: received int64 of shape \(2,\), expected 3 integers"),
    "length 0": ({"lengths": [5, 0, 1]}, "expected 3 integers >= 1, one per sequence"),
    "float lengths": ({"lengths": LENGTHS / 1}, r"lengths: received float64 of shape \(3,\)"),
    "length above T": ({"lengths": [5, 6, 1]}, r"motion\[1\]: received shape \(5, 2\), expected 6 or more steps"),
    "two labels": ({"label": [0, 1]}, "label: received 2, expected 3, one per sequence"),
    "label -1": ({"label": [0, 1, -1]}, r"label\[2\]: received -1, expected a class index"),
    "label weights": ({"label": np.ones((3, 2))}, r"label\[0\]: received \[1.0, 1.0\], expected a class index"),
    "inputs per sequence": ({"inputs": np.zeros((3, 4))}, r"inputs\[0\]: received shape \(4,\), expected 5 or more"),
    "two contexts": ({"context": np.ones((2, 4))}, r"context: received shape \(2, 4\), expected \(3, C\) with C >= 1"),
    "NaN context": ({"context": np.full((3, 4), np.nan)}, r"context\[0\]: received NaN or infinite values"),
    "two texts": ({"text": ["a", "b"]}, "text: received 2, expected 3, one per sequence"),
    "text is a number": ({"text": [1, 2, 3]}, r"text\[0\]: received 1, expected a string"),
    "three bin widths": ({"bin_width": [1, 2, 3]}, r"bin_width: received shape \(3,\), expected \(2,\) or \(3, 5, 2\)"),
    "negative bin width": ({"bin_width": [1, -1]}, "expected numbers >= 0, 0 for a continuous feature"),
    "two indices": ({"indices": [0, 1]}, r"indices: received \[0, 1\], expected 3 integers, one per sequence"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_in_padded_arrays_is_reported(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Batch.from_padded(**{"motion": MOTION, "event": EVENT, "lengths": LENGTHS, **changes})


def test_mistake_in_sequences_is_reported() -> None:
    sequence = Sequence(np.ones((3, 2)), np.array([0, 1, 2]))
    with pytest.raises(InputError, match="sequences: received none, expected at least one"):
        Batch.from_sequences([])
    with pytest.raises(InputError, match="sequences: received no label in sequence 0, but one in sequence 1"):
        Batch.from_sequences([sequence, sequence._replace(label=1)])
    with pytest.raises(InputError, match=r"motion\[1\]: received shape \(3, 4\), expected \(T, 2\)"):
        Batch.from_sequences([sequence, sequence._replace(motion=np.ones((3, 4)))])
    contexts = [sequence._replace(context=np.ones(n)) for n in (2, 3)]
    with pytest.raises(InputError, match=r"context\[1\]: received float64 of shape \(3,\), expected numbers \(2,\)"):
        Batch.from_sequences(contexts)
    with pytest.raises(InputError, match=r"event\[0\]: received shape \(2,\), expected \(3,\): one event per row"):
        Batch.from_sequences([sequence._replace(event=np.array([0, 1]))])
