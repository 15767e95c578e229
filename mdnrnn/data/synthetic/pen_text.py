"""Pen text: lines of text as simulated hands write them, in the single-line fonts of A. V. Hershey (1967).

Coordinates: x to the right, y down, the baseline at 0; the font's capitals are 21 units high, its small letters 14.
A stroke is a float array (n, 2) in pen order, n = 1 a dot.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from HersheyFonts import HersheyFonts

from mdnrnn.data.strokes import resample
from mdnrnn.errors import InputError

Strokes = list[np.ndarray]
Script = Literal["printed", "joined"]

_FONTS: dict[Script, str] = {"printed": "futural", "joined": "scripts"}
_BASELINE = 9
_DOT = 4.0
"""Font units: a smaller stroke is a dot; the fonts have rings there."""
_NEAR = 3.6
"""Font units between the end of a stroke and the start of the next that a joined hand does not lift for."""
_DENSE = 0.5
"""Font units between the points of the path that a pen follows."""
_SLOWEST = 0.35
"""The least speed, in sharp turns, as a share of that along a straight line."""


@dataclass(frozen=True, kw_only=True)
class Writer:
    """The habits of one hand."""

    script: Script
    slant: float
    """Degrees from upright to the right, beside that of the font."""
    width: float
    """Of letters, in that of the font."""
    size: float
    """Units of the page that a font unit is long: 2 makes small letters 28 high."""
    spacing: float
    """Font units between letters beside those of the font."""
    gap: float
    """Of the space between words, in that of the font."""
    drift: float
    """Rise of the baseline, degrees to the right and down."""
    sway: float
    """Font units that the baseline waves."""
    wobble: float
    """Font units that the pen strays, in waves about as long as a letter."""
    softness: float
    """Font units along the path that corners are rounded over."""
    stride: float
    """Font units that the pen goes along a straight line between two points."""

    @classmethod
    def drawn(cls, rng: np.random.Generator, script: Script | None = None) -> Writer:
        """Somebody; two in three print, unless a script is given."""
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
    """The characters that can be written: those of ASCII that the fonts have, the space first."""
    return "".join(sorted(set(_glyphs("printed")) & set(_glyphs("joined"))))


def write(text: str, writer: Writer, rng: np.random.Generator) -> Strokes:
    """`text` by `writer`, units of the page, integers (n, 2); another time, other accidents."""
    unknown = sorted(set(text) - set(alphabet()))
    if unknown or not text.strip():
        raise InputError(f"text {text!r}: received {unknown or 'nothing to write'}, expected characters of ASCII")
    paths = [_path(stroke, writer, rng) for stroke in _set(text, writer, rng)]
    points = _on_page(np.concatenate(paths), writer, rng)
    strokes = np.split(points, np.cumsum([len(path) for path in paths])[:-1])
    return [_on_grid(stroke) for stroke in strokes]


def _set(text: str, writer: Writer, rng: np.random.Generator) -> Strokes:
    """The strokes of a text as the font has them, side by side, those joined that the hand does not lift between."""
    strokes: Strokes = []
    glyphs, x, joined = _glyphs(writer.script), 0.0, writer.script == "joined"
    for character in text:
        width, own = glyphs[character]
        lean, grow = rng.normal(0, 0.03), 1 + rng.normal(0, 0.03)
        for stroke in own:
            letter = stroke * (writer.width * grow, grow)
            letter = letter - np.outer(letter[:, 1], (lean, 0)) + (x, rng.normal(0, 0.15))
            lines = joined and len(letter) > 1 and len(strokes) > 0 and len(strokes[-1]) > 1
            if lines and np.abs(letter[0] - strokes[-1][-1]).max() < _NEAR:
                strokes[-1] = np.concatenate([strokes[-1], letter])
            else:
                strokes.append(letter)
        x += width * writer.width * (writer.gap if character == " " else 1.0)
        x += 0.0 if joined and character.isalpha() else writer.spacing
        x += rng.normal(0, 0.1 if joined else 0.35)
    return strokes


def _path(stroke: np.ndarray, writer: Writer, rng: np.random.Generator) -> np.ndarray:
    """A stroke as the hand follows it, at points equal times apart.

    Speed falls with curvature to the power of a third (Lacquaniti, Terzuolo and Viviani 1983, "The law relating the
    kinematic and figural aspects of drawing movements").
    """
    if len(stroke) == 1:
        return stroke
    dense, _ = resample(stroke, _DENSE)
    soft = _smooth(dense, writer.softness / _DENSE)
    soft = soft + writer.wobble * _waves(rng, len(soft), 9 / _DENSE)
    way = np.diff(soft, axis=0)
    length = np.hypot(*way.T) + 1e-9
    turn = np.abs(np.angle(np.exp(1j * np.diff(np.unwrap(np.arctan2(way[:, 1], way[:, 0]))))))
    curvature = np.pad(turn / (0.5 * (length[1:] + length[:-1])), 1, mode="edge")
    curvature = _smooth(0.5 * (curvature[1:] + curvature[:-1])[:, None], 1.0 / _DENSE)[:, 0]
    speed = np.maximum(_SLOWEST, (1 + (curvature / 0.05) ** 2) ** (-1 / 6))
    time = np.concatenate([[0.0], np.cumsum(length / speed)])
    steps = max(1, round(time[-1] / writer.stride))
    at = np.linspace(0, time[-1], steps + 1)
    return np.stack([np.interp(at, time, soft[:, i]) for i in (0, 1)], axis=1)


def _on_page(points: np.ndarray, writer: Writer, rng: np.random.Generator) -> np.ndarray:
    """Points (n, 2) of a line slanted, on a baseline that waves and drifts, in units of the page."""
    x, y = points[:, 0], points[:, 1]
    wave = writer.sway * np.sin(2 * np.pi * (x / rng.uniform(60, 160) + rng.random()))
    slanted = x - np.tan(np.radians(writer.slant)) * y
    return writer.size * np.stack([slanted, y + wave + np.tan(np.radians(writer.drift)) * x], axis=1)


def _smooth(path: np.ndarray, radius: float) -> np.ndarray:
    """A path (n, F) under a triangular window of about `radius` points either way; the ends stay."""
    reach = round(radius)
    if reach < 1 or len(path) < 3:
        return path
    weights = reach + 1.0 - np.abs(np.arange(-reach, reach + 1))
    # Beyond its ends the path goes on as its reflection in them.
    before, after = 2 * path[:1] - path[reach:0:-1], 2 * path[-1:] - path[-2 : -2 - reach : -1]
    if len(before) < reach or len(after) < reach:
        return path
    whole = np.concatenate([before, path, after])
    return np.stack([np.convolve(feature, weights / weights.sum(), "valid") for feature in whole.T], axis=1)


def _waves(rng: np.random.Generator, points: int, length: float) -> np.ndarray:
    """Smooth noise (points, 2) of variance 1 at most, its waves about `length` points long."""
    knots = int(np.ceil(points / length)) + 2
    values = np.clip(rng.normal(0, 0.7, (knots, 2)), -2, 2)
    at = np.arange(points) / length
    low = at.astype(int)
    share = ((1 - np.cos(np.pi * (at - low))) / 2)[:, None]
    return (1 - share) * values[low] + share * values[low + 1]


def _on_grid(stroke: np.ndarray) -> np.ndarray:
    """Integer points (n, 2); two in a row never coincide."""
    points = np.rint(stroke).astype(np.int64)
    return points[np.concatenate([[True], np.any(points[1:] != points[:-1], axis=1)])]


@cache
def _glyphs(script: Script) -> dict[str, tuple[float, Strokes]]:
    """Every character's width and strokes, font units, its left edge at 0 and the baseline at 0."""
    font = HersheyFonts(load_default_font=_FONTS[script])
    glyphs = {}
    for character, glyph in font.all_glyphs.items():
        strokes = [np.array(stroke, float) - (glyph.left_offset, _BASELINE) for stroke in glyph.strokes]
        glyphs[str(character)] = (float(glyph.char_width), [_dotted(stroke) for stroke in strokes])
    return {character: glyph for character, glyph in glyphs.items() if len(character) == 1 and " " <= character <= "~"}


def _dotted(stroke: np.ndarray) -> np.ndarray:
    """A ring as small as a dot, as a dot."""
    small = np.ptp(stroke, axis=0).max() < _DOT and len(stroke) > 4
    return stroke.mean(0, keepdims=True) if small else stroke
