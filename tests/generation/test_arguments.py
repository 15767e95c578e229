"""Arguments of `generate`: wrong counts, shapes, dtypes and values are errors; other dtypes are converted."""

from typing import Any

import numpy as np
import pytest
import torch

from mdnrnn.distributions import Step
from mdnrnn.errors import InputError
from mdnrnn.generation.loop import generate
from mdnrnn.models.base import Condition, StepShape
from mdnrnn.models.configs import HandwritingConfig
from mdnrnn.models.handwriting import HandwritingRNN
from mdnrnn.tasks.performer import Performer
from tests.generation.helpers import assert_same_sequences
from tests.helpers import make_model, make_run, make_sketch_model, random_corpus

N = 2
PLAIN = make_model(random_corpus([4])).float()
LABELED = make_model(random_corpus([4] * 9, classes=("a", "b", "c"))).float()
DRIVEN = make_model(random_corpus([4], inputs=2)).float()
LATENT = make_sketch_model(random_corpus([4])).float()
WRITER = HandwritingRNN(StepShape(alphabet="ab"), HandwritingConfig(hidden=8, window=2, components=2))
EVENTS = torch.zeros(3, dtype=torch.long)


def prefix(motion: Any = None, event: Any = EVENTS, inputs: Any = None) -> Step:
    return Step(torch.zeros(3, 2) if motion is None else motion, event, inputs)


CONDITIONS: dict[str, tuple[Any, Condition, str]] = {
    "too few labels": (
        LABELED,
        Condition(torch.zeros(1).long()),
        r"class indices: received shape \(1,\), expected \(2,\)",
    ),
    "labels of two dimensions": (
        LABELED,
        Condition(torch.zeros(2, 3).long()),
        r"received shape \(2, 3\), expected \(2,\)",
    ),
    "too many weights": (LABELED, Condition(torch.ones(3, 3)), r"weights: received shape \(3, 3\), expected \(2, 3\)"),
    "weights without a class": (
        LABELED,
        Condition(torch.ones(2)),
        r"weights: received shape \(2,\), expected \(2, 3\)",
    ),
    "NaN weights": (LABELED, Condition(torch.full((2, 3), torch.nan)), "weights: received NaN"),
    "boolean labels": (LABELED, Condition(torch.ones(2).bool()), r"label: received dtype torch.bool, expected real"),
    "labels as a string": (LABELED, Condition("ab"), "label: received str, expected a tensor of numbers"),  # type: ignore[arg-type]
    "superfluous labels": (
        PLAIN,
        Condition(torch.zeros(2).long()),
        "label: received labels for a model without classes",
    ),
    "missing labels": (LABELED, Condition(), "label: received none, expected a label from 0 to 2"),
    "too few inputs": (
        DRIVEN,
        Condition(inputs=torch.zeros(1, 5, 2)),
        r"inputs: received shape \(1, 5, 2\), expected \(2, T, 2\)",
    ),
    "narrow inputs": (
        DRIVEN,
        Condition(inputs=torch.zeros(2, 5, 1)),
        r"received shape \(2, 5, 1\), expected \(2, T, 2\)",
    ),
    "infinite inputs": (DRIVEN, Condition(inputs=torch.full((2, 5, 2), torch.inf)), "inputs: received NaN or infinite"),
    "superfluous inputs": (
        PLAIN,
        Condition(inputs=torch.zeros(2, 5, 2)),
        "inputs: received values for a model without",
    ),
    "missing inputs": (DRIVEN, Condition(), "inputs: received none, expected 2 numbers per step"),
    "too few latents": (
        LATENT,
        Condition(latent=torch.zeros(1, 4)),
        r"latents: received shape \(1, 4\), expected \(2, 4\)",
    ),
    "NaN latents": (LATENT, Condition(latent=torch.full((2, 4), torch.nan)), "latents: received NaN"),
    "superfluous latents": (PLAIN, Condition(latent=torch.zeros(2, 4)), "latents: received values for a model without"),
    "too few texts": (
        WRITER,
        Condition(text=torch.full((1, 2), 97)),
        r"text: received shape \(1, 2\), expected \(2, U\)",
    ),
    "texts as numbers": (WRITER, Condition(text=torch.full((2, 2), 97.0)), "text: received dtype torch.float32"),
    "empty text": (WRITER, Condition(text=torch.tensor([[97, 98], [0, 0]])), "text: received an empty text"),
    "negative code point": (WRITER, Condition(text=torch.full((2, 2), -97)), "negative code point"),
    "text with a gap": (WRITER, Condition(text=torch.tensor([[97, 0, 98], [97, 98, 0]])), "text: received a 0 between"),
    "superfluous texts": (PLAIN, Condition(text=torch.full((2, 2), 97)), "text: received texts for a model without"),
}


@pytest.mark.parametrize(("model", "condition", "message"), CONDITIONS.values(), ids=CONDITIONS)
def test_conditions_that_do_not_fit_the_model_are_rejected(model: Any, condition: Condition, message: str) -> None:
    with pytest.raises(InputError, match=message):
        generate(model, N, condition, max_steps=3)


PREFIXES: dict[str, tuple[Any, Step, str]] = {
    "narrow motion": (PLAIN, prefix(torch.zeros(3, 1)), r"motion: received shape \(3, 1\), expected \(P, 2\)"),
    "batch of motions": (PLAIN, prefix(torch.zeros(1, 3, 2)), r"received shape \(1, 3, 2\), expected \(P, 2\)"),
    "infinite motion": (PLAIN, prefix(torch.full((3, 2), torch.inf)), "prefix: motion: received NaN or infinite"),
    "too few events": (PLAIN, prefix(event=EVENTS[:2]), r"event: received shape \(2,\), expected \(3,\)"),
    "END": (PLAIN, prefix(event=EVENTS + 2), r"event: received 2 to 2, expected 0 \(DOWN\) or 1 \(UP\)"),
    "START": (PLAIN, prefix(event=EVENTS - 1), "event: received -1 to -1"),
    "half events": (PLAIN, prefix(event=torch.full((3,), 0.5)), "event: received 0.5 to 0.5"),
    "superfluous inputs": (PLAIN, prefix(inputs=torch.zeros(3, 2)), "inputs: received values for a model without"),
    "too few inputs": (DRIVEN, prefix(inputs=torch.zeros(2, 2)), r"inputs: received shape \(2, 2\), expected \(3, 2\)"),
}


