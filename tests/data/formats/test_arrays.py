"""Arrays are read without unpickling as NumPy itself, which unpickles, reads them; and nothing else is."""

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mdnrnn.data.formats.arrays import members, read_records
from mdnrnn.errors import DataError
from tests.data.formats.fuzzing import memory_limit
from tests.data.formats.samples import object_array, write_member

A = np.array([[3, 0, 0], [0, 4, 1], [5, 5, 1]], np.int16)
EMPTY = np.zeros((0, 3), np.int16)


def pickled(path: Path, array: np.ndarray, protocol: int) -> Path:
    """An .npz as np.savez of one NumPy or another writes it: what changes is the protocol."""
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, np.lib.format.header_data_from_array_1_0(array))
    return write_member(path, member.getvalue() + pickle.dumps(array, protocol))


def same(found: Any, expected: Any) -> None:
    """As NumPy takes both."""
    found, expected = np.asarray(found), np.asarray(expected)
    np.testing.assert_array_equal(found, expected)
    assert found.shape == expected.shape


RECORDS: dict[str, np.ndarray] = {
    "arrays of different lengths": object_array(A, A[:1], A[:2]),
    "one array several times": object_array(A, A[:1], A, A, A[:1]),
    "empty arrays": object_array(EMPTY, A, np.zeros(0), EMPTY),
    "of every type of numbers": object_array(*(A.astype(kind) for kind in "?bBhHiIqQefd")),
    "of the other order of bytes": object_array(A.astype(">i2"), A.astype(">f8"), A.astype(">i2")),
    "in Fortran order": object_array(np.asfortranarray(A), np.asfortranarray(A.astype(float)), A),
    "not contiguous": object_array(A[::2], A[:, ::-1], A.T),
    "lists of lists": object_array(A.tolist(), [[0.5, 1, 0]], [], [[True, False, 2**40]]),
    "tuples and arrays": object_array(tuple(map(tuple, A.tolist())), A, [A[0], A[1]]),
    "arrays of objects": object_array(A.astype(object), A),
    "nothing but one": object_array(A),
    "so many that they come in batches": object_array(*(A[: 1 + i % 3] + i for i in range(2500))),
    "all of one length, as objects": np.array([A.tolist(), (A + 1).tolist()], dtype=object),
    "all of one length, as objects in Fortran order": np.asfortranarray(np.array([A.tolist()] * 2, dtype=object)),
    "no records": object_array(),
}


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("records", RECORDS.values(), ids=RECORDS.keys())
def test_arrays_of_objects_are_what_numpy_unpickles(tmp_path: Path, records: np.ndarray, protocol: int) -> None:
    path = pickled(tmp_path / "x.npz", records, protocol)
    expected = np.load(path, allow_pickle=True)["train"]
    found = list(read_records(path, "train"))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        same(one, other)


