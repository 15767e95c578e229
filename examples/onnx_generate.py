"""Draw with an exported model, using only NumPy and onnxruntime. A seed gives the same drawings as in mdnrnn.

    python examples/onnx_generate.py [MODEL [PICTURE [TEXT [SEED]]]]

MODEL is a model of drawings, written by `mdnrnn export RUN --out MODEL`. A handwriting model needs a TEXT.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession


def run(graph: InferenceSession, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return dict(zip([output.name for output in graph.get_outputs()], graph.run(None, inputs), strict=True))


def choose(logits: np.ndarray, uniform: float) -> int:
    weights = np.exp(logits - logits.max())
    cumulative = np.cumsum(weights / weights.sum())
    return int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))


def draw(model: str, index: int, seed: int, text: str = "", temperature: float = 0.4) -> list[np.ndarray]:
    step, initial = (InferenceSession(model.removesuffix(".onnx") + end) for end in (".onnx", ".initial.onnx"))
    data = {key: json.loads(value) for key, value in step.get_modelmeta().custom_metadata_map.items()}
    noise, classes, width = np.random.Generator(np.random.Philox([seed, index])), data["classes"], data["bin_widths"][0]
    label = np.eye(len(classes) or 1, dtype=np.float32)[[index % (len(classes) or 1)]]
    codes, latent = np.array([[ord(letter) for letter in text]]), noise.standard_normal((1, data["latent"]), np.float32)
    conditions = {"batch_size": np.array(1), "label": label, "latent": latent, "text": codes}
    feed = run(initial, {argument.name: conditions[argument.name] for argument in initial.get_inputs()})
    points, lifts, event = [np.zeros(2)], [], 0
    while event != 2 and len(points) <= data["max_steps"]:
        time = (len(points) - 1) % 16
        if time == 0:  # mdnrnn draws the noise of 16 steps at a time
            uniform, normal = noise.random((2, 16), np.float32), noise.standard_normal((16, 2), np.float32)
        out = run(step, feed)
        k = choose(out["logits"][0] / temperature, uniform[0, time])
        mean, slope = out["means"][0, k], out["slopes"][0, k, 1, 0] if "slopes" in out else 0
        spread = np.exp(out["log_scales"][0, k] + math.log(temperature) / 2) * normal[time]
        dx = np.round((mean[0] + spread[0]) / width) * width
        dy = np.round((mean[1] + slope * (dx - mean[0]) + spread[1]) / width) * width
        event = 2 if out.get("finished", [0])[0] else choose(out["event_logits"][0] / temperature, uniform[1, time])
        points.append(points[-1] + np.round([dx / width, dy / width]) * data["bin_width"])
        lifts += [len(points)] * (event == 1)
        feed = {name[5:]: value for name, value in out.items() if name.startswith("next_")}
        feed.update(motion=np.array([[dx, dy]], np.float32), event=np.array([event]))
    return np.split(np.array(points), lifts)


if __name__ == "__main__":
    model, picture, text, seed = [*sys.argv[1:], *["model.onnx", "drawing.svg", "", "0"][len(sys.argv) - 1 :]]
    strokes = draw(model, 0, int(seed), text)
    low, size = np.vstack(strokes).min(0) - 9, np.ptp(np.vstack(strokes), axis=0) + 18
    lines = " M".join(" ".join(f"{x:g},{y:g}" for x, y in stroke) for stroke in strokes)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{low[0]:g} {low[1]:g} {size[0]:g} {size[1]:g}">'
    Path(picture).write_text(f'{head}<path d="M{lines}" fill="none" stroke="black" stroke-width="2"/></svg>')
