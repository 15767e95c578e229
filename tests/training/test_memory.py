"""Freed memory: kept in the process, and returned to the system above a threshold."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mdnrnn.cli import main
from mdnrnn.data.static import Points
from mdnrnn.models.configs import MDNConfig
from mdnrnn.models.feedforward import MDN
from mdnrnn.training import memory
from mdnrnn.training.config import TrainConfig
from mdnrnn.training.memory import _glibc
from mdnrnn.training.trainer import fit

_SCRIPT = """
import torch
from mdnrnn.training import memory
memory.keep_freed_memory()
memory._TRIM_ABOVE_BYTES = 0
memory.return_freed_memory()  # what the imports have freed
before = memory.resident_bytes()
parts = [torch.ones(1 << 18) for _ in range(400)]  # 1 MB each
used = parts[::40]
del parts
sizes = [memory.resident_bytes()]
for memory._TRIM_ABOVE_BYTES in (1 << 50, 0):
    memory.return_freed_memory()
    sizes.append(memory.resident_bytes())
print(*((size - before) >> 20 for size in sizes), int(sum(part.sum() for part in used)) >> 18)
"""


class Glibc:
    """Counts the calls of mallopt."""

    calls = 0

    def mallopt(self, parameter: int, value: int) -> None:
        self.calls += 1

    def malloc_trim(self, padding: int) -> None:
        pass


def test_only_the_command_changes_the_memory_settings_of_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library, x = Glibc(), torch.linspace(-1, 1, 8).unsqueeze(1)
    monkeypatch.setattr(memory, "_glibc", lambda: library)
    fit(MDN(1, 1, MDNConfig(components=2)), Points(x, x), config=TrainConfig(steps=1))
    assert library.calls == 0
    assert main(["train", "--resume", str(tmp_path)]) == 2  # after the settings, before any training
    assert library.calls > 0


@pytest.mark.skipif(_glibc() is None, reason="needs glibc")
def test_freed_memory_is_returned_above_the_threshold_only() -> None:
    """Frees 390 of 400 MB: below the threshold the process keeps everything; above it, the 10 MB in use, intact."""
    process = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True, timeout=300)
    freed, below, above, used = map(int, process.stdout.split())
    assert freed >= 390
    assert 390 <= below <= 500
    assert 10 <= above <= 60
    assert used == 10
