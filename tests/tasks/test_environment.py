"""The gymnasium environment of a world model: gymnasium's checker, agreement with `dream`, and errors."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from mdnrnn.data.corpus import Corpus
from mdnrnn.errors import InputError
from mdnrnn.generation.sampling import Sampling
from mdnrnn.runs.run import Run
from mdnrnn.tasks.dream import dream
from mdnrnn.tasks.environment import DreamEnv
from tests.helpers import make_controls, make_episodes, make_run

WORLD = make_run(make_episodes(), covariance="per-dimension")
ENDLESS = Sampling(endless=True)


def episodes_without_reward() -> Corpus:
    """Make episodes with two latents and no reward."""
    corpus = make_episodes()
    return replace(corpus, metadata=replace(corpus.metadata, features=("z1", "z2")), motion=corpus.motion[:, :2])


@pytest.mark.parametrize(
    ("run", "actions"),
    [
        (WORLD, None),
        (WORLD, spaces.Box(-1, 1, (2,), np.float32)),
        (WORLD, spaces.Discrete(2)),
        (make_run(episodes_without_reward(), covariance="per-dimension"), spaces.Discrete(2, start=1)),
    ],
    ids=["default", "box", "discrete", "discrete without reward"],
)
def test_environment_passes_the_checker_of_gymnasium(run: Run, actions: spaces.Space[object] | None) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(infinity|Box.*symmetric|normalized).*")
        check_env(DreamEnv(run, actions, sampling=Sampling(temperature=1.1)), skip_render_check=True)


def test_episode_equals_the_dream_with_the_same_policy_and_seed() -> None:
    env = DreamEnv(WORLD, max_steps=15, sampling=ENDLESS)
    observation, _ = env.reset(seed=7)
    seed = int(np.random.Generator(np.random.PCG64(np.random.SeedSequence(7))).integers(1 << 31))
    expected = dream(WORLD, lambda z, h, rows: torch.tanh(z), 1, steps=16, sampling=ENDLESS, seed=seed)[0]
    np.testing.assert_allclose(observation, expected.motion[0, :2], atol=1e-4)
    for t in range(1, 16):
        observation, reward, ended, truncated, _ = env.step(np.tanh(observation))
        np.testing.assert_allclose(observation, expected.motion[t, :2], atol=1e-3)
        assert reward == pytest.approx(float(expected.motion[t, 2]), abs=1e-3)
        assert (ended, truncated) == (False, t == 15)


def test_discrete_action_is_one_hot() -> None:
    env = DreamEnv(WORLD, spaces.Discrete(2, start=5), lambda before, action, after, ended: float(action @ [1, 10]))
    env.reset(seed=0)
    assert env.step(5)[1] == 1
    env.reset(seed=0)
    assert env.step(6)[1] == 10


def test_action_space_of_wrong_size_is_refused() -> None:
    message = r"actions: received Discrete\(3\), expected Discrete\(2\) or a Box of shape \(2,\)"
    with pytest.raises(InputError, match=message):
        DreamEnv(WORLD, spaces.Discrete(3))


def test_step_before_reset_is_refused() -> None:
    with pytest.raises(InputError, match="call reset first"):
        DreamEnv(WORLD).step(np.zeros(2))


def test_action_outside_the_space_is_refused() -> None:
    env = DreamEnv(WORLD, spaces.Discrete(2))
    env.reset(seed=0)
    with pytest.raises(InputError, match=r"action: received 2, expected an element of Discrete\(2\)"):
        env.step(2)


def test_run_of_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match="expected latents z1, z2"):
        DreamEnv(make_run(make_controls()))
