"""Handwriting synthesis: an MDN-RNN that reads a text through a soft window (Graves, arXiv:1308.0850, section 5)."""

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
from mdnrnn.nn.attention_window import Text, WindowStack
from mdnrnn.nn.decoder import DecoderState, StepDecoder, StepFeatures
from mdnrnn.nn.heads import StepHead

_MIN_MARK_WEIGHT = 1e-3
"""Lower bound of the window weight of the end mark in `EndOfTextHead`."""


class EndOfTextHead(StepHead):
    """Step head that multiplies the odds of END by the window weight of the end mark, its last input feature.

    Lines therefore rarely end after a word in the middle of the text.
    """

    def end_logit_shift(self, features: Tensor) -> Tensor:
        """Return the log weight of the end mark, shape (..., 1), given features of shape (..., in_features)."""
        weight = features[..., -1:].to(torch.promote_types(features.dtype, torch.float32))
        return weight.clamp_min(_MIN_MARK_WEIGHT).log()


class HandwritingRNN(SequenceModel):
    """p(step_t | previous steps, text): LSTM layers that read the text through a window.

    Every text is followed by an end mark, which is not a character of the alphabet. A line may end when the window has
    reached the end mark. Generation of a line stops when the window has passed it (`finished`).
    """

    uses_text = True

    def __init__(self, shape: StepShape, config: HandwritingConfig) -> None:
        super().__init__()
        self.shape, self.config = shape, config
        if not shape.alphabet:
            raise InputError("data: received drawings without texts, expected lines with their texts")
        self.register_buffer("codes", torch.tensor([ord(letter) for letter in shape.alphabet]), persistent=False)
        self.codes: Tensor
        position_features = shape.position_features if config.position else 0
        features = StepFeatures(shape.features, shape.events, 0, position_features)
        stack = WindowStack(
            features.width, config.hidden, len(shape.alphabet) + 1, config.layers, config.window, config.dropout
        )
        head = EndOfTextHead(
            stack.width, shape.features, config.components, shape.events, config.covariance, config.scale_floor
        )
        self.decoder, self.component_choices = StepDecoder(features, stack, head), head.component_choices

    def initial_state(self, batch_size: int, condition: Condition | None = None) -> DecoderState:
        """Return a state of zeros with the text of the condition; the window is centered on its first character.

        Raises:
            InputError: there is no text, or it has a character that is not in the alphabet.
        """
        text = condition.text if condition else None
        if text is None:
            raise InputError("text: received none; this model needs a text: pass --text")
        state = self.decoder.lstm.initial_state(self._encode_text(text))
        context = self.codes.new_zeros(batch_size, 0, dtype=state.text.characters.dtype)
        return self.decoder.initial_state(context, state)

    def forward(self, batch: Batch) -> StepDistribution:
        """Return the distributions of all real steps, of batch shape (S,)."""
        return self.decoder(batch, self.initial_state(batch.size, Condition(text=batch.text)))

    def finished(self, state: DecoderState) -> Tensor:
        """Return a mask (B,) of the lines whose window has passed the text; see `has_passed_text`."""
        return state.lstm.window.finished[0, :, 0] > 0

    def attention(self, batch: Batch) -> Tensor:
        """Return the window weights of the characters and the end mark at every real step, shape (S, U + 1)."""
        state = self.initial_state(batch.size, Condition(text=batch.text))
        features = self.decoder.features.from_batch(batch, batch.previous)
        _, phi = self.decoder.lstm(features, state.lstm)
        return batch.unpad(phi)[:, :-1]

    def _encode_text(self, text: Tensor) -> Text:
        """Convert code points (B, U), padded with zeros, to one-hot characters (U + 1, B, C) with end marks."""
        like, lengths = self.decoder.head.linear.bias, (text > 0).sum(1)
        known = (text.unsqueeze(-1) == self.codes) & (text > 0).unsqueeze(-1)
        if not torch.equal(known.any(-1), text > 0):
            unknown = "".join(sorted({chr(code) for code in text[(text > 0) & ~known.any(-1)].tolist()}))
            raise InputError(
                f"text: received {unknown!r}, which the model has not learned; expected characters of "
                f"{self.shape.alphabet!r}"
            )
        mark = torch.arange(text.shape[1] + 1, device=text.device) == lengths.unsqueeze(1)
        characters = torch.cat([functional.pad(known, (0, 0, 0, 1)), mark.unsqueeze(-1)], -1)
        return Text(characters.to(like.dtype).transpose(0, 1), lengths.to(like.dtype).view(1, -1, 1))


def check_text_corpus(corpus: Corpus) -> None:
    """Raise `InputError` unless a corpus consists of lines of handwriting with a text for each line."""
    name = corpus.metadata.name
    missing = int((corpus.text_lengths == 0).sum()) if corpus.text is not None else len(corpus)
    if missing:
        raise InputError(
            f"data: received {name}, in which {missing} of {len(corpus)} drawings have no text; expected a text for "
            "each drawing: import with mdnrnn data import ... --with-text to drop the others"
        )
    if corpus.motion.shape[1] != 2 or corpus.inputs is not None or corpus.metadata.start != "down":
        raise InputError(
            f"data: received {name} with {corpus.motion.shape[1]} features per step and start "
            f"{corpus.metadata.start!r}; expected lines of strokes: features dx and dy only, start 'down'"
        )
    if "\0" in corpus.alphabet:
        raise InputError(f"data: received {name} with a text that contains the character 0; expected printable texts")


def require_text_model(model: SequenceModel) -> HandwritingRNN:
    """Return the model; raise `InputError` if it is not text-conditional."""
    if isinstance(model, HandwritingRNN):
        return model
    raise InputError(
        "model: received one that does not write texts, expected a text-conditional one; train one with: "
        "mdnrnn train handwriting"
    )
