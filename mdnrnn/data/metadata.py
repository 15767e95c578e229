"""Metadata of a corpus: name, initial pen state, bin width, classes and features."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdnrnn.data.strokes import Start
from mdnrnn.data.unicode_text import to_nfc
from mdnrnn.errors import InputError

SPLITS = ("train", "valid", "test")
"""Names of the splits, in the order in which a corpus stores them."""
_HEADER_NAMES = {"bin_width": "quantum", "license": "licence"}
"""Fields that have a different name in a corpus file of format version 1, each with its name in the file."""


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Metadata of a corpus, stored in the corpus header and in the config of each run that is trained on the corpus."""

    name: str
    start: Start = "down"
    """Pen state before the first step: "down" (the first stroke starts at the origin) or "up" (the first step moves the
    lifted pen to the first point)."""
    bin_width: float | None = None
    """Bin width in raw units. All features except times are multiples of the bin width. None for continuous data."""
    units: str = "px"
    license: str = "unknown"
    source: str = ""
    classes: tuple[str, ...] = ()
    """Class names in Unicode form NFC, in the order of the labels; empty if there are no labels."""
    features: tuple[str, ...] = ()
    """Names of the motion columns. Empty if all columns are offsets, such as dx and dy in drawings.

    `dt` is the time since the preceding row, in seconds. It must be >= 0 in the first row of a sequence and > 0 in all
    other rows. If the first column is `dt`, the data are streams, which have no strokes and no END. If the first column
    is `z1`, the sequences are episodes of a world model, and END marks the end of an episode. The columns of episodes
    are the latents z1, z2, ... and, optionally, a reward.
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(map(to_nfc, self.classes)))
        object.__setattr__(self, "features", tuple(self.features))
        if self.start not in ("down", "up"):
            raise InputError(f"corpus {self.name}: start is {self.start!r}; expected 'down' or 'up'")
        if self.bin_width is not None and not (np.isfinite(self.bin_width) and self.bin_width > 0):
            raise InputError(f"corpus {self.name}: bin_width is {self.bin_width}; expected a positive number or None")

    @property
    def is_stream(self) -> bool:
        """Whether the data are streams of values over time, without strokes and without END."""
        return self.features[:1] == ("dt",)

    @property
    def is_touch(self) -> bool:
        """Whether the data are touch-screen performances."""
        return self.features == ("dx", "dy", "dt") and self.start == "up"

    @property
    def is_world(self) -> bool:
        """Whether the data are episodes of world-model latents."""
        return self.features[:1] == ("z1",)

    @property
    def is_drawing(self) -> bool:
        """Whether the first motion columns are the pen offsets dx and dy, as in drawings and touch performances."""
        return self.features[:2] in ((), ("dx", "dy"))

    @property
    def time_features(self) -> tuple[int, ...]:
        """Indices of the features called `dt`; usually one or none."""
        return tuple(i for i, name in enumerate(self.features) if name == "dt")

    def offset_features(self, count: int) -> tuple[int, ...]:
        """Return the indices of the offsets among `count` features; all indices if the features have no names.

        Offsets are the features whose cumulative sum is a position.
        """
        names = self.features or ("dx",) * count
        return tuple(i for i, name in enumerate(names) if name in ("dx", "dy"))

    def bin_widths(self, count: int) -> np.ndarray:
        """Return the bin width of each of `count` features, shape (count,), in raw units; 0 for continuous features."""
        widths = np.full(count, self.bin_width or 0.0)
        widths[list(self.time_features)] = 0
        return widths

    def class_index(self, name: str) -> int:
        """Return the label (class index) of the class `name`.

        Raises:
            InputError: if the corpus has no class with this name.
        """
        name = to_nfc(name)
        if not self.classes:
            raise InputError(f"label {name!r}: {self.name} has no labels; omit the label")
        if name not in self.classes:
            raise InputError(f"unknown label {name!r}; expected one of {', '.join(self.classes)}")
        return self.classes.index(name)

    def to_header(self) -> dict[str, Any]:
        """Return the fields as a dictionary, with the names used in a corpus file. Empty `features` are omitted."""
        fields = {_HEADER_NAMES.get(name, name): value for name, value in dataclasses.asdict(self).items()}
        return fields if self.features else {name: value for name, value in fields.items() if name != "features"}

    @classmethod
    def from_header(cls, fields: Mapping[str, Any]) -> Metadata:
        """Build metadata from the header of a corpus file; the inverse of `to_header`."""
        names = {stored: name for name, stored in _HEADER_NAMES.items()}
        return cls(**{names.get(name, name): value for name, value in fields.items()})
