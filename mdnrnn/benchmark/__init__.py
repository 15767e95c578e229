"""Speed as ratios, measured in one process: ours against plain baselines.

Machines are shared and noisy: after a warm-up contenders take turns, and medians are compared.
"""

from mdnrnn.benchmark.generate import GenerateBenchmark, benchmark_generate
from mdnrnn.benchmark.head import HeadBenchmark, benchmark_head
from mdnrnn.benchmark.importing import ImportFigures, benchmark_import
from mdnrnn.benchmark.live import LiveBenchmark, benchmark_live
from mdnrnn.benchmark.size import SizeBenchmark, benchmark_size
from mdnrnn.benchmark.timing import Machine
from mdnrnn.benchmark.touch import TouchBenchmark, benchmark_touch
from mdnrnn.benchmark.train import TrainBenchmark, benchmark_train
from mdnrnn.benchmark.world import WorldBenchmark, benchmark_world

__all__ = [
    "GenerateBenchmark", "HeadBenchmark", "ImportFigures", "LiveBenchmark", "Machine", "SizeBenchmark",
    "TouchBenchmark", "TrainBenchmark", "WorldBenchmark", "benchmark_generate", "benchmark_head", "benchmark_import",
    "benchmark_live", "benchmark_size", "benchmark_touch", "benchmark_train", "benchmark_world",
]  # fmt: skip
