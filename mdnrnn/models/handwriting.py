"""Handwriting synthesis: an MDN-RNN that writes a given text (Graves, arXiv:1308.0850, section 5)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mdnrnn.data.batches import Batch
from mdnrnn.data.corpus import Corpus
from mdnrnn.distributions import StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.models.base import Condition, SequenceModel, StepShape
from mdnrnn.models.configs import HandwritingConfig
from mdnrnn.nn.decoder import DecoderState, StepDecoder, StepFeatures
from mdnrnn.nn.heads import StepHead
from mdnrnn.nn.window import Text, WindowStack

_UNSEEN = 1e-3
"""The weight of a mark that the window does not show."""


class EndOfTextHead(StepHead):
    """A step head after what a window shows of a text, the last of it the mark behind that: the odds that a line ends
    are multiplied by the weight of the mark. So lines seldom end at ends of words."""

    def end_logit_shift(self, features: Tensor) -> Tensor:
        """The logarithm of the mark's weight, in float32 or wider; features (..., I), the last one phi(U)."""
        seen = features[..., -1:].to(torch.promote_types(features.dtype, torch.float32))
        return seen.clamp_min(_UNSEEN).log()


class HandwritingRNN(SequenceModel):
    """p(step_t | steps before, text): what is written, and how far it is, comes through a window over the text.

    Behind the text stands a mark that it has no character for: what the window sees when a line may end.
    """

    uses_text = True

    def __init__(self, shape: StepShape, config: HandwritingConfig) -> None:
        super().__init__()
        self.shape, self.config = shape, config
        if not shape.alphabet:
            raise InputError("the data have no texts; expected lines with what is written in them")
        self.register_buffer("codes", torch.tensor([ord(letter) for letter in shape.alphabet]), persistent=False)
        self.codes: Tensor
        features = StepFeatures(shape.features, shape.events, 0, shape.position_features if config.position else 0)
        stack = WindowStack(
            features.width, config.hidden, len(shape.alphabet) + 1, config.layers, config.window, config.dropout
        )
        head = EndOfTextHead(
            stack.width, shape.features, config.components, shape.events, config.covariance, config.scale_floor
        )
        self.decoder, self.component_choices = StepDecoder(features, stack, head), head.component_choices

    def initial_state(self, batch_size: int, condition: Condition | None = None) -> DecoderState:
        """The pen before the text, the window on its first character."""
        text = condition.text if condition else None
        if text is None:
            raise InputError("the model writes a text; received none; give one with --text")
        state = self.decoder.lstm.initial_state(self._one_hot(text))
        return self.decoder.initial_state(self.codes.new_zeros(batch_size, 0, dtype=state.text.characters.dtype), state)

    def forward(self, batch: Batch) -> StepDistribution:
        """The distributions of all real steps, flat (S,)."""
        return self.decoder(batch, self.initial_state(batch.size, Condition(text=batch.text)))

    def finished(self, state: DecoderState) -> Tensor:
        """Which lines the window has left, (B,)."""
        return state.lstm.window.finished[0, :, 0] > 0

    def attention(self, batch: Batch) -> Tensor:
        """The window's weights at every real step, flat (S, U + 1): at each character, and behind the last."""
        state = self.initial_state(batch.size, Condition(text=batch.text))
        features = self.decoder.features.from_batch(batch, batch.previous)
        _, phi = self.decoder.lstm(features, state.lstm)
        return batch.unpad(phi)[:, :-1]

    def _one_hot(self, text: Tensor) -> Text:
        """Code points (B, U), zeros after a text's end, as the window takes them: U + 1, a mark behind the last."""
        like, lengths = self.decoder.head.linear.bias, (text > 0).sum(1)
        known = (text.unsqueeze(-1) == self.codes) & (text > 0).unsqueeze(-1)
        if not torch.equal(known.any(-1), text > 0):
            found = "".join(sorted({chr(code) for code in text[(text > 0) & ~known.any(-1)].tolist()}))
            raise InputError(
                f"the text has {found!r}, which the model has not learned; expected some of {self.shape.alphabet!r}"
            )
        mark = torch.arange(text.shape[1] + 1, device=text.device) == lengths.unsqueeze(1)
        characters = torch.cat([functional.pad(known, (0, 0, 0, 1)), mark.unsqueeze(-1)], -1)
        return Text(characters.to(like.dtype).transpose(0, 1), lengths.to(like.dtype).view(1, -1, 1))


def check_text_corpus(corpus: Corpus) -> None:
    """An error where data cannot be learned to be written: they have to be lines of strokes with their texts."""
    missing = int((corpus.text_lengths == 0).sum()) if corpus.text is not None else len(corpus)
    if missing:
        raise InputError(
            f"{missing} of {len(corpus)} drawings in {corpus.metadata.name} do not say what is written in them; expected "
            "that all do; leave the others out: mdnrnn data import ... --with-text"
        )
    if corpus.motion.shape[1] != 2 or corpus.inputs is not None or corpus.metadata.start != "down":
        raise InputError(
            f"{corpus.metadata.name} has {corpus.motion.shape[1]} features a step and starts {corpus.metadata.start!r}; "
            "expected lines of strokes: dx and dy alone, starting 'down'"
        )
    if "\0" in corpus.alphabet:
        raise InputError(
            f"{corpus.metadata.name} has a text with the character 0; expected characters that are written"
        )


def require_text_model(model: SequenceModel) -> HandwritingRNN:
    """The model, if it writes; an error that says what to do where it does not."""
    if isinstance(model, HandwritingRNN):
        return model
    raise InputError("the run does not write texts; expected one that does: mdnrnn train handwriting, say")
