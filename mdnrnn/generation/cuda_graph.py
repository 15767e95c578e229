"""CUDA graphs: GPU work that is recorded once and replayed, because launching many small kernels takes longer than
running them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Generic, TypeVar

import torch

Result = TypeVar("Result")


class GraphedFunction(Generic[Result]):
    """Function without arguments that is replayed as a CUDA graph.

    The first call runs the function directly, on a separate stream, so that libraries are initialized before recording.
    The second call records the graph and replays it; later calls only replay it. If recording fails, a warning gives
    the reason, and all calls run the function directly.

    Args:
        function: function to record; it must read from and write to fixed buffers.
        device: CUDA device.
    """

    def __init__(self, function: Callable[[], Result], device: torch.device) -> None:
        self.function, self.device = function, device
        self.stream = torch.cuda.Stream(device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.result: Result | None = None
        self.calls = 0

    def __call__(self) -> Result:
        """Return the result of the function. Calls that replay the graph return the same tensors, with new values."""
        self.calls += 1
        if self.calls == 2:
            self._record()
        if self.graph is not None and self.result is not None:
            self.graph.replay()
            return self.result
        return self._call_directly()

    def _call_directly(self) -> Result:
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = self.function()
        current.wait_stream(self.stream)
        return result

    def _record(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                self.result = self.function()
            self.graph = graph
        except RuntimeError as error:
            self.result = None
            warnings.warn(f"generating without a CUDA graph, which is slower: {error}", RuntimeWarning, stacklevel=2)
