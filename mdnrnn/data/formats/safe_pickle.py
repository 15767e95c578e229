"""The arrays of numbers in an object array, as NumPy pickles it, one by one, without `pickle`.

A small machine knows the few instructions that rebuild arrays of numbers. It calls nothing that a file names, and
keeps in memory what a later instruction can ask for again, no more: finished arrays go to a temporary file.
"""

from __future__ import annotations

import array
import bisect
import io
import math
import re
import struct
import tempfile
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from mdnrnn.data.drawings import MAX_POINTS
from mdnrnn.errors import DataError

MAX_RECORD_BYTES = 8 * 8 * MAX_POINTS
"""Bytes of one sequence: eight numbers of eight bytes a point."""
_LARGEST_MEMORY, _DEEPEST, _CHECKED_EVERY = 1 << 20, 100, 4096
_MUCH = 1 << 24
_LONGEST_NAME = 40
"""Of the strings that a pickle may ask for again: names of types and the like, no data."""
_TYPES = re.compile(r"[<>=|]?(?:[biufOSU]\d*|\?)")


def exactly(file: IO[bytes], size: int) -> bytes:
    """So many bytes, or an error."""
    data = file.read(size)
    if len(data) != size:
        raise EOFError("it ends too early")
    return data


class _Name:
    """Stands for a function or class that a pickle names; nothing of that name is ever looked up."""

    def __init__(self, name: str) -> None:
        self.name = name


_RECONSTRUCT, _SCALAR, _NDARRAY, _DTYPE = map(_Name, ("_reconstruct", "scalar", "ndarray", "dtype"))
_ENCODE, _BYTES = map(_Name, ("encode", "bytes"))
_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.multiarray", "scalar"): _SCALAR,
    ("numpy._core.multiarray", "scalar"): _SCALAR,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _DTYPE,
    ("_codecs", "encode"): _ENCODE,  # how Python 3 writes bytes in the protocol of Python 2
    ("__builtin__", "bytes"): _BYTES,
}


