"""The sketch-rnn reader: real files as they are, and nothing dangerous or broken gets through."""

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdnrnn.data.importing import pipeline
from mdnrnn.errors import InputError
from mdnrnn.events import DOWN, END, UP
from tests.data.formats.samples import PickledCall

GOOD = [np.array([[3, 0, 0], [0, 4, 1], [5, 5, 1]], np.int16), np.array([[1, 1, 1]], np.int16)]


def save(path: Path, **splits: Any) -> Path:
    """A file as sketch-rnn writes it: object arrays, pickled."""
    arrays = {}
    for name, records in {"train": GOOD, "valid": GOOD, "test": GOOD, **splits}.items():
        if records is None:
            continue
        array = np.empty(len(records), dtype=object)
        array[:] = list(records)
        arrays[name] = array
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_rows_are_steps_and_the_last_is_end(tmp_path: Path) -> None:
    corpus = pipeline.read(save(tmp_path / "x.npz"))
    assert corpus.splits == {"train": (0, 2), "valid": (2, 4), "test": (4, 6)}
    np.testing.assert_array_equal(corpus[0].motion, [[3, 0], [0, 4], [5, 5]])
    assert corpus[0].event.tolist() == [DOWN, UP, END]
    assert corpus.metadata.bin_width == 1
    assert [len(stroke) for stroke in corpus.drawing(0)] == [3, 1]


def test_an_origin_written_out_in_every_sequence_is_dropped(tmp_path: Path) -> None:
    records = [np.concatenate([np.zeros((1, 3), np.int16), record]) for record in GOOD]
    corpus = pipeline.read(save(tmp_path / "x.npz", train=records, valid=records, test=records))
    np.testing.assert_array_equal(corpus[0].motion, [[3, 0], [0, 4], [5, 5]])


def test_fractions_have_no_quantum(tmp_path: Path) -> None:
    corpus = pipeline.read(save(tmp_path / "x.npz", train=[np.array([[0.5, 1, 1]])]))
    assert corpus.metadata.bin_width is None
    assert corpus.motion.dtype == np.float32


def test_sequences_of_equal_length_saved_as_one_array_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train=np.array([GOOD[0], GOOD[0]]))
    assert len(pipeline.read(tmp_path / "x.npz")) == 2


def test_empty_sequences_are_left_out_and_counted(tmp_path: Path) -> None:
    corpus = pipeline.read(save(tmp_path / "x.npz", train=[np.zeros((0, 3)), *GOOD, np.zeros((0, 3))]))
    assert corpus.splits["train"] == (0, 2)
    assert corpus.skipped == {"empty sequence": 2}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "two columns": ({"train": [np.zeros((4, 2))]}, r"train\[0\] has shape \(4, 2\); expected \(T, 3\)"),
    "ragged rows": ({"train": [GOOD[0], [[1, 2, 0], [1, 2]]]}, r"train\[1\] is ragged"),
    "words": ({"train": [np.array([["a", "b", "c"]])]}, r"train\[0\] is ragged or holds no numbers"),
    "NaN": ({"valid": [GOOD[0], np.array([[0, 0, 0], [np.nan, 0, 1]])]}, r"valid\[1\] holds NaN or infinity in row 1"),
    "infinity": ({"test": [np.array([[np.inf, 0, 1]])]}, r"test\[0\] holds NaN or infinity in row 0"),
    "a pen of 2": ({"train": [np.array([[0, 0, 2]])]}, r"train\[0\] has pen 2 in row 0; expected 0 or 1"),
    "a pen of a half": ({"train": [np.array([[0, 0, 0.5]])]}, r"pen 0.5 in row 0"),
    "an empty split": ({"valid": []}, "split 'valid' is empty"),
    "only empty sequences": ({"test": [np.zeros((0, 3))]}, "split 'test' is empty"),
    "an offset beyond all measure": ({"train": [np.array([[1e30, 0, 1]])]}, "coordinate of 1e[+]30"),
}


