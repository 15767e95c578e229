"""Dreams: what a policy does is what the world answers to, alone or in company, in a rollout or an environment."""

import warnings

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from torch import Tensor

from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputError
from mdnrnn.evaluation.likelihood import evaluate
from mdnrnn.evaluation.null_model import null_model_nll
from mdnrnn.events import DOWN, END
from mdnrnn.generation.sampling import Sampling
from mdnrnn.runs.run import Run
from mdnrnn.tasks.dream import dream
from mdnrnn.tasks.environment import DreamEnv
from tests.helpers import controls, episodes, run_of

WORLD = run_of(episodes(), covariance="per-dimension")
ENDLESS = Sampling(endless=True)


def pushes(latents: Tensor, memory: Tensor, rows: Tensor) -> Tensor:
    """Follows from the latents, from what is remembered, and from the number."""
    return torch.stack([torch.tanh(latents[:, 0]) + 0.1 * rows, memory.sum(1)], 1)


def test_dreams_go_on_or_end_as_the_world_does() -> None:
    dreams = dream(WORLD, pushes, 50, steps=60)
    dreams.check()
    ends = dreams.event[dreams.offsets[1:] - 1]
    assert (ends[dreams.lengths < 60] == END).all()
    assert (dreams.lengths < 60).sum() > 0
    assert set(np.unique(dreams.event)) == {DOWN, END}


def test_endless_dreams_do_not_end() -> None:
    dreams = dream(WORLD, pushes, 5, steps=300, sampling=ENDLESS)
    assert dreams.lengths.tolist() == [300] * 5
    assert (dreams.event == DOWN).all()


def test_actions_are_those_of_the_policy_at_the_step_before() -> None:
    """The first row has none: zeros. Latents are raw units, without the reward."""
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def policy(latents: Tensor, memory: Tensor, rows: Tensor) -> Tensor:
        seen.append((latents.numpy().copy(), rows.numpy().copy()))
        return pushes(latents, memory, rows)

    dreams = dream(WORLD, policy, 4, steps=20, sampling=ENDLESS)
    for i in range(4):
        motion, inputs = dreams[i].motion, dreams[i].inputs
        assert inputs is not None
        np.testing.assert_array_equal(inputs[0], 0)
        for t in range(19):
            latents, rows = seen[t]
            assert rows[i] == i
            np.testing.assert_allclose(latents[i], motion[t, :2], atol=1e-4)
            assert inputs[t + 1, 0] == pytest.approx(np.tanh(latents[i, 0]) + 0.1 * i, abs=1e-5)


def test_a_dream_is_the_same_in_any_company() -> None:
    alone, together = dream(WORLD, pushes, 1, steps=80), dream(WORLD, pushes, 300, steps=80)
    np.testing.assert_allclose(together[0].motion, alone[0].motion, atol=1e-4)
    np.testing.assert_array_equal(together[0].event, alone[0].event)


def test_what_is_done_changes_what_is_dreamt_next() -> None:
    still = dream(WORLD, lambda z, h, rows: torch.zeros(len(z), 2), 1, steps=3, sampling=ENDLESS)[0].motion
    pushed = dream(WORLD, lambda z, h, rows: torch.full((len(z), 2), 3.0), 1, steps=3, sampling=ENDLESS)[0].motion
    np.testing.assert_array_equal(still[0], pushed[0])
    assert np.abs(still[1] - pushed[1]).max() > 1e-3


def test_dreams_can_be_scored_as_data() -> None:
    """At temperature 1 a model's own dreams cost it about its own entropy: more random ones cost it more. 6,000 steps
    each, seeds fixed."""
    costs = []
    for temperature in (0.5, 1.0, 2.0):
        dreams = dream(WORLD, pushes, 100, steps=60, sampling=Sampling(temperature=temperature))
        found = evaluate(WORLD.model, Batches(dreams, "test", WORLD.config.normalizer))
        costs.append(found.motion_nll_per_point)
    assert costs == sorted(costs)


@pytest.mark.parametrize("shape", [(3, 2), (4, 3), (4,)], ids=["a row missing", "too wide", "flat"])
def test_actions_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"the policy's actions have shape .*; expected \(4, 2\)"):
        dream(WORLD, lambda z, h, rows: torch.zeros(shape), 4, steps=5)


def test_only_a_world_is_dreamt_in() -> None:
    for run in (run_of(controls()),):
        with pytest.raises(InputError, match=r"steps are \(dt, x1, x2, x3\); expected latents of a world"):
            dream(run, pushes, 1)
        with pytest.raises(InputError, match="expected latents of a world"):
            DreamEnv(run)


def without_reward() -> Corpus:
    corpus = episodes()
    metadata = type(corpus.metadata)(name="plain", features=("z1", "z2"))
    return Corpus(metadata, corpus.motion[:, :2], corpus.event, corpus.offsets, corpus.splits, inputs=corpus.inputs)


@pytest.mark.parametrize(
    ("run", "actions"),
    [
        (WORLD, None),
        (WORLD, spaces.Box(-1, 1, (2,), np.float32)),
        (WORLD, spaces.Discrete(2)),
        (run_of(without_reward(), covariance="per-dimension"), spaces.Discrete(2, start=1)),
    ],
    ids=["any", "a box", "one of two", "one of two, no reward"],
)
def test_the_environment_passes_gymnasiums_own_checker(run: Run, actions: spaces.Space[object] | None) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(infinity|Box.*symmetric|normalized).*")
        check_env(DreamEnv(run, actions, sampling=Sampling(temperature=1.1)), skip_render_check=True)


