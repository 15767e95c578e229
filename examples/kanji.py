"""Generate a hundred invented kanji, as in Ha's "Recurrent Net Dreams Up Fake Chinese Characters" (2015).

    python examples/kanji.py [RUN] [PICTURE]

RUN is a run folder or a bundled model, by default kanji. Train your own with
`mdnrnn train stroke --data short_kanji --out RUN`. Writes kanji.svg, with strokes colored in drawing order from blue
to red.
"""

import sys

import mdnrnn
from mdnrnn.render.save import save_drawings
from mdnrnn.render.style import DrawingOptions

run = mdnrnn.load(sys.argv[1] if len(sys.argv) > 1 else "kanji")
picture = sys.argv[2] if len(sys.argv) > 2 else "kanji.svg"

drawn = run.generate(100, sampling=mdnrnn.Sampling(temperature=0.4), seed=0)
save_drawings(drawn, picture, DrawingOptions(color="order", columns=10))
finished = int((drawn.event == 2).sum())
strokes = int((drawn.event != 0).sum()) / len(drawn)
print(f"{finished} of {len(drawn)} drawings ended before the step limit; {strokes:.1f} strokes per drawing")
