"""Trains a SentencePiece vocabulary."""

import contextlib
import io
import re
import threading
from collections.abc import Iterator

import ml_collections
import sentencepiece
import tqdm

from trainers.errors import UserError
from trainers.translation.sources import Split

KINDS = ("unigram", "bpe")
# Special tokens. A decoder starts from the padding.
PAD, EOS, UNK = 0, 1, 2


def check(config: ml_collections.ConfigDict) -> None:
  """Raises a UserError for a value that cannot be trained with.

  Args:
    config: A config's `vocabulary`.
  """
  if config.kind not in KINDS:
    raise UserError(
      f"vocabulary.kind must be one of {KINDS}. Received: {config.kind!r}"
    )
  if not 0.98 <= config.character_coverage <= 1:
    raise UserError(
      "vocabulary.character_coverage must be in [0.98, 1]. Received: "
      f"{config.character_coverage}"
    )
  for field in ("size", "max_sentences"):
    if config[field] < 1:
      raise UserError(
        f"vocabulary.{field} must be positive. Received: {config[field]}"
      )


def train(
  split: Split, config: ml_collections.ConfigDict, is_chief: bool = True
) -> bytes:
  """Returns a serialized SentencePiece model.

  Args:
    split: The text to train it on, both sides of it.
    config: A config's `vocabulary`, checked.
    is_chief: Whether to show progress.

  Raises:
    UserError: if the text does not support such a vocabulary.
  """
  model = io.BytesIO()
  reader = _Reader(split, config.max_sentences, is_chief)
  title = f"Training a vocabulary of {config.size:,} subwords"
  try:
    with _clock(title, reader.ended, is_chief):
      sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(reader),
        model_writer=model,
        model_type=config.kind,
        vocab_size=config.size,
        character_coverage=config.character_coverage,
        byte_fallback=config.byte_fallback,
        split_digits=config.split_digits,
        pad_id=PAD,
        eos_id=EOS,
        unk_id=UNK,
        bos_id=-1,
        num_threads=16,  # The result depends on it.
        minloglevel=1,
      )
  except (RuntimeError, ValueError) as error:
    raise reader.error or _explain(error, config) from error
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
    ended: Set when all is read.
    error: What ended it before, or None: SentencePiece raises another.
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


def _explain(error, config):
  """Returns as a UserError what SentencePiece means."""
  message = str(error)
  too_large = re.search(r"set it to a value <= (\d+)", message)
  if too_large:
    return UserError(
      f"vocabulary.size={config.size} is more than the training text supports, "
      f"which is {too_large[1]}."
    )
  too_small = re.search(r"smaller than required_chars\D*\d+ vs (\d+)", message)
  if too_small:
    return UserError(
      f"vocabulary.size={config.size} is less than the {too_small[1]} that "
      "single characters (and bytes, with vocabulary.byte_fallback) take."
    )
  return UserError(
    f"SentencePiece cannot train a vocabulary on this text: {message[:300]}"
  )
