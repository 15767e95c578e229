"""Unicode normalization of labels, texts and keys: one form for characters that look the same.

"é" is one character or, in decomposed form, "e" followed by a combining accent. macOS, for example, decomposes file
names. Without normalization the two forms would be two classes, and two sequences of characters for a model. The form
is NFC (Unicode Standard Annex 15), which composes characters where possible.
"""

from __future__ import annotations

import unicodedata
from typing import TypeVar

Text = TypeVar("Text", str, str | None)


def to_nfc(text: Text) -> Text:
    """Return a text in the normalization form NFC; None is returned unchanged."""
    return None if text is None else unicodedata.normalize("NFC", text)
