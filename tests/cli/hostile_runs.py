"""Damaged and hostile variants of small run folders."""

import copy
import json
import os
import pickle
import re
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Change = Callable[[Path], object]
CONFIG, WEIGHTS, CHECKPOINT, METRICS = "config.json", "model.safetensors", "last.pt", "metrics.jsonl"


@dataclass(frozen=True)
class Variant:
    """A change of a run folder. `resume_only`: the change concerns only `train --resume`."""

    name: str
    change: Change
    resume_only: bool = False


# config.json


def edit_config(change: Callable[[dict[str, Any]], object]) -> Change:
    def apply(run: Path) -> None:
        config = json.loads((run / CONFIG).read_text())
        change(config)
        (run / CONFIG).write_text(json.dumps(config))

    return apply


def set_field(path: tuple[str, ...], value: Any) -> Change:
    def change(config: dict[str, Any]) -> None:
        for name in path[:-1]:
            config = config[name]
        config[path[-1]] = value

    return edit_config(change)


def leaves(config: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path and the value of each field of a config."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


def wrong_types(value: Any) -> list[Any]:
    """Return values of other types than a field has."""
    if isinstance(value, str):
        return [7, ["a"], None]
    if isinstance(value, bool):
        return ["yes", 3]
    if isinstance(value, int | float):
        return ["12", [1], {}, float("nan")]
    if isinstance(value, list):
        return ["abc", 5, [[]]]
    return ["none", []]


RANGES: dict[tuple[str, ...], list[Any]] = {
    ("model", "layers"): [0, -1, 101, 10**6, 10**18],
    ("model", "hidden"): [0, -5, 17, 10**6, 10**12, 2**53, 10**400, True],
    ("model", "components"): [0, 4, 10**9],
    ("model", "covariance"): ["circular", "shared"],
    ("model", "scale_floor"): [0, -1.0, 1e400],
    ("shape", "features"): [0, 3, 10**9],
    ("shape", "events"): [1, 4, 2],
    ("shape", "inputs"): [-1, 5, 10**9],
    ("shape", "classes"): [-1, 1, 10**8],
    ("shape", "alphabet"): ["aa"],
    ("shape", "offsets"): [0, -1, 10**12],
    ("normalizer", "mean"): [[], [0.0], [0.0] * 3, [0.0, float("inf")], [0.0, -1e300]],
    ("normalizer", "scale"): [[0.0, 1.0], [-1.0, 1.0], [1.0, 1.0, 1.0], [1e300, 1.0], [1e-300, 1.0]],
    ("normalizer", "logs"): [[0], [5], [-1]],
    ("metadata", "bin_width"): [0, -1.0, float("inf")],
    ("metadata", "start"): ["left"],
    ("metadata", "classes"): [["a"], ["a"] * 100_000, ["\ud800"] * 3],
    ("metadata", "features"): [["dt"], ["dx", "dy", "dt"]],
    ("training", "batch_size"): [0, 10**9],
    ("training", "seed"): [-1, 2**32],
    ("training", "learning_rate"): [0, 1e9],
    ("training", "steps"): [0, -4],
    ("max_steps",): [0, -1, 10**12],
    ("longest_text",): [-1, 10**12],
    ("steps_per_character",): [-1, 1e300],
    ("kind",): ["transformer", "handwriting", "", "__class__"],
    ("data",): ["\0", "\ud800"],
}
"""Values that are out of range or contradict the remaining config or the weights, by field."""


def config_variants(config: dict[str, Any]) -> Iterator[Variant]:
    for path, value in leaves(config):
        for wrong in wrong_types(value):
            yield Variant(f"{'.'.join(path)} = {str(wrong)[:20]}", set_field(path, wrong))
    for path, values in RANGES.items():
        for wrong in values:
            yield Variant(f"{'.'.join(path)} = {str(wrong)[:20]!r}", set_field(path, wrong))
    for name in ("kind", "shape", "model", "normalizer", "metadata", "data", "training", "max_steps"):
        yield Variant(f"without {name}", edit_config(removing(name)))
        yield Variant(f"null {name}", set_field((name,), None))
    for name in ("shape", "model", "normalizer", "metadata", "training"):
        yield Variant(f"unknown field in {name}", set_field((name, "surprise"), 1))
    yield Variant("unknown field", set_field(("surprise",), 1))
    contents = {
        "empty": b"", "a list": b"[]", "null": b"null", "not JSON": b"{", "binary": bytes(range(256)) * 10,
        "deep lists": b"[" * 100_000, "deep objects": b'{"a":' * 100_000, "UTF-16": '{"kind": 1}'.encode("utf-16"),
        "long number": b'{"kind": ' + b"9" * 10_000 + b"}", "many lists": b"[" + b"[]," * 1_300_000 + b"[]]",
    }  # fmt: skip
    for name, content in contents.items():
        yield Variant(f"config: {name}", write(CONFIG, content))
    yield from file_variants(CONFIG, resume_only=False)


# all files


def write(name: str, content: bytes) -> Change:
    return lambda run: (run / name).write_bytes(content)


def replace(name: str, create: Callable[[Path], object]) -> Change:
    def apply(run: Path) -> None:
        (run / name).unlink()
        create(run / name)

    return apply


def make_sparse(path: Path) -> None:
    """Create a file of 64 GB that occupies no blocks."""
    path.touch()
    os.truncate(path, 1 << 36)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def truncate(name: str, share: float) -> Change:
    return lambda run: os.truncate(run / name, int((run / name).stat().st_size * share))


def append_zeros(name: str, size: int) -> Change:
    return lambda run: os.truncate(run / name, (run / name).stat().st_size + size)


def file_variants(name: str, *, resume_only: bool) -> Iterator[Variant]:
    changes: dict[str, Change] = {
        "missing": lambda run: (run / name).unlink(),
        "folder": replace(name, Path.mkdir),
        "FIFO": replace(name, os.mkfifo),
        "link to itself": replace(name, link_to_itself),
        "link to /dev/zero": replace(name, link_to_zeros),
        "sparse": replace(name, make_sparse),
    }
    for what, change in changes.items():
        yield Variant(f"{name}: {what}", change, resume_only)


# model.safetensors


def edit_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def apply(run: Path) -> None:
        weights = {name: tensor.clone() for name, tensor in load_file(run / WEIGHTS).items()}
        change(weights)
        save_file(weights, run / WEIGHTS)

    return apply


def edit_header(change: Callable[[dict[str, Any]], object]) -> Change:
    def apply(run: Path) -> None:
        data = (run / WEIGHTS).read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8 : 8 + size])
        changed = change(header)
        text = changed if isinstance(changed, bytes) else json.dumps(header).encode()
        (run / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])

    return apply


