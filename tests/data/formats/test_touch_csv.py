"""Tests of the reader of touch performances in tables: columns, touch-downs, times, positions and invalid files."""

from pathlib import Path

import numpy as np
import pytest

from mdnrnn.data.drawings import DrawingBatch
from mdnrnn.data.formats import FORMATS, microjam, recognize_format, touch_csv
from mdnrnn.data.importing import pipeline
from mdnrnn.errors import DataError
from tests.data.formats.samples import MICROJAM_CSV, TOUCH_CSV, parse_bytes

A = [[[0.1, 0.2, 0.5], [0.2, 0.4, 0.75]], [[0.9, 0.8, 1.0]]]
"""Points (x, y, time) of the performance on device a."""


def parse(folder: Path, text: str) -> DrawingBatch:
    """Write a table to a file, check that it is recognized, and parse it."""
    drawings = parse_bytes(folder / "x.csv", text.encode(), touch_csv.FORMAT)
    assert recognize_format(folder / "x.csv") is touch_csv.FORMAT
    return drawings


def assert_touches(drawings: DrawingBatch, expected: list[list[list[float]]], index: int = 0) -> None:
    """Check the points of one performance to 1e-9."""
    touches = drawings.polylines(index)
    assert [len(touch) for touch in touches] == [len(touch) for touch in expected]
    np.testing.assert_allclose(np.concatenate(touches), [row for touch in expected for row in touch], atol=1e-9)


def test_each_device_is_a_performance(tmp_path: Path) -> None:
    drawings = parse(tmp_path, TOUCH_CSV)
    assert len(drawings) == 2
    assert_touches(drawings, A)
    assert_touches(drawings, [[[0.5, 0.5, 0.6]]], 1)
    assert drawings.records[1].location == f"{tmp_path / 'x.csv'}, performance b"
    assert [(remark.reason, remark.count) for remark in drawings.lost] == [("pressure values", 3)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", ", "])
def test_order_spelling_and_delimiter_of_the_columns_do_not_matter(tmp_path: Path, delimiter: str) -> None:
    rows = [line.split(",") for line in TOUCH_CSV.replace("device,x,y", "Device ID,X_pos,yPos").splitlines()]
    text = "\n".join(delimiter.join(row[i] for i in (5, 3, 1, 4, 0, 2)) for row in rows)
    assert_touches(parse(tmp_path, text), A)


def test_steps_equal_those_of_the_same_microjam_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(MICROJAM_CSV)
    (tmp_path / "b.csv").write_text("".join(line for line in TOUCH_CSV.splitlines(True) if ",b," not in line))
    assert recognize_format(tmp_path / "a.csv") is microjam.CSV
    first, second = (pipeline.read(tmp_path / name) for name in ("a.csv", "b.csv"))
    assert np.array_equal(first.motion, second.motion)
    assert np.array_equal(first.event, second.event)


TOUCH_DOWNS = {
    "events": "time,touch,event,x,y\n0.5,1,began,.1,.2\n.75,1,moved,.2,.4\n1.0,1,began,.9,.8\n",
    "touch identifiers": "time,finger,x,y\n0.5,1,.1,.2\n.75,1,.2,.4\n1.0,2,.9,.8\n",
    "velocity of MetaTone": "time,device_id,x_pos,y_pos,velocity\n0.5,a,.1,.2,0.0\n.75,a,.2,.4,3.5\n1.0,a,.9,.8,0.0\n",
    "words": "time,device,x,y,moving\n0.5,a,.1,.2,False\n.75,a,.2,.4,True\n1.0,a,.9,.8,False\n",
}


@pytest.mark.parametrize("text", TOUCH_DOWNS.values(), ids=TOUCH_DOWNS)
def test_touch_downs_are_found(tmp_path: Path, text: str) -> None:
    assert_touches(parse(tmp_path, text), A)


def test_pause_starts_a_touch_if_no_column_does(tmp_path: Path) -> None:
    text = "time,device,x,y\n0.5,a,.1,.2\n0.55,a,.2,.4\n1.0,a,.9,.8\n"
    assert_touches(parse(tmp_path, text), [[[0.1, 0.2, 0.5], [0.2, 0.4, 0.55]], [[0.9, 0.8, 1.0]]])


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("time_ms", ["500", "750", "1000"]),
        ("time (ms)", ["500.0", "750.0", "1000.0"]),
        ("t", ["500", "750", "1000"]),
        ("time_us", ["500000", "750000", "1000000"]),
    ],
)
def test_unit_of_the_times_is_recognized(tmp_path: Path, name: str, times: list[str]) -> None:
    rows = TOUCH_DOWNS["words"].splitlines()[1:]
    text = f"{name},device,x,y,moving\n" + "\n".join(
        f"{time},{row.partition(',')[2]}" for time, row in zip(times, rows, strict=True)
    )
    assert_touches(parse(tmp_path, text), A)


