"""A SentencePiece vocabulary that both languages share, and its training."""

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import os
import re
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import sentencepiece
import tensorflow as tf
import tensorflow_text as tf_text
import tqdm

from trainers import files
from trainers.errors import UserError, first_line
from trainers.translation.sources import Split

KINDS = ("unigram", "bpe")
# Special tokens. A decoder starts from the padding.
PAD, EOS, UNK = 0, 1, 2
_FOLDER = "vocabulary"  # In the directory of a run.


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How SentencePiece trains a vocabulary.

  Attributes:
    kind: One of KINDS.
    size: Number of subwords.
    character_coverage: In [0.98, 1].
    byte_fallback: Whether bytes spell the characters that are not covered.
    split_digits: Whether each digit is a subword of its own.
    max_sentences: Number of sentences to train on at most.
  """

  kind: str
  size: int
  character_coverage: float
  byte_fallback: bool
  split_digits: bool
  max_sentences: int


class Vocabulary(tf.Module):
  """Turns text into numbers of subwords and back.

  The class is a module, so that a module that holds a vocabulary can be saved.

  Args:
    model: A serialized SentencePiece model whose padding, end of sentence and
      unknown subword are PAD, EOS and UNK.

  Attributes:
    model: The serialized model.
    size: Number of subwords; tokens are less than `size`.
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

    An operation that TensorFlow keeps for reuse owns the model, and TensorFlow
    forgets all such operations when the global seed is set.
    """
    with tf.init_scope():
      try:
        self._tokenizer.vocab_size()
      except tf.errors.NotFoundError:
        self._make_tokenizer()
    return self._tokenizer

  @functools.cached_property
  def fingerprint(self) -> str:
    """A text that differs for another vocabulary."""
    return hashlib.sha256(self.model).hexdigest()

  def describe(self) -> dict[str, Any]:
    """Returns what tells the vocabulary from another, JSON-like."""
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
    # The last place can hold nothing but the end of the sentence.
    has_last = (lengths >= max_length)[:, tf.newaxis]
    ends = tf.ragged.boolean_mask(tf.fill(tf.shape(has_last), EOS), has_last)
    return tf.concat([tokens[:, : max_length - 1], ends], axis=1), lengths

  def detokenize(self, tokens: tf.Tensor) -> tf.Tensor:
    """Returns the text of sentences, strings of shape (sentences,).

    Characters that would end a line, which `byte_fallback` can spell, become
    spaces.

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


def find_files(directory: str) -> list[str]:
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
  recipe: Recipe,
  directory: str,
  is_chief: bool = True,
) -> Vocabulary:
  """Returns the vocabulary of a text, from a file in `directory` if there.

  One version of SentencePiece trains the same vocabulary each time.

  Args:
    split: The text to train it on, both sides of it.
    recipe: How to train it.
    directory: Of the run. The file's name tells by what it was made.
    is_chief: Whether this process writes the file and shows progress.

  Raises:
    UserError: if the text does not support such a vocabulary, or if the file
      cannot be written.
  """
  made_by = json.dumps(
    [split.fingerprint, dataclasses.asdict(recipe)], sort_keys=True
  )
  path = _path(directory, made_by)
  if tf.io.gfile.exists(path):
    try:
      with tf.io.gfile.GFile(path, "rb") as file:
        return Vocabulary(file.read())
    except tf.errors.OpError as error:
      warnings.warn(
        f"{path} cannot be read, and is made again: {first_line(error)}",
        stacklevel=2,
      )
  vocabulary = Vocabulary(train(split, recipe, is_chief))
  if is_chief:
    save(vocabulary, directory, made_by)
  return vocabulary


def save(vocabulary: Vocabulary, directory: str, made_by: str) -> None:
  """Writes a vocabulary to the directory of a run, for `find_files`.

  Args:
    vocabulary: What to write.
    directory: Of the run.
    made_by: Decides the name of the file.

  Raises:
    UserError: if the file cannot be written.
  """
  path = _path(directory, made_by)
  with files.writing(path):
    tf.io.gfile.makedirs(os.path.dirname(path))
    files.write_whole(path, vocabulary.model)


