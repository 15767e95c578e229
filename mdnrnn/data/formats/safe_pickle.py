"""Read pickled object arrays of numbers with `pickle.Unpickler`, without calling any function named in the file.

A pickle is a program that can call any function and allocate any amount of memory. Three steps prevent this:

1. `_check_opcodes` inspects the program before it runs. It accepts only the opcodes that NumPy uses, and compares every
   size and index with the number of bytes that are present.
2. `_Unpickler` runs the program, but replaces all functions by stand-ins that record their arguments.
3. `_Converter` checks the recorded shapes and types, and builds the arrays.
"""

from __future__ import annotations

import gc
import io
import math
import pickle
import re
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from mdnrnn.data.drawings import MAX_POINTS
from mdnrnn.errors import DataError

MAX_RECORD_BYTES = 8 * 8 * MAX_POINTS
"""Maximum bytes of a sequence: 8 numbers of 8 bytes for each of `MAX_POINTS` points."""
_MAX_BYTES = 1 << 30
_MAX_OPCODE_BYTES, _MAX_CONTAINERS = 48 << 20, 4 << 20
"""Maximum bytes of opcodes without array data, and maximum number of containers (lists, tuples and calls).

These limits allow 500,000 arrays, and keep the memory of the unpickled objects below about 1 GB.
"""
_MAX_RECORD_NUMBERS = 8 * MAX_POINTS
_MAX_REPEATED_NUMBERS = 1 << 27
"""Maximum number of array elements minus the number of bytes of the pickle.

The arrays can have more elements than the pickle has bytes, because a pickle can refer to the same array many times.
"""
_MAX_DEPTH = 16

_NUMERIC_DTYPE, _TEXT_DTYPE = re.compile(r"[<>=|]?([biufO]\d{0,2}|\?)"), re.compile(r"[<>=|]?[SU]\d*")
_NOT_CONTAINERS = bytes(set(range(256)) - set(b"]lt\x85\x86\x87R"))
_PUT = re.compile(rb"p(\d{1,10})\n")
_FRAME, _STOP, _UNICODE = 0x95, ord("."), ord("V")
_SIZE_BYTES = {
    **dict.fromkeys(b"UC\x8c\x8a", 1),  # SHORT_BINSTRING, SHORT_BINBYTES, SHORT_BINUNICODE, LONG1
    **dict.fromkeys(b"TBX", 4),  # BINSTRING, BINBYTES, BINUNICODE
    **dict.fromkeys(b"\x8e\x8d\x95", 8),  # BINBYTES8, BINUNICODE8, FRAME
}
"""Opcode -> number of bytes of the size field that follows the opcode."""


def _small_opcodes(length: int) -> re.Pattern[bytes]:
    """Return a pattern that matches consecutive opcodes with small or no arguments, in a pickle of `length` bytes.

    The index of LONG_BINPUT is limited, because the unpickler allocates a table up to this index. In a valid pickle
    the index is less than `length`.
    """
    return re.compile(
        rb"(?:[(N\x88\x89)\x85\x86\x87t\]lRbae\x93\x94]+"  # opcodes without arguments
        rb"|[Kqh].|M..|[Jj].{4}|r..[\0-\x%02x]\0"  # BININT1, BINPUT, BINGET, BININT2, BININT, LONG_BINGET, LONG_BINPUT
        rb"|G.{8}|\x80[\0-\5]"  # BINFLOAT, PROTO
        rb"|[UC\x8c](?:\0|\x01.|\x02..)"  # strings of 0 to 2 bytes
        rb"|c[^\n]{1,99}\n[^\n]{1,99}\n|[IL]-?\d{1,40}L?\n|F[^\n]{1,40}\n|g\d{1,9}\n){0,64}"  # GLOBAL, protocol 0
        % min(length >> 16, 255),
        re.DOTALL,
    )