def first(entries: dict[str, Any]) -> Any:
    return entries[min(entries)]


def fill(value: float) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda weights: first(weights).view(-1)[:1].fill_(value)


def convert(dtype: torch.dtype, names: int = 1000) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda weights: weights.update({name: weights[name].to(dtype) for name in sorted(weights)[:names]})


def weight_variants() -> Iterator[Variant]:
    tensors: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
        "NaN": fill(float("nan")),
        "infinite": fill(float("inf")),
        "float64": convert(torch.float64),
        "one float64": convert(torch.float64, 1),
        "float16": convert(torch.float16),
        "bfloat16": convert(torch.bfloat16),
        "int8": convert(torch.int8),
        "int32": convert(torch.int32),
        "a tensor missing": lambda weights: weights.pop(min(weights)),
        "an extra tensor": lambda weights: weights.update(extra=torch.zeros(3)),
        "transposed": lambda weights: weights.update({min(weights): first(weights).unsqueeze(0).contiguous()}),
        "no tensors": lambda weights: weights.clear(),
    }
    for name, change in tensors.items():
        yield Variant(f"weights: {name}", edit_weights(change))
    headers: dict[str, Callable[[dict[str, Any]], object]] = {
        "huge shape": lambda header: first(header).update(shape=[10**9, 10**9]),
        "negative shape": lambda header: first(header).update(shape=[-1]),
        "offsets beyond the file": lambda header: first(header).update(data_offsets=[0, 10**12]),
        "negative offsets": lambda header: first(header).update(data_offsets=[-8, 8]),
        "swapped offsets": lambda header: first(header)["data_offsets"].reverse(),
        "overlapping offsets": lambda header: first(header).update(data_offsets=header[max(header)]["data_offsets"]),
        "wrong dtype": lambda header: first(header).update(dtype="I32"),
        "unknown dtype": lambda header: first(header).update(dtype="Q4"),
        "offsets of text": lambda header: first(header).update(data_offsets=["0", "4"]),
        "entry is a list": lambda header: header.update({min(header): []}),
        "extra key": lambda header: first(header).update(more=1),
        "name twice": lambda header: json.dumps(header).encode()[:-1] + b"," + json.dumps(header).encode()[1:],
        "long": lambda _: b" " * (1 << 24),
        "deep": lambda _: b"[" * 60_000,
        "a list": lambda _: b"[]",
        "not JSON": lambda _: b"{'a'",
    }
    for name, edit in headers.items():
        yield Variant(f"weights header: {name}", edit_header(edit))
    for size in (0, 1, 2**31, 2**62, 2**64 - 1):
        yield Variant(f"weights header: {size} bytes", _overwrite(WEIGHTS, struct.pack("<Q", size)))
    yield Variant("weights: trailing data", append_zeros(WEIGHTS, 100))
    yield Variant("weights: trailing gigabytes", append_zeros(WEIGHTS, 1 << 33))
    for share in (0.0, 0.3, 0.99):
        yield Variant(f"weights: {share} of the file", truncate(WEIGHTS, share))
    yield Variant("weights: a pickle", write(WEIGHTS, pickle.dumps({"a": 1})))
    yield from file_variants(WEIGHTS, resume_only=False)


