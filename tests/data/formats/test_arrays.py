"""Arrays in `.npy` and `.npz` files are read as `np.load` reads them; damaged and hostile files are refused."""

import io
import os
import pickle
import pickletools
import zipfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mdnrnn.data.formats import decompression, safe_pickle
from mdnrnn.data.formats.arrays import array_names, read_records
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.errors import DataError
from tests.data.formats.fuzzing import memory_limit
from tests.data.formats.samples import object_array, saved_bytes, write_member

A = np.array([[3, 0, 0], [0, 4, 1], [5, 5, 1]], np.int16)
EMPTY = np.zeros((0, 3), np.int16)


def write_pickled(path: Path, array: np.ndarray, protocol: int) -> Path:
    """Write an `.npz` as `np.savez` of different NumPy versions does; they differ in the pickle protocol."""
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, np.lib.format.header_data_from_array_1_0(array))
    return write_member(path, member.getvalue() + pickle.dumps(array, protocol))


RECORDS: dict[str, np.ndarray] = {
    "arrays of different lengths": object_array(A, A[:1], A[:2]),
    "repeated array": object_array(A, A[:1], A, A, A[:1]),
    "array repeated 5000 times": object_array(*[A] * 5000),
    "empty arrays": object_array(EMPTY, A, np.zeros(0), EMPTY),
    "numeric types": object_array(*(A.astype(kind) for kind in "?bBhHiIqQefd")),
    "big-endian": object_array(A.astype(">i2"), A.astype(">f8"), A.astype(">i2")),
    "Fortran order": object_array(np.asfortranarray(A), np.asfortranarray(A.astype(float)), A),
    "not contiguous": object_array(A[::2], A[:, ::-1], A.T),
    "nested lists": object_array(A.tolist(), [[0.5, 1, 0]], [], [[True, False, 2**40]]),
    "list of scalars": object_array([np.int16(3), np.float64(0.5)], [np.bool_(True)]),
    "tuples and arrays": object_array(tuple(map(tuple, A.tolist())), A, [A[0], A[1]]),
    "array of objects": object_array(A.astype(object), A),
    "one record": object_array(A),
    "2500 records": object_array(*(A[: 1 + i % 3] + i for i in range(2500))),
    "three-dimensional": np.array([A.tolist(), (A + 1).tolist()], dtype=object),
    "three-dimensional in Fortran order": np.asfortranarray(np.array([A.tolist(), (A + 1).tolist()], dtype=object)),
    "no records": object_array(),
}


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("records", RECORDS.values(), ids=RECORDS.keys())
def test_object_arrays_equal_what_numpy_unpickles(tmp_path: Path, records: np.ndarray, protocol: int) -> None:
    path = write_pickled(tmp_path / "x.npz", records, protocol)
    expected = np.load(path, allow_pickle=True)["train"]
    found = list(read_records(path, "train"))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        np.testing.assert_array_equal(one, np.asarray(other))
        assert one.shape == np.asarray(other).shape


@settings(max_examples=40)
@given(
    records=st.lists(
        arrays.arrays(
            st.sampled_from([np.dtype(kind) for kind in ("<i2", "<i4", "<f4", "<f8", ">i2", ">f8")]),
            arrays.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=5),
        ),
        max_size=6,
    ),
    protocol=st.sampled_from([2, 3, 4]),
    repeated=st.booleans(),
)
def test_random_arrays_equal_what_numpy_unpickles(
    records: list[np.ndarray], protocol: int, repeated: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = records * 2 if repeated else records
    path = write_pickled(tmp_path_factory.getbasetemp() / "random.npz", object_array(*records), protocol)
    for found, expected in zip(read_records(path, "train"), records, strict=True):
        assert found is not None
        np.testing.assert_array_equal(found, expected)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)


