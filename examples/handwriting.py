"""A sentence in two hands, and where the model was in its text as it wrote: Graves' handwriting synthesis (2013).

    python examples/handwriting.py [RUN] [PICTURE] [WINDOW]

RUN is by default the one that ships; train your own with `mdnrnn train handwriting-small --data pen-text --out RUN`.
Leaves handwriting.svg, every character in a color of its own, and handwriting-window.png.
"""

import sys
from pathlib import Path

import mdnrnn
from mdnrnn.events import END
from mdnrnn.files import write_bytes
from mdnrnn.render import attention_figure, figure_bytes

TEXT = "the quick brown fox jumps over the lazy dog"

shipped = Path(__file__).parents[1] / "checkpoints" / "handwriting"
run = mdnrnn.load(sys.argv[1] if len(sys.argv) > 1 else shipped)
picture = Path(sys.argv[2] if len(sys.argv) > 2 else "handwriting.svg")
window = Path(sys.argv[3] if len(sys.argv) > 3 else "handwriting-window.png")

hands = [mdnrnn.read_style(run, f"{shipped / 'hands.npz'}:{number}") for number in range(2)]
pages = [mdnrnn.write(run, [TEXT], hand, sampling=mdnrnn.Sampling(bias=1.0), seed=0) for hand in hands]
mdnrnn.save_handwriting(pages, picture, color="character", columns=1)
write_bytes(window, figure_bytes(attention_figure([page.windows[0] for page in pages], [TEXT] * 2), window.suffix))
finished = sum(int(page.lines.event[-1]) == END for page in pages)
print(f"{finished} of {len(pages)} lines came to an end by themselves")
