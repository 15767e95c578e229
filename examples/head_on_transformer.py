"""Use the step head on a transformer of PyTorch: a network that reads all previous steps at once.

    python examples/head_on_transformer.py [STEPS]

STEPS is the number of training steps, by default 1000. Writes head-on-transformer.svg. For a transformer with a
key/value cache, which generates faster, use `MDNRNNConfig(core="transformer")`.
"""

import sys
from typing import Any

import torch
from torch import Tensor, nn

import mdnrnn
from mdnrnn.nn.decoder import StepFeatures
from mdnrnn.render.save import save_drawings


class TransformerModel(mdnrnn.SequenceModel):
    def __init__(self, shape: mdnrnn.StepShape, hidden: int = 128, layers: int = 2, longest: int = 512) -> None:
        super().__init__()
        self.shape = shape
        self.features = StepFeatures(shape.features, shape.events, shape.inputs, position_features=2)
        self.embed, self.place = nn.Linear(self.features.width, hidden), nn.Embedding(longest, hidden)
        layer = nn.TransformerEncoderLayer(hidden, 4, 4 * hidden, dropout=0.1, norm_first=True)
        self.network = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = mdnrnn.StepHead(hidden, shape.features, components=20, events=shape.events)

    def read(self, features: Tensor) -> Tensor:  # (T, B, F) -> (T, B, H)
        mask = nn.Transformer.generate_square_subsequent_mask(len(features))
        return self.network(self.embed(features) + self.place.weight[: len(features), None], mask, is_causal=True)

    def forward(self, batch: mdnrnn.Batch) -> mdnrnn.StepDistribution:
        return self.head(batch.unpad(self.read(self.features.from_batch(batch, batch.previous))))

    # The state is the sequence so far: position (1, B, D) and features (T, B, F).
    def initial_state(self, batch_size: int, condition: mdnrnn.Condition | None = None) -> tuple[Tensor, Tensor]:
        return torch.zeros(1, batch_size, 2), torch.zeros(0, batch_size, self.features.width)

    def step(self, previous: mdnrnn.Step, state: tuple[Tensor, Tensor]) -> tuple[mdnrnn.StepDistribution, Any]:
        position = state[0] + previous.motion
        new = self.features.from_step(previous, position[0], previous.motion[:, :0]).unsqueeze(0)
        features = torch.cat([state[1], new])
        return self.head(self.read(features)[-1]), (position, features)


steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
corpus = mdnrnn.open_corpus("doodles")
normalizer = mdnrnn.Normalizer.from_corpus(corpus)
train, valid, test = (mdnrnn.Batches(corpus, split, normalizer, 32) for split in ("train", "valid", "test"))
torch.manual_seed(0)
model = TransformerModel(mdnrnn.StepShape.from_corpus(corpus))
mdnrnn.fit(model, train, valid, config=mdnrnn.SequenceTrainConfig(steps=steps, learning_rate=1e-3))
print(f"{mdnrnn.evaluate(model, test).nll_per_point:.3f} nats per point")
sampling, bin_width = mdnrnn.Sampling(temperature=0.4), torch.tensor(normalizer.bin_widths(corpus.metadata))
drawn = mdnrnn.generate(model, 36, sampling=sampling, bin_width=bin_width, max_steps=200)
motions = [normalizer.denormalize(sequence.motion).round() for sequence in drawn]
drawings = mdnrnn.Corpus.from_arrays(motions, [sequence.event for sequence in drawn], splits=["test"] * 36)
save_drawings(drawings, "head-on-transformer.svg")