NOT_NUMBERS = {
    "None": None,
    "strings": [["a", "b", "c"]],
    "bytes": [b"abc"],
    "ragged list": [[1, 2, 0], [1, 2]],
    "ragged array of objects": object_array([1, 2], [3]),
    "array of None": np.array([None]),
    "array of strings": np.array(["a", "b"]),
    "array of bytes": np.array([b"a", b"b"]),
}


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("record", NOT_NUMBERS.values(), ids=NOT_NUMBERS.keys())
def test_record_that_is_not_an_array_of_numbers_is_none(tmp_path: Path, record: Any, protocol: int) -> None:
    path = write_pickled(tmp_path / "x.npz", object_array(A, record, A), protocol)
    first, second, third = read_records(path, "train")
    assert second is None
    np.testing.assert_array_equal([first, third], [A, A])


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", ">f8", "u1", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=lambda save: save.__name__)
def test_numeric_array_is_read_along_its_first_axis(
    tmp_path: Path, dtype: str, order: str, save: Callable[..., None]
) -> None:
    array = np.arange(24).reshape(4, 2, 3).astype(dtype)
    array = np.asfortranarray(array) if order == "F" else array
    save(tmp_path / "x.npz", train=array)
    np.save(tmp_path / "x.npy", array)
    for path, member in ((tmp_path / "x.npz", "train"), (tmp_path / "x.npy", None)):
        found = list(read_records(path, member))
        np.testing.assert_array_equal(found, array)
        assert found[0] is not None
        assert found[0].dtype == array.dtype


def test_array_names_have_no_extension(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train=A, b=A)
    (tmp_path / "x.txt").write_text("hello")
    assert array_names(tmp_path / "x.npz") == ["train", "b"]
    assert array_names(tmp_path / "x.txt") == array_names(tmp_path) == []


