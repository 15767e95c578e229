"""Checkpoints and weights from elsewhere: everything is compared with the model before anything is restored."""

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputError
from mdnrnn.models.base import StepShape
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.training.checkpoint import (
    CHECKPOINT_FILE,
    WEIGHTS_FILE,
    check_weights,
    load_weights,
    read_checkpoint,
    restore_checkpoint,
    save_checkpoint,
    save_weights,
)
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.progress import Progress
from mdnrnn.training.step import make_optimizer
from mdnrnn.training.trainer import fit
from tests.helpers import make_controls, random_corpus

CONFIG = SequenceTrainConfig(steps=3, batch_size=8, validations=1, precision="float32")


def make_model(hidden: int = 6, seed: int = 0) -> MDNRNN:
    torch.manual_seed(seed)
    return MDNRNN(StepShape(), MDNRNNConfig(hidden=hidden, components=2, dropout=0.0))


def make_optimized(model: MDNRNN) -> torch.optim.Optimizer:
    """Return an optimizer of the model after one step, whose moments differ between all numbers."""
    optimizer = make_optimizer(model, CONFIG)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return optimizer


def write_checkpoint(folder: Path, change: Callable[[Any], object] = lambda checkpoint: None) -> Path:
    """Write a checkpoint of a model after one step, then change it."""
    model = make_model()
    path = folder / CHECKPOINT_FILE
    save_checkpoint(path, model, make_optimized(model), Progress(step=1), None, CONFIG)
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)
    return path


def read(path: Path) -> Any:
    model = make_model()
    return read_checkpoint(path, model, make_optimizer(model, CONFIG), CONFIG.batch_size)


def test_checkpoint_is_restored_exactly(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path)
    original = torch.load(path, weights_only=True)
    model = make_model(seed=1)
    optimizer = make_optimizer(model, CONFIG)
    checkpoint = read_checkpoint(path, model, optimizer, CONFIG.batch_size)
    assert checkpoint is not None
    assert restore_checkpoint(checkpoint, model, optimizer) == (Progress(step=1), None)
    torch.testing.assert_close(dict(model.state_dict()), dict(original["model"]), rtol=0, atol=0)
    torch.testing.assert_close(optimizer.state_dict()["state"], original["optimizer"]["state"], rtol=0, atol=0)
    assert read_checkpoint(tmp_path / "none", model, optimizer, CONFIG.batch_size) is None


MOMENT = "exp_avg of parameter 0"
CHANGES: dict[str, tuple[Callable[[Any], object], str]] = {
    "moment of another shape": (
        lambda c: c["optimizer"]["state"][0].update(exp_avg=torch.zeros(3)),
        rf"{MOMENT} is \(3,\) torch.float32, expected \(13, 6\) torch.float32",
    ),
    "moment of another dtype": (
        lambda c: c["optimizer"]["state"][0].update(exp_avg=torch.zeros(13, 6).double()),
        rf"{MOMENT} is \(13, 6\) torch.float64",
    ),
    "moment is a number": (lambda c: c["optimizer"]["state"][0].update(exp_avg=1.0), f"{MOMENT} is not a tensor"),
    "NaN moment": (lambda c: c["optimizer"]["state"][0]["exp_avg"].fill_(float("nan")), f"{MOMENT} contains NaN"),
    "NaN weights": (
        lambda c: c["model"]["decoder.head.linear.bias"].fill_(float("nan")),
        "decoder.head.linear.bias contains NaN",
    ),
    "fewer weights": (lambda c: c["model"].popitem(), "model lacks decoder"),
    "negative step": (lambda c: c["progress"].update(step=-1), "progress.step is out of range"),
    "step is a text": (lambda c: c["progress"].update(step="1"), "progress.step has the type str, expected int"),
    "generator of another size": (
        lambda c: c["generators"][0].update(cpu=torch.zeros(8, dtype=torch.uint8)),
        r"the CPU generator state is \(8,\) torch.uint8",
    ),
    "CUDA generator with an invalid offset": (
        lambda c: c["generators"][0].update(cuda=torch.ones(16, dtype=torch.uint8)),
        "the CUDA generator state has an offset that is not a multiple of 4",
    ),
    "no generator": (lambda c: c.pop("generators"), "the checkpoint lacks generators"),
    "state of another kind of model": (
        lambda c: c.update(carried_state=(torch.zeros(1, 2, 3),)),
        "carried_state belongs to another kind of model",
    ),
}


@pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=CHANGES.keys())
def test_checkpoint_that_does_not_match_is_rejected_with_the_reason(
    tmp_path: Path, change: Callable[[Any], object], reason: str
) -> None:
    path = write_checkpoint(tmp_path, change)
    with pytest.raises(InputError, match=rf"last.pt is damaged or belongs to another model \({reason}"):
        read(path)


def test_rejected_checkpoint_changes_nothing(tmp_path: Path) -> None:
    """The last entry is invalid; neither the model nor the random generator has been restored."""
    write_checkpoint(tmp_path, lambda c: c["optimizer"]["state"][0].update(exp_avg=torch.zeros(3)))
    corpus = random_corpus([5, 9, 4, 7] * 4)
    data = CONFIG.splits(corpus, Normalizer.from_corpus(corpus))
    model = make_model(seed=1)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = torch.get_rng_state()
    with pytest.raises(InputError, match="exp_avg of parameter 0"):
        fit(model, *data, tmp_path, CONFIG)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT_FILE}


def test_moments_that_share_memory_are_copied(tmp_path: Path) -> None:
    """The optimizer's kernels would write beyond a moment whose rows are the same memory."""

    def share(checkpoint: Any) -> None:
        state = checkpoint["optimizer"]["state"][0]
        state["exp_avg"] = state["exp_avg_sq"] = state["exp_avg_sq"][:1, :1].expand(13, 6)

    model = make_model()
    optimizer = make_optimizer(model, CONFIG)
    checkpoint = read(write_checkpoint(tmp_path, share))
    restore_checkpoint(checkpoint, model, optimizer)
    state = optimizer.state_dict()["state"][0]
    assert state["exp_avg"].is_contiguous()
    assert state["exp_avg"].data_ptr() != state["exp_avg_sq"].data_ptr()


def test_weight_decay_is_that_of_the_config(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, lambda c: c["optimizer"]["param_groups"][0].update(weight_decay=9.0, lr=5.0))
    model = make_model()
    optimizer = make_optimizer(model, CONFIG)
    restore_checkpoint(read(path), model, optimizer)
    assert optimizer.param_groups[0]["weight_decay"] == CONFIG.weight_decay


