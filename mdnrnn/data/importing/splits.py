"""Assignment of drawings to the splits train, valid and test: by shares, by lists of keys, or by time."""

from __future__ import annotations

import bisect
import hashlib
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from mdnrnn.data.drawings import DrawingBatch, Record, Remark
from mdnrnn.data.metadata import SPLITS
from mdnrnn.data.strokes import Drawing
from mdnrnn.data.unicode_text import to_nfc
from mdnrnn.errors import InputError

DEFAULT_SHARES = "0.9,0.05,0.05"
_MAX_LIST_BYTES = 64 << 20
_MIN_DIVIDED_ROWS = 500
"""Minimum number of rows for which a stream is divided by time."""


def check_split(split: str | None) -> None:
    """Check that the value of --split is None, three shares, or readable lists of keys; else raise `InputError`."""
    if split and "=" in split:
        _load_lists(split)
    else:
        _parse_shares(split)


def assign_splits(
    drawings: DrawingBatch, split: str | None, folder_split: str | None = None, is_stream: bool = False
) -> DrawingBatch:
    """Assign each drawing to a split, and return the drawings with the splits in their records.

    If `split` has lists of keys, a drawing is assigned to the split whose list contains its key. Drawings whose key is
    in no list are dropped.

    If `split` has shares, all drawings are assigned by these shares. If `split` is None, a drawing keeps the split of
    its record or, if the record has none, gets the split of its path; drawings without a split are assigned by the
    default shares.

    Assignment by shares: a stream of at least `_MIN_DIVIDED_ROWS` rows is divided by time. Any other drawing is
    assigned by a hash of its key or, if it has no key, of its points. Call this function before drawings are modified,
    so that the hash does not depend on the modifications.

    Args:
        drawings: drawings of one file.
        split: value of --split, shares or lists of keys; None: default shares.
        folder_split: split according to the path of the file; None: no split.
        is_stream: whether the drawings are streams.
    """
    if split and "=" in split:
        return _assign_by_lists(drawings, _load_lists(split))
    shares = _parse_shares(split)
    if is_stream and (split is not None or folder_split is None):
        drawings = _divide_by_time(drawings, shares, keep_splits=split is None)
    ends, sizes = drawings.point_counts.cumsum(), drawings.point_counts
    bounds = np.cumsum(shares)[:-1].tolist()
    records = []
    for i, record in enumerate(drawings.records):
        if split is None and record.split is None and folder_split is not None:
            record = record._replace(split=folder_split)
        if (split is not None and not is_stream) or record.split not in SPLITS:
            key = to_nfc(record.key or "").encode(errors="surrogatepass")
            if record.key is None:
                points = drawings.points[ends[i] - sizes[i] : ends[i]]
                key = (points - points[0]).tobytes()
            uniform = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / 2**64
            record = record._replace(split=SPLITS[bisect.bisect_right(bounds, uniform)])
        records.append(record)
    return replace(drawings, records=records)


def _parse_shares(split: str | None) -> tuple[float, ...]:
    """Return the shares of train, valid and test, which sum to 1."""
    try:
        shares = tuple(float(part) for part in (split or DEFAULT_SHARES).split(","))
    except ValueError:
        shares = ()
    if len(shares) != len(SPLITS) or not all(0 <= share <= 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise InputError(
            f"--split: received {split}, expected three shares that sum to 1, such as {DEFAULT_SHARES}, or lists of "
            "keys: train=FILE,valid=FILE,test=FILE"
        )
    return shares


def _divide_by_time(drawings: DrawingBatch, shares: tuple[float, ...], keep_splits: bool) -> DrawingBatch:
    """Divide each stream of at least `_MIN_DIVIDED_ROWS` rows into consecutive parts for train, valid and test.

    Args:
        drawings: streams.
        shares: shares of train, valid and test.
        keep_splits: whether a stream whose record has a split keeps this split and is not divided. If false, splits in
            records are ignored.
    """
    bounds = np.cumsum((0, *shares))
    parts: list[tuple[Drawing, Record]] = []
    for i, record in enumerate(drawings.records):
        (rows,) = drawings.polylines(i)
        record = record if keep_splits else record._replace(split=None)
        if len(rows) < _MIN_DIVIDED_ROWS or record.split in SPLITS:
            parts.append(([rows], record))
            continue
        cuts = np.rint(bounds * len(rows)).astype(int)
        parts += [
            ([rows[first:last]], record._replace(split=split))
            for split, (first, last) in zip(SPLITS, pairwise(cuts.tolist()), strict=True)
            if last > first
        ]
    return DrawingBatch.from_polylines(parts, drawings.dropped, drawings.repaired)


def _assign_by_lists(drawings: DrawingBatch, split_by_key: dict[str, str]) -> DrawingBatch:
    splits = [split_by_key.get(to_nfc(record.key or "")) for record in drawings.records]
    dropped = [
        Remark(
            "in no list",
            f"{record.location}: {record.key or 'a drawing without a key'} is in no list of --split",
            malformed=False,
        )
        for record, split in zip(drawings.records, splits, strict=True)
        if split is None
    ]
    records = [record._replace(split=split) for record, split in zip(drawings.records, splits, strict=True)]
    listed = np.array([split is not None for split in splits], bool)
    return replace(drawings, records=records).select(listed, dropped)


def _load_lists(split: str) -> dict[str, str]:
    """Read the lists of keys, and return the split of each key.

    Args:
        split: train=FILE,valid=FILE,test=FILE; a split can have several files.
    """
    versions = []
    for part in split.split(","):
        name, _, path = part.partition("=")
        if name not in SPLITS or not path:
            raise InputError(f"--split: received {part!r}, expected train=FILE, valid=FILE or test=FILE")
        try:
            status = Path(path).stat()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); expected a list of keys") from error
        if status.st_size > _MAX_LIST_BYTES:
            raise InputError(
                f"{path} has {status.st_size} bytes; expected a list of keys of at most {_MAX_LIST_BYTES} bytes"
            )
        versions.append((name, path, status.st_mtime_ns, status.st_size))
    return _read_lists(tuple(versions))


@lru_cache(maxsize=4)
def _read_lists(versions: tuple[tuple[str, str, int, int], ...]) -> dict[str, str]:
    """Read the lists of keys, and return the split of each key. The result is cached until a file changes.

    Args:
        versions: split, path, modification time and size of each file.
    """
    split_by_key: dict[str, str] = {}
    for split, path, *_ in versions:
        try:
            lines = Path(path).read_text(encoding="utf-8-sig", errors="replace").splitlines()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); expected a list of keys") from error
        for key in filter(None, (to_nfc(line.strip()) for line in lines)):
            if split_by_key.setdefault(key, split) != split:
                raise InputError(
                    f"{key!r} is listed for {split_by_key[key]} and for {split}; expected each key in one split only"
                )
    if not split_by_key:
        raise InputError(f"{', '.join(path for _, path, *_ in versions)}: no keys; expected one key per line")
    return split_by_key
