"""Check of the header of a safetensors file against the expected tensors, before their data are read.

A file consists of 8 bytes with the size of the header, the header, and the data of all tensors without gaps. The
header is a JSON object: name -> dtype, shape and data_offsets (begin and end in the data). It can have an entry
`__metadata__`.

Source of the format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any, BinaryIO

import torch
from torch import Tensor

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_MAX_METADATA_BYTES = 1 << 16


def max_header_bytes(expected: Mapping[str, Tensor]) -> int:
    """Return the maximum size of the header of a file with the expected tensors."""
    return _MAX_METADATA_BYTES + sum(256 + 6 * len(name) for name in expected)


def max_file_bytes(expected: Mapping[str, Tensor]) -> int:
    """Return the maximum size of a file with the expected tensors."""
    return 8 + max_header_bytes(expected) + sum(_bytes_of(tensor) for tensor in expected.values())


def check_header(file: BinaryIO, expected: Mapping[str, Tensor]) -> None:
    """Check that a file contains exactly the expected tensors.

    Args:
        file: the file, open for reading at its start.
        expected: tensors with the expected names, shapes and dtypes; their values are not used.

    Raises:
        ValueError: a name, a shape, a dtype or a position differs, or the file has another size.
    """
    size = int.from_bytes(file.read(8), "little")
    if size > max_header_bytes(expected):
        raise ValueError(f"its header has {size} bytes, expected at most {max_header_bytes(expected)}")
    header = json.loads(file.read(size), object_pairs_hook=_to_dict)
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    header.pop("__metadata__", None)
    missing, extra = set(expected) - set(header), set(header) - set(expected)
    if missing or extra:
        what = f"lacks {min(missing)}" if missing else f"has the unknown tensor {min(extra)}"
        raise ValueError(f"it {what[:90]}")
    ranges = sorted(_check_entry(name, header[name], tensor) for name, tensor in expected.items())
    end = 0
    for begin, next_end in ranges:
        if begin != end:
            raise ValueError("its tensors overlap or have gaps between them")
        end = next_end
    if 8 + size + end != file.seek(0, io.SEEK_END):
        raise ValueError("its size differs from that of its tensors")


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dictionary; raise `ValueError` if a name occurs twice."""
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError("its header has a name twice")
    return names


def _check_entry(name: str, entry: Any, tensor: Tensor) -> tuple[int, int]:
    """Compare the header's entry of a tensor with the tensor; return the range of its data."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name} does not have dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if tensor.dtype in _DTYPES and dtype != _DTYPES[tensor.dtype]:
        raise ValueError(f"{name} has dtype {str(dtype)[:20]}, expected {_DTYPES[tensor.dtype]}")
    if shape != list(tensor.shape):
        raise ValueError(f"{name} has shape {str(shape)[:60]}, expected {list(tensor.shape)}")
    if not isinstance(offsets, list) or [type(each) for each in offsets] != [int, int]:
        raise ValueError(f"{name} has data_offsets that are not two integers")
    if offsets[1] - offsets[0] != _bytes_of(tensor):
        raise ValueError(f"{name} has data of {str(offsets[1] - offsets[0])[:20]} bytes, expected {_bytes_of(tensor)}")
    return offsets[0], offsets[1]


def _bytes_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.itemsize