@pytest.mark.parametrize(("splits", "complaint"), BAD.values(), ids=BAD.keys())
def test_bad_records_are_told_with_their_place(tmp_path: Path, splits: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        pipeline.read(save(tmp_path / "x.npz", **splits))


def npz_of(path: Path, payload: bytes, shape: str = "(1,)") -> Path:
    """An .npz whose train.npy has a proper header and any payload."""
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.npy", member.getvalue() + payload)
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("function", [os.system, eval, getattr, np.load, np.zeros], ids=lambda f: f.__name__)
def test_a_pickle_that_calls_anything_else_does_not_run(
    tmp_path: Path, protocol: int, function: Callable[..., Any]
) -> None:
    mark = tmp_path / "ran"
    payload = pickle.dumps(PickledCall(function, f"touch {mark}"), protocol)
    with pytest.raises(InputError, match="only NumPy arrays are read"):
        pipeline.read(npz_of(tmp_path / "x.npz", payload))
    assert not mark.exists()


def test_an_array_that_claims_to_be_huge_takes_no_memory(tmp_path: Path) -> None:
    """numpy's own reconstruction would allocate what the pickle says; ours ignores it."""
    payload = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1000000000000000\ntS'b'\ntR."
    with pytest.raises(InputError, match=r"x\.npz"):
        pipeline.read(npz_of(tmp_path / "x.npz", payload))


def test_ndarray_itself_cannot_be_called(tmp_path: Path) -> None:
    payload = b"cnumpy\nndarray\n((I1000000000000000\nttR."
    with pytest.raises(InputError, match=r"damaged|holds a"):
        pipeline.read(npz_of(tmp_path / "x.npz", payload))


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_told(tmp_path: Path, keep: float) -> None:
    path = save(tmp_path / "x.npz", train=GOOD * 50)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(InputError, match="cut short"):
        pipeline.read(path)


@pytest.mark.parametrize("shape", [(10**9,), (7,)])
def test_an_array_that_brings_less_data_than_it_claims_is_told(tmp_path: Path, shape: tuple[int]) -> None:
    state = (1, shape, np.dtype("O"), False, [GOOD[0]])
    payload = pickle.dumps(State(state))
    with pytest.raises(InputError, match="data of another size"):
        pipeline.read(npz_of(tmp_path / "x.npz", payload))


class State:
    """Pickles as numpy's reconstruction with a state of its own."""

    def __init__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return (*np.empty(0, object).__reduce__()[:2], self.state)


@pytest.mark.parametrize("protocol", range(5))
def test_pickles_of_every_protocol_that_numpy_saves_are_read(tmp_path: Path, protocol: int) -> None:
    array = np.empty(1, object)
    array[0] = GOOD[0]
    corpus = pipeline.read(npz_of(tmp_path / "x.npz", pickle.dumps(array, protocol)))
    np.testing.assert_array_equal(corpus[0].motion, GOOD[0][:, :2])


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.npy", bytes(300 << 20))
    with pytest.raises(InputError, match=r"unpacks \d+ bytes to 314572800; not read"):
        pipeline.read(tmp_path / "x.npz")


def test_damage_inside_a_member_is_told(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npz", train=GOOD * 50)
    data = bytearray(path.read_bytes())
    data[len(data) // 6] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"damaged|ragged|shape"):
        pipeline.read(path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"", "the file is empty"), (b"hello", "not an .npz file")],
)
def test_other_files_are_told(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        pipeline.read(tmp_path / "x.npz")


def test_wrong_keys_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", drawings=np.zeros(3))
    with pytest.raises(InputError, match="none of the keys train, valid, test"):
        pipeline.read(tmp_path / "x.npz")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "counts", "mean_length", "scale"),
    [
        ("aaron_sheep", (7400, 300, 300), 126.85, 18.52),
        ("short_kanji", (10000, 600, 500), 41.586, 99.71),
        ("omniglot", (30000, 1000, 1000), 30.144, 54.31),
        ("quickdraw_dev230", (5351, 300, 300), 36.563, 34.46),
    ],
)
def test_real_files_come_out_as_their_makers_describe_them(
    shared_data: Path, name: str, counts: tuple[int, int, int], mean_length: float, scale: float
) -> None:
    corpus = pipeline.read(shared_data / "sketchrnn" / f"{name}.npz")
    corpus.check()
    assert tuple(last - first for first, last in corpus.splits.values()) == counts
    test = corpus.lengths[slice(*corpus.splits["test"])]
    assert test.mean() == pytest.approx(mean_length, abs=0.01)
    train = corpus.motion[corpus.rows("train")].astype(float)
    assert train.std() == pytest.approx(scale, abs=0.01)
    assert (np.asarray(corpus.event)[corpus.offsets[1:] - 1] == END).all()
    assert (np.asarray(corpus.event) == END).sum() == len(corpus)
