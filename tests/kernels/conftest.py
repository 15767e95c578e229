"""Fixtures of the kernel tests, which run on a GPU or in Triton's interpreter and are skipped without Triton."""

from typing import Any

import numpy as np
import pytest

from mdnrnn.kernels import TRITON_INSTALLED

collect_ignore_glob = [] if TRITON_INSTALLED else ["test_*.py"]


@pytest.fixture(autouse=True)
def _bfloat16_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convert bfloat16 operands to float32: the interpreter stores them as 16-bit integers and would multiply those."""
    from triton import language
    from triton.runtime import interpreter

    create_dot = interpreter.InterpreterBuilder.create_dot

    def create_wide_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        if a.dtype == language.bfloat16:
            operands = [(operand.data.astype(np.uint32) << 16).view(np.float32) for operand in (a, b)]
            a, b = (interpreter.TensorHandle(operand, language.float32) for operand in operands)
        return create_dot(self, a, b, *rest)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", create_wide_dot)
