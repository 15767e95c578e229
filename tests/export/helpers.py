"""Models of every kind, and comparison of exported graphs with PyTorch."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import mdnrnn
from mdnrnn.data.batch import Batch
from mdnrnn.data.batches import Batches
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.distributions import GaussianMixture, PerDimensionMixture, Step, StepDistribution
from mdnrnn.export.tracing import UNGUARDED
from mdnrnn.models.base import Condition, SequenceModel, StepShape
from mdnrnn.models.configs import HandwritingConfig, MDNRNNConfig, SketchRNNConfig
from mdnrnn.models.handwriting import HandwritingRNN
from mdnrnn.models.latent import LatentModel
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.models.sketch import SketchRNN
from tests.helpers import random_corpus

Arrays = dict[str, np.ndarray]
needs_export = pytest.mark.skipif(torch.__version__ < "2.8", reason="PyTorch is too old to export models")


class Cache(NamedTuple):
    """Keys and values of at most the last 6 steps, shape (t, B, 4) each."""

    keys: Tensor
    values: Tensor


class AttentionModel(SequenceModel):
    """Attention over the last motions, with a key/value cache that grows up to 6 steps; a model outside of mdnrnn.

    A sequence ends if the first number of its last key is positive.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shape = StepShape(inputs=1)
        self.project, self.head = nn.Linear(3, 12), nn.Linear(4, 3 * 2 * 4 + 3)

    def initial_state(self, batch_size: int, condition: Condition | None = None) -> Cache:
        empty = self.head.bias.new_zeros(0, batch_size, 4)
        return Cache(empty, empty)

    def step(self, previous: Step, state: Cache) -> tuple[StepDistribution, Cache]:
        assert previous.inputs is not None
        query, key, value = self.project(torch.cat([previous.motion, previous.inputs], -1)).unsqueeze(0).chunk(3, -1)
        keys, values = torch.cat([state.keys, key]), torch.cat([state.values, value])
        start = torch.sym_max(keys.shape[0] - 6, 0)  # a slice [-6:] would fix whether the size is above 6
        keys, values = keys[start:], values[start:]
        weights = torch.softmax((query * keys).sum(-1, keepdim=True), 0)
        parameters, event_logits = self.head((weights * values).sum(0)).split([24, 3], -1)
        logits, means, log_scales = parameters.unflatten(-1, (3, 2, 4)).unbind(1)
        return StepDistribution(PerDimensionMixture(logits, means, log_scales), event_logits), Cache(keys, values)

    def finished(self, state: Cache) -> Tensor:
        return state.keys[-1, :, 0] > 0

    def forward(self, batch: Batch) -> StepDistribution:
        raise NotImplementedError


SIZES: dict[str, Any] = {"hidden": 16, "components": 3, "dropout": 0.0}
SKETCH: dict[str, Any] = {"encoder": 12, "hidden": 16, "latent": 4, "components": 3}
MODELS: dict[str, Callable[[], SequenceModel]] = {
    "strokes, 40 classes": lambda: MDNRNN(StepShape(classes=40), MDNRNNConfig(**SIZES)),
    "streams, per dimension, no events": lambda: MDNRNN(
        StepShape(features=4, events=0, offsets=0), MDNRNNConfig(**SIZES, covariance="per-dimension")
    ),
    "episodes, full, inputs, two layers with skips": lambda: MDNRNN(
        StepShape(features=3, events=2, inputs=2, offsets=0),
        MDNRNNConfig(**SIZES, covariance="full", layers=2, skip=True),
    ),
    "GRU, two layers with skips, context": lambda: MDNRNN(
        StepShape(context=5), MDNRNNConfig(**SIZES, core="gru", layers=2, skip=True), context_encoder=nn.Linear(5, 3)
    ),
    "transformer with a span of 6 steps": lambda: MDNRNN(
        StepShape(), MDNRNNConfig(**SIZES, core="transformer", layers=2, heads=2, span=6)
    ),
    "Sketch-RNN, layer norm, inputs, two classes": lambda: SketchRNN(
        StepShape(classes=2, inputs=1), SketchRNNConfig(**SKETCH, cell="layer-norm", layers=2, covariance="diagonal")
    ),
    "Sketch-RNN without latent": lambda: SketchRNN(StepShape(), SketchRNNConfig(**SKETCH, kl_weight=0)),
    "handwriting": lambda: HandwritingRNN(StepShape(alphabet="abc d"), HandwritingConfig(**SIZES, window=2)),
    "another model with a growing state and a stopping rule": AttentionModel,
}