def test_number_of_times_that_a_file_is_opened_does_not_depend_on_its_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening an archive reads the list of all members. At the end of the import, the archive is closed."""
    opened: list[Path] = []

    class CountedZipFile(zipfile.ZipFile):
        def __init__(self, file: Any, *args: Any, **options: Any) -> None:
            opened.append(file)
            super().__init__(file, *args, **options)

    counts = []
    for number in (2, 40):
        drawings: dict[str, Any] = {f"drawing_{i}": A for i in range(number)}
        np.savez(tmp_path / f"{number}.npz", **drawings)
        with monkeypatch.context() as context:
            context.setattr(zipfile, "ZipFile", CountedZipFile)
            opened.clear()
            report = import_corpus(tmp_path / f"{number}.npz", tmp_path / f"out{number}")
        assert report.kept == number
        counts.append(sum(path == tmp_path / f"{number}.npz" for path in opened))
    assert counts[0] == counts[1]
    assert decompression._open_zip_version.cache_info().currsize == 0


def test_changed_file_is_opened_again(tmp_path: Path) -> None:
    for number in (3, 7):
        np.savez(tmp_path / "x.npz", train=np.full((number, 1), number))
        assert len(list(read_records(tmp_path / "x.npz", "train"))) == number


def test_compression_that_allocates_what_the_file_declares_is_refused(tmp_path: Path) -> None:
    """An LZMA stream declares the size of its dictionary, up to 4 GB."""
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("train.npy", saved_bytes(np.save, A))
    with pytest.raises(DataError, match=r"x\.npz: train: compressed by method 14; unpack the archive first"):
        list(read_records(tmp_path / "x.npz", "train"))


REFUSED: dict[str, tuple[Any, str]] = {
    "single value": (np.array(3), "is a single value"),
    "strings": (np.array(["a", "b"]), "has type <U1; expected numbers"),
    "structured array": (np.zeros(3, [("x", int)]), "expected numbers"),
    "complex numbers": (A.astype(complex), "has type complex128; expected numbers"),
    "empty sequences": (np.zeros((2, 0, 3)), r"has shape \(2, 0, 3\); expected sequences that are not empty"),
    "dictionary": (object_array({"a": 1}), "has pickle opcode '}'; expected an array of numeric arrays"),
    "set": (object_array({1, 2}), r"has pickle opcode '\\x8f'; expected|its pickle calls builtins.set"),
    "path": (object_array(Path("x")), "its pickle calls pathlib"),
    "function": (object_array(os.getcwd), f"its pickle calls {os.name}.getcwd; only NumPy arrays are read; do not"),
    "masked array": (object_array(np.ma.masked_array(A)), "its pickle calls numpy.ma"),
    "complex records": (object_array(A.astype(complex)), "a dtype that is not numeric"),
    "dates": (object_array(A.astype("M8[s]")), "a dtype that is not numeric|has pickle opcode"),
}  # fmt: skip


@pytest.mark.parametrize(("array", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_other_arrays_are_refused(tmp_path: Path, array: Any, message: str) -> None:
    np.savez(tmp_path / "x.npz", train=array)
    with pytest.raises(DataError, match=message) as raised:
        list(read_records(tmp_path / "x.npz", "train"))
    assert str(raised.value).startswith(f"{tmp_path / 'x.npz'}: train")


# Hostile files.


def npy_header(shape: str, order: str = "False", descr: str = "'<f8'") -> bytes:
    """Return the header of an `.npy`."""
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


OBJECTS = npy_header("(1,)", descr="'|O'")
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
ARRAY = RECONSTRUCT + b"cnumpy\nndarray\nK\0\x85U\x01b\x87R"
DTYPE = b"cnumpy\ndtype\nU\x02%bK\0K\x01\x87R(K\x03U\x01%bNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
INT16 = DTYPE % (b"i2", b"<")
STRING_64K = DTYPE.replace(b"U\x02", b"U\x06") % (b"S65536", b"|")


def array_opcodes(shape: bytes, data: bytes, dtype: bytes = INT16) -> bytes:
    """Return the opcodes of an array, given the opcodes of its shape, data and dtype."""
    return ARRAY + b"(K\x01" + shape + dtype + b"\x89" + data + b"tb"


def one_record(opcodes: bytes) -> bytes:
    """Return an `.npy` with an object array whose only record has these opcodes."""
    data = b"](" + opcodes + b"e"
    return OBJECTS + b"\x80\x02" + array_opcodes(b"K\x01\x85", data, DTYPE % (b"O8", b"|")) + b"."


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_handwritten_pickle_is_read(tmp_path: Path) -> None:
    """The attacks below differ from this valid pickle in one place only."""
    path = write(tmp_path / "x.npy", one_record(array_opcodes(b"K\x02K\x03\x86", b"U\x0c" + bytes(range(12)))))
    (record,) = read_records(path)
    np.testing.assert_array_equal(record, np.frombuffer(bytes(range(12)), "<i2").reshape(2, 3))


CLAIMS: dict[str, Callable[[], bytes]] = {
    "more records than present": lambda: npy_header("(1000000000000000, 3)"),
    "empty records without end": lambda: npy_header("(1000000000000000000, 0, 3)"),
    "records larger than memory": lambda: npy_header("(1, 1000000000000000, 3)"),
    "shape beyond 64 bits": lambda: npy_header(f"(1, {10**30})"),
    "negative shape": lambda: npy_header("(-5, 3)"),
    "more objects than present": lambda: (
        npy_header(f"({10**18},)", descr="'|O'") + pickle.dumps(object_array(A), 2)
    ),
    "records of more objects than present": lambda: (
        npy_header(f"(1, {10**18})", descr="'|O'") + pickle.dumps(object_array(A), 2)
    ),
    "records of no objects": lambda: npy_header(f"({10**18}, 0)", descr="'|O'") + pickle.dumps(object_array(), 2),
    "unfinished record of gigabytes": lambda: OBJECTS + b"\x80\x02]\x8e\0\0\0\0\xff\0\0\0",
    "unfinished marks": lambda: OBJECTS + b"\x80\x02" + b"(" * 20_000_000,
    "unfinished nested lists": lambda: OBJECTS + b"\x80\x02" + b"](" * 5_000_000,
    "unfinished numbers": lambda: OBJECTS + b"\x80\x02]" + b"K\x01" * 5_000_000,
    "unfinished doubling tuples": lambda: OBJECTS + b"\x80\x02](K\x01q\x01" + b"h\x01h\x01\x86q\x01" * 300_000,
    "unfinished short lists": lambda: OBJECTS + b"\x80\x02](" + b"](K\x01e" * 1_000_000,
    "line of digits": lambda: OBJECTS + b"(lp0\nI" + b"1" * 60_000_000,
    "no opcodes": lambda: OBJECTS,
    "bytes of gigabytes": lambda: one_record(b"\x8e\0\0\0\0\xff\0\0\0"),
    "bytes that are not present": lambda: one_record(b"B\0\0\0\x03"),
    "string of negative size": lambda: one_record(b"T\xff\xff\xff\xff"),
    "frame of gigabytes": lambda: one_record(b"\x95\0\0\0\0\xff\0\0\0"),
    "integer of gigabytes": lambda: one_record(b"\x8b\xff\xff\xff\x7f"),
    "memo index of 4 bytes": lambda: one_record(b"Nr\xff\xff\xff\x7f"),
    "memo index of 3 bytes": lambda: one_record(b"Nr\xff\xff\xff\0"),
    "memo index in digits": lambda: one_record(b"Np999999999\n"),
    "memo index that is not set": lambda: one_record(b"j\xff\xff\xff\x7f"),
    "array of a large shape": lambda: one_record(array_opcodes(b"J\xff\xff\xff\x7fK\x03\x86", b"U\x04abcd")),
    "array of a negative shape": lambda: one_record(
        array_opcodes(b"J\xff\xff\xff\xffJ\xfe\xff\xff\xff\x86", b"U\x04abcd")
    ),
    "array whose shape multiplies a list": lambda: one_record(
        array_opcodes(b"J\xff\xff\xff\x7f]K\x01a\x86", b"U\x02ab")
    ),
    "array whose shape multiplies a string": lambda: one_record(
        array_opcodes(b"J\xff\xff\xff\x7fU\x02ab\x86", b"U\x02ab")
    ),
    "array of a large dtype": lambda: one_record(
        array_opcodes(b"K\0\x85", b"U\0", DTYPE.replace(b"U\x02", b"U\x0a") % (b"f999999999", b"<"))
    ),
    "array of objects in bytes": lambda: one_record(
        array_opcodes(b"K\x01\x85", b"U\x08abcdefgh", DTYPE % (b"O8", b"|"))
    ),
    "array without a dtype": lambda: one_record(array_opcodes(b"K\x01\x85", b"U\x02ab", b"N")),
    "array without a state": lambda: one_record(ARRAY),
    "array of another class": lambda: one_record(array_opcodes(b"K\x01\x85", b"U\x02ab").replace(b"ndarray", b"dtype")),
}  # fmt: skip


@pytest.mark.parametrize("make", CLAIMS.values(), ids=CLAIMS.keys())
def test_claims_are_refused_without_allocating_them(tmp_path: Path, make: Callable[[], bytes]) -> None:
    path = write(tmp_path / "x.npy", make())
    with memory_limit(64 << 20 if path.stat().st_size < 1 << 20 else 1 << 30), pytest.raises(DataError) as raised:
        list(read_records(path))
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(str(path))
    assert "declares more data" not in str(raised.value)


MANY: dict[str, Callable[[], bytes]] = {
    "lists": lambda: one_record(b"]" * 500_000),
    "lists in the memo": lambda: one_record(b"]\x94" * 500_000),
    "empty tuples": lambda: one_record(b")" * 6_000_000),
    "nested tuples": lambda: one_record(b"N" + b"\x85" * 500_000),
    "nested lists": lambda: one_record(b"](" * 500_000 + b"e" * 500_000),
    "marks": lambda: one_record(b"(" * 6_000_000),
    "short strings": lambda: one_record(b"U\x02ab" * 1_500_000),
    "strings": lambda: one_record(b"U\x03abc" * 350_000),
    "floats": lambda: one_record(b"G\0\0\0\0\0\0\0\0" * 600_000),
    "calls": lambda: one_record(RECONSTRUCT + b"q\x01" + b"h\x01)R" * 500_000),
    "nested calls": lambda: one_record(RECONSTRUCT + b"q\x01" + b"h\x01" * 200_000 + b")" + b"R\x85" * 200_000),
    "doubling tuples": lambda: one_record(b"K\x01q\x01" + b"h\x01h\x01\x86q\x01" * 300_000),
    "doubling lists": lambda: one_record(b"]q\x01" + b"](h\x01h\x01eq\x01" * 300_000),
    "doubling shape": lambda: one_record(
        b"K\x01q\x01" + b"h\x01h\x01\x86q\x01" * 100_000 + array_opcodes(b"h\x01h\x01\x86", b"U\x02ab")
    ),
    "doubling dtype": lambda: one_record(
        b"K\x01q\x01"
        + b"h\x01h\x01\x86q\x01" * 100_000
        + array_opcodes(b"K\x01\x85", b"U\x02ab", b"cnumpy\ndtype\nh\x01\x85R")
    ),
    "list of itself": lambda: one_record(b"]q\x01h\x01a"),
    "list of itself a thousand times": lambda: one_record(b"]q\x01(" + b"h\x01" * 1000 + b"e"),
    "array of itself": lambda: one_record(ARRAY + b"q\x01(K\x01K\x01\x85" + INT16 + b"\x89]h\x01atb"),
    "list of a million references to an array": lambda: one_record(
        b"](" + array_opcodes(b"M\x00\x04\x85", b"B\0\x08\0\0" + bytes(2048)) + b"q\x01" + b"h\x01" * 1_000_000 + b"e"
    ),
    "list of a million references to a string of 64 kB": lambda: one_record(
        b"]("
        + array_opcodes(b"K\x01\x85", b"B\0\0\x01\0" + bytes(1 << 16), STRING_64K)
        + b"q\x01" + b"h\x01" * 1_000_000 + b"e"
    ),
    "long string and many short ones": lambda: one_record(
        b"](X\0\0\x10\0" + b"a" * (1 << 20) + b"X\0\0\0\0" * 100_000 + b"e"
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", MANY.values(), ids=MANY.keys())
def test_many_small_objects_take_bounded_memory(
    tmp_path: Path, make: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is None, or the file is refused, within 1/8 of 1 GB if the limits are 1/8 of their values."""
    for name in ("_MAX_OPCODE_BYTES", "_MAX_CONTAINERS", "_MAX_RECORD_NUMBERS"):
        monkeypatch.setattr(safe_pickle, name, getattr(safe_pickle, name) // 8)
    path = write(tmp_path / "x.npy", make())
    with memory_limit(160 << 20):
        try:
            assert list(read_records(path)) == [None]
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017
            assert "declares more data" not in str(error)  # noqa: PT017


def test_repetitions_of_a_large_array_end(tmp_path: Path) -> None:
    """A file of 8 MB that refers 10,000 times to an array of 4 million numbers."""
    data = np.zeros((1 << 20, 4), np.int16)
    array = array_opcodes(b"J\0\0\x10\0K\x04\x86", b"B" + data.nbytes.to_bytes(4, "little") + data.tobytes())
    pickled = array_opcodes(b"M\x10\x27\x85", b"](" + array + b"q\x01" + b"h\x01" * 9_999 + b"e", DTYPE % (b"O8", b"|"))
    path = write(tmp_path / "x.npy", npy_header("(10000,)", descr="'|O'") + b"\x80\x02" + pickled + b".")
    records = read_records(path)
    with memory_limit(64 << 20):
        found = [record is not None for record in islice(records, 32)]
        with pytest.raises(DataError, match="repeated too often"):
            found += [record is not None for record in islice(records, 8)]
    assert all(found)


ADMITTED = """
    NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT INT LONG FLOAT UNICODE SHORT_BINSTRING BINSTRING
    SHORT_BINBYTES BINBYTES BINBYTES8 SHORT_BINUNICODE BINUNICODE BINUNICODE8 EMPTY_LIST APPEND APPENDS LIST EMPTY_TUPLE
    TUPLE TUPLE1 TUPLE2 TUPLE3 MARK GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL REDUCE
    BUILD PROTO STOP FRAME
"""
"""Opcodes by their names in `pickletools`."""


NOT_ADMITTED = [opcode for opcode in pickletools.opcodes if opcode.name not in ADMITTED.split()]


@pytest.mark.parametrize("opcode", NOT_ADMITTED, ids=lambda opcode: opcode.name)
def test_opcodes_that_arrays_do_not_need_are_refused(tmp_path: Path, opcode: Any) -> None:
    """Among them INST, OBJ, NEWOBJ, EXT1 and PERSID, which create objects without `find_class`."""
    path = write(tmp_path / "x.npy", one_record(b"N" + opcode.code.encode("latin1") + b"\0\n" * 8))
    with pytest.raises(DataError, match="has pickle opcode"):
        list(read_records(path))


def test_opcodes_that_are_admitted_are_all_of_numpy_pickles() -> None:
    used = {
        opcode.name
        for records in RECORDS.values()
        for protocol in range(5)
        for opcode, _, _ in pickletools.genops(pickle.dumps(records, protocol))
    }
    python2 = {"SHORT_BINSTRING", "BINSTRING"}
    large = {"BINBYTES", "BINBYTES8", "BINUNICODE8", "LONG_BINGET", "LONG_BINPUT"}
    assert used <= set(ADMITTED.split())
    assert set(ADMITTED.split()) - used <= python2 | large


STATES = {
    "class": RECONSTRUCT + b"(K\x01K\x01\x85tb",
    "class and slots": RECONSTRUCT + b"N\x85b",
    "list": b"](K\x01K\x02eb",
    "number": b"K\x01K\x02b",
    "string": b"U\x02abK\x02b",
}


@pytest.mark.parametrize("opcodes", STATES.values(), ids=STATES.keys())
def test_state_of_something_else_than_a_call_is_refused(tmp_path: Path, opcodes: bytes) -> None:
    before = dict(vars(safe_pickle._Array))
    with pytest.raises(DataError):
        list(read_records(write(tmp_path / "x.npy", one_record(opcodes))))
    assert dict(vars(safe_pickle._Array)) == before


def test_member_that_unpacks_to_much_more_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.npy", npy_header("(40000000,)", descr="'|u1'") + bytes(110 << 20))
    with pytest.raises(DataError, match=r"train: unpacks from \d+ bytes to over \d+ bytes"):
        next(read_records(tmp_path / "x.npz", "train"))


@pytest.mark.parametrize("protocol", [2, 4])
def test_long_records_take_at_most_three_times_their_size(tmp_path: Path, protocol: int) -> None:
    """150 MB in records of 2.5 MB."""
    records = np.empty(60, object)
    records[:] = [np.full((5 << 16, 1), number, np.float64) for number in range(60)]
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (60,)})
        pickle.dump(records, file, protocol)
    del records
    found = []
    with memory_limit(3 * (150 << 20)):
        for record in read_records(tmp_path / "x.npy"):
            assert record is not None
            found.append((record.shape, record[0, 0], record[-1, 0]))
    assert found == [((5 << 16, 1), number, number) for number in range(60)]
