"""Work on a GPU that is recorded once and replayed: launching many small kernels takes longer than running them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Generic, TypeVar

import torch

Result = TypeVar("Result")


class GraphedFunction(Generic[Result]):
    """A piece of work without arguments, from buffers that stay where they are to others.

    The first call does it as it is, on a stream of its own, which readies what it needs; the second records it. Where
    that fails, a warning says why, once, and the work goes on as it is.
    """

    def __init__(self, work: Callable[[], Result], device: torch.device) -> None:
        self.work, self.device = work, device
        self.stream = torch.cuda.Stream(device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.result: Result | None = None
        self.calls = 0

    def __call__(self) -> Result:
        """The work's result: the same tensors each time, once it is recorded."""
        self.calls += 1
        if self.calls == 2:
            self._record()
        if self.graph is not None and self.result is not None:
            self.graph.replay()
            return self.result
        return self._as_it_is()

    def _as_it_is(self) -> Result:
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = self.work()
        current.wait_stream(self.stream)
        return result

    def _record(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                self.result = self.work()
            self.graph = graph
        except RuntimeError as error:
            self.result = None
            warnings.warn(f"drawing without a CUDA graph, which is slower: {error}", RuntimeWarning, stacklevel=2)
