"""Write a sentence in two handwriting styles and plot the attention window (Graves 2013).

    python examples/handwriting.py [RUN] [PICTURE] [WINDOW]

RUN is a run folder or a bundled model, by default handwriting. Train your own with
`mdnrnn train handwriting-small --data pen-text --out RUN`. Writes handwriting.svg, with one color per character, and
handwriting-window.png.
"""

import sys
from pathlib import Path

import mdnrnn
from mdnrnn.files.atomic import write_bytes
from mdnrnn.pen_events import END
from mdnrnn.render.figures.attention import attention_figure
from mdnrnn.render.raster import figure_bytes
from mdnrnn.tasks.handwriting import save_handwriting

TEXT = "the quick brown fox jumps over the lazy dog"

run = mdnrnn.load(sys.argv[1] if len(sys.argv) > 1 else "handwriting")
picture = Path(sys.argv[2] if len(sys.argv) > 2 else "handwriting.svg")
window = Path(sys.argv[3] if len(sys.argv) > 3 else "handwriting-window.png")

styles = [mdnrnn.read_style(run, f"hands.npz:{number}") for number in range(2)]
pages = [mdnrnn.write(run, [TEXT], style, sampling=mdnrnn.Sampling(bias=1.0), seed=0) for style in styles]
save_handwriting(pages, picture, color="character", columns=1)
write_bytes(window, figure_bytes(attention_figure([page.windows[0] for page in pages], [TEXT] * 2), window.suffix))
finished = sum(int(page.lines.event[-1]) == END for page in pages)
print(f"{finished} of {len(pages)} lines ended before the step limit")
