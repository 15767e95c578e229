"""Kinds of ink channels other than X and Y. The values of these channels are lost, because drawings have only x and y.

Sources of the names: InkML (https://www.w3.org/TR/InkML, section 3.2.1) and UNIPEN (Guyon 1994).
"""

from __future__ import annotations

_KINDS = {
    "T": "time", "TIME": "time",
    "F": "force", "FORCE": "force",
    "P": "pressure", "PRESSURE": "pressure",
    **dict.fromkeys(("OTX", "OTY", "OA", "OE", "OR", "RHO", "THETA", "PHI", "TX", "TY", "TILT"), "tilt"),
    **dict.fromkeys(("AZIMUTH", "ALTITUDE", "ELEVATION", "ROTATION", "TILTX", "TILTY"), "tilt"),
    "Z": "height", "B": "button",
}  # fmt: skip


def channel_kind(name: str) -> str:
    """Return the reason of the remark on the lost values of a channel, for example "time values"."""
    return f"{_KINDS.get(name.upper(), 'other channel')} values"