def _check_opcodes(data: bytes, location: str) -> None:
    """Raise an error if the pickle at the start of `data` is truncated, or an opcode, size or index is not accepted."""
    find_run = _small_opcodes(len(data)).match
    position = opcode_bytes = containers = 0
    while True:
        first, position = position, find_run(data, position).end()  # type: ignore[union-attr]
        opcode_bytes += position - first + 16  # 16 for the opcode at `position`, which can create a larger object
        containers += len(data[first:position].translate(None, _NOT_CONTAINERS))
        if opcode_bytes > _MAX_OPCODE_BYTES or containers > _MAX_CONTAINERS:
            raise DataError(
                f"{location} contains too many objects; save its sequences as NumPy arrays, in several files"
            )
        if position == len(data):
            raise EOFError("unexpected end of the pickle")
        opcode = data[position]
        if opcode in _SIZE_BYTES:
            end = position + 1 + _SIZE_BYTES[opcode]
            size = int.from_bytes(data[position + 1 : end], "little")
            if size > MAX_RECORD_BYTES:
                raise DataError(f"{location} has a record of {size} bytes; expected at most {MAX_RECORD_BYTES}")
            if end + size > len(data):
                raise EOFError("unexpected end of the pickle")
            position = end if opcode == _FRAME else end + size
        elif opcode == _STOP:
            return
        elif opcode == _UNICODE:
            position = data.index(b"\n", position) + 1
        elif (put := _PUT.match(data, position)) and int(put[1]) <= len(data):
            position = put.end()
        elif first == position:
            raise DataError(f"{location} has pickle opcode {chr(opcode)!r}; expected an array of numeric arrays")


class _Call:
    """Stand-in for a class or function. An instance records the arguments of one call and of `__setstate__`."""

    __slots__ = ("arguments", "state")

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _stand_in(name: str) -> type[_Call]:
    return type(name, (_Call,), {"__slots__": ()})


_Array, _ArrayType, _DType = _stand_in("_reconstruct"), _stand_in("ndarray"), _stand_in("dtype")
_Scalar, _Encode, _Bytes = _stand_in("scalar"), _stand_in("encode"), _stand_in("bytes")
_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _Scalar,
    ("numpy._core.multiarray", "scalar"): _Scalar,
    ("numpy", "ndarray"): _ArrayType,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _Encode,  # bytes objects, as Python 3 pickles them in protocols 0 to 2
    ("__builtin__", "bytes"): _Bytes,
}


class _Unpickler(pickle.Unpickler):
    """Unpickler that replaces classes and functions by stand-ins and reads strings of Python 2 as bytes."""

    def __init__(self, data: bytes, location: str) -> None:
        super().__init__(io.BufferedReader(io.BytesIO(data), 1 << 17), encoding="bytes")
        self.location = location

    def find_class(self, module: str, name: str) -> type[_Call]:
        if (module, name) not in _STAND_INS:
            raise DataError(
                f"{self.location}: its pickle calls {module[:99]}.{name[:99]}; only NumPy arrays are read; "
                "do not trust this file"
            )
        return _STAND_INS[module, name]


class _NotNumbersError(ValueError):
    """A record is not a rectangular array of numbers."""


class _Converter:
    """Converter of unpickled records to arrays.

    A record is either a `_Call` that represents an array, or nested lists of numbers and `_Call`s.
    """

    def __init__(self, max_numbers: int) -> None:
        self.numbers_left, self.total_left = 0, max_numbers
        self.dtypes: dict[int, np.dtype[Any]] = {}
        """Converted dtypes, by the `id` of the `_Call` that represents the dtype."""

    def convert(self, record: Any) -> np.ndarray | None:
        limit = self.numbers_left = min(_MAX_RECORD_NUMBERS, self.total_left)
        try:
            array = self.array(record) if type(record) is _Array else self.nested(record)
        except _NotNumbersError:
            array = None
        self.total_left -= limit - self.numbers_left
        return array

    def count(self, numbers: int) -> None:
        self.numbers_left -= numbers
        if self.numbers_left < 0:
            raise ValueError("a record has too many numbers, or an array is repeated too often")

    def nested(self, item: Any) -> np.ndarray:
        numbers = self.numbers(item, _MAX_DEPTH)
        try:
            return np.asarray(numbers)
        except (ValueError, OverflowError) as error:
            raise _NotNumbersError from error

    def numbers(self, item: Any, max_depth: int) -> Any:
        """Convert an unpickled item: a number, an array, or nested lists of numbers and arrays.

        Strings are rejected, because `np.asarray` pads all strings to the longest one, which can take much memory.

        Args:
            item: unpickled item.
            max_depth: maximum nesting of lists.
        """
        if type(item) is _Array:
            return self.array(item)
        self.count(1)
        if type(item) in (list, tuple):
            if not max_depth:
                raise ValueError(f"lists are nested more than {_MAX_DEPTH} levels deep")
            return [self.numbers(part, max_depth - 1) for part in item]
        if type(item) is _Scalar:
            dtype, data = self.dtype(item.arguments[0]), _to_bytes(item.arguments[1])
            if dtype.kind not in "biuf" or len(data) != dtype.itemsize:
                raise ValueError("a scalar is not a number")
            return np.frombuffer(data, dtype)[0]
        if type(item) not in (int, float, bool):
            raise _NotNumbersError
        return item

    def array(self, call: _Call) -> np.ndarray:
        shape, size, kind, fortran, data = _array_state(call)
        self.count(size)
        if type(data) is list:
            if len(data) != size:
                raise ValueError(f"an array of shape {shape} has data of another size")
            elements = self.nested(data)
            return elements if len(shape) == 1 else elements.reshape(shape)
        dtype = self.dtypes.get(id(kind)) or self.dtype(kind)
        data = data if type(data) is bytes else _to_bytes(data)
        if dtype.hasobject or len(data) != size * dtype.itemsize:
            raise ValueError(f"an array of shape {shape} has data of another size")
        return np.ndarray(shape, dtype, data, order="F" if fortran else "C")

    def dtype(self, call: Any) -> np.dtype[Any]:
        if id(call) not in self.dtypes:
            if type(call) is not _DType:
                raise ValueError("an array has no dtype")
            name, order = _to_text(call.arguments[0]), _to_text(call.state[1]) if call.state else "="
            if _TEXT_DTYPE.fullmatch(name):
                raise _NotNumbersError
            if not _NUMERIC_DTYPE.fullmatch(name) or order not in ("<", ">", "=", "|"):
                raise ValueError("an array has a dtype that is not numeric")
            dtype: np.dtype[Any] = np.dtype(name)
            self.dtypes[id(call)] = dtype if order == "|" else dtype.newbyteorder(order)  # type: ignore[arg-type]
        return self.dtypes[id(call)]


