"""Train an MDN-RNN with a core of your own: a minimal gated recurrent unit (Feng et al., arXiv:2410.01201).

    python examples/own_core.py [STEPS]

STEPS is the number of training steps, by default 1000. Writes own-core.svg.
"""

import sys
from typing import NamedTuple

import torch
from torch import Tensor, nn

import mdnrnn
from mdnrnn.render.save import save_drawings


class State(NamedTuple):
    hidden: Tensor  # (1, B, H); the second-to-last dimension of every tensor of a state is the batch


class MinimalGRU(nn.Module):
    def __init__(self, in_features: int, hidden: int = 256) -> None:
        super().__init__()
        self.width = hidden  # number of output features
        self.gate, self.candidate = nn.Linear(in_features, hidden), nn.Linear(in_features, hidden)

    def initial_state(self, batch_size: int) -> State:
        return State(self.gate.weight.new_zeros(1, batch_size, self.width))

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:  # inputs (T, B, in_features)
        keep, new = torch.sigmoid(-self.gate(inputs)), self.candidate(inputs)
        outputs = [state.hidden[0]]
        for k, n in zip(keep, new, strict=True):
            outputs.append(k * outputs[-1] + (1 - k) * n)
        return torch.stack(outputs[1:]), State(outputs[-1].unsqueeze(0))

    def step(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:  # inputs (B, in_features)
        outputs, state = self(inputs.unsqueeze(0), state)
        return outputs[0], state


steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
corpus = mdnrnn.open_corpus("doodles")
normalizer = mdnrnn.Normalizer.from_corpus(corpus)
train, valid, test = (mdnrnn.Batches(corpus, split, normalizer, 32) for split in ("train", "valid", "test"))
shape, config = mdnrnn.StepShape.from_corpus(corpus), mdnrnn.MDNRNNConfig(components=20)

torch.manual_seed(0)
model = mdnrnn.MDNRNN(shape, config, core=MinimalGRU)
mdnrnn.fit(model, train, valid, config=mdnrnn.SequenceTrainConfig(steps=steps, learning_rate=4e-3))
result = mdnrnn.evaluate(model, test)
print(f"{result.nll_per_point:.3f} nats per point; null model: {result.null_nll_per_point:.3f}")

labels = torch.arange(36) % len(corpus.metadata.classes)
sampling, bin_width = mdnrnn.Sampling(temperature=0.4), torch.tensor(normalizer.bin_widths(corpus.metadata))
drawn = mdnrnn.generate(model, 36, mdnrnn.Condition(labels), sampling=sampling, bin_width=bin_width)
motions = [normalizer.denormalize(sequence.motion).round() for sequence in drawn]
drawings = mdnrnn.Corpus.from_arrays(motions, [sequence.event for sequence in drawn], splits=["test"] * 36)
save_drawings(drawings, "own-core.svg")
