"""Training options: values that are rejected."""

from typing import Any

import pytest

from mdnrnn.errors import InputError
from mdnrnn.training.config import SequenceTrainConfig

WINDOW = {"window": 10, "augment_drop": 0.0, "augment_scale": 0.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3, "minutes": 1.0}, "both steps and minutes"),
        ({"steps": 0}, "budget: received 0"),
        ({"minutes": -1.0}, "budget: received -1"),
        ({"learning_rate": -1.0}, "learning_rate: received -1"),
        ({"batch_size": 0}, "batch_size: received 0"),
        ({"augment_scale": 1.0}, "augment_scale: received 1"),
        ({"window": 1}, "window: received 1, expected 2 or more, or 0"),
        ({**WINDOW, "augment_drop": 0.1}, "augmentation or by_points, which need whole sequences"),
        ({**WINDOW, "augment_scale": 0.1}, "augmentation or by_points, which need whole sequences"),
        ({**WINDOW, "by_points": True}, "--no-by-points"),
    ],
    ids=[
        "steps and minutes", "no steps", "negative minutes", "learning rate", "batch size", "augmentation",
        "window of 1", "window and drop", "window and scale", "window and by_points",
    ],
)  # fmt: skip
def test_invalid_options_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SequenceTrainConfig(**options)
