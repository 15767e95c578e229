"""Formats of stroke data: each module tells whether it `recognises` a path, and can `read` it into a Corpus."""

import zipfile
import zlib
from pathlib import Path

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native, sketchrnn
from mdnrnn.errors import InputError

FORMATS = (native, sketchrnn)


def read(path: Path) -> Corpus:
    """Read a file or folder of any known format."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; expected a corpus or a catalog name (mdnrnn data list)")
    try:
        for form in FORMATS:
            if form.recognises(path):
                return form.read(path)
    except InputError:
        raise
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    raise InputError(f"{path}: {_what_is_wrong(path)}; expected a sketch-rnn .npz or an mdnrnn corpus")


def _what_is_wrong(path: Path) -> str:
    if path.is_dir():
        return "the folder holds no header.json"
    if path.stat().st_size == 0:
        return "the file is empty"
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            return "the .npz is cut short, or has none of the keys train, valid, test"
    return "not an .npz file"