def test_the_environment_dreams_what_dream_does() -> None:
    """The same policy, the same noise: the same episode."""
    env = DreamEnv(WORLD, max_steps=15, sampling=ENDLESS)
    seen, _ = env.reset(seed=7)
    own = int(np.random.Generator(np.random.PCG64(np.random.SeedSequence(7))).integers(1 << 31))
    whole = dream(WORLD, lambda z, h, rows: torch.tanh(z), 1, steps=16, sampling=ENDLESS, seed=own)[0]
    np.testing.assert_allclose(seen, whole.motion[0, :2], atol=1e-4)
    for t in range(1, 16):
        seen, reward, ended, truncated, _ = env.step(np.tanh(seen))
        np.testing.assert_allclose(seen, whole.motion[t, :2], atol=1e-3)
        assert reward == pytest.approx(float(whole.motion[t, 2]), abs=1e-3)
        assert (ended, truncated) == (False, t == 15)


def test_a_choice_is_a_one_among_zeros() -> None:
    env = DreamEnv(WORLD, spaces.Discrete(2, start=5), lambda before, action, after, ended: float(action @ [1, 10]))
    env.reset(seed=0)
    assert env.step(5)[1] == 1
    env.reset(seed=0)
    assert env.step(6)[1] == 10


def test_the_environment_says_what_is_wrong() -> None:
    with pytest.raises(InputError, match=r"the actions are Discrete\(3\); expected Discrete\(2\) or a Box \(2,\)"):
        DreamEnv(WORLD, spaces.Discrete(3))
    with pytest.raises(InputError, match="expected reset first"):
        DreamEnv(WORLD).step(np.zeros(2))


def test_a_dream_goes_on_from_a_beginning_with_what_was_done_in_it() -> None:
    """The prefix's own inputs lead through it, those of the policy on from there; all of them are kept."""
    whole = dream(WORLD, pushes, 1, steps=30, sampling=ENDLESS)[0]
    begun = whole._replace(
        motion=whole.motion[:12], event=whole.event[:12], inputs=None if whole.inputs is None else whole.inputs[:12]
    )
    sampling = Sampling(temperature=0, endless=True)

    def still(motion: Tensor, state: object, rows: Tensor) -> Tensor:
        return torch.zeros(len(rows), 2)

    gone_on = WORLD.generate(2, prefix=begun, policy=still, sampling=sampling, max_steps=5)
    assert gone_on.lengths.tolist() == [17, 17]
    inputs = np.concatenate([begun.inputs, np.zeros((5, 2), np.float32)])
    for i in range(2):
        np.testing.assert_array_equal(gone_on[i].inputs, inputs)
    given = WORLD.generate(2, prefix=begun, inputs=np.stack([inputs] * 2), sampling=sampling, max_steps=5)
    np.testing.assert_allclose(given.motion, gone_on.motion, atol=1e-5)
    np.testing.assert_array_equal(given.inputs, gone_on.inputs)


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        (np.zeros((3, 5, 2)), r"received shape \(3, 5, 2\), expected \(4, T, 2\)"),
        (np.zeros((4, 5, 3)), r"expected \(4, T, 2\)"),
        (np.zeros((4, 2)), r"received shape \(4, 2\), expected \(4, T, 2\)"),
        (np.full((4, 5, 2), np.nan), "expected real numbers"),
    ],
    ids=["another number", "too wide", "flat", "no numbers"],
)
def test_inputs_that_cannot_be_are_refused(inputs: np.ndarray, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        WORLD.generate(4, inputs=inputs, max_steps=5)


def test_inputs_that_nothing_takes_are_refused() -> None:
    with pytest.raises(InputError, match="the run's model takes none"):
        run_of(controls()).generate(1, inputs=np.zeros((1, 5, 2)), max_steps=5)


def test_a_policy_that_knows_no_number_is_told_of() -> None:
    with pytest.raises(InputError, match=r"expected finite numbers"):
        dream(WORLD, lambda z, h, rows: torch.full((len(z), 2), torch.nan), 2, steps=5)


def test_a_choice_that_there_is_not_is_refused() -> None:
    env = DreamEnv(WORLD, spaces.Discrete(2))
    env.reset(seed=0)
    with pytest.raises(InputError, match=r"action 2 was taken; expected one of Discrete\(2\)"):
        env.step(2)


def test_the_null_model_of_posteriors_is_scored_on_draws_too() -> None:
    """Means of deviation 3, posteriors of 3: draws of variance 18. A Gaussian of that costs log(18 2 pi e) / 2 each, in
    closed form; 60,000 numbers, within 0.02."""
    rng = np.random.default_rng(0)
    motion, logvar = rng.normal(0, 3, (20_000, 3)).astype(np.float32), np.full((20_000, 3), np.log(9), np.float32)
    metadata = type(episodes().metadata)(name="x", features=("z1", "z2", "z3"))
    corpus = pack(metadata, {"train": [Sequence(motion, np.zeros(20_000, np.uint8), logvar=logvar)]})
    nats = null_model_nll(corpus, "train", Normalizer.from_corpus(corpus)) / motion.size
    assert nats == pytest.approx(0.5 * np.log(18 * 2 * np.pi * np.e), abs=0.02)