def make_model(kind: str) -> SequenceModel:
    """Make an untrained model, with weights large enough that predictions depend on the preceding steps."""
    torch.manual_seed(0)
    model = MODELS[kind]()
    for name, parameter in model.named_parameters():
        if "head" in name:
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


class OnnxGraph:
    """An exported graph in onnxruntime: maps named arrays to named arrays."""

    def __init__(self, path: Path) -> None:
        self.session = onnxruntime.InferenceSession(str(path))
        properties = self.session.get_modelmeta().custom_metadata_map
        self.metadata = {name: json.loads(value) for name, value in properties.items()}

    def __call__(self, inputs: Arrays) -> Arrays:
        outputs = [output.name for output in self.session.get_outputs()]
        return dict(zip(outputs, self.session.run(outputs, inputs), strict=True))


class Pt2Graph:
    """An exported graph in PyTorch, loaded without the code of the model: maps named arrays to named arrays."""

    def __init__(self, path: Path) -> None:
        files = {"metadata.json": ""}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some versions of PyTorch warn of buffers that are not writable
            program = torch.export.load(path, extra_files=files)
        self.module, self.metadata = program.module(**UNGUARDED), json.loads(files["metadata.json"])

    def __call__(self, inputs: Arrays) -> Arrays:
        names = self.metadata["input_names"]
        outputs = self.module({name: torch.from_numpy(np.asarray(inputs[name])) for name in names})
        return {name: tensor.numpy() for name, tensor in outputs.items()}


def random_condition(model: SequenceModel, batch: int, text: str) -> Condition:
    """Return a random condition of B sequences. Texts have different lengths."""
    classes, codes = model.shape.classes, torch.zeros(batch, len(text), dtype=torch.long)
    for row in range(batch):
        codes[row, : len(text) - row] = torch.tensor([ord(letter) for letter in text[: len(text) - row]])
    return Condition(
        label=torch.softmax(3 * torch.randn(batch, classes), -1) if classes else None,
        latent=torch.randn(batch, model.latent) if model.latent else None,
        text=codes if model.uses_text else None,
        context=torch.randn(batch, model.shape.context) if model.shape.context else None,
    )


def random_steps(model: SequenceModel, batch: int, count: int) -> list[Step]:
    """Return random steps: the initial step, followed by steps with moderate motions and events other than END."""
    inputs = model.shape.inputs
    steps = [model.initial_step(batch)]
    for _ in range(count - 1):
        motion = torch.randn_like(steps[0].motion).clamp(-2, 2)
        steps.append(Step(motion, torch.randint(0, 2 if model.shape.events == 3 else 1, (batch,))))
    return [step._replace(inputs=torch.randn(batch, inputs) if inputs else None) for step in steps]


def generate_steps(model: SequenceModel, condition: Condition, batch: int, count: int) -> list[Step]:
    """Return the initial step, followed by generated steps."""
    sampling = mdnrnn.Sampling(temperature=0.4, endless=True)
    sequences = mdnrnn.generate(model, batch, condition, sampling=sampling, max_steps=count - 1)
    length = min(len(sequence.event) for sequence in sequences)
    motion = torch.from_numpy(np.stack([sequence.motion[:length] for sequence in sequences], 1))
    event = torch.from_numpy(np.stack([sequence.event[:length] for sequence in sequences], 1))
    return [model.initial_step(batch), *map(Step, motion, event)]


