"""Performances: touches out of rows of offsets, and their JSON."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mdnrnn.render import Performance, to_json

ROWS = np.array([[0.25, 0.5, 0.0], [0.25, -0.25, 0.5], [-0.5, 0.25, 1.25], [0.0, 0.125, 0.25]])
LIFTED = np.array([False, True, True, True])
THREE = Performance.of(ROWS, LIFTED)


def test_rows_are_offsets_in_place_and_time_and_a_touch_comes_down_after_each_that_was_lifted() -> None:
    np.testing.assert_array_equal(THREE.places, [[0.25, 0.5], [0.5, 0.25], [0, 0.5], [0, 0.625]])
    np.testing.assert_array_equal(THREE.seconds, [0, 0.5, 1.75, 2])
    assert THREE.down.tolist() == [True, False, True, True]
    assert THREE.duration == 2


def test_time_runs_from_the_first_touch() -> None:
    late = Performance.of(ROWS + np.array([0, 0, 1]), LIFTED)
    np.testing.assert_array_equal(late.seconds, [0, 1.5, 3.75, 5])


def test_json_tells_every_touch_on_a_line_of_its_own() -> None:
    text = to_json([THREE, Performance.of(ROWS[:1], LIFTED[:1])], 'a "name"', ["call", ""])
    assert json.loads(text) == {
        "name": 'a "name"',
        "performances": [
            {
                "label": "call",
                "seconds": 2.0,
                "touches": [
                    {"time": 0.0, "x": 0.25, "y": 0.5, "moving": 0},
                    {"time": 0.5, "x": 0.5, "y": 0.25, "moving": 1},
                    {"time": 1.75, "x": 0.0, "y": 0.5, "moving": 0},
                    {"time": 2.0, "x": 0.0, "y": 0.625, "moving": 0},
                ],
            },
            {"label": None, "seconds": 0.0, "touches": [{"time": 0.0, "x": 0.25, "y": 0.5, "moving": 0}]},
        ],
    }
    assert sum('"time"' in line for line in text.splitlines()) == text.count('"time"') == 5


def test_json_has_six_decimals_and_no_negative_zero() -> None:
    rows = np.array([[1 / 3, -1e-9, 0], [1 / 3, 0, 2 / 3]])
    (performance,) = json.loads(to_json([Performance.of(rows, np.ones(2, bool))], "x"))["performances"]
    assert performance["seconds"] == 0.666667
    assert performance["touches"][0] == {"time": 0.0, "x": 0.333333, "y": 0.0, "moving": 0}
    assert "-" not in json.dumps(performance)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no touches": ({"seconds": np.zeros(0), "places": np.zeros((0, 2)), "down": np.zeros(0, bool)}, "received arrays"),
    "too few places": ({"places": np.zeros((3, 2))}, r"received arrays .* expected \(\(T,\), \(T, 2\), \(T,\)\)"),
    "a number of none": ({"places": np.full((4, 2), np.nan)}, "a number that is not finite"),
    "time that falls": ({"seconds": np.array([0, 2.0, 1.0, 3.0])}, "times that fall"),
    "a late start": ({"seconds": np.array([1, 2.0, 3.0, 4.0])}, "since the first touch"),
    "nothing down": ({"down": np.zeros(4, bool)}, "first touch that is not down"),
}


@pytest.mark.parametrize(("change", "complaint"), WRONG.values(), ids=WRONG.keys())
def test_what_is_no_performance_is_named_in_one_line(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=rf"^performance 1: .*{complaint}.*$"):
        to_json([THREE, replace(THREE, **change)], "x")


def test_as_many_labels_as_performances() -> None:
    with pytest.raises(ValueError, match=r"^labels: received 2, expected one for each of the 1 performances$"):
        to_json([THREE], "x", ["a", "b"])
