"""Benchmarks of speed relative to plain PyTorch baselines and hardware limits, and of the quality of trained models.

Other processes on a machine disturb measurements of time. Therefore the compared functions run in the same process and
in turns, after a warm-up, and their median times are compared.
"""

from mdnrnn.benchmark.corpus_size import SizeBenchmark, benchmark_size
from mdnrnn.benchmark.export import ExportBenchmark, benchmark_export
from mdnrnn.benchmark.generate import GenerateBenchmark, benchmark_generate
from mdnrnn.benchmark.head import HeadBenchmark, benchmark_head
from mdnrnn.benchmark.importing import ImportFigures, benchmark_import
from mdnrnn.benchmark.live import LiveBenchmark, benchmark_live
from mdnrnn.benchmark.timing import Machine
from mdnrnn.benchmark.touch import TouchBenchmark, benchmark_touch
from mdnrnn.benchmark.train import TrainBenchmark, benchmark_train
from mdnrnn.benchmark.world import WorldBenchmark, benchmark_world

__all__ = [
    "ExportBenchmark", "GenerateBenchmark", "HeadBenchmark", "ImportFigures", "LiveBenchmark", "Machine",
    "SizeBenchmark", "TouchBenchmark", "TrainBenchmark", "WorldBenchmark", "benchmark_export", "benchmark_generate",
    "benchmark_head", "benchmark_import", "benchmark_live", "benchmark_size", "benchmark_touch", "benchmark_train",
    "benchmark_world",
]  # fmt: skip
