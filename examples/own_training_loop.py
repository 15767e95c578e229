"""Train a model in your own PyTorch loop, with a DataLoader and your own optimizer.

    python examples/own_training_loop.py [EPOCHS] [PICTURE]

EPOCHS is the number of passes over the 5,400 bundled doodles, by default 18 (about two minutes on two cores). Writes
own-training-loop.svg with four drawings of each class.
"""

import sys

import torch
from torch.utils.data import DataLoader

import mdnrnn
from mdnrnn.data.batches import Augment
from mdnrnn.render.save import save_drawings
from mdnrnn.render.style import DrawingOptions


def main(epochs: int, picture: str) -> None:
    torch.manual_seed(0)
    corpus = mdnrnn.open_corpus("doodles")
    normalizer = mdnrnn.Normalizer.from_corpus(corpus)
    train = mdnrnn.Batches(corpus, "train", normalizer, batch_size=64, augment=Augment(scale=0.1, drop=0.1))
    test = mdnrnn.Batches(corpus, "test", normalizer)

    config = mdnrnn.MDNRNNConfig(hidden=256, components=10, dropout=0.0)
    model = mdnrnn.MDNRNN(mdnrnn.StepShape.from_corpus(corpus), config)
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        total, points = 0.0, 0
        # A new order and a new augmentation in each epoch; worker processes compute the batches.
        for batch in DataLoader(mdnrnn.EpochDataset(train, epoch), batch_size=None, num_workers=2):
            loss = model.loss(batch).total  # mean negative log-likelihood per point
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total, points = total + loss.item() * batch.points, points + batch.points
        schedule.step()
        print(f"epoch {epoch + 1}: {total / points:.4f} nats per point")

    likelihood = mdnrnn.evaluate(model, test)
    print(f"held out {likelihood.nll_per_point:.4f} nats per point; null model {likelihood.null_nll_per_point:.4f}")

    bin_width = torch.tensor(normalizer.bin_widths(corpus.metadata))
    labels = torch.arange(12).repeat_interleave(4)
    condition, sampling = mdnrnn.Condition(label=labels), mdnrnn.Sampling(temperature=0.4)
    sequences = mdnrnn.generate(model, 48, condition, sampling=sampling, bin_width=bin_width, max_steps=200)
    motions = [normalizer.denormalize(sequence.motion).round() for sequence in sequences]
    drawings = mdnrnn.Corpus.from_arrays(motions, [sequence.event for sequence in sequences], splits=["test"] * 48)
    save_drawings(drawings, picture, DrawingOptions(columns=8))


if __name__ == "__main__":  # worker processes import this file on some systems
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 18, sys.argv[2] if len(sys.argv) > 2 else "own-training-loop.svg")
