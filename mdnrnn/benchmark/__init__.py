"""Speed as ratios, measured in one process: ours against plain baselines.

Machines are shared and noisy: after a warm-up contenders take turns, and medians are compared.
"""

from mdnrnn.benchmark.generate import GenerateBenchmark, benchmark_generate
from mdnrnn.benchmark.head import HeadBenchmark, benchmark_head
from mdnrnn.benchmark.importing import ImportFigures, benchmark_import
from mdnrnn.benchmark.timing import Machine
from mdnrnn.benchmark.train import TrainBenchmark, benchmark_train

__all__ = [
    "GenerateBenchmark", "HeadBenchmark", "ImportFigures", "Machine", "TrainBenchmark", "benchmark_generate",
    "benchmark_head", "benchmark_import", "benchmark_train",
]  # fmt: skip
