"""Call and response on a touch screen, after RoboJam (Martin and Torresen, "RoboJam", 2018).

This module does not import torch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mdnrnn.data.corpus import Corpus, Sequence, mark_end, pack
from mdnrnn.data.metadata import Metadata
from mdnrnn.errors import InputError
from mdnrnn.generation.sampling import Sampling
from mdnrnn.pen_events import DOWN, END

if TYPE_CHECKING:
    from mdnrnn.runs.run import Run

RESPONSE_SAMPLING = Sampling(temperature=1.0, scale_temperature=0.5)
"""Default sampling options of responses.

Responses do not stop at END, so they spread over the screen. In size and timing, responses with a scale temperature of
0.5 are closer to held-out performances than responses with a scale temperature of 1 (`mdnrnn benchmark touch`).
"""
_MAX_SECONDS = 600.0
_STEPS_PER_SECOND = 80
"""Initial number of generated steps per second of a response. Most performances have fewer steps per second.

If a response does not reach the requested duration, the number is doubled and all responses are generated again.
"""
_MAX_STEPS = 1 << 20


def respond(
    run: Run,
    call: Sequence,
    n: int = 1,
    *,
    seconds: float = 5.0,
    sampling: Sampling | None = None,
    seed: int = 0,
) -> Corpus:
    """Generate responses to a call.

    Before generating a response, the model reads the call. The first touch of a response starts a new stroke at time 0.

    Args:
        run: run of touch performances.
        call: performance in raw units.
        n: number of responses.
        seconds: duration of a response in seconds, at most 600. The event END is excluded from sampling, because END
            would end a response earlier.
        sampling: sampling options; by default `RESPONSE_SAMPLING`. Stroke limits do not count the strokes of the call.
            A stopping rule also sees the steps of the call. Both can end a response before its duration.
        seed: random seed; the noise of response i depends only on the seed and i.

    Raises:
        InputError: the run's steps are not touches, the call is empty, the duration is out of range, or the model
            generates times that are NaN or infinite.
    """
    metadata = run.config.metadata
    check_touches(metadata)
    if not 0 < seconds <= _MAX_SECONDS:
        raise InputError(f"seconds: received {seconds}, expected more than 0 and at most {_MAX_SECONDS:g}")
    if not len(call.event):
        raise InputError("call: received an empty performance, expected one touch or more")
    call = call._replace(event=mark_end(call.event))  # lifts the finger, so that a new stroke starts
    endless = replace(sampling or RESPONSE_SAMPLING, endless=True)
    endless = endless.with_prefix_strokes(int((call.event != DOWN).sum()))
    steps = int(np.ceil(seconds * _STEPS_PER_SECOND)) + 1
    while True:
        generated = run.generate(n, prefix=call, sampling=endless, seed=seed, max_steps=steps)
        sequences = [generated[i] for i in range(n)]
        times = [_response_times(sequence, len(call.event)) for sequence in sequences]
        ends = [sequence.event[-1] == END for sequence in sequences]
        if all(end or time[-1] > seconds for end, time in zip(ends, times, strict=True)) or steps >= _MAX_STEPS:
            break
        steps *= 2
    if not all(np.isfinite(time).all() for time in times):
        raise InputError(f"{metadata.name}: the model generates times that are NaN or infinite; train another run")
    responses = [
        _extract_response(sequence, len(call.event), time <= seconds)
        for sequence, time in zip(sequences, times, strict=True)
    ]
    return pack(replace(generated.metadata, name=f"{metadata.name} (responses)"), {"test": responses})


def check_touches(metadata: Metadata) -> None:
    """Raise `InputError` if the steps of a corpus are not touches."""
    if not metadata.is_touch:
        raise InputError(
            f"{metadata.name}: received steps ({', '.join(metadata.features or ('dx', 'dy'))}), expected touches "
            "(dx, dy, dt); train a run with: mdnrnn train touch"
        )


def _response_times(sequence: Sequence, call_steps: int) -> np.ndarray:
    """Return the times (T,) of the T touches of the response, in seconds since its first touch.

    Args:
        sequence: the call followed by the response.
        call_steps: number of steps of the call.
    """
    time = sequence.motion[call_steps:, 2].astype(np.float64).cumsum()
    return np.asarray(time - time[0])


def _extract_response(sequence: Sequence, call_steps: int, is_kept: np.ndarray) -> Sequence:
    """Return the selected touches of the response as a performance that starts at time 0.

    Args:
        sequence: the call followed by the response.
        call_steps: number of steps of the call.
        is_kept: whether to select each of the T touches of the response, shape (T,).
    """
    positions = sequence.motion[:, :2].astype(np.float64).cumsum(0)[call_steps:][is_kept].clip(0, 1)
    offsets, time = np.diff(positions, axis=0, prepend=0.0), sequence.motion[call_steps:, 2:][is_kept].copy()
    time[0] = 0
    return Sequence(np.column_stack([offsets, time]), mark_end(sequence.event[call_steps:][is_kept]))