@pytest.mark.parametrize(
    "times",
    [
        ["2014-03-17T17:40:46.000", "2014-03-17T17:40:46.25", "2014-03-17T17:40:46.5"],
        ["1394000000000", "1394000000250", "1394000000500"],
        ["100.0", "100.25", "100.5"],
    ],
)
def test_absolute_times_begin_at_0(tmp_path: Path, times: list[str]) -> None:
    rows = TOUCH_DOWNS["words"].splitlines()[1:]
    text = "time,device,x,y,moving\n" + "\n".join(
        f"{time},{row.partition(',')[2]}" for time, row in zip(times, rows, strict=True)
    )
    expected = [[[x, y, time - 0.5] for x, y, time in touch] for touch in A]
    drawings = parse(tmp_path, text)
    np.testing.assert_allclose(np.concatenate(drawings.polylines(0)), np.concatenate(expected), atol=1e-6)


def test_dates_are_in_seconds(tmp_path: Path) -> None:
    rows = [f"2014-03-17T17:40:{second:02d},phone,0.5,0.5,{min(second, 1)}" for second in range(0, 8, 2)]
    drawings = parse(tmp_path, "time_ms,device,x,y,moving\n" + "\n".join(rows))
    np.testing.assert_allclose(np.diff(np.concatenate(drawings.polylines(0))[:, 2]), 2)


def test_pixels_are_scaled_and_reported(tmp_path: Path) -> None:
    text = "time,device,x,y,moving\n0.5,a,100,200,0\n0.6,a,1000,0,1\n"
    drawings = parse(tmp_path, text)
    assert_touches(drawings, [[[0.1, 0.2, 0.5], [1, 0, 0.6]]])
    assert [remark.detail for remark in drawings.repaired] == [
        f"{tmp_path / 'x.csv'}: positions up to 1000, expected 0 to 1; divided by 1000"
    ]


def test_rows_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    drawings = parse(tmp_path, TOUCH_CSV + "x,a,1,1,1,1\n2,a,,1,1,1\n2,a,1,1,1,7\n2\n")
    assert_touches(drawings, A)
    assert [remark.detail for remark in drawings.repaired] == [
        f"{tmp_path / 'x.csv'}, line 6 and 3 more lines: expected time,x,y; ignored"
    ]
    assert [remark.reason for remark in parse(tmp_path, "time,device,x,y\nx,x,x,x\n").dropped] == ["no valid line"]


def test_number_of_performances_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(touch_csv, "_MAX_PERFORMANCES", 1)
    with pytest.raises(DataError, match="over 1 performances; split the file"):
        parse(tmp_path, TOUCH_CSV)


def test_other_tables_are_not_recognized(tmp_path: Path) -> None:
    for head in (MICROJAM_CSV, "time,x,y\n", "time,device,x\n", "time,device,x,y,stroke\n", "time,device,x,y,pen\n"):
        assert not touch_csv.FORMAT.recognizes(tmp_path / "x.csv", head.encode())
    with pytest.raises(DataError, match="received no header with the columns time, x and y"):
        parse_bytes(tmp_path / "x.csv", b"1,2,3\n", FORMATS["touch-csv"])
