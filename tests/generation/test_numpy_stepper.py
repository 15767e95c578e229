"""One sequence drawn by NumPy: what PyTorch's steps and draws give, in the same buffers."""

from typing import Any

import pytest
import torch

from mdnrnn.generation.fused_sampler import FusedSampler
from mdnrnn.generation.loop import generate
from mdnrnn.generation.numpy_stepper import OneRow
from mdnrnn.generation.sampling import Sampling
from mdnrnn.generation.steppers import PackedStepper, stepper
from mdnrnn.models.base import StepShape
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.models.recurrent import MDNRNN

SAMPLINGS = [
    Sampling(),
    Sampling(temperature=0.4),
    Sampling(temperature=1.7, scale_temperature=0.0),
    Sampling(bias=2.0),
    Sampling(endless=True, temperature=0.7),
]


def new(features: int = 2, events: int = 3, offsets: int | None = None, **settings: Any) -> MDNRNN:
    torch.manual_seed(1)
    config = {"hidden": 24, "components": 5, "dropout": 0.0, **settings}
    model = MDNRNN(StepShape(features=features, events=events, offsets=offsets), MDNRNNConfig(**config)).eval()
    with torch.no_grad():
        model.decoder.head.linear.weight.mul_(20)  # components that differ
    return model


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"layers": 3},
        {"events": 2},
        {"events": 0, "features": 4, "offsets": 0},
        {"features": 3, "covariance": "per-dimension"},
        {"position": 0.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("grid", [None, 0.05, 0.0], ids=["no grid", "grid", "a feature on no grid"])
@torch.inference_mode()
def test_steps_are_those_of_pytorch(settings: dict[str, Any], sampling: Sampling, grid: float | None) -> None:
    """60 steps, each from what the one before drew: one pick that differs would show. The noise is fixed."""
    model = new(**settings)
    decoder, d = model.decoder, model.shape.features
    assert OneRow.covers(decoder, sampling)
    steppers = [stepper(decoder, model.initial_step(1), model.initial_state(1)) for _ in range(2)]
    draws = [FusedSampler(decoder.head, sampling, 1) for _ in range(2)]
    assert isinstance(steppers[0], PackedStepper)
    row = OneRow(steppers[0], draws[0])
    bin_width = None if grid is None else torch.tensor([grid, *[0.05] * (d - 1)])
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        uniform = torch.rand(1, draws[1].groups, 1, generator=generator)
        normal = torch.randn(1, d, generator=generator)
        motion, event = row.step(
            uniform[0].numpy(), normal[0].tolist(), None if bin_width is None else bin_width.tolist()
        )
        expected, kind = draws[1](steppers[1].step_hidden(None), uniform, normal, bin_width, grid == 0.05)
        steppers[1].set_previous(expected, kind)
        torch.testing.assert_close(torch.tensor([motion]), expected, rtol=1e-4, atol=1e-5)
        assert event == int(kind)
    for own, other in zip(steppers[0].state.lstm, steppers[1].state.lstm, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)


def test_one_at_a_time_is_drawn_as_all_together() -> None:
    model, bin_width = new(), torch.tensor([0.05, 0.05])
    alone, together = (generate(model, 9, max_steps=50, bin_width=bin_width, batch_size=size) for size in (1, 9))
    for one, other in zip(alone, together, strict=True):
        assert one.event.tolist() == other.event.tolist()
        torch.testing.assert_close(torch.from_numpy(one.motion), torch.from_numpy(other.motion), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("settings", [{"covariance": "full"}, {"skip": True, "layers": 2}], ids=str)
def test_what_it_is_not_for_it_does_not_take(settings: dict[str, Any]) -> None:
    assert not OneRow.covers(new(**settings).decoder, Sampling())
    assert not OneRow.covers(new().decoder, Sampling(temperature=0.0))
    assert not OneRow.covers(new().double().decoder, Sampling())


def test_a_scale_beyond_float32_is_no_error() -> None:
    model = new()
    with torch.no_grad():
        model.decoder.head.linear.bias[5 * 3 : 5 * 5] = 900.0
    (drawn,) = generate(model, 1, max_steps=3)
    assert len(drawn.event) >= 1
