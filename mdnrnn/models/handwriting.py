"""Handwriting synthesis: an MDN-RNN with a soft attention window over a text (Graves, arXiv:1308.0850, section 5)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mdnrnn.data.batch import Batch
from mdnrnn.data.corpus import Corpus
from mdnrnn.distributions import StepDistribution
from mdnrnn.errors import InputError, quantity
from mdnrnn.models.base import Condition, SequenceModel, StepShape, require_context
from mdnrnn.models.configs import HandwritingConfig
from mdnrnn.nn.attention_window import Text, WindowStack
from mdnrnn.nn.decoder import DecoderState, StepDecoder, StepFeatures
from mdnrnn.nn.heads import StepHead

_MIN_MARK_WEIGHT = 1e-3
"""Lower bound of the attention weight of the end mark in `EndOfTextHead`."""


class EndOfTextHead(StepHead):
    """Step head whose odds of the event END depend on the attention window of a `HandwritingRNN`.

    The last input feature is the attention weight of the end mark, a symbol after the last character of each text. The
    head multiplies the odds of END by this weight. Lines therefore rarely end after a word in the middle of the text.
    """

    def end_logit_shift(self, features: Tensor) -> Tensor:
        """Return the log of the end mark's attention weight, shape (..., 1).

        A weight below 0.001 is replaced by 0.001, so that the log is finite.

        Args:
            features: input of the head, shape (..., in_features). The last feature is the attention weight.
        """
        weight = features[..., -1:].to(torch.promote_types(features.dtype, torch.float32))
        return weight.clamp_min(_MIN_MARK_WEIGHT).log()


class HandwritingRNN(SequenceModel):
    """p(step_t | previous steps, text): LSTM layers with a soft attention window over the text.

    An end mark, which is a symbol in addition to the alphabet, is appended to every text. The event END is likely only
    after the window has reached the end mark. Generation of a line stops at the event END or when the window has passed
    the end mark; see `finished`.
    """

    uses_text = True

    def __init__(self, shape: StepShape, config: HandwritingConfig) -> None:
        super().__init__()
        self.shape, self.config = shape, config
        if not shape.alphabet:
            raise InputError("data: received drawings without texts, expected lines of handwriting with their texts")
        self.register_buffer("codes", torch.tensor([ord(letter) for letter in shape.alphabet]), persistent=False)
        self.codes: Tensor
        position_features = shape.position_features if config.position else 0
        features = StepFeatures(shape.features, shape.events, 0, position_features)
        stack = WindowStack(
            features.width + shape.context,
            config.hidden,
            len(shape.alphabet) + 1,
            config.layers,
            config.window,
            config.dropout,
        )
        head = EndOfTextHead(
            stack.width, shape.features, config.components, shape.events, config.covariance, config.scale_floor
        )
        self.decoder, self.component_choices = StepDecoder(features, stack, head), head.component_choices

    def initial_state(self, batch_size: int, condition: Condition | None = None) -> DecoderState:
        """Return the state before the first step: zeros, the encoded texts and the context vectors of the condition.

        The attention window is centered on the first character.

        Raises:
            InputError: the condition has no texts, a text has a character that is not in the alphabet, or the condition
                lacks a context vector that the model needs.
        """
        condition = condition or Condition()
        if condition.text is None:
            raise InputError("text: received none, expected a text; pass --text")
        state = self.decoder.core.initial_state(self._encode_text(condition.text))
        empty = self.codes.new_zeros(batch_size, 0, dtype=state.text.characters.dtype)
        context = torch.cat([empty, *require_context(condition.context, self.shape.context)], -1)
        return self.decoder.initial_state(context, state)

    def forward(self, batch: Batch) -> StepDistribution:
        """Return the distributions of all S real (unpadded) steps of a batch, given the true previous steps.

        The result is one distribution of batch shape (S,).
        """
        return self.decoder(batch, self.initial_state(batch.size, Condition.from_batch(batch)))

    def finished(self, state: DecoderState) -> Tensor:
        """Return a mask of the lines whose attention window has passed the end of the text, shape (B,).

        See `mdnrnn.nn.attention_window.has_passed_text` for the criterion.
        """
        return state.core.window.finished[0, :, 0] > 0

    def character_columns(self) -> dict[str, int]:
        """Return the weight matrices that read one-hot characters; see `SequenceModel.character_columns`."""
        core, features = self.decoder.core, self.decoder.features.width
        above = {f"decoder.core.above.layers.{i}.weight_ih_l0": features for i in range(len(core.above.layers))}
        return {
            "decoder.core.first.recurrent": core.first.hidden,
            **above,
            "decoder.head.linear.weight": core.above.width,
        }

    def attention(self, batch: Batch) -> Tensor:
        """Return the attention weights of the characters and the end mark at every real step, shape (S, U + 1).

        U is the number of characters of the longest text. The S real steps are the steps without padding.
        """
        state = self.initial_state(batch.size, Condition.from_batch(batch))
        features = self.decoder.features.from_batch(batch, batch.previous)
        features = torch.cat([features, state.context.expand(batch.steps, -1, -1)], -1)
        _, phi = self.decoder.core(features, state.core)
        return batch.unpad(phi)[:, :-1]

    def _encode_text(self, text: Tensor) -> Text:
        """Convert code points to one-hot vectors and append an end mark to each text.

        Args:
            text: Unicode code points, padded with zeros, shape (B, U).

        Returns:
            Text with one-hot vectors of shape (U + 1, B, C). C is the size of the alphabet plus 1 for the end mark.
        """
        like, lengths = self.decoder.head.linear.bias, (text > 0).sum(1)
        known = (text.unsqueeze(-1) == self.codes) & (text > 0).unsqueeze(-1)
        if not torch.compiler.is_exporting() and not torch.equal(known.any(-1), text > 0):
            unknown = "".join(sorted({chr(code) for code in text[(text > 0) & ~known.any(-1)].tolist()}))
            raise InputError(
                f"text: received {unknown!r}, which the model's alphabet does not contain; expected characters from "
                f"{self.shape.alphabet!r}"
            )
        mark = torch.arange(text.shape[1] + 1, device=text.device) == lengths.unsqueeze(1)
        characters = torch.cat([functional.pad(known, (0, 0, 0, 1)), mark.unsqueeze(-1)], -1)
        return Text(characters.to(like.dtype).transpose(0, 1), lengths.to(like.dtype).view(1, -1, 1))


def check_text_corpus(corpus: Corpus) -> None:
    """Raise `InputError` if a corpus is not suitable for training a text-conditional model.

    Requirements: every sequence has a text; the texts have no NUL characters; the only motion features are dx and dy;
    there are no additional inputs; every sequence starts with the pen down.
    """
    name = corpus.metadata.name
    missing = int((corpus.text_lengths == 0).sum()) if corpus.text is not None else len(corpus)
    if missing:
        raise InputError(
            f"data: received {name}, in which {missing} of {quantity(len(corpus), 'drawings')} have no text; expected "
            "a text for each drawing; to drop drawings without a text, import with: mdnrnn data import ... --with-text"
        )
    inputs = 0 if corpus.inputs is None else corpus.inputs.shape[1]
    if corpus.motion.shape[1] != 2 or corpus.inputs is not None or corpus.metadata.start != "down":
        raise InputError(
            f"data: received {name} with {quantity(corpus.motion.shape[1], 'features')} and "
            f"{quantity(inputs, 'inputs')} per step and the pen {corpus.metadata.start} at the start; expected "
            "handwriting (features dx, dy; no inputs; pen down at the start)"
        )
    if "\0" in corpus.alphabet:
        raise InputError(f"data: received {name} with a text that contains a NUL character; remove it")


def require_text_model(model: SequenceModel) -> HandwritingRNN:
    """Return the model; raise `InputError` if it is not text-conditional."""
    if isinstance(model, HandwritingRNN):
        return model
    raise InputError(
        "model: received a model without text input, expected a text-conditional model; train one with: mdnrnn train "
        "handwriting"
    )
