"""`mdnrnn presets`: list the presets of `mdnrnn train`."""

from __future__ import annotations

from dataclasses import dataclass

from mdnrnn.cli.options import Json, parse, print_json
from mdnrnn.runs.presets import KINDS, PRESETS, Preset, format_sizes

_DATA = {"drawing": "drawings", "touch": "touch performances", "stream": "gesture streams", "world": "world models"}


@dataclass(frozen=True, kw_only=True)
class PresetsOptions:
    """List the presets of mdnrnn train: model, sizes, kind of data, typical training time, and purpose.

    The time is for two CPU cores and thousands of sequences.
    """

    json: Json = False


def main(arguments: list[str]) -> int:
    """Print one line per preset."""
    options = parse(PresetsOptions, "presets", arguments)
    if options.json:
        print_json(
            [
                {
                    "name": name,
                    "kind": preset.kind,
                    "model_class": KINDS[preset.kind].class_name,
                    "sizes": preset.sizes,
                    "data": preset.data,
                    "minutes": preset.minutes,
                    "description": preset.description,
                }
                for name, preset in PRESETS.items()
            ]
        )
        return 0
    rows = [
        (
            name,
            KINDS[preset.kind].class_name,
            _describe_data(preset),
            f"{preset.minutes:g} min",
            format_sizes(preset.sizes),
        )
        for name, preset in PRESETS.items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _describe_data(preset: Preset) -> str:
    return "lines with texts" if preset.kind == "handwriting" else _DATA[preset.data]
