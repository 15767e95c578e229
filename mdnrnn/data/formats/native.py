"""Corpus files of this project: arrays and a JSON header, in one `.npz` or a folder of `.npy` files, without pickles.

The members of an `.npz` are uncompressed, so that its arrays can be memory-mapped like those of a folder. Opening a
corpus reads only headers.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.drawings import DrawingBatch, Record
from mdnrnn.data.formats.arrays import archive_names, convert_errors, read_npy_header
from mdnrnn.data.formats.format import Format, StepLayout
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.strokes import Drawing, to_polylines
from mdnrnn.errors import DataError, InputError
from mdnrnn.files.atomic import atomic_file, atomic_path, make_folder, write_json
from mdnrnn.files.regular import parse_json

VERSION = "mdnrnn corpus 1"
HEADER = "header.json"
_REQUIRED = ("motion", "event", "offsets")
_OPTIONAL = ("label", "inputs", "text", "text_offsets", "writer", "logvar", "context")
_MAX_HEADER_BYTES = 16 << 20
_CHUNK_SEQUENCES = 1024


def recognizes(path: Path, head: bytes = b"PK") -> bool:
    """Return whether `path` is a corpus folder, or an `.npz` with the header of a corpus."""
    if path.is_dir():
        return os.path.isfile(path / HEADER)  # also False if the folder cannot be searched
    return head.startswith(b"PK") and HEADER in archive_names(path)


def read(path: Path) -> Corpus:
    """Open a corpus; its arrays are memory maps.

    Raises:
        DataError: the corpus is damaged.
    """
    if path.is_dir():
        with convert_errors(str(path)):
            _check_header_size(path, (path / HEADER).stat().st_size)
            return _to_corpus(path, (path / HEADER).read_bytes(), lambda name: _map_file(path / f"{name}.npy"))
    with convert_errors(str(path)), zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        _check_header_size(path, archive.getinfo(HEADER).file_size)
        return _to_corpus(
            path,
            archive.read(HEADER),
            lambda name: _map_member(path, archive, f"{name}.npy") if f"{name}.npy" in names else None,
        )


def _check_header_size(path: Path, size: int) -> None:
    if size > _MAX_HEADER_BYTES:
        raise DataError(
            f"{path}: its header has {size} bytes; expected at most {_MAX_HEADER_BYTES}; import the corpus again"
        )


def make_header(metadata: Metadata, splits: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """Return the content of `header.json`.

    Args:
        metadata: metadata of the corpus.
        splits: for each split, the index of its first sequence and the index after its last sequence.
    """
    return {"format": VERSION, "facts": metadata.to_header(), "splits": dict(splits)}


def write(corpus: Corpus, path: Path | str) -> None:
    """Write a corpus atomically. If `path` ends in `.npz`, the corpus is one file; otherwise it is a folder.

    Raises:
        InputError: `path` cannot be written.
    """
    path, header = Path(path), make_header(corpus.metadata, corpus.splits)
    arrays: dict[str, Any] = {name: getattr(corpus, name) for name in (*_REQUIRED, *_OPTIONAL)}
    writers = {name: _array_writer(array) for name, array in arrays.items() if array is not None}
    if path.suffix.lower() == ".npz":
        with atomic_file(path) as file:
            _write_archive(file, header, writers)
        return
    make_folder(path.parent)
    with atomic_path(path) as folder:
        folder.mkdir()
        for name, write_array in writers.items():
            with atomic_file(folder / f"{name}.npy") as file:
                write_array(file)
        write_json(folder / HEADER, header)


def zip_folder(folder: Path, path: Path) -> None:
    """Write the corpus in `folder` to the `.npz` file `path`, in constant memory."""
    header = json.loads((folder / HEADER).read_bytes())
    names = [name for name in (*_REQUIRED, *_OPTIONAL) if (folder / f"{name}.npy").exists()]
    with atomic_file(path) as file:
        _write_archive(file, header, {name: _file_copier(folder / f"{name}.npy") for name in names})


def _array_writer(array: np.ndarray) -> Callable[[IO[bytes]], object]:
    return lambda file: np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def _file_copier(path: Path) -> Callable[[IO[bytes]], object]:
    def copy(member: IO[bytes]) -> None:
        with path.open("rb") as file:
            shutil.copyfileobj(file, member, 1 << 20)

    return copy


def _write_archive(file: BinaryIO, header: dict[str, Any], writers: dict[str, Callable[[IO[bytes]], object]]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        # ZipInfo sets a fixed date, so that equal corpora give identical files.
        for name, write_array in writers.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                write_array(member)
        archive.writestr(zipfile.ZipInfo(HEADER), json.dumps(header))


def _to_corpus(path: Path, header: bytes, load: Callable[[str], np.ndarray | None]) -> Corpus:
    try:
        fields = parse_json(header)
        if fields["format"] != VERSION:
            raise DataError(
                f"{path}: its format is {fields['format']!r}; expected {VERSION!r}; update mdnrnn, or import the data "
                "again"
            )
        metadata = Metadata.from_header(fields["facts"])
        splits = {str(name): (int(first), int(last)) for name, (first, last) in fields["splits"].items()}
        texts = (metadata.name, metadata.units, metadata.license, metadata.source)
        if not all(isinstance(text, str) for text in (*texts, *metadata.classes, *metadata.features)):
            raise TypeError("a name is not a string")
    except InputError as error:
        raise _to_data_error(path, error) from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{path}: its header is damaged ({error}); import the corpus again") from error
    arrays: dict[str, Any] = {name: array for name in (*_REQUIRED, *_OPTIONAL) if (array := load(name)) is not None}
    missing = [name for name in _REQUIRED if name not in arrays]
    if missing:
        raise DataError(f"{path}: {', '.join(missing)} missing; import the corpus again")
    try:
        return Corpus(metadata, splits=splits, **arrays)
    except InputError as error:
        raise _to_data_error(path, error) from error


def _to_data_error(path: Path, error: InputError) -> DataError:
    """Convert an error about a corpus to a `DataError` that names the file of the corpus."""
    return error if isinstance(error, DataError) else DataError(f"{path}: {error}")


def _map_file(path: Path) -> np.ndarray | None:
    if not path.exists():
        return None
    if not path.is_file():
        raise DataError(f"{path} is a folder, a pipe or a device; expected an array; import the corpus again")
    return _map_array(path, str(path), 0, path.stat().st_size)


def _map_member(path: Path, archive: zipfile.ZipFile, name: str) -> np.ndarray:
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise DataError(
            f"{path}: {name} is compressed; expected uncompressed arrays, as mdnrnn writes; import the corpus again"
        )
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        name_length, extra_length = (int.from_bytes(file.read(2), "little") for _ in range(2))
    first = info.header_offset + 30 + name_length + extra_length
    return _map_array(path, f"{path}: {name}", first, first + info.file_size)


def _map_array(path: Path, location: str, first: int, end: int) -> np.ndarray:
    """Return a memory map of the `.npy` data in the bytes `first` to `end` (exclusive) of a file."""
    with path.open("rb") as file, convert_errors(location):
        file.seek(first)
        shape, fortran, dtype = read_npy_header(file)
        size = math.prod(shape) * dtype.itemsize
        if dtype.kind not in "iuf" or fortran or file.tell() + size != end:
            raise DataError(f"{location}: not a complete array; import the corpus again")
        return np.memmap(path, dtype, "r", file.tell(), shape) if size else np.zeros(shape, dtype)


class _Chunk(NamedTuple):
    """The sequences `first` to `last` (exclusive) of a corpus."""

    path: Path
    first: int
    last: int


def _chunks(path: Path) -> Iterator[_Chunk]:
    corpus = read(path)
    if any(array is not None for array in (corpus.inputs, corpus.logvar, corpus.context)):
        raise DataError(
            f"{path}: it has inputs, variances or context vectors, which an import would lose; use the corpus directly"
        )
    try:
        corpus.check()
    except InputError as error:
        raise _to_data_error(path, error) from error
    for first in range(0, len(corpus), _CHUNK_SEQUENCES):
        yield _Chunk(path, first, min(first + _CHUNK_SEQUENCES, len(corpus)))


def _parse(chunk: _Chunk) -> DrawingBatch:
    corpus = read(chunk.path)
    return DrawingBatch.from_polylines(
        (_to_strokes(corpus, i), _to_record(corpus, i, chunk.path)) for i in range(chunk.first, chunk.last)
    )


def _to_strokes(corpus: Corpus, index: int) -> Drawing:
    motion, event = corpus[index][:2]
    return [motion] if corpus.metadata.is_stream else to_polylines(motion, event, corpus.metadata.start)


def _to_record(corpus: Corpus, index: int, path: Path) -> Record:
    label = None if corpus.label is None else corpus.metadata.classes[int(corpus.label[index])]
    split = next((name for name, (first, last) in corpus.splits.items() if first <= index < last), None)
    number, last_event = corpus[index].writer, int(corpus[index].event[-1])
    # The key depends only on the writer, so that all sequences of a writer are assigned to the same split. The name of
    # the writer contains the path, because the same number refers to different writers in different corpora.
    key, writer = (None, None) if number is None else (f"writer {number}", f"{path.resolve()}: {number}")
    return Record(f"{path}: sequence {index}", key, label, corpus[index].text, split, writer, last_event)


def corpus_format(path: Path) -> Format:
    """Return the format of the corpus at `path`. With this format, the corpus can be imported again with other options.

    The step layout of the format is that of the corpus.
    """
    metadata = read(path).metadata
    grid = metadata.bin_width if metadata.features and not metadata.is_stream else None
    features = ("dt",) if metadata.is_stream else metadata.features
    layout = StepLayout(metadata.start, features, metadata.units, grid or 0.0)
    return Format("mdnrnn corpus", (".npz",), recognizes, _chunks, _parse, layout, default_label=None)
