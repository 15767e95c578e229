"""Writer of sketch-rnn `.npz` files; `sketchrnn.py` describes the format."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.metadata import SPLITS
from mdnrnn.errors import InputError
from mdnrnn.files.atomic import atomic_file
from mdnrnn.pen_events import DOWN


def write(corpus: Corpus, path: Path) -> None:
    """Write an `.npz` file for the original sketch-rnn tools.

    Each split is an object array that contains one array (T, 3) per drawing. The arrays (T, 3) are int16, or float32 if
    the coordinates are not integers. Labels and texts are lost, because the format has none.

    Raises:
        InputError: the corpus does not consist of drawings that start with the pen down, or integer offsets exceed the
            range of int16.
    """
    name = corpus.metadata.name
    if corpus.metadata.start != "down" or corpus.motion.shape[1] != 2:
        raise InputError(f"{name} is not a corpus of drawings that start with the pen down; choose another format")
    integers = corpus.motion.dtype.kind in "iu" or corpus.metadata.bin_width == 1
    if integers and len(corpus.motion) and max(-int(corpus.motion.min()), int(corpus.motion.max())) >= 2**15:
        raise InputError(
            f"{name} has offsets over 32767, the int16 maximum of this format; import the drawings with --box"
        )
    splits = [split for split, (first, last) in corpus.splits.items() if split in SPLITS and first < last]
    firsts = corpus.offsets[:-1]
    # If every sequence begins with a zero step, the reader would mistake this step for the origin. In this case, write
    # the origin as an additional row 0.
    origin = not np.asarray(corpus.motion[firsts]).any() and not np.asarray(corpus.event[firsts]).any()
    dtype = np.int16 if integers else np.float32
    arrays = {split: _object_array(corpus, split, dtype, origin) for split in splits}
    with atomic_file(path) as file:
        _write_archive(file, arrays)


def _object_array(corpus: Corpus, split: str, dtype: type[np.generic], origin: bool) -> np.ndarray:
    first, last = corpus.splits[split]
    records = np.empty(last - first, dtype=object)
    for i in range(first, last):
        motion, event = corpus[i][:2]
        rows = np.zeros((origin + len(event), 3), dtype)
        rows[origin:, :2] = np.rint(motion) if np.issubdtype(dtype, np.integer) else motion
        rows[origin:, 2] = event != DOWN
        rows[-1, 2] = 1
        records[i - first] = rows
    return records


def _write_archive(file: BinaryIO, arrays: dict[str, np.ndarray]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, records in arrays.items():
            # ZipInfo sets a fixed date, so that equal corpora give identical files.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                header = {"descr": "|O", "fortran_order": False, "shape": records.shape}
                np.lib.format.write_array_header_1_0(member, header)
                # Protocol 2 is the latest one of Python 2. The older module name `numpy.core` is for NumPy 1.
                data = pickle.dumps(records, protocol=2)
                member.write(data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1))
