"""Pen text: lines of text in simulated handwriting, from the single-line fonts of A. V. Hershey (1967).

x increases to the right and y downward; the baseline is y = 0. The cap height is 21 font units, the x-height 14.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from HersheyFonts import HersheyFonts

from mdnrnn.data.strokes import Drawing, resample
from mdnrnn.errors import InputError

Script = Literal["printed", "joined"]

_FONTS: dict[Script, str] = {"printed": "futural", "joined": "scripts"}
_BASELINE = 9
_DOT_SIZE = 4.0
"""Size below which a ring is replaced by a dot, in font units. The fonts draw dots as small rings."""
_JOIN_DISTANCE = 3.6
"""Gap in font units below which two consecutive strokes of joined script are joined."""
_PATH_SPACING = 0.5
"""Maximum spacing of the points of a stroke before the stroke is sampled at equal time intervals, in font units."""
_MIN_SPEED = 0.35
"""Minimum pen speed, reached in sharp turns, relative to the speed on a straight line."""


@dataclass(frozen=True, kw_only=True)
class Writer:
    """Parameters of one person's handwriting."""

    script: Script
    slant: float
    """Slant to the right in degrees, in addition to the slant of the font."""
    width: float
    """Width of letters, as a multiple of the width in the font."""
    size: float
    """Page units per font unit. With size 2, the x-height is 28 page units."""
    spacing: float
    """Additional space between letters, in font units."""
    gap: float
    """Width of the space character, as a multiple of the default: the width in the font times the field `width`."""
    drift: float
    """Angle of the baseline in degrees; positive if the baseline descends to the right."""
    sway: float
    """Amplitude of the waves of the baseline, in font units."""
    wobble: float
    """Amplitude of random deviations of the pen, with a wavelength of about one letter, in font units."""
    softness: float
    """Arc length over which corners are rounded, in font units."""
    stride: float
    """Distance between consecutive points of a straight stroke, in font units."""

    @classmethod
    def sample(cls, rng: np.random.Generator, script: Script | None = None) -> Writer:
        """Sample a random writer. Without `script`, the script is "printed" with probability 2/3, else "joined"."""
        return cls(
            script=script or ("printed" if rng.random() < 2 / 3 else "joined"),
            slant=float(rng.normal(4, 9)),
            width=float(rng.uniform(0.75, 1.2)),
            size=float(rng.uniform(1.6, 2.6)),
            spacing=float(rng.uniform(-0.5, 3.0)),
            gap=float(rng.uniform(0.8, 1.4)),
            drift=float(rng.normal(0, 0.7)),
            sway=float(rng.uniform(0.1, 0.8)),
            wobble=float(rng.uniform(0.1, 0.55)),
            softness=float(rng.uniform(0.5, 1.6)),
            stride=float(rng.uniform(3.6, 5.2)),
        )


def alphabet() -> str:
    """Return the supported characters, sorted: the printable ASCII characters that both fonts contain."""
    return "".join(sorted(set(_glyphs("printed")) & set(_glyphs("joined"))))


def write(text: str, writer: Writer, rng: np.random.Generator) -> Drawing:
    """Return a text in simulated handwriting: strokes of integer points (n, 2), in page units.

    Args:
        text: text that consists of characters in `alphabet()`.
        writer: parameters of the handwriting.
        rng: random generator for the variation between repetitions of a text.

    Raises:
        InputError: if the text is blank or has unsupported characters.
    """
    unknown = sorted(set(text) - set(alphabet()))
    if unknown or not text.strip():
        raise InputError(f"text {text!r}: received {unknown or 'a blank text'}, expected printable ASCII characters")
    paths = [_path(stroke, writer, rng) for stroke in _typeset(text, writer, rng)]
    points = _to_page(np.concatenate(paths), writer, rng)
    strokes = np.split(points, np.cumsum([len(path) for path in paths])[:-1])
    return [_round_to_grid(stroke) for stroke in strokes]


def _typeset(text: str, writer: Writer, rng: np.random.Generator) -> Drawing:
    """Place the characters side by side. In joined script, join consecutive strokes with a small gap between them."""
    strokes: Drawing = []
    glyphs, x, is_joined = _glyphs(writer.script), 0.0, writer.script == "joined"
    for character in text:
        width, glyph_strokes = glyphs[character]
        shear, scale = rng.normal(0, 0.03), 1 + rng.normal(0, 0.03)
        for stroke in glyph_strokes:
            letter = stroke * (writer.width * scale, scale)
            letter = letter - np.outer(letter[:, 1], (shear, 0)) + (x, rng.normal(0, 0.15))
            can_join = is_joined and len(letter) > 1 and len(strokes) > 0 and len(strokes[-1]) > 1
            if can_join and np.abs(letter[0] - strokes[-1][-1]).max() < _JOIN_DISTANCE:
                strokes[-1] = np.concatenate([strokes[-1], letter])
            else:
                strokes.append(letter)
        x += width * writer.width * (writer.gap if character == " " else 1.0)
        x += 0.0 if is_joined and character.isalpha() else writer.spacing
        x += rng.normal(0, 0.1 if is_joined else 0.35)
    return strokes


