"""Fine-tune a bundled model on 50 drawings, and compare it with a model that is trained from scratch.

    python examples/fine_tuning.py [DATA] [NAME] [STEPS] [SOURCE]

DATA is a dataset or a file, by default quickdraw/face. NAME is a class or, for lines of handwriting, the number of a
writer; by default all drawings are used. SOURCE is the bundled model to fine-tune, by default doodles. Both models are
trained for STEPS steps, by default 300 (about a minute per model), on 40 drawings. 10 other drawings are for the
validation, up to 200 for the test. Writes fine-tuning.svg, with 10 drawings of the data, 20 by the model from scratch
and 20 by the fine-tuned model, and the runs from-scratch/ and fine-tuned/.
"""

import sys
from dataclasses import replace

import numpy as np

import mdnrnn
from mdnrnn.render.save import save_picture
from mdnrnn.render.style import DrawingOptions
from mdnrnn.runs.fine_tuning_options import fine_tuning_preset

PRESETS = {"doodles": "sketch-small", "handwriting": "handwriting-small", "kanji": "stroke"}
"""Preset of each bundled model."""

defaults = ["quickdraw/face", "", "300", "doodles"]
data, name, steps, source = sys.argv[1:] + defaults[len(sys.argv) - 1 :]
corpus = mdnrnn.open_corpus(data)
indices = np.arange(len(corpus))
if name:
    of_name = corpus.writer == int(name) if name.isdigit() else corpus.label == corpus.metadata.class_index(name)
    indices = np.flatnonzero(of_name)
sequences = [corpus[int(i)] for i in np.random.default_rng(0).permutation(indices)[:250]]
chosen = [mdnrnn.Sequence(sequence.motion, sequence.event, text=sequence.text) for sequence in sequences]
metadata = replace(corpus.metadata, name=name or "drawings", classes=())
drawings = mdnrnn.pack(metadata, {"train": chosen[:40], "valid": chosen[40:50], "test": chosen[50:]})

preset = mdnrnn.PRESETS[PRESETS[source]]
tuning = fine_tuning_preset(mdnrnn.load(source).config)
mdnrnn.train(preset, drawings, "from-scratch", training=replace(preset.training, steps=int(steps)))
mdnrnn.train(None, drawings, "fine-tuned", training=replace(tuning.training, steps=int(steps)), init=source)

pictures = [drawings.drawing(i) for i in range(10)]
for folder in ("from-scratch", "fine-tuned"):
    run = mdnrnn.load(folder)
    likelihood = run.evaluate("test", drawings)
    print(f"{folder}: {likelihood.nll_per_sequence:.1f} nats; null model: {likelihood.null_nll_per_sequence:.1f}")
    texts = [str(sequence.text) for sequence in chosen[:20]] if run.model.uses_text else None
    generated = run.generate(20, texts=texts, sampling=mdnrnn.Sampling(temperature=0.4), seed=0)
    pictures += [generated.drawing(i) for i in range(20)]
save_picture(pictures, "fine-tuning.svg", DrawingOptions(columns=10))
