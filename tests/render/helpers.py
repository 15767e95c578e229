"""Helpers of the render tests: drawings and performances, and readers of the pictures."""

import io
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

import numpy as np
from defusedxml import ElementTree
from PIL import Image

from mdnrnn.data.strokes import Drawing
from mdnrnn.render.raster import figure_bytes
from mdnrnn.render.touch_performance import Performance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SVG = "{http://www.w3.org/2000/svg}"
FILE_STARTS = {".svg": b"<svg", ".png": b"\x89PNG", ".pdf": b"%PDF", ".gif": b"GIF89a"}
"""First bytes of the files of each picture format."""


def random_drawing(seed: int) -> Drawing:
    """Return 1 to 6 random walks of 2 to 40 points, far from the origin."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 41, size=rng.integers(1, 7))
    return [np.cumsum(rng.normal(size=(length, 2)), axis=0) * 7 + rng.normal(size=2) * 50 for length in lengths]


def random_performance(seed: int, touches: int = 60) -> Performance:
    """Return short moves inside the screen with log-normal times; one touch in six is a touch-down."""
    rng = np.random.default_rng(seed)
    positions = np.clip(0.5 + np.cumsum(rng.normal(0, 0.05, (touches, 2)), axis=0), 0, 1)
    seconds = np.concatenate([[0.0], np.cumsum(rng.lognormal(-3, 1, touches - 1))])
    return Performance(seconds, positions, np.concatenate([[True], rng.random(touches - 1) < 1 / 6]))


PERFORMANCES = [random_performance(seed) for seed in range(5)]
LONGEST = max(performance.duration for performance in PERFORMANCES)
ONE_TAP = Performance(np.zeros(1), np.array([[0.25, 0.75]]), np.array([True]))


def drawing_groups(svg: str) -> list[Element]:
    """Return the group of each drawing; its children are the paths of the strokes."""
    lines = ElementTree.fromstring(svg).find(f"{SVG}g")
    assert lines is not None
    return list(lines.findall(f"{SVG}g"))


def animation(path: Element, attribute: str) -> Element | None:
    """Return the animation of an attribute of a path."""
    return next((a for a in path if a.attrib["attributeName"] == attribute), None)


def key_times(element: Element) -> list[float]:
    """Return the key times of an animation, as fractions of the loop."""
    return [float(time) for time in element.attrib["keyTimes"].split(";")]


def without_animation(svg: str) -> bytes:
    """Return the SVG as XML without animations and the attribute that they need."""
    root = ElementTree.fromstring(svg)
    for path in root.iter(f"{SVG}path"):
        path.attrib.pop("pathLength", None)
        for child in list(path):
            path.remove(child)
    data: bytes = ElementTree.tostring(root)
    return data


def gif_frames(gif: bytes) -> tuple[list[np.ndarray], list[int]]:
    """Return the frames of a GIF as RGB arrays (height, width, 3), and their durations in milliseconds."""
    image = Image.open(io.BytesIO(gif))
    frames, durations = [], []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        frames.append(np.asarray(image.convert("RGB"), dtype=int))
        durations.append(image.info["duration"])
    return frames, durations


def gray_frames(gif: bytes) -> tuple[list[np.ndarray], list[int]]:
    """Return the frames of a GIF as gray levels 0 to 255, and their durations in milliseconds."""
    frames, durations = gif_frames(gif)
    images = [Image.fromarray(frame.astype(np.uint8)).convert("L") for frame in frames]
    return [np.asarray(image, dtype=int) for image in images], durations


def png_pixels(png: bytes, mode: str = "RGB") -> np.ndarray:
    """Return the pixels of a PNG as integers in an image mode of Pillow."""
    return np.asarray(Image.open(io.BytesIO(png)).convert(mode), dtype=int)


def draft_bytes(figure: "Figure", extension: str) -> bytes:
    """Return the content of a picture without ticks and layout, which take most of the time, at a low resolution."""
    figure.set_layout_engine("none")
    figure.set_dpi(36)
    for axes in figure.axes:
        axes.set(xticks=[], yticks=[])
    return figure_bytes(figure, extension)