def _overwrite(name: str, data: bytes) -> Change:
    return lambda run: (run / name).write_bytes(data + (run / name).read_bytes()[len(data) :])


# last.pt


class Attack:
    """An object whose pickle runs a command."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch ran",)


def edit_checkpoint(change: Callable[[Any], object]) -> Change:
    def apply(run: Path) -> None:
        checkpoint = torch.load(run / CHECKPOINT, weights_only=True)
        changed = change(checkpoint)
        torch.save(checkpoint if changed is None else changed, run / CHECKPOINT)

    return apply


def removing(*path: Any) -> Callable[[Any], None]:
    """Return a function that removes an entry."""

    def remove(entries: Any) -> None:
        for name in path[:-1]:
            entries = entries[name]
        del entries[path[-1]]

    return remove


def changing_state(edit: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Return a function that changes the carried-over state of a checkpoint."""

    def change(checkpoint: Any) -> None:
        checkpoint["carried_state"] = edit(checkpoint["carried_state"])

    return change


def set_entry(*path: Any, value: Any) -> Change:
    def change(checkpoint: Any) -> None:
        for name in path[:-1]:
            checkpoint = checkpoint[name]
        checkpoint[path[-1]] = value

    return edit_checkpoint(change)


def edit_archive(change: Callable[[dict[str, bytes]], object], compression: int = zipfile.ZIP_STORED) -> Change:
    """Change the records of the archive."""

    def apply(run: Path) -> None:
        with zipfile.ZipFile(run / CHECKPOINT) as archive:
            records = {name: archive.read(name) for name in archive.namelist()}
        change(records)
        with zipfile.ZipFile(run / CHECKPOINT, "w", compression) as archive:
            for name, data in records.items():
                archive.writestr(name, data)

    return apply


def edit_pickle(old: bytes, new: bytes) -> Change:
    """Replace the bytes that match the pattern `old` in the pickle with the structure of the checkpoint."""

    def change(records: dict[str, bytes]) -> None:
        name = next(name for name in records if name.endswith("data.pkl"))
        records[name], replaced = re.subn(old, new.replace(b"\\", rb"\\"), records[name], count=1, flags=re.DOTALL)
        assert replaced

    return edit_archive(change)


def nested(depth: int) -> Any:
    state: Any = torch.zeros(1, 2, 3)
    for _ in range(depth):
        state = (state,) * 10
    return state


