"""Choice of the device, and settings of PyTorch that are restored: TensorFloat-32, autocast, number of threads."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch

from mdnrnn import cli
from mdnrnn.device import choose_device, full_precision, single_thread
from mdnrnn.errors import InputError
from mdnrnn.runs.run import load
from mdnrnn.training.config import TrainConfig

BACKENDS: Any = torch.backends
HAS_STRINGS = hasattr(BACKENDS.cuda.matmul, "fp32_precision")
needs_strings = pytest.mark.skipif(not HAS_STRINGS, reason="needs torch 2.9")


@pytest.mark.parametrize(
    ("current", "local_rank", "expected"), [(0, None, 0), (0, "1", 1), (0, "5", 1), (2, "1", 2), (2, None, 2)]
)
def test_cuda_devices_have_an_index_per_process(
    current: int, local_rank: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 4 GPUs: the one that the program has selected, otherwise the one of the local rank."""
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert choose_device("cuda") == choose_device("auto") == torch.device("cuda", expected)
    assert choose_device("cpu") == torch.device("cpu")


def test_devices_are_selected_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 2 GPUs and MPS: cuda:N is the GPU with index N, whatever the current device is."""
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert [choose_device(name) for name in ("cuda:0", "cuda:1", "mps")] == [
        torch.device("cuda", 0), torch.device("cuda", 1), torch.device("mps")
    ]  # fmt: skip
    with pytest.raises(InputError, match="received cuda:2, expected cuda:0 to cuda:1; PyTorch finds 2 GPUs"):
        choose_device("cuda:2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert choose_device("cuda") == torch.device("cuda", 1)
    for name in ("cuda:1", "mps"):
        with pytest.raises(InputError, match=f"received {name} with several processes, expected cuda or cpu"):
            choose_device(name)


def test_missing_devices_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    for name, message in (("cuda", "CUDA is not"), ("cuda:1", "CUDA is not"), ("mps", "no GPU of an Apple")):
        with pytest.raises(InputError, match=f"received {name}, but .*{message}"):
            choose_device(name)
        with pytest.raises(InputError, match=f"received {name}, but .*{message}"):
            load("doodles", name)


@pytest.mark.parametrize("name", ["gpu", "CUDA", "cuda:", "cuda:-1", "cuda:x", "cuda:1 ", "meta", "", 3, "x" * 10_000])
def test_unknown_devices_are_an_error(name: Any) -> None:
    for function in (choose_device, lambda device: TrainConfig(device=device)):
        with pytest.raises(InputError, match="expected one of auto, cpu, cuda, cuda:N, mps"):
            function(name)


@pytest.mark.parametrize(
    "command",
    [
        "generate kanji --out x.svg", "evaluate doodles", "reconstruct doodles --out x.svg",
        "nearest doodles --out x.svg", "interpolate doodles --out x.svg", "combine doodles --plus 0 --out x.svg",
        "map doodles --out x.svg", "respond doodles x.csv --out x.svg", "train stroke --data doodles --out run",
        "demo sine --out demo", "benchmark head", "benchmark train", "benchmark generate", "benchmark all",
    ],
)  # fmt: skip
def test_every_command_with_a_model_takes_a_device(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A GPU that does not exist is an error before anything is computed or written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.main([*command.split(), "--device", "cuda:1"]) == 2
    assert "error: device: received cuda:1, but CUDA is not available" in capsys.readouterr().err
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def read(getter: Callable[[], Any]) -> Any:
    try:
        return getter()
    except RuntimeError as error:
        return str(error)[:40]


def settings() -> list[Any]:
    """Return all settings that PyTorch lets a program read; a refusal counts as a value."""
    getters: list[Callable[[], Any]] = [
        lambda: BACKENDS.cuda.matmul.allow_tf32, lambda: BACKENDS.cudnn.allow_tf32, torch.get_float32_matmul_precision
    ]  # fmt: skip
    if HAS_STRINGS:
        owners = [BACKENDS, BACKENDS.cuda.matmul, BACKENDS.cudnn, BACKENDS.cudnn.rnn, BACKENDS.cudnn.conv]
        owners += [BACKENDS.mkldnn, BACKENDS.mkldnn.matmul]
        getters += [lambda owner=owner: owner.fp32_precision for owner in owners]  # type: ignore[misc]
    return [read(getter) for getter in getters]


def is_precise() -> bool:
    if HAS_STRINGS:
        owners = BACKENDS.cuda.matmul, BACKENDS.mkldnn.matmul, BACKENDS.cudnn.rnn
        strings = {owner.fp32_precision for owner in owners}
        return not strings & {"tf32", "bf16"}
    return not (BACKENDS.cuda.matmul.allow_tf32 or BACKENDS.cudnn.allow_tf32)


@pytest.fixture(autouse=True)
def _cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the settings take effect without a GPU, and restore PyTorch's defaults after the test."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    yield
    torch.set_float32_matmul_precision("highest")
    BACKENDS.cudnn.allow_tf32 = True
    if HAS_STRINGS:
        BACKENDS.fp32_precision = BACKENDS.mkldnn.matmul.fp32_precision = BACKENDS.cuda.matmul.fp32_precision = "none"
        BACKENDS.cudnn.rnn.fp32_precision = BACKENDS.cudnn.conv.fp32_precision = "tf32"


def set_strings(owner: str, value: str) -> Callable[[], None]:
    def change() -> None:
        parts: Any = BACKENDS
        for part in filter(None, owner.split(".")):
            parts = getattr(parts, part)
        parts.fp32_precision = value

    return change


CHANGES: dict[str, Callable[[], None]] = {
    "defaults": lambda: None,
    "flag of matrix products": lambda: setattr(BACKENDS.cuda.matmul, "allow_tf32", True),
    "flag of cuDNN": lambda: setattr(BACKENDS.cudnn, "allow_tf32", False),
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
}
STRINGS = [
    ("cuda.matmul", "tf32"), ("cuda.matmul", "ieee"), ("cudnn.rnn", "ieee"), ("cudnn.rnn", "tf32"), ("cudnn", "tf32"),
    ("", "tf32"), ("", "ieee"), ("mkldnn.matmul", "bf16"),
]  # fmt: skip
if HAS_STRINGS:
    CHANGES |= {f"{owner}.fp32_precision = {value}": set_strings(owner, value) for owner, value in STRINGS}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_precision_is_full_within_the_context_and_restored_after_it(change: Callable[[], None]) -> None:
    change()
    before = settings()
    with full_precision():
        assert is_precise()
        with full_precision():
            assert is_precise()
        assert is_precise()
    assert settings() == before


@needs_strings
def test_settings_that_the_program_changes_meanwhile_are_kept() -> None:
    with full_precision():
        BACKENDS.cuda.matmul.fp32_precision = "tf32"
    assert BACKENDS.cuda.matmul.fp32_precision == "tf32"
    assert BACKENDS.cudnn.rnn.fp32_precision == "tf32"


def test_autocast_is_disabled_within_the_context() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        with full_precision():
            assert torch.mm(torch.ones(1, 1), torch.ones(1, 1)).dtype == torch.float32
        assert torch.mm(torch.ones(1, 1), torch.ones(1, 1)).dtype == torch.bfloat16


def overlap(context: Callable[[], AbstractContextManager[None]], inside: Callable[[], Any]) -> list[Any]:
    """Enter a context in two threads and leave it in the order of entering, not nested.

    Return `inside()` in the second thread after the first one has left, then in each thread after its context. If one
    thread had to wait for the other to leave, the events would time out.
    """
    results: list[Any] = []
    entered, left = threading.Event(), threading.Event()

    def second() -> None:
        with context():
            entered.set()
            assert left.wait(20)
            results.append(inside())
        results.append(inside())

    thread = threading.Thread(target=second)
    with context():
        thread.start()
        assert entered.wait(20)
    results.append(inside())
    left.set()
    thread.join()
    return results


def test_overlapping_precision_contexts_do_not_wait_and_restore_the_settings() -> None:
    torch.set_float32_matmul_precision("high")
    before = settings()
    assert overlap(full_precision, is_precise) == [True, True, False]  # the first thread leaves first: still precise
    assert settings() == before


def count_threads_of_a_new_thread() -> int:
    counts: list[int] = []
    thread = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return counts[0]


def test_overlapping_thread_counts_are_restored() -> None:
    torch.set_num_threads(3)
    assert overlap(single_thread, torch.get_num_threads) == [3, 1, 3]
    assert torch.get_num_threads() == 3
    assert count_threads_of_a_new_thread() == 3


def test_nested_thread_counts_are_restored() -> None:
    torch.set_num_threads(3)
    with single_thread():
        with single_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