def edit_pickle(path: Path, old: bytes, new: bytes) -> None:
    """Replace bytes in the pickle of a checkpoint."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in records if name.endswith("data.pkl"))
    assert old in records[name]
    records[name] = records[name].replace(old, new, 1)
    with zipfile.ZipFile(path, "w") as archive:
        for record, data in records.items():
            archive.writestr(record, data)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"cpuq\tKN", b"cpuq\tJ\xff\xff\xff\x7f", "the size of a storage differs from that of its record"),
        (b"}q\x00", b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R0}q\x00", "its pickle calls builtins.bytearray"),
        (b"}q\x00", b"}r\xff\xff\xff\x7f", "an index in its pickle is too large"),
        (b"QK\x00", b"QK\x01", "a tensor is larger than its storage"),
    ],
    ids=["storage size", "call", "memo index", "offset"],
)
def test_pickle_is_checked_before_it_is_run(tmp_path: Path, old: bytes, new: bytes, reason: str) -> None:
    path = write_checkpoint(tmp_path)
    edit_pickle(path, old, new)
    with pytest.raises(InputError, match=reason):
        read(path)


def test_carried_state_of_other_sizes_is_rejected(tmp_path: Path) -> None:
    streams = make_controls((90, 130, 40))
    config = SequenceTrainConfig(
        steps=3, batch_size=4, validations=1, window=10, augment_scale=0.0, augment_drop=0.0, precision="float32"
    )
    data = config.splits(streams, Normalizer.from_corpus(streams))
    model = MDNRNN(StepShape.from_corpus(streams), MDNRNNConfig(hidden=6, components=2))
    fit(model, *data, tmp_path, config)
    path = tmp_path / CHECKPOINT_FILE
    optimizer = make_optimizer(model, config)
    original = torch.load(path, weights_only=True)
    assert read_checkpoint(path, model, optimizer, 4) is not None
    (hidden, cell), *others = original["carried_state"]
    for state, reason in (
        (((hidden[..., :5].clone(), cell), *others), "belongs to a model of other sizes"),
        (((hidden, cell),), "belongs to another kind of model"),
        (((hidden, cell[:, :1].clone()), *others), "does not have 1 to 1024 rows in all tensors"),
        (((hidden.long(), cell), *others), "is not numbers"),
    ):
        torch.save({**original, "carried_state": state}, path)
        with pytest.raises(InputError, match=f"carried_state {reason}"):
            read_checkpoint(path, model, optimizer, 4)


def test_carried_state_that_grows_is_accepted_and_other_sizes_are_rejected(tmp_path: Path) -> None:
    streams = make_controls((90, 130, 40))
    config = SequenceTrainConfig(
        steps=3, batch_size=4, validations=1, window=10, augment_scale=0.0, augment_drop=0.0, precision="float32"
    )
    model_config = MDNRNNConfig(core="transformer", hidden=8, heads=2, layers=2, components=2)
    model = MDNRNN(StepShape.from_corpus(streams), model_config)
    fit(model, *config.splits(streams, Normalizer.from_corpus(streams)), tmp_path, config)
    path, optimizer = tmp_path / CHECKPOINT_FILE, make_optimizer(model, config)
    original = torch.load(path, weights_only=True)
    assert read_checkpoint(path, model, optimizer, 4) is not None
    (hidden, time, keys, values), *others = original["carried_state"]
    assert keys.shape[1] > 0
    for state in ((hidden, time, keys[:1].clone(), values), (hidden, time, keys[..., :4].clone(), values)):
        torch.save({**original, "carried_state": (state, *others)}, path)
        with pytest.raises(InputError, match="carried_state belongs to a model of other sizes"):
            read_checkpoint(path, model, optimizer, 4)


def test_carried_state_is_saved_without_the_tensor_that_it_is_a_part_of(tmp_path: Path) -> None:
    model = make_model()
    state = (torch.zeros(10_000, 4, 6)[-1:],)
    path = tmp_path / CHECKPOINT_FILE
    save_checkpoint(path, model, make_optimized(model), Progress(), state, CONFIG)
    assert path.stat().st_size < 50_000


WEIGHTS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
    "float64": (lambda weights: {name: tensor.double() for name, tensor in weights.items()}, "dtype F64, expected F32"),
    "int8": (lambda weights: {name: tensor.to(torch.int8) for name, tensor in weights.items()}, "dtype I8"),
    "float16": (lambda weights: {name: tensor.half() for name, tensor in weights.items()}, "dtype F16, expected F32"),
    "NaN": (lambda weights: {name: tensor * float("nan") for name, tensor in weights.items()}, "contains NaN"),
    "one less": (lambda weights: dict(list(weights.items())[1:]), "it lacks decoder"),
    "one more": (lambda weights: {**weights, "a": torch.zeros(2)}, "it has the unknown tensor a"),
    "other shape": (lambda weights: {name: tensor.flatten() for name, tensor in weights.items()}, "has shape"),
}


@pytest.mark.parametrize(("change", "reason"), WEIGHTS.values(), ids=WEIGHTS.keys())
def test_weights_that_do_not_match_are_rejected_with_the_reason(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], Any], reason: str
) -> None:
    path, model = tmp_path / WEIGHTS_FILE, make_model()
    save_weights(path, model)
    save_file(change(load_file(path)), path)
    with pytest.raises(InputError, match=rf"model.safetensors is damaged or belongs to another model \(.*{reason}"):
        load_weights(path, model)


def test_weights_of_a_float64_model_are_loaded_as_float64(tmp_path: Path) -> None:
    model = make_model().double()
    save_weights(tmp_path / WEIGHTS_FILE, model)
    load_weights(tmp_path / WEIGHTS_FILE, model)
    with pytest.raises(InputError, match="dtype F64, expected F32"):
        load_weights(tmp_path / WEIGHTS_FILE, make_model())


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda header: header["decoder.head.linear.bias"].update(data_offsets=[4, 56]), "overlap or have gaps"),
        (lambda header: header["decoder.head.linear.bias"].update(data_offsets=[0, 1 << 40]), "data of 1099511627776"),
        (lambda header: header["decoder.head.linear.bias"].update(shape=[1 << 40]), r"has shape \[1099511627776\]"),
        (lambda header: header.update(__metadata__={"format": "pt"}), ""),
    ],
    ids=["gap", "offset", "shape", "metadata are accepted"],
)
def test_header_is_compared_with_the_model_before_data_are_read(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object], reason: str
) -> None:
    path, model = tmp_path / WEIGHTS_FILE, make_model()
    save_weights(path, model)
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    edit(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    with torch.device("meta"):
        expected = make_model().state_dict()
    if not reason:
        check_weights(path, expected, only_header=True)
        return
    with pytest.raises(InputError, match=reason):
        check_weights(path, expected, only_header=True)
