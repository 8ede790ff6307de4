"""From text to text: a model, its vocabulary and a beam search."""

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tqdm

from trainers import tracing
from trainers.translation.beam_search import Beam, make_decoder
from trainers.translation.model import Transformer
from trainers.translation.vocabulary import PAD, Vocabulary


@dataclasses.dataclass(frozen=True)
class Decoding:
  """How sentences are translated.

  Attributes:
    beam_size: Hypotheses kept for each sentence; 1 is the greedy search.
    length_penalty: As in `beam_search.Beam`.
    extra_length: A translation has at most so many tokens more than its source.
    max_length: Tokens of the longest source; a longer one is cut.
    batch_tokens: Source tokens in a batch, about.
  """

  beam_size: int
  length_penalty: float
  extra_length: int
  max_length: int
  batch_tokens: int

  @property
  def beam(self) -> Beam:
    """How to search."""
    return Beam(self.beam_size, self.length_penalty)


class Translator:
  """Translates sentences with the weights that the model has at the time.

  Args:
    model: Built in the scope of `strategy`.
    vocabulary: Its tokens.
    decoding: How to translate.
    strategy: Each replica translates a batch of its own.
    jit_compile: Whether to compile the search by XLA.
    is_chief: Whether this process shows progress.
  """

  def __init__(
    self,
    model: Transformer,
    vocabulary: Vocabulary,
    decoding: Decoding,
    strategy: tf.distribute.Strategy,
    *,
    jit_compile: bool,
    is_chief: bool = True,
  ):
    self._vocabulary, self._decoding = vocabulary, decoding
    self._strategy, self._is_chief = strategy, is_chief
    self._decode = make_decoder(
      model,
      decoding.beam,
      decoding.extra_length,
      jit_compile,
    )
    self._decode_distributed = tracing.concrete(
      tf.function(self._run_on_replicas, autograph=False)
    )

  def __call__(self, sentences: Sequence[str]) -> list[str]:
    """Returns the translations, in the order of the sentences.

    The translation of an empty sentence is empty. A sentence of more than
    `max_length` tokens is cut, with a warning.
    """
    replicas = self._strategy.num_replicas_in_sync
    batches = make_batches(
      sentences,
      self._vocabulary,
      max_length=self._decoding.max_length,
      batch_tokens=self._decoding.batch_tokens,
      replicas=replicas,
    )
    translations = [""] * len(sentences)
    with tqdm.tqdm(
      total=sum(int((batch["index"] >= 0).sum()) for batch in batches),
      desc="Translating",
      unit="sentence",
      leave=False,
      disable=not self._is_chief,
    ) as progress:
      for batch in batches:
        tokens = self._decode_on_replicas(batch["source"])
        text = self._vocabulary.detokenize(tokens).numpy()
        for index, translation in zip(batch["index"], text):
          if index >= 0:
            translations[index] = translation.decode(errors="replace")
        progress.update(int((batch["index"] >= 0).sum()))
    return translations

  def _decode_on_replicas(self, source: np.ndarray) -> tf.Tensor:
    """Returns target tokens; every process gets those of all replicas."""
    replicas = self._strategy.num_replicas_in_sync
    if replicas == 1:
      return self._decode(tf.constant(source))
    parts = np.split(source, replicas)
    distributed = self._strategy.experimental_distribute_values_from_function(
      lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )
    return self._decode_distributed(distributed)

  def _run_on_replicas(self, distributed):
    decoded = self._strategy.run(self._decode, args=(distributed,))
    return self._strategy.gather(decoded, axis=0)


def make_batches(
  sentences: Sequence[str],
  vocabulary: Vocabulary,
  *,
  max_length: int,
  batch_tokens: int,
  replicas: int = 1,
) -> list[dict[str, np.ndarray]]:
  """Returns sentences to translate, sorted by length, in batches of few shapes.

  A batch holds sentences of 16 tokens at most, or of 32, 64 and so on up to
  `max_length`; batches of longer sentences hold fewer. Sentences of more than
  `max_length` tokens are cut, with a warning. Empty sentences are in no batch.

  Args:
    sentences: Text.
    vocabulary: Its tokens.
    max_length: Tokens of the longest source, with the end of the sentence.
    batch_tokens: Source tokens in a batch, about.
    replicas: Number of replicas; rows are a multiple of it.

  Returns:
    For each batch "source", int32 of shape (rows, length), with
    end-of-sentence tokens and padding, and "index", int32 of shape (rows,): the
    place of each row in `sentences`, or -1 for a row that fills up the batch.
  """
  tokens, lengths = _tokenize(sentences, vocabulary, max_length)
  order = np.argsort(lengths, kind="stable")
  batches = []
  previous = 1  # The end of the sentence alone.
  for length in _bucket_lengths(max_length):
    inside = order[(lengths[order] > previous) & (lengths[order] <= length)]
    rows = max(1, batch_tokens // length // replicas) * replicas
    for first in range(0, len(inside), rows):
      index = np.full(rows, -1, np.int32)
      chosen = inside[first : first + rows]
      index[: len(chosen)] = chosen
      source = np.full((rows, length), PAD, np.int32)
      source[: len(chosen)] = tokens[chosen, :length]
      batches.append({"source": source, "index": index})
    previous = length
  return batches


def _tokenize(sentences, vocabulary, max_length):
  """Returns tokens, int32 (sentences, up to max_length), and their numbers."""
  ragged, lengths = vocabulary.tokenize_up_to(
    tf.constant(list(sentences), tf.string), max_length
  )
  lengths = lengths.numpy()
  too_long = lengths > max_length
  if too_long.any():
    warnings.warn(
      f"{too_long.sum()} of {len(sentences)} sentences have more than "
      f"{max_length} tokens, and are cut to that.",
      stacklevel=3,
    )
  tokens = ragged.to_tensor(PAD, shape=(len(sentences), max_length)).numpy()
  return tokens, np.minimum(lengths, max_length)


def _bucket_lengths(max_length):
  lengths = [16]
  while lengths[-1] < max_length:
    lengths.append(2 * lengths[-1])
  return [*lengths[:-1], max_length]
