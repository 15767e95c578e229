"""Names of folders: conversion of class names to folder names and back, and names that mean a split, such as "train".

Characters that a folder name cannot contain are percent-encoded, as in a URL: the class "a/b" has the folder "a%2fb".
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

SPLIT_NAMES = {
    "train": "train", "training": "train",
    "valid": "valid", "validation": "valid", "val": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Name of a folder or file, in lower case -> split that the name means."""
_INVALID = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|%\ud800-\udfff]|^\.|[. ]$')


def to_folder_name(class_name: str) -> str:
    """Return a folder name from which `from_folder_name` restores the class name.

    The first character of a name such as "train" is encoded, too, because a folder called "train" can be a split.
    """
    name = _INVALID.sub(lambda match: _encode(match[0]), class_name)
    if name.lower() in SPLIT_NAMES:
        name = _encode(name[0]) + name[1:]
    return name or "%"


def from_folder_name(name: str) -> str:
    """Return the class name of a folder: the inverse of `to_folder_name`.

    A folder name that `to_folder_name` cannot return is returned unchanged.
    """
    if "%" not in name:
        return name
    try:
        class_name = "" if name == "%" else unquote_to_bytes(name).decode(errors="surrogatepass")
    except UnicodeError:
        return name
    return class_name if to_folder_name(class_name) == name else name


def _encode(character: str) -> str:
    return "".join(f"%{byte:02x}" for byte in character.encode(errors="surrogatepass"))
