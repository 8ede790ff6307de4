"""From text to text: a model, its vocabulary and a beam search."""

from collections.abc import Sequence

import ml_collections
import numpy as np
import tensorflow as tf
import tqdm

from trainers import compilation
from trainers.translation import decoding, input_pipeline
from trainers.translation.beam_search import Beam
from trainers.translation.model import Transformer
from trainers.translation.vocabulary import Vocabulary


class Translator:
  """Translates sentences with the weights that the model has at the time.

  Args:
    model: Built in the scope of `strategy`.
    vocabulary: Its tokens.
    config: A config's `decoding`.
    strategy: Each replica translates a batch of its own.
    jit_compile: Whether to compile the search by XLA.
    beam_size: In place of that of `config`.
    is_chief: Whether this process shows progress.
  """

  def __init__(
    self,
    model: Transformer,
    vocabulary: Vocabulary,
    config: ml_collections.ConfigDict,
    strategy: tf.distribute.Strategy,
    *,
    jit_compile: bool,
    beam_size: int | None = None,
    is_chief: bool = True,
  ):
    self._vocabulary, self._config = vocabulary, config
    self._strategy, self._is_chief = strategy, is_chief
    self._decode = decoding.make_decoder(
      model,
      Beam(beam_size or config.beam_size, config.length_penalty),
      config.extra_length,
      jit_compile,
    )
    self._decode_distributed = compilation.concrete(
      tf.function(self._run_on_replicas)
    )

  def __call__(self, sentences: Sequence[str]) -> list[str]:
    """Returns the translations, in this order; nothing is that of nothing.

    A sentence of more than `max_length` tokens is cut, with a warning.
    """
    replicas = self._strategy.num_replicas_in_sync
    batches = input_pipeline.decoding_batches(
      sentences,
      self._vocabulary,
      max_length=self._config.max_length,
      batch_tokens=self._config.batch_tokens,
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