class _Type:
    """A dtype that is being built."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype


class _Array:
    """An array that is being built, and the number under which the pickle remembers it."""

    __slots__ = ("memo", "value")

    def __init__(self, value: Any = None) -> None:
        self.memo = -1
        self.value = value


class _Outermost:
    """The list of all records: they are handed on as they come, not kept."""

    count = 0


class ObjectArray:
    """Runs the pickle of one array of objects."""

    def __init__(self, file: IO[bytes], where: str) -> None:
        self.file, self.read, self.where = file, file.read, where
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.passing: list[int] = []
        """Numbers of what is remembered up to the end of the record: all but names, types and arrays."""
        self.remembered = 0
        self.outermost: _Outermost | None = None
        self.kept = _Kept()
        self.weight = 0
        """Bytes taken in since the last record."""
        self.run = {code.encode("latin1"): getattr(self, name) for code, name in _INSTRUCTIONS.items()}

    def records(self, shape: tuple[int, ...]) -> Iterator[Any]:
        """What the array of this shape holds, along its first axis."""
        width, group, count = math.prod(shape[1:]), [], 0
        for item in self._items():
            if len(shape) == 1:
                count += 1
                yield item
                continue
            group.append(item)
            if len(group) == width:
                count += 1
                yield np.array(group).reshape(shape[1:])
                group = []
            elif width > MAX_POINTS * 8:
                raise DataError(f"{self.where} has records of shape {shape[1:]}; expected fewer points")
        if count != shape[0] or group:
            raise DataError(f"{self.where} claims {shape[0]} sequences and holds {count}; it is damaged, get it again")

    def _items(self) -> Iterator[Any]:
        read, run = self.read, self.run
        with self.kept:
            while True:
                self._limit()
                for _ in range(_CHECKED_EVERY):
                    code = read(1)
                    if code in _APPENDING:
                        items = [self.stack.pop()] if code == b"a" else self._since_mark()
                        if self.outermost is not None and self.stack[-1] is self.outermost:
                            yield from self._handed_on(items)
                        else:
                            self._extend(items)
                    elif code == b".":
                        return
                    elif code in run:
                        run[code]()
                        if self.weight > _MUCH and code == b"b" and self._between_records():
                            # NumPy appends a thousand at a time: long ones are handed on as they come.
                            items, self.stack = self.stack, []
                            yield from self._handed_on(items)
                    elif not code:
                        raise EOFError("it ends too early")
                    else:
                        raise DataError(f"{self.where} holds more than arrays of numbers ({code!r}); not read")

    def _between_records(self) -> bool:
        """Whether an array has just been finished that is a record: nothing else is on the stack."""
        outside = self.marked[-1] if self.marked else []
        return bool(outside) and outside[-1] is self.outermost and isinstance(self.stack[-1], _Array)

    def _handed_on(self, items: list[Any]) -> Iterator[Any]:
        self._forget()
        if self.outermost is not None:
            self.outermost.count += len(items)
        return map(self._finished, items)

    def _limit(self) -> None:
        """An error where more piles up than the largest drawing needs."""
        self.weight += 8 * _CHECKED_EVERY
        if self.weight > 2 * MAX_RECORD_BYTES or len(self.memo) > _LARGEST_MEMORY or len(self.marked) > _DEEPEST:
            raise DataError(f"{self.where}: its pickle piles up more than a drawing needs; it is damaged")

    def _forget(self) -> None:
        """After a record, what belonged to it alone."""
        self.weight = 0
        for number in self.passing:
            self.memo.pop(number, None)
        self.passing.clear()

    def _finished(self, item: Any) -> Any:
        """A value without our stand-ins."""
        if isinstance(item, _Array):
            return item.value
        if isinstance(item, list):
            return [self._finished(part) for part in item]
        return item

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list) or len(target) + len(items) > 8 * MAX_POINTS:
            raise ValueError("a list out of place, or too long")
        target.extend(self._finished(item) for item in items)

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    # The instructions, by the names that pickletools gives them.

    def proto(self) -> None:
        self.read(1)

    def frame(self) -> None:
        self.read(8)

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def none(self) -> None:
        self.stack.append(None)

    def newtrue(self) -> None:
        self.stack.append(True)

    def newfalse(self) -> None:
        self.stack.append(False)

    def _integer(self, size: int, signed: bool = False) -> int:
        # Cut short, it is caught at the next instruction: there is none.
        return int.from_bytes(self.read(size), "little", signed=signed)

    def binint(self) -> None:
        self.stack.append(self._integer(4, signed=True))

    def binint1(self) -> None:
        self.stack.append(self._integer(1))

    def binint2(self) -> None:
        self.stack.append(self._integer(2))

    def long1(self) -> None:
        self.stack.append(self._integer(self._integer(1), signed=True))

    def _line(self) -> str:
        return self.file.readline(MAX_RECORD_BYTES).decode().strip()

    def int_(self) -> None:
        text = self._line()
        self.stack.append({"00": False, "01": True}.get(text) if text in ("00", "01") else int(text))

    def long_(self) -> None:
        self.stack.append(int(self._line().removesuffix("L")))

    def float_(self) -> None:
        self.stack.append(float(self._line()))

    def unicode_(self) -> None:
        self.stack.append(self.file.readline(MAX_RECORD_BYTES).removesuffix(b"\n").decode("raw-unicode-escape"))

    def binfloat(self) -> None:
        self.stack.append(struct.unpack(">d", exactly(self.file, 8))[0])

    def _data(self, width: int) -> bytes:
        size = self._integer(width)
        if size > MAX_RECORD_BYTES:
            raise DataError(f"{self.where} has a record of {size} bytes; expected at most {MAX_RECORD_BYTES}")
        self.weight += size
        if self.weight > 2 * MAX_RECORD_BYTES:
            self._limit()
        return exactly(self.file, size)

    def short_binbytes(self) -> None:
        self.stack.append(self._data(1))

    def binbytes(self) -> None:
        self.stack.append(self._data(4))

    def binbytes8(self) -> None:
        self.stack.append(self._data(8))

    def short_binunicode(self) -> None:
        self.stack.append(self._data(1).decode())

    def binunicode(self) -> None:
        self.stack.append(self._data(4).decode())

    def binunicode8(self) -> None:
        self.stack.append(self._data(8).decode())

    def empty_tuple(self) -> None:
        self.stack.append(())

    def tuple1(self) -> None:
        self.stack[-1:] = [tuple(self.stack[-1:])]

    def tuple2(self) -> None:
        self.stack[-2:] = [tuple(self.stack[-2:])]

    def tuple3(self) -> None:
        self.stack[-3:] = [tuple(self.stack[-3:])]

    def tuple_(self) -> None:
        items = self._since_mark()
        self.stack.append(tuple(items))

    def empty_list(self) -> None:
        if self.outermost is None:
            self.outermost = _Outermost()
            self.stack.append(self.outermost)
        else:
            self.stack.append([])

    def list_(self) -> None:
        if self._since_mark():
            raise ValueError("a list that is written as no pickler writes it")
        self.empty_list()

    def global_(self) -> None:
        self._name(self._line(), self._line())

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        if (module, name) not in _NAMES:
            raise DataError(
                f"{self.where}: its pickle calls {module}.{name}; only NumPy arrays are read; do not trust this file"
            )
        self.stack.append(_NAMES[module, name])

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if function is _RECONSTRUCT and arguments[0] is _NDARRAY:
            self.stack.append(_Array())
        elif function is _DTYPE and _TYPES.fullmatch(_text(arguments[0])):
            self.stack.append(_Type(np.dtype(_text(arguments[0]))))
        elif function is _ENCODE and arguments[1] == "latin1":
            self.stack.append(arguments[0].encode("latin1"))
        elif function is _SCALAR and isinstance(arguments[0], _Type) and arguments[0].dtype.kind in "biuf":
            self.stack.append(np.frombuffer(_bytes(arguments[1]), arguments[0].dtype)[0])
        elif function is _BYTES and arguments == ():
            self.stack.append(b"")
        else:
            raise ValueError("a call that no array of numbers needs")

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _Type):
            order = _text(state[1])
            target.dtype = target.dtype if order == "|" else target.dtype.newbyteorder(order)  # type: ignore[arg-type]
            return
        if not isinstance(target, _Array):
            raise ValueError("the state of something that is no array")
        _, shape, kind, fortran, data = state
        if isinstance(data, _Outermost):
            if data.count != math.prod(shape):
                raise ValueError(f"an array of shape {shape} with data of another size")
            return
        if isinstance(data, list):
            target.value = data if len(shape) == 1 else np.array(data, object).reshape(shape)
            return
        data = _bytes(data)
        if len(data) != math.prod(shape) * kind.dtype.itemsize or kind.dtype.hasobject:
            raise ValueError(f"an array of shape {shape} with data of another size")
        target.value = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if fortran else "C")
        if target.memo >= 0:
            del self.memo[target.memo]
            self.kept.keep(target.memo, target.value)

    def _remember(self, number: int) -> None:
        self.remembered += 1
        value = self.stack[-1]
        self.memo[number] = value
        if isinstance(value, _Array):
            value.memo = number
        elif not (isinstance(value, _Name | _Type) or (isinstance(value, str | bytes) and len(value) <= _LONGEST_NAME)):
            self.passing.append(number)

    def memoize(self) -> None:
        self._remember(self.remembered)

    def binput(self) -> None:
        self._remember(self._integer(1))

    def long_binput(self) -> None:
        self._remember(self._integer(4))

    def put_(self) -> None:
        self._remember(int(self._line()))

    def get_(self) -> None:
        self._recall(int(self._line()))

    def _recall(self, number: int) -> None:
        self.stack.append(self.memo[number] if number in self.memo else _Array(self.kept.get(number)))

    def binget(self) -> None:
        self._recall(self._integer(1))

    def long_binget(self) -> None:
        self._recall(self._integer(4))


def _bytes(value: Any) -> Any:
    """What Python 2 may have written as a string of Latin-1."""
    return value.encode("latin1") if isinstance(value, str) else value


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


_INSTRUCTIONS = {
    "\x80": "proto", "\x95": "frame", "(": "mark", "N": "none", "\x88": "newtrue", "\x89": "newfalse",
    "J": "binint", "K": "binint1", "M": "binint2", "\x8a": "long1", "G": "binfloat",
    "U": "short_binbytes", "T": "binbytes", "C": "short_binbytes", "B": "binbytes", "\x8e": "binbytes8",
    "\x8c": "short_binunicode", "X": "binunicode", "\x8d": "binunicode8",
    "I": "int_", "L": "long_", "F": "float_", "V": "unicode_", "p": "put_", "g": "get_", "l": "list_",
    ")": "empty_tuple", "\x85": "tuple1", "\x86": "tuple2", "\x87": "tuple3", "t": "tuple_", "]": "empty_list",
    "c": "global_", "\x93": "stack_global", "R": "reduce", "b": "build",
    "\x94": "memoize", "q": "binput", "r": "long_binput", "h": "binget", "j": "long_binget",
}  # fmt: skip
"""Code -> method. Strings of Python 2 (U, T) are bytes; lines of text (I to l) are protocol 0."""


_APPENDING = frozenset((b"a", b"e"))


class _Kept:
    """Finished arrays that a pickle may ask for again, in a temporary file: 32 bytes of memory each."""

    def __init__(self) -> None:
        self.numbers, self.offsets, self.lengths, self.kinds = (array.array("q") for _ in range(4))
        self.places: dict[tuple[Any, ...], int] = {}
        """dtype and shape without its first axis -> number, in order."""
        self.file: IO[bytes] | None = None
        self.end = 0

    def __enter__(self) -> None:
        self.file = tempfile.TemporaryFile(buffering=1 << 20)

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()

    def keep(self, number: int, value: np.ndarray) -> None:
        """Remember `value` under a number above all before it."""
        if not value.ndim or (self.numbers and number <= self.numbers[-1]):
            raise ValueError("it remembers out of order")
        assert self.file is not None
        self.numbers.append(number)
        self.offsets.append(self.end)
        self.lengths.append(len(value))
        self.kinds.append(self.places.setdefault((value.dtype, value.shape[1:]), len(self.places)))
        if len(self.places) > _LARGEST_MEMORY:
            raise ValueError("it holds arrays of too many shapes")
        self.end += self.file.write(np.ascontiguousarray(value).data)

    def get(self, number: int) -> np.ndarray:
        """What was remembered under a number."""
        place = bisect.bisect_left(self.numbers, number)
        if place == len(self.numbers) or self.numbers[place] != number:
            raise ValueError(f"it refers back to number {number}, which is no array")
        assert self.file is not None
        dtype, rest = list(self.places)[self.kinds[place]]
        self.file.seek(self.offsets[place])
        shape = (self.lengths[place], *rest)
        value = np.frombuffer(exactly(self.file, math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
        self.file.seek(0, io.SEEK_END)
        return value
