"""Comparison of generated sequences, and a reference implementation of generation by `model.step`."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mdnrnn.distributions import Noise
from mdnrnn.generation.sampling import Sampling
from mdnrnn.generation.slots import GeneratedSequence
from mdnrnn.generation.stopping import StepHistory
from mdnrnn.models.base import Condition, SequenceModel
from mdnrnn.pen_events import DOWN, END, UP

CHUNK = 16


def assert_same_sequences(actual: Sequence[GeneratedSequence], expected: Sequence[GeneratedSequence]) -> None:
    """Check that events are equal and that motions and inputs agree to 1e-5."""
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(one.event, other.event)
        np.testing.assert_allclose(one.motion, other.motion, atol=1e-5)
        assert (one.inputs is None) == (other.inputs is None)
        if one.inputs is not None and other.inputs is not None:
            np.testing.assert_allclose(one.inputs, other.inputs, atol=1e-5)


@torch.no_grad()
def generate_reference(
    model: SequenceModel,
    index: int,
    seed: int,
    max_steps: int,
    condition: Condition | None = None,
    *,
    sampling: Sampling | None = None,
    bin_width: Tensor | None = None,
) -> GeneratedSequence:
    """Generate the sequence with the given index by `model.step`, one step at a time.

    All noise comes from (seed, index): first the latent, if the model needs one and the condition has none, then
    uniform and normal noise for 16 steps at a time.
    """
    generator = np.random.Generator(np.random.Philox([seed, index]))
    condition, sampling, choices = condition or Condition(), sampling or Sampling(), model.component_choices
    previous = model.initial_step(1)
    if model.latent and condition.latent is None:
        latent = torch.from_numpy(generator.standard_normal(model.latent, np.float32)).unsqueeze(0)
        condition = condition._replace(latent=latent.to(previous.motion))
    state = model.initial_state(1, condition)
    motions: list[Tensor] = []
    events: list[int] = []
    while len(events) < max_steps and END not in events:
        uniform = torch.from_numpy(generator.random((choices + 1, CHUNK), np.float32)).to(previous.motion)
        normal = torch.from_numpy(generator.standard_normal((CHUNK, model.shape.features), np.float32))
        for t in range(min(CHUNK, max_steps - len(events))):
            component = uniform[0, t : t + 1] if choices == 1 else uniform[:choices, t].unsqueeze(0)
            noise = Noise(component, uniform[-1, t : t + 1], normal[t : t + 1].to(previous.motion))
            if condition.inputs is not None:
                previous = previous._replace(inputs=condition.inputs[:, len(events)])
            steps, state = model.step(previous, state)
            previous = sampling(steps).transform(noise, bin_width)
            event = limit_strokes(int(previous.event), events, sampling)
            finished = model.finished(state)
            motions.append(previous.motion[0])
            if sampling.stop is not None:
                so_far = torch.tensor([[*events, event]]), torch.tensor([len(motions)])
                event = END if bool(sampling.stop(StepHistory(torch.stack(motions)[None], *so_far))) else event
            events.append(END if finished is not None and bool(finished) else event)
            previous = previous._replace(event=torch.full_like(previous.event, events[-1]))
            if END in events:
                break
    inputs = None if condition.inputs is None else condition.inputs[0, : len(events)].numpy()
    return GeneratedSequence(torch.stack(motions).numpy(), np.array(events), inputs)


def limit_strokes(event: int, events: list[int], sampling: Sampling) -> int:
    """Return the event of a step that follows `events`, changed by the stroke limits."""
    strokes = 1 + sum(previous != DOWN for previous in events)
    if event == END and strokes < (sampling.min_strokes or 0):
        return UP
    if event == UP and strokes >= (sampling.max_strokes or np.inf):
        return END
    return event
