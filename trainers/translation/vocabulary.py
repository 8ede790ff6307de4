"""A SentencePiece vocabulary that both languages share."""

import functools
import hashlib
import json
import os
import re
import warnings
from typing import Any

import ml_collections
import tensorflow as tf
import tensorflow_text as tf_text

from trainers import errors, workdir
from trainers.errors import first_line
from trainers.translation import vocabulary_training
from trainers.translation.sources import Split
from trainers.translation.vocabulary_training import EOS, PAD

_FOLDER = "vocabulary"  # In the directory of a run.


class Vocabulary(tf.Module):
  """Turns text into numbers of subwords and back.

  A module, so that what holds it can be saved with it.

  Args:
    model: A serialized SentencePiece model whose padding, end of sentence and
      unknown subword are those of `vocabulary_training`.

  Attributes:
    model: The same.
    size: Number of subwords; tokens are less than that.
  """

  def __init__(self, model: bytes):
    super().__init__(name="vocabulary")
    self.model = model
    self._make_tokenizer()
    self.size = int(self._tokenizer.vocab_size())

  def _make_tokenizer(self):
    self._tokenizer = tf_text.SentencepieceTokenizer(
      self.model, out_type=tf.int32, add_eos=True
    )

  def _living_tokenizer(self):
    """Returns the tokenizer, made again if TensorFlow has freed its model.

    An operation that TensorFlow keeps for reuse owns the model, and setting the
    global seed makes TensorFlow forget all of these.
    """
    with tf.init_scope():
      try:
        self._tokenizer.vocab_size()
      except tf.errors.NotFoundError:
        self._make_tokenizer()
    return self._tokenizer

  @functools.cached_property
  def fingerprint(self) -> str:
    """Tells it from another vocabulary."""
    return hashlib.sha256(self.model).hexdigest()

  def describe(self) -> dict[str, Any]:
    """Returns what tells it from another, JSON-like."""
    return {"size": self.size, "fingerprint": self.fingerprint}

  def tokenize(self, sentences: tf.Tensor) -> tf.RaggedTensor:
    """Returns the tokens of sentences, each with EOS at its end.

    Args:
      sentences: Text in UTF-8, of shape (sentences,).

    Returns:
      int32 of shape (sentences, (tokens)).
    """
    return self._living_tokenizer().tokenize(sentences)

  def tokenize_up_to(
    self, sentences: tf.Tensor, max_length: int
  ) -> tuple[tf.RaggedTensor, tf.Tensor]:
    """Returns tokens, cut where there are too many, and how many there were.

    Args:
      sentences: As for `tokenize`.
      max_length: Tokens that a sentence may have; a longer one ends with EOS
        there.

    Returns:
      int32 of shape (sentences, (tokens)), and int64 of shape (sentences,).
    """
    tokens = self.tokenize(sentences)
    lengths = tokens.row_lengths()
    # The last place that there is can hold nothing but the end.
    has_last = (lengths >= max_length)[:, tf.newaxis]
    ends = tf.ragged.boolean_mask(tf.fill(tf.shape(has_last), EOS), has_last)
    return tf.concat([tokens[:, : max_length - 1], ends], axis=1), lengths

  def detokenize(self, tokens: tf.Tensor) -> tf.Tensor:
    """Returns the text of sentences, strings of shape (sentences,).

    What would end a line, which `byte_fallback` can spell, is a space in it.

    Args:
      tokens: int32 of shape (sentences, tokens). What follows the first EOS of
        a sentence counts for nothing.
    """
    is_over = tf.cumsum(tf.cast(tokens == EOS, tf.int32), axis=1) > 0
    is_text = ~is_over & (tokens != PAD)
    text = self._living_tokenizer().detokenize(
      tf.ragged.boolean_mask(tokens, is_text)
    )
    return tf.strings.regex_replace(text, r"[\r\n]", " ")


def files(directory: str) -> list[str]:
  """Returns the paths of the vocabularies in the directory of a run."""
  folder = os.path.join(directory, _FOLDER)
  if not tf.io.gfile.isdir(folder):
    return []
  return [
    os.path.join(folder, name)
    for name in sorted(tf.io.gfile.listdir(folder))
    if re.fullmatch(r"[0-9a-f]{16}\.model", name)
  ]


def load_or_train(
  split: Split,
  config: ml_collections.ConfigDict,
  directory: str,
  is_chief: bool = True,
) -> Vocabulary:
  """Returns the vocabulary of a text, from a file in `directory` if there.

  It is the same each time it is trained, with one version of SentencePiece.

  Args:
    split: The text to train it on, both sides of it.
    config: A config's `vocabulary`.
    directory: Of the run. The file's name tells by what it was made.
    is_chief: Whether this process writes the file and shows progress.

  Raises:
    UserError: if the text does not support such a vocabulary, or if the file
      cannot be written.
  """
  vocabulary_training.check(config)
  made_by = json.dumps([split.fingerprint, config.to_dict()], sort_keys=True)
  name = f"{hashlib.sha256(made_by.encode()).hexdigest()[:16]}.model"
  path = os.path.join(directory, _FOLDER, name)
  if tf.io.gfile.exists(path):
    try:
      with tf.io.gfile.GFile(path, "rb") as file:
        return Vocabulary(file.read())
    except tf.errors.OpError as error:
      warnings.warn(
        f"{path} cannot be read, and is made again: {first_line(error)}",
        stacklevel=2,
      )
  vocabulary = Vocabulary(vocabulary_training.train(split, config, is_chief))
  if is_chief:
    with errors.writing(path):
      tf.io.gfile.makedirs(os.path.dirname(path))
      workdir.write_whole(path, vocabulary.model)
  return vocabulary
