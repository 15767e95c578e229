"""Fallback fonts in matplotlib figures, for characters that the font of a text does not contain."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

from mdnrnn.errors import InputWarning

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontEntry
    from matplotlib.ft2font import FT2Font
    from matplotlib.text import Text

_MAX_LISTED = 10
"""Maximum number of characters in a warning."""


def complete_fonts(figure: Figure) -> None:
    """Add fallback fonts to each text of a figure, so that all characters of the text can be drawn.

    If a character of a text is in none of the installed fonts, the text is hidden, because matplotlib would draw the
    character as a box. One `InputWarning` lists these characters.
    """
    missing: set[str] = set()
    for text in _visible_texts(figure):
        if text.get_text().isascii() and text.get_text().isprintable():
            continue
        lacking = {character for character in text.get_text() if not character.isspace()}
        for family in text.get_fontfamily():
            lacking -= _supported(_font_path(family), lacking)
        families = _families_with(frozenset(lacking))
        if families is None:
            missing |= {character for character in lacking if _families_with(frozenset(character)) is None}
            text.set_visible(False)  # for tick labels, whose text matplotlib sets again before drawing
            text.set_text("")  # for legends, which leave space for invisible texts, too
        elif families:
            text.set_fontfamily([*text.get_fontfamily(), *families])
    if missing:
        printable = (c if c.isprintable() else f"U+{ord(c):04X}" for c in sorted(missing)[:_MAX_LISTED])
        listed = " ".join(printable) + (" ..." if len(missing) > _MAX_LISTED else "")
        warnings.warn(
            f"captions with {listed} are missing in the picture, because no installed font has these characters; "
            "install a font that has them, or save as .svg, whose viewer chooses the fonts",
            InputWarning,
            stacklevel=3,
        )


def _visible_texts(figure: Figure) -> list[Text]:
    from matplotlib.text import Text

    for axes in figure.axes:  # sets the texts of tick labels, which are empty until matplotlib draws them
        axes.get_xticklabels()
        axes.get_yticklabels()
    texts: list[Text] = figure.findobj(Text)
    return [text for text in texts if text.get_text() and text.get_visible()]


@lru_cache(maxsize=256)
def _font_path(family: str) -> str:
    """Return the path of the upright font of normal weight in a font family.

    If the family is not installed, return the path of matplotlib's default font.
    """
    from matplotlib.font_manager import FontProperties, findfont

    return str(findfont(FontProperties(family=[family])))  # a string would be parsed as a fontconfig pattern


def _supported(path: str, characters: set[str]) -> set[str]:
    """Return the characters in `characters` that the font file `path` can draw."""
    return {character for character in characters if _can_draw(path, character)}


@lru_cache(maxsize=1 << 16)
def _can_draw(path: str, character: str) -> bool:
    font = _open_font(path)
    if font is None or not font.get_char_index(ord(character)):
        return False
    try:
        font.load_char(ord(character))
    except RuntimeError:
        return False
    return True


@lru_cache(maxsize=4)
def _open_font(path: str) -> FT2Font | None:
    """Open a font file and set a fixed size. Return None if this fails, as for bitmap fonts of emoji."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        font.set_size(12, 72)
    except (OSError, RuntimeError):
        return None
    return font


@lru_cache(maxsize=256)
def _families_with(characters: frozenset[str]) -> tuple[str, ...] | None:
    """Return installed font families that together have all characters; None if a character is in no installed font.

    Families are selected one after the other: each has the largest number of the remaining characters. If several
    families have the largest number, the first in alphabetical order is selected, so that results are reproducible.
    """
    from matplotlib.font_manager import fontManager

    installed = sorted({(font.name, font.fname) for font in fontManager.ttflist if _is_text_font(font)})
    families, lacking = [], set(characters)
    while lacking:
        known = [(len(_supported(path, lacking)), name, path) for name, path in installed]
        count, name, path = max(known, key=lambda each: each[0], default=(0, "", ""))
        if not count:
            return None
        families.append(name)
        lacking -= _supported(path, lacking)
    return tuple(families)


def _is_text_font(font: FontEntry) -> bool:
    """Return whether a font is upright, has normal weight, and is the font that matplotlib finds by its family name.

    "Last resort" fonts are excluded, because they draw placeholders instead of characters.
    """
    is_regular = font.style == "normal" and str(font.weight) in ("400", "normal", "regular", "book")
    return is_regular and "lastresort" not in font.name.lower().replace(" ", "") and _font_path(font.name) == font.fname
