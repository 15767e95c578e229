"""Fixtures of the kernel tests, which run on a GPU or in Triton's interpreter and are skipped without Triton."""

from dataclasses import replace
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


@pytest.fixture(autouse=True)
def _fast_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Omit work of Triton's interpreter that has no effect but takes half of the time.

    The checks for overflow have no effect without debug mode. The functions of triton.language are replaced when a
    kernel starts; Triton repeats this in every call of a function by a kernel.
    """
    from triton import language
    from triton.runtime import interpreter

    call = interpreter.InterpretedFunction.__call__
    is_builtin = language.core.is_builtin

    def call_replaced(self: Any, *arguments: Any, **options: Any) -> Any:
        if is_builtin(language.load) or is_builtin(language.core.load):  # not replaced
            return call(self, *arguments, **options)
        return self.rewrite()(*arguments, **options)

    monkeypatch.setattr(interpreter.InterpretedFunction, "__call__", call_replaced)
    builder = interpreter.interpreter_builder
    monkeypatch.setattr(builder, "options", replace(builder.options, sanitize_overflow=False))