def checkpoint_variants() -> Iterator[Variant]:
    state = ("optimizer", "state", 0)
    values: dict[str, Any] = {
        "other shape": torch.zeros(1), "larger": torch.zeros(500, 500), "float64": torch.zeros(2, dtype=torch.float64),
        "integers": torch.zeros(3, dtype=torch.int64), "a number": 0.0, "none": None, "a text": "abc", "a list": [1.0],
        "empty": torch.zeros(0), "sparse": torch.zeros(4, 4).to_sparse(),
    }  # fmt: skip
    changes: dict[str, Change] = {}
    for entry in ("exp_avg", "exp_avg_sq", "step"):
        for name, value in values.items():
            changes[f"{entry}: {name}"] = set_entry(*state, entry, value=value)
        changes[f"without {entry}"] = edit_checkpoint(removing("optimizer", "state", 0, entry))
    for name, change in {
        "exp_avg: NaN": lambda c: c["optimizer"]["state"][0]["exp_avg"].fill_(float("nan")),
        "exp_avg_sq: negative": lambda c: c["optimizer"]["state"][0]["exp_avg_sq"].fill_(-1),
        "step: infinite": lambda c: c["optimizer"]["state"][0]["step"].fill_(float("inf")),
        "state of another parameter": lambda c: c["optimizer"]["state"].update({10**6: c["optimizer"]["state"][0]}),
        "state by name": lambda c: c["optimizer"]["state"].update(a=c["optimizer"]["state"][0]),
        "states swapped": lambda c: c["optimizer"]["state"].update({0: c["optimizer"]["state"][1]}),
        "extra state": lambda c: c["optimizer"]["state"][0].update(max_exp_avg_sq=torch.zeros(1)),
        "one group": lambda c: c["optimizer"]["param_groups"].pop(),
        "groups swapped": lambda c: c["optimizer"]["param_groups"].reverse(),
        "other parameters": lambda c: c["optimizer"]["param_groups"][0].update(params=[0, 0, 0]),
        "group is a list": lambda c: c["optimizer"].update(param_groups=[[], []]),
        "weights: NaN": lambda c: first(c["model"]).fill_(float("nan")),
        "weights: other shape": lambda c: c["model"].update({min(c["model"]): torch.zeros(3)}),
        "weights: float64": lambda c: c["model"].update({min(c["model"]): first(c["model"]).double()}),
        "weights: one missing": lambda c: c["model"].pop(min(c["model"])),
        "weights: one more": lambda c: c["model"].update(more=torch.zeros(3)),
        "weights: expanded": lambda c: c["model"].update({min(c["model"]): torch.zeros(1).expand(10**6)}),
        "generators: empty": lambda c: c["generators"].clear(),
        "generators: other size": lambda c: c["generators"][0].update(cpu=torch.zeros(10, dtype=torch.uint8)),
        "generators: invalid": lambda c: c["generators"][0]["cpu"].fill_(255),
        "generators: float": lambda c: c["generators"][0].update(cpu=torch.zeros(5056)),
        "generators: none": lambda c: c["generators"][0].update(cpu=None),
        "generators: cuda text": lambda c: c["generators"][0].update(cuda="abc"),
        "options: a text": lambda c: c.update(config="abc"),
        "options: a tensor": lambda c: c["config"].update(steps=torch.zeros(4)),
        "options: a long text": lambda c: c["config"].update(device="x" * 1000),
        "options: many": lambda c: c["config"].update({str(i): i for i in range(1000)}),
        "carried state: a tensor": lambda c: c.update(carried_state=torch.zeros(1, 4, 4)),
        "carried state: a text": lambda c: c.update(carried_state="abc"),
        "carried state: shared tuples": lambda c: c.update(carried_state=nested(9)),
        "carried state: empty tuples": lambda c: c.update(carried_state=((((),) * 99,) * 99,) * 99),
        "carried state: NaN": lambda c: c.update(carried_state=(torch.full((1, 4, 4), float("nan")),)),
        "a list": lambda c: [c],
        "a tensor": lambda c: first(c["model"]),
        "more": lambda c: c.update(more=1),
        "only weights": lambda c: {"model": c["model"]},
    }.items():
        changes[name] = edit_checkpoint(change)
    for entry in ("model", "optimizer", "generators", "progress", "carried_state", "config"):
        changes[f"without {entry}"] = edit_checkpoint(removing(entry))
        changes[f"{entry} is a number"] = set_entry(entry, value=5)
    progress: dict[str, list[Any]] = {
        "step": [-1, 2**60, 1.5, "3", None, True], "points": [-1, "a"], "seconds": [float("nan"), -1.0, "1"],
        "epoch": [-1, 10**30], "batch": [-1, 2.5], "best": [float("nan"), -float("inf"), "low", None],
        "metrics_bytes": [-5, 1.0], "finished": [1, "yes", None], "validations": [-1],
    }  # fmt: skip
    for field, wrong in progress.items():
        for value in wrong:
            changes[f"progress.{field} = {value!r:.20}"] = set_entry("progress", field, value=value)
    changes["progress: unknown field"] = set_entry("progress", "more", value=1)
    changes["progress: missing field"] = edit_checkpoint(removing("progress", "step"))
    for share in (0.0, 0.5, 0.999):
        changes[f"{share} of the file"] = truncate(CHECKPOINT, share)
    changes["a pickle that runs a command"] = write(CHECKPOINT, pickle.dumps(Attack(), 2))
    changes["an archive that runs a command"] = lambda run: torch.save(Attack(), run / CHECKPOINT)
    changes["compressed"] = edit_archive(lambda records: None, zipfile.ZIP_DEFLATED)
    changes["compressed gigabyte"] = edit_archive(
        lambda records: records.update({"last/data/0": bytes(1 << 28)}), zipfile.ZIP_DEFLATED
    )
    changes["records missing"] = edit_archive(
        lambda records: [records.pop(name) for name in list(records) if "/data/" in name]
    )
    changes["records cut"] = edit_archive(
        lambda records: records.update({name: data[:-1] for name, data in records.items() if "/data/" in name})
    )
    changes["many records"] = edit_archive(lambda records: records.update({f"x/{i}": b"" for i in range(30_000)}))
    changes["huge storage"] = edit_pickle(b"cpuq\tK.", b"cpuq\tJ\xff\xff\xff\x7f")
    changes["calls bytearray"] = edit_pickle(b"}q\x00", b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R0}q\x00")
    changes["calls os.system"] = edit_pickle(b"}q\x00", b"cos\nsystem\nX\x09\x00\x00\x00touch ran\x85R0}q\x00")
    changes["huge memo index"] = edit_pickle(b"}q\x00", b"}r\xff\xff\xff\x7f")
    changes["noise"] = write(CHECKPOINT, bytes(range(256)) * 100)
    for name, variant in changes.items():
        yield Variant(f"checkpoint: {name}", variant, resume_only=True)
    yield from file_variants(CHECKPOINT, resume_only=True)


