"""The project's own corpus files: arrays beside a JSON header, in one `.npz` or a folder of `.npy`, never pickled.

The members of the `.npz` are stored, not compressed, so that both kinds are memory-mapped: opening one reads
its header alone.
"""

import json
import math
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.drawings import DrawingBatch, Record
from mdnrnn.data.formats.arrays import convert_errors, entries, read_npy_header
from mdnrnn.data.formats.format import Format, StepLayout
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.strokes import to_polylines
from mdnrnn.errors import DataError, InputError
from mdnrnn.files import atomic_file, atomic_path, write_json

VERSION = "mdnrnn corpus 1"
HEADER = "header.json"
_REQUIRED = ("motion", "event", "offsets")
_OPTIONAL = ("label", "inputs", "text", "text_offsets", "writer", "logvar")
_LARGEST_HEADER = 16 << 20
_CHUNK = 1024


def recognizes(path: Path, head: bytes = b"PK") -> bool:
    """Whether `path` is a corpus folder or an `.npz` with our header in it."""
    if path.is_dir():
        return (path / HEADER).is_file()
    return head.startswith(b"PK") and HEADER in entries(path)


def read(path: Path) -> Corpus:
    """Open a corpus; its arrays are memory maps."""
    if path.is_dir():
        with convert_errors(str(path)):
            return _assemble(path, (path / HEADER).read_bytes(), lambda name: _map_file(path / f"{name}.npy"))
    with convert_errors(str(path)), zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        if archive.getinfo(HEADER).file_size > _LARGEST_HEADER:
            raise DataError(f"{path}: its header is over {_LARGEST_HEADER} bytes; this is no corpus of mdnrnn")
        return _assemble(
            path,
            archive.read(HEADER),
            lambda name: _map_member(path, archive, f"{name}.npy") if f"{name}.npy" in names else None,
        )


