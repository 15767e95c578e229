"""Read the structure of a checkpoint file without its tensors, without running code or trusting sizes in the file.

`torch.save` writes an uncompressed zip archive: `data.pkl` is a pickle of the object, in which each tensor is a
function call with the key of a storage, an offset, a shape and strides as arguments; `data/KEY` contains the bytes of
the storage KEY. `torch.load` does not compare these numbers with each other. `read_structure` compares them, and
replaces each tensor by its dtype and shape.

Source of the format: https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from typing import Any, BinaryIO, NamedTuple

import torch

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}
"""Dtype by the name of its storage class in a pickle."""
_MAX_DIMENSIONS = 16
_END_OF_DIRECTORY = struct.Struct("<4s4H2LH")
"""Last record of a zip archive; its field 5 is the size of the directory in bytes."""


class TensorInfo(NamedTuple):
    """Dtype and shape of a tensor in a checkpoint file."""

    dtype: torch.dtype
    shape: tuple[int, ...]


class Structure(NamedTuple):
    """Structure of a checkpoint file.

    `content`: the saved object, with a `TensorInfo` in place of each tensor. `data_bytes`: size of the data of all
    tensors in the file, in bytes.
    """

    content: Any
    data_bytes: int


class _Storage(NamedTuple):
    dtype: torch.dtype
    elements: int


def read_structure(file: BinaryIO, max_index_bytes: int) -> Structure:
    """Return the structure of a checkpoint file.

    If this function returns, each tensor lies within its storage, each storage has the size of its record, and the
    records together are not larger than the file.

    Args:
        file: the file, open for reading.
        max_index_bytes: maximum size of the directory of the archive, and of `data.pkl`.

    Raises:
        ValueError: the file is not a checkpoint that `torch.save` has written.
        zipfile.BadZipFile, pickle.UnpicklingError, EOFError, ...: the file is damaged.
    """
    size = file.seek(0, io.SEEK_END)
    _check_directory(file, size, max_index_bytes)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
            raise ValueError("a record is compressed or encrypted")
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError("its records are larger than the file")
        if len({entry.filename.lower() for entry in entries}) < len(entries):
            raise ValueError("it has two records of the same name")
        prefix = entries[0].filename.split("/")[0] + "/" if entries else ""
        sizes = {entry.filename.removeprefix(prefix): entry.file_size for entry in entries}
        if sizes.get("data.pkl", 0) > max_index_bytes:
            raise ValueError(f"data.pkl has {sizes['data.pkl']} bytes, expected at most {max_index_bytes}")
        data_bytes = sum(size for name, size in sizes.items() if name.startswith("data/"))
        return Structure(_load(archive.read(f"{prefix}data.pkl"), sizes), data_bytes)


def _check_directory(file: BinaryIO, size: int, max_bytes: int) -> None:
    """Check the size of the directory, because `ZipFile` creates an object for each of its entries."""
    file.seek(max(0, size - _END_OF_DIRECTORY.size))
    fields = _END_OF_DIRECTORY.unpack(file.read(_END_OF_DIRECTORY.size))
    if fields[0] != b"PK\5\6":
        raise ValueError("it is not a file of torch.save, or it is truncated")
    if fields[5] > max_bytes and size < 1 << 32:  # a larger file has a dummy value here, and the size in another record
        raise ValueError(f"its directory has {fields[5]} bytes, expected at most {max_bytes}")


def _load(data: bytes, sizes: dict[str, int]) -> Any:
    for opcode, argument, _ in pickletools.genops(data):
        # The unpickler allocates a table up to this index. In a valid pickle it is less than the number of bytes.
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(data):
            raise ValueError("an index in its pickle is too large")
    return _Unpickler(data, sizes).load()


class _Unpickler(pickle.Unpickler):
    """Unpickler that replaces tensors by `TensorInfo`s, and accepts only classes and functions of `torch.save`.

    Args:
        data: the pickle.
        sizes: size in bytes of each record of the archive.
    """

    def __init__(self, data: bytes, sizes: dict[str, int]) -> None:
        super().__init__(io.BytesIO(data))
        self._sizes = sizes

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _describe_tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise ValueError(f"its pickle calls {module[:99]}.{name[:99]}")

    def persistent_load(self, identity: Any) -> _Storage:
        kind, dtype, key, location, elements = identity
        if kind != "storage" or not isinstance(dtype, torch.dtype) or type(location) is not str:
            raise ValueError("a storage is not described as torch.save does")
        if type(key) is not str or not _is_count(elements):
            raise ValueError("a storage is not described as torch.save does")
        if self._sizes.get(f"data/{key}") != elements * dtype.itemsize:
            raise ValueError("the size of a storage differs from that of its record")
        return _Storage(dtype, elements)


def _describe_tensor(storage: Any, offset: Any, shape: Any, stride: Any, grad: Any, hooks: Any) -> TensorInfo:
    """Replacement of `torch._utils._rebuild_tensor_v2`: check the arguments, and return the dtype and the shape."""
    if type(storage) is not _Storage or not _is_count(offset) or type(grad) is not bool or hooks:
        raise ValueError("a tensor is not described as torch.save does")
    if type(shape) is not tuple or type(stride) is not tuple or len(shape) != len(stride):
        raise ValueError("a tensor is not described as torch.save does")
    if len(shape) > _MAX_DIMENSIONS or not all(map(_is_count, (*shape, *stride))):
        raise ValueError(f"a tensor has shape {shape[:_MAX_DIMENSIONS]}")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if 0 not in shape and last >= storage.elements:
        raise ValueError("a tensor is larger than its storage")
    return TensorInfo(storage.dtype, shape)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63