@torch.no_grad()
def assert_steps_equal(
    model: SequenceModel,
    initial: Callable[[Arrays], Arrays],
    step: Callable[[Arrays], Arrays],
    condition: Condition,
    steps: list[Step],
) -> list[np.ndarray]:
    """Assert that exported graphs compute the initial state and a sequence of steps as the model does.

    The state after a step is the input of the next step, separately in PyTorch and in the exported graph.

    Returns:
        The output `finished` of each step, if there is one.
    """
    batch, finished = len(steps[0].event), []
    conditions = {name: tensor.numpy() for name, tensor in condition._asdict().items() if tensor is not None}
    feed, state = initial(conditions or {"batch_size": np.array(batch)}), model.initial_state(batch, condition)
    first = model.initial_step(batch)
    assert_tensors_equal(feed, {"motion": first.motion, "event": first.event, **name_tensors("state", state)})
    for previous in steps:
        feed.update({name: part.numpy() for name, part in previous._asdict().items() if part is not None})
        outputs = step(feed)
        distribution, state = model.step(previous, state)
        motion = distribution.motion
        expected = {"logits": motion.logits, "means": motion.means, "log_scales": motion.log_scales}
        if isinstance(motion, GaussianMixture) and motion.slopes is not None:
            expected["slopes"] = motion.slopes
        if model.shape.events:
            expected["event_logits"] = distribution.event_logits
        mask = model.finished(state)
        if mask is not None:
            expected["finished"] = mask
            finished.append(outputs["finished"])
        assert_tensors_equal(outputs, {**expected, **name_tensors("next_state", state)})
        feed = {name.removeprefix("next_"): array for name, array in outputs.items() if name.startswith("next_")}
    return finished


def name_tensors(name: str, state: Any) -> dict[str, Tensor]:
    """Return the tensors of a state by their paths of field names."""
    if isinstance(state, Tensor):
        return {name: state}
    parts = [name_tensors(f"{name}.{field}", getattr(state, field)) for field in state._fields]
    return {path: tensor for part in parts for path, tensor in part.items()}


def assert_tensors_equal(actual: Arrays, expected: dict[str, Tensor]) -> None:
    """Assert that names, shapes and dtypes are equal, and that values agree to 1e-5.

    If the largest value of a tensor is above 1, the tolerance of all its values is larger by this factor.
    """
    assert list(actual) == list(expected), (list(actual), list(expected))
    for name, tensor in expected.items():
        assert actual[name].shape == tensor.shape, name
        assert actual[name].dtype == tensor.numpy().dtype, name
        scale = float(tensor[tensor.isfinite()].float().abs().max()) if tensor.numel() else 1.0
        np.testing.assert_allclose(actual[name], tensor.numpy(), rtol=0, atol=1e-5 * max(1.0, scale), err_msg=name)


@torch.no_grad()
def assert_encoder_equal(model: LatentModel, encoder: Callable[[Arrays], Arrays], batch: int) -> None:
    """Assert that the exported encoder computes q(z | sequence) for sequences of different lengths as the model does.

    The graph receives noise in place of the padding.
    """
    lengths = [9, 1, 14][:batch]
    classes = tuple(map(str, range(model.shape.classes)))
    corpus = random_corpus(lengths, classes=classes, inputs=model.shape.inputs, seed=batch)
    data = Batches(corpus, "train", Normalizer.from_corpus(corpus)).batch(np.arange(batch))
    posterior = model.encode(data)
    motion, event = torch.randn(max(lengths), batch, 2), torch.randint(0, 3, (max(lengths), batch))
    motion.flatten(0, 1)[data.slots], event.flatten()[data.slots] = data.target.motion, data.target.event
    inputs = {
        "motion": motion.transpose(0, 1).numpy(),
        "event": event.t().numpy(),
        "lengths": np.array(lengths),
    }
    if data.label is not None:
        inputs["label"] = np.eye(len(classes), dtype=np.float32)[data.label.numpy()]
    assert_tensors_equal(encoder(inputs), posterior._asdict())
