"""Lightpad logs: rows (dt, x, y, z)."""

from pathlib import Path

import numpy as np
import pytest

from mdnrnn.data.formats import lightpad
from tests.data.formats.samples import LIGHTPAD_LOG, parse_chunks, performance_formats, write_text

ROWS = np.array([[0, 29, 88, 4], [0.019394, 29, 30, 1], [8.811069, 0, 127, 0]])


@pytest.mark.parametrize("header", [True, False])
def test_log_is_a_stream_of_position_and_pressure(tmp_path: Path, header: bool) -> None:
    path = write_text(tmp_path / "pad.txt", LIGHTPAD_LOG if header else LIGHTPAD_LOG.partition("\n")[2])
    assert performance_formats(path) == ["Lightpad log"]
    drawings = lightpad.FORMAT.parse(path)
    np.testing.assert_allclose(drawings.points, ROWS, atol=1e-12)
    assert not drawings.repaired


@pytest.mark.parametrize(
    "line", ["34.22, 127.0.0.1, /block 1 2", "34.22, 127.0.0.1, /light 1 2 3", "34.22", "1e300, a, /block 1 2 3"]
)
def test_other_messages_are_left_out_and_reported(tmp_path: Path, line: str) -> None:
    path = write_text(tmp_path / "pad.txt", LIGHTPAD_LOG.replace("34.236", f"{line}\n34.236"))
    drawings = lightpad.FORMAT.parse(path)
    np.testing.assert_allclose(drawings.points, ROWS, atol=1e-12)
    details = [remark.detail for remark in drawings.repaired]
    assert details == [f"{path}, line 3: expected time, ip, /block x y z; ignored"]


@pytest.mark.shared
def test_real_log_is_read_completely(shared_data: Path) -> None:
    path = shared_data / "touch" / "lightpad-block-perf1.txt"
    assert performance_formats(path) == ["Lightpad log"]
    (drawings,) = parse_chunks(lightpad.FORMAT, path)
    assert drawings.points.shape == (10_730, 4)
    assert drawings.points.min() == 0
    assert drawings.points[:, 1:].max() == 127
    assert drawings.points[:, 0].sum() == pytest.approx(349.003907 - 34.217415)
    assert not drawings.dropped + drawings.repaired