def _path(stroke: np.ndarray, writer: Writer, rng: np.random.Generator) -> np.ndarray:
    """Simulate the pen movement along a stroke and return the pen positions at equal time intervals.

    At high curvature, the pen speed is proportional to curvature^(-1/3) (Lacquaniti, Terzuolo and Viviani 1983, "The
    law relating the kinematic and figural aspects of drawing movements").
    """
    if len(stroke) == 1:
        return stroke
    dense, _ = resample(stroke, _PATH_SPACING)
    path = _smooth(dense, writer.softness / _PATH_SPACING)
    path = path + writer.wobble * _smooth_noise(rng, len(path), 9 / _PATH_SPACING)
    segments = np.diff(path, axis=0)
    length = np.hypot(*segments.T) + 1e-9
    turn = np.abs(np.angle(np.exp(1j * np.diff(np.unwrap(np.arctan2(segments[:, 1], segments[:, 0]))))))
    curvature = np.pad(turn / (0.5 * (length[1:] + length[:-1])), 1, mode="edge")
    curvature = _smooth(0.5 * (curvature[1:] + curvature[:-1])[:, None], 1.0 / _PATH_SPACING)[:, 0]
    speed = np.maximum(_MIN_SPEED, (1 + (curvature / 0.05) ** 2) ** (-1 / 6))
    time = np.concatenate([[0.0], np.cumsum(length / speed)])
    steps = max(1, round(time[-1] / writer.stride))
    times = np.linspace(0, time[-1], steps + 1)
    return np.stack([np.interp(times, time, path[:, i]) for i in (0, 1)], axis=1)


def _to_page(points: np.ndarray, writer: Writer, rng: np.random.Generator) -> np.ndarray:
    """Slant the points (n, 2) of a line of text, bend and tilt its baseline, and convert the points to page units."""
    x, y = points[:, 0], points[:, 1]
    wave = writer.sway * np.sin(2 * np.pi * (x / rng.uniform(60, 160) + rng.random()))
    slanted = x - np.tan(np.radians(writer.slant)) * y
    return writer.size * np.stack([slanted, y + wave + np.tan(np.radians(writer.drift)) * x], axis=1)


def _smooth(path: np.ndarray, radius: float) -> np.ndarray:
    """Smooth a path (n, F) by a triangular window of about `radius` points on either side. The end points are kept."""
    reach = round(radius)
    if reach < 1 or len(path) < 3:
        return path
    weights = reach + 1.0 - np.abs(np.arange(-reach, reach + 1))
    # Extend the path by point reflection at its ends, which keeps the end points in place.
    before, after = 2 * path[:1] - path[reach:0:-1], 2 * path[-1:] - path[-2 : -2 - reach : -1]
    if len(before) < reach or len(after) < reach:
        return path
    extended = np.concatenate([before, path, after])
    return np.stack([np.convolve(feature, weights / weights.sum(), "valid") for feature in extended.T], axis=1)


def _smooth_noise(rng: np.random.Generator, points: int, length: float) -> np.ndarray:
    """Return smooth noise (points, 2) with a variance of at most 0.5.

    The noise interpolates between independent random values at intervals of `length` points.
    """
    knots = int(np.ceil(points / length)) + 2
    values = np.clip(rng.normal(0, 0.7, (knots, 2)), -2, 2)
    position = np.arange(points) / length
    knot = position.astype(int)
    weight = ((1 - np.cos(np.pi * (position - knot))) / 2)[:, None]
    return (1 - weight) * values[knot] + weight * values[knot + 1]


def _round_to_grid(stroke: np.ndarray) -> np.ndarray:
    """Round the points (n, 2) of a stroke to integers and remove consecutive duplicates."""
    points = np.rint(stroke).astype(np.int64)
    return points[np.concatenate([[True], np.any(points[1:] != points[:-1], axis=1)])]


@cache
def _glyphs(script: Script) -> dict[str, tuple[float, Drawing]]:
    """Return the width and the strokes of every printable ASCII character, in font units.

    The left edge of a character is at x = 0 and the baseline at y = 0.
    """
    font = HersheyFonts(load_default_font=_FONTS[script])
    glyphs = {}
    for character, glyph in font.all_glyphs.items():
        strokes = [np.array(stroke, float) - (glyph.left_offset, _BASELINE) for stroke in glyph.strokes]
        glyphs[str(character)] = (float(glyph.char_width), [_collapse_dot(stroke) for stroke in strokes])
    return {character: glyph for character, glyph in glyphs.items() if len(character) == 1 and " " <= character <= "~"}


def _collapse_dot(stroke: np.ndarray) -> np.ndarray:
    """Replace a small ring, which represents a dot, by its center. Other strokes are returned unchanged."""
    is_dot = np.ptp(stroke, axis=0).max() < _DOT_SIZE and len(stroke) > 4
    return stroke.mean(0, keepdims=True) if is_dot else stroke
