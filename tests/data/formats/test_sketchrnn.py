"""sketch-rnn `.npz` files: rows, splits, the origin, malformed records, and hostile pickles."""

import io
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdnrnn.data.formats import sketchrnn
from mdnrnn.data.formats.arrays import read_records
from mdnrnn.data.importing import pipeline
from mdnrnn.errors import InputError
from mdnrnn.pen_events import DOWN, END, UP
from tests.data.formats.samples import PickledCall, object_array

VALID = [np.array([[3, 0, 0], [0, 4, 1], [5, 5, 1]], np.int16), np.array([[1, 1, 1]], np.int16)]


def save(path: Path, **splits: list[Any]) -> Path:
    """Save splits as sketch-rnn does; splits that are not given are `VALID`."""
    splits = {"train": VALID, "valid": VALID, "test": VALID, **splits}
    np.savez(path, **{name: object_array(*records) for name, records in splits.items()})
    return path


def with_origin(records: list[np.ndarray]) -> list[np.ndarray]:
    return [np.concatenate([np.zeros((1, 3), record.dtype), record]) for record in records]


def test_rows_are_steps_and_the_last_is_end(tmp_path: Path) -> None:
    corpus = pipeline.read(save(tmp_path / "x.npz"))
    assert corpus.splits == {"train": (0, 2), "valid": (2, 4), "test": (4, 6)}
    np.testing.assert_array_equal(corpus[0].motion, [[3, 0], [0, 4], [5, 5]])
    assert corpus[0].event.tolist() == [DOWN, UP, END]
    assert corpus.metadata.bin_width == 1
    assert [len(stroke) for stroke in corpus.drawing(0)] == [3, 1]


def test_explicit_origin_of_every_sequence_is_dropped(tmp_path: Path) -> None:
    records = with_origin(VALID)
    corpus = pipeline.read(save(tmp_path / "x.npz", train=records, valid=records, test=records))
    np.testing.assert_array_equal(corpus[0].motion, [[3, 0], [0, 4], [5, 5]])
    assert corpus.lengths.tolist() == [3, 1] * 3


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_rows_of_zero_are_kept_if_one_sequence_has_none(tmp_path: Path, split: str) -> None:
    splits = {name: with_origin(VALID) for name in ("train", "valid", "test")}
    splits[split] = [splits[split][0], VALID[1]]
    corpus = pipeline.read(save(tmp_path / "x.npz", **splits))
    assert sorted(corpus.lengths.tolist()) == [1, 2, 2, 4, 4, 4]