def _array_state(call: Any) -> tuple[tuple[int, ...], int, Any, Any, Any]:
    """Return the shape, number of elements, dtype, Fortran-order flag and data of the array that a `_Call` records."""
    if type(call) is not _Array or call.arguments[0] is not _ArrayType:
        raise ValueError("a call creates something other than an array of numbers")
    _, shape, kind, fortran, data = call.state
    if type(shape) is not tuple or len(shape) > _MAX_DEPTH:
        raise ValueError("the shape of an array is not a tuple")
    size = 1
    for side in shape:
        if type(side) is not int or side < 0:  # if `side` were a list or string, `size *= side` would repeat it
            raise ValueError("the shape of an array is not integers")
        size *= side
    return shape, size, kind, fortran, data


def _to_bytes(value: Any) -> bytes:
    if type(value) is _Encode and value.arguments[1] == "latin1":
        value = value.arguments[0].encode("latin1")
    elif type(value) is _Bytes:
        value = b""
    if type(value) is not bytes:
        raise ValueError("the data of an array are not bytes")
    return value


def _to_text(value: Any) -> str:
    value = value.decode("latin1") if type(value) is bytes else value
    if type(value) is not str:
        raise ValueError("a dtype has no name")
    return value


def read_object_array(file: IO[bytes], shape: tuple[int, ...], location: str) -> Iterator[np.ndarray | None]:
    """Yield the records along the first axis of a pickled object array; yield None for a record that is not numeric.

    Args:
        file: open file, at the start of the pickle.
        shape: shape of the array according to its `.npy` header.
        location: file and member, for messages.
    """
    buffer = io.BytesIO()
    while block := file.read(1 << 20):  # `file.read()` would allocate the declared size at once
        buffer.write(block)
        if buffer.tell() > _MAX_BYTES:
            raise DataError(f"{location} has over {_MAX_BYTES >> 20} MB of pickled objects; split the file")
    data = buffer.getvalue()
    _check_opcodes(data, location)
    array, converter = _load(data, location), _Converter(len(data) + _MAX_REPEATED_NUMBERS)
    del buffer, data
    found, size, _, _, items = _array_state(array)
    if found != shape or type(items) is not list or len(items) != size or 0 in shape[1:]:
        raise DataError(
            f"{location} declares shape {shape}, but its data have another size; it is damaged, save it again"
        )
    if len(shape) == 1:
        yield from map(converter.convert, items)
        return
    width = math.prod(shape[1:])
    for first in range(0, size, width):
        record = converter.convert(items[first : first + width])
        yield None if record is None else record.reshape(shape[1:])


def _load(data: bytes, location: str) -> Any:
    collecting = gc.isenabled()
    gc.disable()  # Loading creates many objects and no garbage; garbage collection would take longer than loading.
    try:
        return _Unpickler(data, location).load()
    finally:
        if collecting:
            gc.enable()