@settings(deadline=None)
@given(
    records=st.lists(
        arrays.arrays(
            st.sampled_from([np.dtype(kind) for kind in ("<i2", "<i4", "<f4", "<f8", ">i2", ">f8")]),
            arrays.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=5),
        ),
        max_size=6,
    ),
    protocol=st.sampled_from([2, 3, 4]),
    again=st.booleans(),
)
def test_arrays_of_any_kind_are_what_numpy_unpickles(
    records: list[np.ndarray], protocol: int, again: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = records * 2 if again else records
    path = pickled(tmp_path_factory.getbasetemp() / "any.npz", object_array(*records), protocol)
    for found, expected in zip(read_records(path, "train"), records, strict=True):
        same(found, expected)
        assert found.dtype == expected.dtype


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", ">f8", "u1", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=lambda save: save.__name__)
def test_one_array_of_numbers_is_its_records(tmp_path: Path, dtype: str, order: str, save: Callable[..., None]) -> None:
    array = np.arange(24).reshape(4, 2, 3).astype(dtype)
    array = np.asfortranarray(array) if order == "F" else array
    save(tmp_path / "x.npz", train=array)
    np.save(tmp_path / "x.npy", array)
    for path, member in ((tmp_path / "x.npz", "train"), (tmp_path / "x.npy", None)):
        found = list(read_records(path, member))
        np.testing.assert_array_equal(found, array)
        assert found[0].dtype == array.dtype


def test_members_are_named_without_their_ending(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train=A, b=A)
    (tmp_path / "x.txt").write_text("hello")
    assert members(tmp_path / "x.npz") == ["train", "b"]
    assert members(tmp_path / "x.txt") == members(tmp_path) == []


WRONG: dict[str, tuple[Any, str]] = {
    "one thing": (np.array(3), "holds a single thing"),
    "words": (np.array(["a", "b"]), "holds <U1; expected numbers"),
    "records of names": (np.zeros(3, [("x", int)]), "expected numbers"),
    "complex numbers": (A.astype(complex), "holds complex128; expected numbers"),
    "a dictionary": (object_array({"a": 1}), "holds more than arrays of numbers"),
    "a set": (object_array({1, 2}), "holds more than arrays of numbers"),
    "a path": (object_array(Path("x")), "its pickle calls pathlib"),
    "a function": (object_array(os.getcwd), "its pickle calls posix.getcwd; only NumPy arrays are read; do not trust"),
    "a masked array": (object_array(np.ma.masked_array(A)), "its pickle calls numpy.ma"),
    "complex records": (object_array(A.astype(complex)), "a call that no array of numbers needs"),
    "dates": (object_array(A.astype("M8[s]")), "a call that no array of numbers needs"),
}  # fmt: skip


@pytest.mark.parametrize(("array", "complaint"), WRONG.values(), ids=WRONG.keys())
def test_other_things_are_refused(tmp_path: Path, array: Any, complaint: str) -> None:
    np.savez(tmp_path / "x.npz", train=array)
    with pytest.raises(DataError, match=complaint) as told:
        list(read_records(tmp_path / "x.npz", "train"))
    assert str(told.value).startswith(f"{tmp_path}/x.npz: train")


def claiming(shape: str, order: str = "False", descr: str = "'<f8'") -> bytes:
    """An .npy without data that claims a shape."""
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def one_object(instructions: bytes) -> bytes:
    """An .npy with one object, and how it is pickled."""
    return claiming("(1,)", descr="'|O'") + b"\x80\x02" + instructions


GREEDY: dict[str, Callable[[], bytes]] = {
    "more records than there are": lambda: claiming("(1000000000000000, 3)"),
    "records larger than memory": lambda: claiming("(1, 1000000000000000, 3)"),
    "a shape beyond 64 bits": lambda: claiming(f"(1, {10**30})"),
    "a negative shape": lambda: claiming("(-5, 3)"),
    "more objects than there are": lambda: claiming(f"({10**18},)", descr="'|O'") + pickle.dumps(object_array(A), 2),
    "records of more objects than there are": lambda: (
        claiming(f"(1, {10**18})", descr="'|O'") + pickle.dumps(object_array(A), 2)
    ),
    "a record that claims gigabytes": lambda: one_object(b"]\x8e\0\0\0\0\xff\0\0\0"),
    "marks without end": lambda: one_object(b"(" * 20_000_000),
    "lists in lists": lambda: one_object(b"](" * 5_000_000),
    "numbers without end": lambda: one_object(b"]" + b"K\x01" * 5_000_000),
    "tuples that double": lambda: one_object(b"](K\x01q\x01" + b"h\x01h\x01\x86q\x01" * 300_000),
    "lists of one number": lambda: one_object(b"](" + b"](K\x01e" * 1_000_000),
    "a line of digits": lambda: claiming("(1,)", descr="'|O'") + b"(lp0\nI" + b"1" * 60_000_000,
}


@pytest.mark.parametrize("make", GREEDY.values(), ids=GREEDY.keys())
def test_what_claims_too_much_is_told_soon_and_takes_no_memory(tmp_path: Path, make: Callable[[], bytes]) -> None:
    (tmp_path / "x.npy").write_bytes(make())
    with memory_limit(), pytest.raises(DataError, match=r"x\.npy") as told:
        list(read_records(tmp_path / "x.npy"))
    assert "\n" not in str(told.value)


def test_a_member_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.npy", claiming("(40000000,)", descr="'|u1'") + bytes(200 << 20))
    with pytest.raises(DataError, match=r"train unpacks \d+ bytes to \d+; not read"):
        next(read_records(tmp_path / "x.npz", "train"))


@pytest.mark.parametrize("protocol", [2, 4])
def test_long_records_are_read_one_after_the_other(tmp_path: Path, protocol: int) -> None:
    """300 MB in one array: more than may pile up, less than a record of it."""
    records = np.empty(60, object)
    records[:] = [np.full((5 << 17, 1), number, np.float64) for number in range(60)]
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (60,)})
        pickle.dump(records, file, protocol)
    found = [(record.shape, record[0, 0], record[-1, 0]) for record in read_records(tmp_path / "x.npy")]
    assert found == [((5 << 17, 1), number, number) for number in range(60)]
