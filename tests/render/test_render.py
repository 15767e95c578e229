"""Saving pictures: the ending picks the format; a file is written as a whole or not at all."""

from pathlib import Path

import numpy as np
import pytest

from mdnrnn.render import ENDINGS, Drawing, Style, render, save_picture, to_animated_svg, to_gif, to_svg

MAGIC = {".svg": b"<svg", ".png": b"\x89PNG", ".pdf": b"%PDF", ".gif": b"GIF89a"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_ending_picks_the_format_and_the_bytes_are_the_same_each_time(
    tmp_path: Path, drawings: list[Drawing], ending: str
) -> None:
    options = {"style": Style(color="order"), "columns": 2, "labels": ["a", "b", "c"]}
    path = tmp_path / f"picture{ending.upper()}"
    save_picture(drawings[:3], path, **options)  # type: ignore[arg-type]
    data = path.read_bytes()
    assert data.startswith(MAGIC[ending])
    assert data == render(drawings[:3], ending, **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == [path]


def test_animate_moves_an_svg_and_changes_nothing_in_a_gif(drawings: list[Drawing]) -> None:
    assert render(drawings, ".svg").decode() == to_svg(drawings)
    assert render(drawings, ".svg", animate=True).decode() == to_animated_svg(drawings)
    assert render(drawings[:1], ".gif") == render(drawings[:1], ".gif", animate=True) == to_gif(drawings[:1])


@pytest.mark.parametrize(
    ("name", "animate", "expected"),
    [
        ("a.bmp", False, ".svg, .png, .pdf, .gif"),
        ("a", False, ".svg, .png, .pdf, .gif"),
        ("a.png", True, ".svg, .gif"),
    ],
)
def test_another_ending_is_refused_in_one_line(tmp_path: Path, name: str, animate: bool, expected: str) -> None:
    with pytest.raises(ValueError, match=r": received ending '.*expected one of ") as error:
        save_picture([], tmp_path / name, animate=animate)
    message = str(error.value)
    assert message.startswith(str(tmp_path / name))
    assert message.endswith(expected)
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_a_drawing_that_cannot_be_drawn_leaves_the_old_file(tmp_path: Path, drawings: list[Drawing]) -> None:
    path = tmp_path / "picture.svg"
    path.write_text("old")
    with pytest.raises(ValueError, match="drawing 0, stroke 0"):
        save_picture([[np.array([[0.0, np.nan]])]], path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_to_draw_makes_a_file_too(ending: str) -> None:
    assert render([], ending).startswith(MAGIC[ending])
    assert render([[]], ending).startswith(MAGIC[ending])