@pytest.mark.parametrize("origin", [True, False])
@pytest.mark.parametrize(
    ("name", "limit"), [("_CHUNK_NUMBERS", 100), ("_CHUNK_RECORDS", 7), ("_MAX_BUFFERED_NUMBERS", 50)]
)
def test_corpus_does_not_depend_on_the_size_of_chunks_and_buffers(
    tmp_path: Path, name: str, limit: int, origin: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    records = [rng.integers(-9, 9, (rng.integers(1, 30), 3)).astype(np.int16) for _ in range(50)]
    for record in records:
        record[:, 2] = record[:, 2] > 6
    records = with_origin(records) if origin else records
    path = save(tmp_path / "x.npz", train=records, valid=records[:20], test=records[:5])
    expected = pipeline.read(path)
    monkeypatch.setattr(sketchrnn, name, limit)
    found = pipeline.read(path)
    np.testing.assert_array_equal(found.motion, expected.motion)
    np.testing.assert_array_equal(found.event, expected.event)
    assert (found.offsets.tolist(), found.splits) == (expected.offsets.tolist(), expected.splits)


@pytest.mark.parametrize(("array", "times"), [(VALID[0], 1), (np.insert(VALID[0], 3, 2, axis=1), 2)])
def test_splits_are_read_once_unless_their_columns_are_chosen(
    array: np.ndarray, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unpickling takes most of the time of an import."""
    reads: list[str | None] = []

    def read(file: Path, member: str | None = None) -> Iterator[np.ndarray | None]:
        reads.append(member)
        return read_records(file, member)

    monkeypatch.setattr(sketchrnn, "read_records", read)
    splits = {name: [array, array] for name in ("train", "valid", "test")}
    assert len(pipeline.read(save(tmp_path / "x.npz", **splits))) == 6
    assert sorted(filter(None, reads)) == sorted(list(splits) * times)


def test_fractions_have_no_bin_width(tmp_path: Path) -> None:
    corpus = pipeline.read(save(tmp_path / "x.npz", train=[np.array([[0.5, 1, 1]])]))
    assert corpus.metadata.bin_width is None
    assert corpus.motion.dtype == np.float32


def test_nested_lists_are_read(tmp_path: Path) -> None:
    corpus = pipeline.read(save(tmp_path / "x.npz", train=[record.tolist() for record in VALID]))
    np.testing.assert_array_equal(corpus[0].motion, [[3, 0], [0, 4], [5, 5]])


def test_sequences_of_equal_length_saved_as_one_array_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train=np.array([VALID[0], VALID[0]]))
    assert len(pipeline.read(tmp_path / "x.npz")) == 2


def test_empty_sequences_are_dropped_and_counted(tmp_path: Path) -> None:
    corpus = pipeline.read(save(tmp_path / "x.npz", train=[np.zeros((0, 3)), *VALID, np.zeros((0, 3))]))
    assert corpus.splits["train"] == (0, 2)
    assert corpus.skipped == {"empty sequence": 2}


MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "two columns": ({"train": [np.zeros((4, 2))]}, r"train\[0\] has shape \(4, 2\); expected \(T, 3\)"),
    "ragged rows": ({"train": [VALID[0], [[1, 2, 0], [1, 2]]]}, r"train\[1\] is ragged"),
    "ragged first record": ({"train": [[[1, 2, 0], [1, 2]], VALID[0]]}, r"train\[0\] is ragged"),
    "None": ({"train": [None, VALID[0]]}, r"train\[0\] is ragged or not numeric"),
    "number": ({"train": [3, VALID[0]]}, r"train\[0\] has shape \(\); expected \(T, 3\)"),
    "words": ({"train": [np.array([["a", "b", "c"]])]}, r"train\[0\] is ragged or not numeric"),
    "words in lists": ({"train": [[["a", "b", "c"]]]}, r"train\[0\] is ragged or not numeric"),
    "NaN": (
        {"valid": [VALID[0], np.array([[0, 0, 0], [np.nan, 0, 1]])]},
        r"valid\[1\] contains NaN or infinity in row 1",
    ),
    "infinity": ({"test": [np.array([[np.inf, 0, 1]])]}, r"test\[0\] contains NaN or infinity in row 0"),
    "pen of 2": ({"train": [np.array([[0, 0, 2]])]}, r"train\[0\] has pen 2 in row 0; expected 0 or 1"),
    "pen of 0.5": ({"train": [np.array([[0, 0, 0.5]])]}, r"pen 0.5 in row 0"),
    "empty split": ({"valid": []}, "split 'valid' is empty"),
    "split of empty sequences": ({"test": [np.zeros((0, 3))]}, "split 'test' is empty"),
    "huge offset": ({"train": [np.array([[1e30, 0, 1]])]}, "coordinate of 1e[+]30"),
    "integer beyond float": ({"train": [[[10**400, 0, 1]]]}, r"train\[0\] is ragged or not numeric"),
}  # fmt: skip


@pytest.mark.parametrize(("splits", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_records_are_reported_with_their_location(
    tmp_path: Path, splits: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        pipeline.read(save(tmp_path / "x.npz", **splits))


def write_train_pickle(path: Path, pickled: bytes) -> Path:
    """Write an `.npz` whose `train.npy` has the header of one object, followed by `pickled`."""
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.npy", member.getvalue() + pickled)
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("function", [os.system, eval, getattr, np.load, np.zeros], ids=lambda f: f.__name__)
def test_pickled_call_is_refused_and_does_not_run(tmp_path: Path, protocol: int, function: Callable[..., Any]) -> None:
    marker = tmp_path / "ran"
    pickled = pickle.dumps(PickledCall(function, f"touch {marker}"), protocol)
    with pytest.raises(InputError, match="only NumPy arrays are read"):
        pipeline.read(write_train_pickle(tmp_path / "x.npz", pickled))
    assert not marker.exists()


def test_array_that_claims_to_be_huge_is_not_allocated(tmp_path: Path) -> None:
    """NumPy's own `_reconstruct` would allocate the claimed shape."""
    pickled = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1000000000000000\ntV\ntR."
    with pytest.raises(InputError, match=r"x\.npz"):
        pipeline.read(write_train_pickle(tmp_path / "x.npz", pickled))


def test_call_of_ndarray_is_refused(tmp_path: Path) -> None:
    pickled = b"cnumpy\nndarray\n((I1000000000000000\nttR."
    with pytest.raises(
        InputError, match=r"is damaged or truncated \(a call creates something other than an array of numbers"
    ):
        pipeline.read(write_train_pickle(tmp_path / "x.npz", pickled))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = save(tmp_path / "x.npz", train=VALID * 50)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="truncated"):
        pipeline.read(path)


class ArrayState:
    """An object that pickles as a NumPy array with a given state."""

    def __init__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return (*np.empty(0, object).__reduce__()[:2], self.state)


@pytest.mark.parametrize("shape", [(10**9,), (7,)])
def test_array_with_less_data_than_its_shape_is_refused(tmp_path: Path, shape: tuple[int]) -> None:
    pickled = pickle.dumps(ArrayState((1, shape, np.dtype("O"), False, [VALID[0]])))
    with pytest.raises(InputError, match="another size"):
        pipeline.read(write_train_pickle(tmp_path / "x.npz", pickled))


@pytest.mark.parametrize("protocol", range(5))
def test_pickles_of_every_protocol_of_numpy_are_read(tmp_path: Path, protocol: int) -> None:
    pickled = pickle.dumps(object_array(VALID[0]), protocol)
    corpus = pipeline.read(write_train_pickle(tmp_path / "x.npz", pickled))
    np.testing.assert_array_equal(corpus[0].motion, VALID[0][:, :2])


def test_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("train.npy", bytes(110 << 20))
    with pytest.raises(InputError, match=r"unpacks from \d+ bytes to over 115343360 bytes"):
        pipeline.read(tmp_path / "x.npz")


def test_damaged_member_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npz", train=VALID * 50)
    data = bytearray(path.read_bytes())
    data[len(data) // 6] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"damaged|ragged|shape"):
        pipeline.read(path)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "the file is empty"), (b"hello", "not an .npz file")], ids=["empty", "text"]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(InputError, match=message):
        pipeline.read(tmp_path / "x.npz")


def test_other_keys_are_refused(tmp_path: Path) -> None:
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
def test_real_files_have_their_published_counts_and_scales(
    shared_data: Path, name: str, counts: tuple[int, int, int], mean_length: float, scale: float
) -> None:
    corpus = pipeline.read(shared_data / "sketchrnn" / f"{name}.npz")
    corpus.check()
    assert tuple(last - first for first, last in corpus.splits.values()) == counts
    test_lengths = corpus.lengths[slice(*corpus.splits["test"])]
    assert test_lengths.mean() == pytest.approx(mean_length, abs=0.01)
    train = corpus.motion[corpus.rows("train")].astype(float)
    assert train.std() == pytest.approx(scale, abs=0.01)
    assert (np.asarray(corpus.event)[corpus.offsets[1:] - 1] == END).all()
    assert (np.asarray(corpus.event) == END).sum() == len(corpus)