@pytest.mark.parametrize(("model", "start", "message"), PREFIXES.values(), ids=PREFIXES)
def test_prefixes_that_do_not_fit_the_model_are_rejected(model: Any, start: Step, message: str) -> None:
    with pytest.raises(InputError, match=message):
        generate(model, N, None, start, max_steps=3)


def test_inputs_shorter_than_the_prefix_are_rejected() -> None:
    with pytest.raises(InputError, match="inputs: received 2 steps, expected at least 3, as in the prefix"):
        generate(DRIVEN, N, Condition(inputs=torch.zeros(N, 2, 2)), prefix())


ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "n": ({"n": 2.5}, "n: received 2.5 sequences, expected a whole number >= 0"),
    "seed": ({"seed": 0.5}, "seed: received 0.5, expected a whole number >= 0"),
    "negative seed": ({"seed": -(2**70)}, "seed: received -1180591620717411303424, expected a whole number >= 0"),
    "max_steps": ({"max_steps": 2.5}, "max_steps: received 2.5, expected a whole number >= 1"),
    "max_steps text": ({"max_steps": "3"}, "max_steps: received <U1, expected a whole number >= 1"),
    "batch_size": ({"batch_size": 0}, "batch_size: received 0, expected a whole number >= 1"),
    "bin_width": ({"bin_width": torch.ones(3)}, r"bin_width: received shape \(3,\), expected \(2,\)"),
    "negative bin": ({"first_bin_width": torch.tensor([1.0, -1])}, "first_bin_width: received -1.0, expected numbers"),
    "NaN bin": ({"bin_width": torch.full((2,), torch.nan)}, "bin_width: received NaN"),
    "bounds": ({"bounds": torch.zeros(2, 3)}, r"bounds: received shape \(2, 3\), expected \(2, P\) with P <= 2"),
    "reversed bounds": ({"bounds": torch.tensor([[1.0], [0.0]])}, "expected lower bounds that are <= the upper bounds"),
    "policy": ({"policy": lambda *_: None}, "policy: received a policy for a model without inputs"),
}


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_invalid_arguments_are_rejected(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        generate(PLAIN, **{"n": N, **arguments})


@pytest.mark.parametrize("chosen", [torch.zeros(1, 2), torch.zeros(2), torch.zeros(N, 3), None], ids=str)
@pytest.mark.parametrize("start", [None, prefix()], ids=["no prefix", "prefix"])
def test_policies_with_a_wrong_number_of_inputs_are_rejected(chosen: Any, start: Step | None) -> None:
    """They would be broadcast to all sequences."""
    with pytest.raises(InputError, match=r"policy: received inputs of shape .*, expected \(2, 2\)"):
        generate(DRIVEN, N, None, start, policy=lambda *_: chosen)


def test_other_dtypes_and_arrays_are_converted() -> None:
    motion, inputs = torch.randn(3, 2), torch.randn(N, 9, 2)
    expected = generate(DRIVEN, N, Condition(inputs=inputs), prefix(motion), bin_width=torch.full((2,), 0.1))
    actual = generate(
        DRIVEN,
        N,
        Condition(inputs=inputs.double().numpy()),  # type: ignore[arg-type]
        Step(motion.double(), EVENTS.to(torch.uint8)),
        bin_width=np.full(2, 0.1),  # type: ignore[arg-type]
    )
    assert_same_sequences(actual, expected)
    labels = torch.tensor([2, 0])
    by_label = generate(LABELED, N, Condition(labels), max_steps=9)
    for dtype in (torch.uint8, torch.int16, torch.int32):
        assert_same_sequences(generate(LABELED, N, Condition(labels.to(dtype)), max_steps=9), by_label)
    latent = torch.randn(N, 4)
    by_latent = generate(LATENT, N, Condition(latent=latent), max_steps=9)
    assert_same_sequences(generate(LATENT, N, Condition(latent=latent.double()), max_steps=9), by_latent)


def test_seeds_of_any_size_give_different_sequences() -> None:
    seeds = [0, 2**31, 2**32, 2**63, 2**64, 2**64 + 1, 2**200]
    firsts = [generate(PLAIN, 1, seed=seed, max_steps=2)[0].motion.tobytes() for seed in seeds]
    assert len(set(firsts)) == len(seeds)
    assert generate(PLAIN, 1, seed=np.int64(2**31), max_steps=2)[0].motion.tobytes() == firsts[1]  # type: ignore[arg-type]


def test_performer_accepts_seeds_of_any_size_and_rejects_negative_ones() -> None:
    run = make_run(random_corpus([4]))
    assert len({Performer(run, seed=seed).play().motion.tobytes() for seed in (0, 2**64, 2**200)}) == 3
    with pytest.raises(InputError, match="seed: received -1, expected a whole number >= 0"):
        Performer(run, seed=-1)


def test_modes_of_all_modules_are_restored() -> None:
    LABELED.train()
    LABELED.decoder.head.eval()
    modes = [module.training for module in LABELED.modules()]
    generate(LABELED, N, Condition(torch.zeros(N).long()), max_steps=2)
    assert [module.training for module in LABELED.modules()] == modes
