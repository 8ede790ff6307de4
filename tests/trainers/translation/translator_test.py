import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests import replicas
from tests.trainers.translation import small_text, tiny
from trainers.translation.model import make_model
from trainers.translation.translator import (
  Decoding,
  Translator,
  make_batches,
)

# Nothing, and sentences of up to 16, 32, 64, 128 and 256 tokens.
_SENTENCES = ["", "The fox."] + [
  " ".join(["The old man sees 3 birds."] * times) for times in (1, 2, 4, 8)
]


class TranslatorTest(tf.test.TestCase, parameterized.TestCase):
  def _translator(self, strategy):
    keras.utils.set_random_seed(1)
    words = small_text.make_vocabulary()
    with strategy.scope():
      model = make_model(tiny.architecture(), words.size)
    decoding = Decoding(
      beam_size=2,
      length_penalty=0.6,
      extra_length=2,
      max_length=256,
      batch_tokens=256,
    )
    return Translator(model, words, decoding, strategy, jit_compile=False)

  def test_replicas_translate_alike_and_no_shape_warns_of_its_tracing(self):
    translations = []
    for strategy in (
      tf.distribute.OneDeviceStrategy("CPU:0"),
      replicas.mirrored(),
    ):
      translator = self._translator(strategy)
      with self.assertNoLogs("tensorflow", "WARNING"):
        translations.append(translator(_SENTENCES))
    self.assertEqual(*translations)
    self.assertEqual(translations[0][0], "")
    self.assertTrue(all(translations[0][1:]))


class BatchesTest(tf.test.TestCase, parameterized.TestCase):
  def _batches(self, sentences, **arguments):
    self.words = small_text.make_vocabulary()
    return make_batches(
      sentences,
      self.words,
      **{"max_length": 64, "batch_tokens": 64, **arguments},
    )

  @parameterized.parameters(1, 2, 3)
  def test_every_sentence_once_in_batches_of_few_shapes(self, count):
    sentences = ["The old man " * n for n in (6, 1, 3, 1, 5, 2, 4, 1, 2, 1)]
    batches = self._batches(sentences, replicas=count)
    expected = self.words.tokenize(sentences).to_list()
    seen = []
    for batch in batches:
      rows, length = batch["source"].shape
      self.assertIn(length, (16, 32, 64))
      per_replica = {16: 4, 32: 2, 64: 1}[length] // count
      self.assertEqual(rows, max(1, per_replica) * count)
      self.assertEqual(batch["source"].dtype, np.int32)
      for index, source in zip(batch["index"], batch["source"]):
        if index < 0:
          self.assertFalse(source.any())
          continue
        tokens = expected[index]
        self.assertAllEqual(source, tokens + [0] * (length - len(tokens)))
        self.assertTrue(length == 16 or len(tokens) > length // 2)
        seen.append(int(index))
    self.assertCountEqual(seen, range(10))
    lengths = [len(expected[i]) for i in seen]
    self.assertEqual(lengths, sorted(lengths))

  def test_empty_sentences_are_left_out(self):
    batches = self._batches(["", "The old man", " \t\u00a0", ""])
    self.assertLen(batches, 1)
    self.assertAllEqual(batches[0]["index"], [1, -1, -1, -1])
    self.assertEmpty(self._batches([]))
    self.assertEmpty(self._batches(["", ""]))

  def test_long_sentences_are_cut_with_a_warning(self):
    long = "The old man " * 10_000
    with self.assertWarnsRegex(UserWarning, "1 of 2 sentences have more than"):
      batches = self._batches(["The king", long], max_length=40)
    self.assertEqual([b["source"].shape[1] for b in batches], [16, 40])
    tokens = self.words.tokenize([long]).to_list()[0]
    self.assertAllEqual(batches[1]["source"], [[*tokens[:39], 1]])

  @parameterized.parameters((8, [8]), (16, [16]), (17, [16, 17]))
  def test_lengths(self, most, expected):
    sentences = ["The man", "The old man sees the old king " * 3]
    self.assertEqual(
      [b["source"].shape[1] for b in self._batches(sentences, max_length=most)],
      expected,
    )


if __name__ == "__main__":
  tf.test.main()