def _path(directory, made_by):
  name = hashlib.sha256(made_by.encode()).hexdigest()[:16]
  return os.path.join(directory, _FOLDER, f"{name}.model")


def train(split: Split, recipe: Recipe, is_chief: bool = True) -> bytes:
  """Returns a serialized SentencePiece model.

  Args:
    split: The text to train it on, both sides of it.
    recipe: How to train it.
    is_chief: Whether to show progress.

  Raises:
    UserError: if the text does not support such a vocabulary.
  """
  model = io.BytesIO()
  reader = _Reader(split, recipe.max_sentences, is_chief)
  title = f"Training a vocabulary of {recipe.size:,} subwords"
  try:
    with _clock(title, reader.ended, is_chief):
      sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(reader),
        model_writer=model,
        model_type=recipe.kind,
        vocab_size=recipe.size,
        character_coverage=recipe.character_coverage,
        byte_fallback=recipe.byte_fallback,
        split_digits=recipe.split_digits,
        pad_id=PAD,
        eos_id=EOS,
        unk_id=UNK,
        bos_id=-1,
        num_threads=16,  # The result depends on it.
        minloglevel=1,
      )
  except (RuntimeError, ValueError) as error:
    raise reader.error or _explain(error, recipe) from error
  return model.getvalue()


@contextlib.contextmanager
def _clock(title, begin, is_shown):
  """Shows how long it has been since the event `begin`, as a sign of life."""
  end = threading.Event()

  def tick():
    begin.wait()
    with tqdm.tqdm(
      desc=title, bar_format="{desc}: {elapsed}", disable=not is_shown
    ) as progress:
      while not end.wait(1.0):
        progress.refresh()

  thread = threading.Thread(target=tick, daemon=True)
  thread.start()
  try:
    yield
  finally:
    begin.set()
    end.set()
    thread.join()


class _Reader:
  """Iterates over the sentences of pairs spread evenly over a text.

  Attributes:
    ended: Event, set when all is read.
    error: Error that ended the reading, or None. SentencePiece raises another
      error in its place.
  """

  def __init__(self, split, most, is_chief):
    self._split, self._is_chief = split, is_chief
    self._pairs = min(split.size, max(1, most // 2))
    self.ended = threading.Event()
    self.error = None

  def __iter__(self) -> Iterator[str]:
    """Yields sentences of the source and of the target in turn."""
    try:
      with tqdm.tqdm(
        total=self._pairs,
        desc=f"Reading {self._split.name}",
        unit="pair",
        disable=not self._is_chief,
      ) as progress:
        for i, pair in enumerate(self._split.read()):
          if self._wanted(i + 1) > self._wanted(i):
            yield from pair
            progress.update()
    except UserError as error:
      self.error = error
      raise
    finally:
      self.ended.set()

  def _wanted(self, count):
    """Returns how many of the first `count` pairs are wanted."""
    return count * self._pairs // self._split.size


def _explain(error, recipe):
  """Returns a UserError that says what SentencePiece means."""
  message = str(error)
  too_large = re.search(r"set it to a value <= (\d+)", message)
  if too_large:
    return UserError(
      f"vocabulary.size={recipe.size} is more than the training text supports, "
      f"which is {too_large[1]}: try --config.vocabulary.size={too_large[1]}"
    )
  too_small = re.search(r"smaller than required_chars\D*\d+ vs (\d+)", message)
  if too_small:
    return UserError(
      f"vocabulary.size={recipe.size} is less than the {too_small[1]} that "
      "single characters (and bytes, with vocabulary.byte_fallback) take."
    )
  return UserError(
    f"SentencePiece cannot train a vocabulary on this text: {message[:300]}"
  )