# metrics.jsonl, samples and the lock


def link_outside(name: str) -> Change:
    """Replace a file by a symbolic link to the file "outside" beside the run folder."""
    return replace(name, lambda path: path.symlink_to(path.parent.parent / "outside"))


def link_hard(run: Path) -> None:
    (run / METRICS).unlink()
    (run / METRICS).hardlink_to(run.parent / "outside")


def link_samples(run: Path) -> None:
    shutil.rmtree(run / "samples")
    (run.parent / "pictures").mkdir(exist_ok=True)
    (run / "samples").symlink_to(run.parent / "pictures")


def replace_samples(run: Path) -> None:
    shutil.rmtree(run / "samples")
    (run / "samples").touch()


def folder_variants() -> Iterator[Variant]:
    changes: dict[str, Change] = {
        "metrics: link": link_outside(METRICS),
        "metrics: hard link": link_hard,
        "metrics: folder": replace(METRICS, Path.mkdir),
        "metrics: FIFO": replace(METRICS, os.mkfifo),
        "samples: link": link_samples,
        "samples: file": replace_samples,
        "lock: link": lambda run: (run / ".train.lock").symlink_to(run.parent / "outside"),
        "lock: hard link": lambda run: (run / ".train.lock").hardlink_to(run.parent / "outside"),
        "lock: folder": lambda run: (run / ".train.lock").mkdir(),
        "lock: FIFO": lambda run: os.mkfifo(run / ".train.lock"),
    }
    for name, change in changes.items():
        yield Variant(name, change, resume_only=True)


def window_variants() -> Iterator[Variant]:
    """Yield variants of the carried-over state of a run that trains on windows."""
    edits: dict[str, Callable[[Any], Any]] = {
        "none of a tuple": lambda state: (None, *state[1:]),
        "a tuple less": lambda state: state[:-1],
        "a tuple more": lambda state: (*state, state[1]),
        "other hidden size": lambda state: ((state[0][0][..., :-1].clone(), state[0][1]), *state[1:]),
        "other layers": lambda state: ((state[0][0].repeat(2, 1, 1), state[0][1]), *state[1:]),
        "other rows": lambda state: (state[0], state[1][:, :1].clone(), *state[2:]),
        "no rows": lambda state: tuple_of(state, lambda tensor: tensor[..., :0, :].clone()),
        "many rows": lambda state: tuple_of(state, lambda tensor: tensor[..., :1, :].repeat(1, 5000, 1)),
        "expanded rows": lambda state: tuple_of(state, lambda tensor: tensor[..., :1, :].expand(-1, 10**9, -1)),
        "integers": lambda state: tuple_of(state, lambda tensor: tensor.long()),
        "NaN": lambda state: tuple_of(state, lambda tensor: tensor * float("nan")),
        "a list": list,
        "a view of a large tensor": lambda state: (
            state[0],
            torch.zeros(1 << 20, *state[1].shape[1:])[:1],
            *state[2:],
        ),
    }
    for name, edit in edits.items():
        yield Variant(f"carried state: {name}", edit_checkpoint(changing_state(edit)), resume_only=True)


def tuple_of(state: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    return function(state) if isinstance(state, torch.Tensor) else tuple(tuple_of(part, function) for part in state)


def all_variants(run: Path) -> list[Variant]:
    """Return all variants of a run of drawings."""
    config = json.loads((run / CONFIG).read_text())
    return [
        *config_variants(copy.deepcopy(config)),
        *weight_variants(),
        *checkpoint_variants(),
        *folder_variants(),
    ]
