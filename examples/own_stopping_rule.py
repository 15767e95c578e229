"""End drawings by two stopping rules: when the outline is closed, or when the pen leaves a frame.

    python examples/own_stopping_rule.py [RUN] [PICTURE]

RUN is a run folder or a bundled model, by default doodles; its drawings are in pixels, and y points down. Writes
own-stopping-rule.svg: each column shows the same drawing without a rule, until its outline is closed, and until the pen
leaves the frame. `--max-strokes` and other options that need no program are explained in training.md.
"""

import sys
from dataclasses import replace

from torch import Tensor

import mdnrnn
from mdnrnn.generation.stopping import StepHistory
from mdnrnn.render.save import save_drawings
from mdnrnn.render.style import DrawingOptions

NEAR, FAR, FRAME = 25, 80, 150  # pixels


def close_outline(history: StepHistory) -> Tensor:
    """End a drawing when the pen comes back to its beginning, the origin, after it was far away."""
    distance = history.position.norm(dim=-1)  # shape (B, T); the newest step is the last
    return (distance.amax(1) > FAR) & (distance[:, -1] < NEAR)


def leave_frame(history: StepHistory) -> Tensor:
    """End a drawing when the pen is more than 150 pixels to the left, right, above or below its beginning."""
    return (history.position[:, -1].abs() > FRAME).any(1)


run = mdnrnn.load(sys.argv[1] if len(sys.argv) > 1 else "doodles")
picture = sys.argv[2] if len(sys.argv) > 2 else "own-stopping-rule.svg"

plain = mdnrnn.Sampling(temperature=0.3)
rows = {
    "no rule": run.generate(12, sampling=plain, seed=3),
    "closed outline": run.generate(12, sampling=replace(plain, stop=close_outline), seed=3),
    "frame": run.generate(12, sampling=replace(plain, stop=leave_frame), seed=3),
}
drawings = mdnrnn.pack(run.config.metadata, {"test": [row[i] for row in rows.values() for i in range(12)]})
save_drawings(drawings, picture, DrawingOptions(columns=12, color="order", labels=[n for n in rows for _ in range(12)]))
for name, row in rows.items():
    print(f"{name}: {len(row.event) / len(row):.1f} points per drawing")
