"""Unicode normalization of labels, texts and keys: equivalent sequences of characters become equal.

"é" is one character or, in decomposed form, "e" followed by a combining accent. macOS, for example, decomposes file
names. Without normalization, a class name in both forms would be two classes, and a text in both forms would be two
different inputs of a model. Texts are converted to the form NFC (Unicode Standard Annex 15), which composes characters
where possible.
"""

from __future__ import annotations

import unicodedata
from typing import TypeVar

Text = TypeVar("Text", str, str | None)


def to_nfc(text: Text) -> Text:
    """Return a text in the normalization form NFC; None is returned unchanged."""
    return None if text is None else unicodedata.normalize("NFC", text)
