"""Embeddings of integer labels and of weighted blends of classes."""

import pytest
import torch

from mdnrnn.errors import InputError
from mdnrnn.nn.label_embedding import LabelEmbedding

LIKE = torch.zeros(3, 7)


@pytest.mark.parametrize("classes", [1, 5, 40])
def test_a_one_hot_blend_equals_its_label(classes: int) -> None:
    label = torch.arange(3) % classes
    embedding = LabelEmbedding(classes)
    by_label, by_blend = embedding(label, LIKE), embedding(torch.eye(classes)[label], LIKE)
    assert by_label.shape == (3, embedding.width)
    assert embedding.width == min(classes, 32)
    assert torch.equal(by_label, by_blend)


def test_a_blend_is_the_weighted_sum_of_its_classes() -> None:
    embedding = LabelEmbedding(5)
    vectors = embedding(torch.arange(5), torch.zeros(5, 1))
    weights = torch.tensor([[0.25, 0.0, 0.75, 0.0, 0.0], [0.2] * 5, [1.0, -1.0, 0.0, 0.0, 0.0]])
    expected = torch.stack([0.25 * vectors[0] + 0.75 * vectors[2], vectors.mean(0), vectors[0] - vectors[1]])
    torch.testing.assert_close(embedding(weights, LIKE), expected)


def test_only_the_classes_of_a_blend_receive_gradients() -> None:
    embedding = LabelEmbedding(5)
    assert embedding.weight is not None
    embedding(torch.tensor([[0.25, 0.0, 0.75, 0.0, 0.0]]), LIKE[:1]).sum().backward()
    assert embedding.weight.grad is not None
    assert torch.equal(embedding.weight.grad[:, 0], torch.tensor([0.25, 0.0, 0.75, 0.0, 0.0]))


def test_without_classes_embeddings_have_no_features() -> None:
    embedding = LabelEmbedding(0)
    assert embedding.width == 0
    assert not list(embedding.parameters())
    for label in (None, torch.arange(3)):
        assert embedding(label, LIKE.double()).shape == (3, 0)
    assert embedding(None, LIKE.double()).dtype == torch.float64


def test_a_missing_label_is_rejected() -> None:
    with pytest.raises(InputError, match="label: received none, expected a label from 0 to 4"):
        LabelEmbedding(5)(None, LIKE)


def test_a_blend_of_another_number_of_classes_is_rejected() -> None:
    with pytest.raises(InputError, match="label: received weights of 4 classes, expected 5"):
        LabelEmbedding(5)(torch.ones(3, 4) / 4, LIKE)
