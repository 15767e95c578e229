"""Kernels are tested on a GPU, else in Triton's interpreter; where there is no Triton, not at all."""

from typing import Any

import numpy as np
import pytest

from mdnrnn.kernels import TRITON_INSTALLED

collect_ignore_glob = [] if TRITON_INSTALLED else ["test_*.py"]


@pytest.fixture(autouse=True)
def _bfloat16_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter keeps bfloat16 as integers of 16 bits and multiplies those; let it widen them first."""
    from triton import language
    from triton.runtime import interpreter

    plain = interpreter.InterpreterBuilder.create_dot

    def widened(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        if a.dtype == language.bfloat16:
            wide = [(operand.data.astype(np.uint32) << 16).view(np.float32) for operand in (a, b)]
            a, b = (interpreter.TensorHandle(numbers, language.float32) for numbers in wide)
        return plain(self, a, b, *rest)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", widened)