def make_header(metadata: Metadata, splits: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """What `header.json` holds."""
    return {"format": VERSION, "facts": metadata.to_header(), "splits": dict(splits)}


def write(corpus: Corpus, path: Path) -> None:
    """Save as one file where `path` ends in `.npz`, else as a folder; whole or not at all."""
    header = make_header(corpus.metadata, corpus.splits)
    arrays: dict[str, Any] = {name: getattr(corpus, name) for name in (*_REQUIRED, *_OPTIONAL)}
    present = {name: _npy_writer(array) for name, array in arrays.items() if array is not None}
    if path.suffix.lower() == ".npz":
        with atomic_file(path) as file:
            _write_archive(file, header, present)
        return
    with atomic_path(path) as folder:
        folder.mkdir()
        for name, write_array in present.items():
            with atomic_file(folder / f"{name}.npy") as file:
                write_array(file)
        write_json(folder / HEADER, header)


def zip_folder(folder: Path, path: Path) -> None:
    """The corpus in a folder as one `.npz`, in constant memory."""
    header = json.loads((folder / HEADER).read_bytes())
    names = [name for name in (*_REQUIRED, *_OPTIONAL) if (folder / f"{name}.npy").exists()]

    def copy(name: str) -> Callable[[IO[bytes]], object]:
        return lambda member: _copy(folder / f"{name}.npy", member)

    with atomic_file(path) as file:
        _write_archive(file, header, {name: copy(name) for name in names})


def _copy(path: Path, member: IO[bytes]) -> None:
    with path.open("rb") as file:
        shutil.copyfileobj(file, member, 1 << 20)


def _write_archive(file: BinaryIO, header: dict[str, Any], arrays: dict[str, Callable[[IO[bytes]], object]]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        # A fixed date: the same corpus is the same bytes.
        for name, write_array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                write_array(member)
        archive.writestr(zipfile.ZipInfo(HEADER), json.dumps(header))


def _npy_writer(array: np.ndarray) -> Callable[[IO[bytes]], object]:
    return lambda file: np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def _assemble(path: Path, header: bytes, load: Callable[[str], np.ndarray | None]) -> Corpus:
    try:
        fields = json.loads(header)
        if fields["format"] != VERSION:
            raise DataError(f"{path}: its format is {fields['format']!r}; expected {VERSION!r}")
        metadata = Metadata.from_header(fields["facts"])
        splits = {str(name): (int(first), int(last)) for name, (first, last) in fields["splits"].items()}
        names = (
            metadata.name,
            metadata.units,
            metadata.license,
            metadata.source,
            *metadata.classes,
            *metadata.features,
        )
        if not all(isinstance(name, str) for name in names):
            raise TypeError(f"{names} are no words")
    except InputError as error:
        raise _told(path, error) from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        raise DataError(f"{path}: its header is damaged ({error}); import the corpus again") from error
    arrays: dict[str, Any] = {name: array for name in (*_REQUIRED, *_OPTIONAL) if (array := load(name)) is not None}
    missing = [name for name in _REQUIRED if name not in arrays]
    if missing:
        raise DataError(f"{path}: {', '.join(missing)} missing; import the corpus again")
    try:
        return Corpus(metadata, splits=splits, **arrays)
    except InputError as error:
        raise _told(path, error) from error


def _told(path: Path, error: InputError) -> DataError:
    """What is wrong with a corpus, as a fault of its file."""
    return error if isinstance(error, DataError) else DataError(f"{path}: {error}")


def _map_file(path: Path) -> np.ndarray | None:
    return _map(path, path, 0, path.stat().st_size) if path.exists() else None


def _map_member(path: Path, archive: zipfile.ZipFile, name: str) -> np.ndarray:
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise DataError(f"{path}: {name} is compressed; expected a stored member, as mdnrnn writes it")
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        name_length, extra_length = (int.from_bytes(file.read(2), "little") for _ in range(2))
    first = info.header_offset + 30 + name_length + extra_length
    return _map(path, f"{path}: {name}", first, first + info.file_size)


def _map(path: Path, where: object, first: int, end: int) -> np.ndarray:
    """The array that stands in a file from byte `first` up to, not with, `end`."""
    with path.open("rb") as file, convert_errors(str(where)):
        file.seek(first)
        shape, fortran, dtype = read_npy_header(file)
        size = math.prod(shape) * dtype.itemsize
        if dtype.kind not in "iuf" or fortran or file.tell() + size != end:
            raise DataError(f"{where}: not a whole array; import the corpus again")
        return np.memmap(path, dtype, "r", file.tell(), shape) if size else np.zeros(shape, dtype)


class _Chunk(NamedTuple):
    """Sequences of a corpus, from `first` up to, not with, `last`."""

    path: Path
    first: int
    last: int


def _chunks(path: Path) -> Iterator[_Chunk]:
    corpus = read(path)
    if corpus.inputs is not None or corpus.logvar is not None:
        raise DataError(f"{path}: its steps have inputs or variances, which an import would lose; use it as it is")
    try:
        corpus.check()
    except InputError as error:
        raise _told(path, error) from error
    for first in range(0, len(corpus), _CHUNK):
        yield _Chunk(path, first, min(first + _CHUNK, len(corpus)))


def _parse(chunk: _Chunk) -> DrawingBatch:
    corpus = read(chunk.path)
    return DrawingBatch.from_polylines(
        (_strokes(corpus, i), _record(corpus, i, chunk.path)) for i in range(chunk.first, chunk.last)
    )


def _strokes(corpus: Corpus, index: int) -> list[np.ndarray]:
    motion, event = corpus[index][:2]
    return [motion] if corpus.metadata.is_stream else to_polylines(motion, event, corpus.metadata.start)


def _record(corpus: Corpus, index: int, path: Path) -> Record:
    label = None if corpus.label is None else corpus.metadata.classes[int(corpus.label[index])]
    split = next((name for name, (first, last) in corpus.splits.items() if first <= index < last), None)
    number = corpus[index].writer
    # What one hand has written stays in one split; two corpora may both have a writer 3.
    key, writer = (None, None) if number is None else (f"writer {number}", f"{path.resolve()}: {number}")
    return Record(f"{path}: sequence {index}", key, label, corpus[index].text, split, writer)


def corpus_format(path: Path) -> Format:
    """How the corpus at `path` is read again, to be imported with other settings."""
    metadata = read(path).metadata
    grid = metadata.bin_width if metadata.features and not metadata.is_stream else None
    kind = StepLayout(metadata.start, ("dt",) if metadata.is_stream else metadata.features, metadata.units, grid or 0.0)
    return Format("mdnrnn corpus", (".npz",), recognizes, _chunks, _parse, kind, default_label=None)
