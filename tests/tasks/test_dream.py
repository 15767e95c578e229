"""Dreams: actions, ends, reproducibility, prefixes, likelihoods, and errors."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mdnrnn.data.batches import Batches
from mdnrnn.errors import InputError
from mdnrnn.evaluation.likelihood import evaluate
from mdnrnn.generation.sampling import Sampling
from mdnrnn.pen_events import DOWN, END
from mdnrnn.tasks.dream import dream
from tests.helpers import make_controls, make_episodes, make_run

WORLD = make_run(make_episodes(), covariance="per-dimension")
ENDLESS = Sampling(endless=True)


def push(latents: Tensor, hidden: Tensor, rows: Tensor) -> Tensor:
    """Policy that depends on the latents, the hidden state and the index of the dream."""
    return torch.stack([torch.tanh(latents[:, 0]) + 0.1 * rows, hidden.sum(1)], 1)


def rest(latents: Tensor, hidden: Tensor, rows: Tensor) -> Tensor:
    """Policy with actions 0."""
    return torch.zeros(len(latents), 2)


def test_dream_is_unfinished_only_at_the_maximum_number_of_steps() -> None:
    dreams = dream(WORLD, push, 50, steps=60)
    dreams.check()
    last_events = dreams.event[dreams.offsets[1:] - 1]
    assert (last_events[dreams.lengths < 60] == END).all()
    assert (dreams.lengths < 60).sum() > 0
    assert set(np.unique(dreams.event)) == {DOWN, END}


def test_endless_dream_has_no_end() -> None:
    dreams = dream(WORLD, push, 5, steps=300, sampling=ENDLESS)
    assert dreams.lengths.tolist() == [300] * 5
    assert (dreams.event == DOWN).all()


def test_inputs_are_the_actions_of_the_preceding_step() -> None:
    """The inputs of the first step are zeros. The policy receives latents in raw units, without the reward."""
    calls: list[tuple[np.ndarray, np.ndarray]] = []

    def policy(latents: Tensor, hidden: Tensor, rows: Tensor) -> Tensor:
        calls.append((latents.numpy().copy(), rows.numpy().copy()))
        return push(latents, hidden, rows)

    dreams = dream(WORLD, policy, 4, steps=20, sampling=ENDLESS)
    for i in range(4):
        motion, inputs = dreams[i].motion, dreams[i].inputs
        assert inputs is not None
        np.testing.assert_array_equal(inputs[0], 0)
        for t in range(19):
            latents, rows = calls[t]
            assert rows[i] == i
            np.testing.assert_allclose(latents[i], motion[t, :2], atol=1e-4)
            assert inputs[t + 1, 0] == pytest.approx(np.tanh(latents[i, 0]) + 0.1 * i, abs=1e-5)


def test_dream_does_not_depend_on_the_number_of_dreams() -> None:
    one, many = dream(WORLD, push, 1, steps=80), dream(WORLD, push, 300, steps=80)
    np.testing.assert_allclose(many[0].motion, one[0].motion, atol=1e-4)
    np.testing.assert_array_equal(many[0].event, one[0].event)


def test_action_changes_the_next_step() -> None:
    resting = dream(WORLD, rest, 1, steps=3, sampling=ENDLESS)[0].motion
    pushed = dream(WORLD, lambda z, h, rows: torch.full((len(z), 2), 3.0), 1, steps=3, sampling=ENDLESS)[0].motion
    np.testing.assert_array_equal(resting[0], pushed[0])
    assert np.abs(resting[1] - pushed[1]).max() > 1e-3


def test_nll_of_dreams_increases_with_the_sampling_temperature() -> None:
    """About 6,000 steps per temperature, fixed seeds."""
    nlls = []
    for temperature in (0.5, 1.0, 2.0):
        dreams = dream(WORLD, push, 100, steps=60, sampling=Sampling(temperature=temperature))
        likelihood = evaluate(WORLD.model, Batches(dreams, "test", WORLD.config.normalizer))
        nlls.append(likelihood.motion_nll_per_point)
    assert nlls == sorted(nlls)


def test_prefix_keeps_its_inputs_and_the_policy_continues() -> None:
    """A prefix with a policy gives the same dream as a prefix with the policy's actions as inputs."""
    whole = dream(WORLD, push, 1, steps=30, sampling=ENDLESS)[0]
    assert whole.inputs is not None
    prefix = whole._replace(motion=whole.motion[:12], event=whole.event[:12], inputs=whole.inputs[:12])
    sampling = Sampling(temperature=0, endless=True)
    continued = WORLD.generate(2, prefix=prefix, policy=rest, sampling=sampling, max_steps=5)
    assert continued.lengths.tolist() == [17, 17]
    inputs = np.concatenate([whole.inputs[:12], np.zeros((5, 2), np.float32)])
    for i in range(2):
        np.testing.assert_array_equal(continued[i].inputs, inputs)
    with_inputs = WORLD.generate(2, prefix=prefix, inputs=np.stack([inputs] * 2), sampling=sampling, max_steps=5)
    np.testing.assert_allclose(with_inputs.motion, continued.motion, atol=1e-5)
    np.testing.assert_array_equal(with_inputs.inputs, continued.inputs)


@pytest.mark.parametrize("shape", [(3, 2), (4, 3), (4,)], ids=["missing row", "extra column", "one dimension"])
def test_actions_of_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"actions of the policy: received shape .*, expected \(4, 2\)"):
        dream(WORLD, lambda z, h, rows: torch.zeros(shape), 4, steps=5)


def test_nan_actions_are_refused() -> None:
    with pytest.raises(InputError, match="expected finite numbers"):
        dream(WORLD, lambda z, h, rows: torch.full((len(z), 2), torch.nan), 2, steps=5)


def test_run_of_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match=r"received steps \(dt, x1, x2, x3\), expected latents z1, z2, ..."):
        dream(make_run(make_controls()), push, 1)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((3, 5, 2)), r"received shape \(3, 5, 2\), expected \(4, T, 2\)"),
        (np.zeros((4, 5, 3)), r"expected \(4, T, 2\)"),
        (np.zeros((4, 2)), r"received shape \(4, 2\), expected \(4, T, 2\)"),
        (np.full((4, 5, 2), np.nan), "inputs: received NaN or infinite values, expected real numbers"),
    ],
    ids=["rows", "columns", "two dimensions", "NaN"],
)
def test_invalid_inputs_are_refused(inputs: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        WORLD.generate(4, inputs=inputs, max_steps=5)


def test_inputs_are_refused_by_a_model_without_inputs() -> None:
    with pytest.raises(InputError, match="inputs: received values for a model without inputs; omit inputs"):
        make_run(make_controls()).generate(1, inputs=np.zeros((1, 5, 2)), max_steps=5)
