import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests import xla
from tests.trainers.translation import slow_beam_search, tiny
from tests.trainers.translation.numpy_transformer import NumpyTransformer
from trainers.translation.beam_search import Beam
from trainers.translation.decoding import make_decoder, search

_SOURCES = ([3, 7, 2, 1], [8, 1], [4, 4, 6, 9, 10, 1], [5, 1])


def _rows(sources, length=6):
  return np.array([s + [0] * (length - len(s)) for s in sources], "int32")


class DecodingTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.product(size=(1, 4), jit_compile=(False, True))
  def test_equals_a_slow_search_without_a_cache(self, size, jit_compile):
    if jit_compile:
      xla.require(self)
    # Of so large logits that hypotheses differ, and some are long.
    model = tiny.model(scale=2.0, seed=2)
    decode = make_decoder(model, Beam(size, 0.6), 5, jit_compile)
    decoded = decode(_rows(_SOURCES)).numpy()
    reference = NumpyTransformer(model, tiny.config())
    _, scores = search(model, tf.constant(_rows(_SOURCES)), Beam(size, 0.6), 5)
    lengths = set()
    for row, source in enumerate(_SOURCES):

      def next_token(tokens, source=source):
        fed = [*tokens, 0]  # The last of them is not looked at.
        return reference.log_probabilities(source, fed)[-1]

      expected = slow_beam_search.beam_search(
        next_token, len(source) + 5, size, 0.6
      )
      tokens = list(expected[0][1])
      self.assertEqual(decoded[row].tolist()[: len(tokens)], tokens)
      self.assertFalse(decoded[row, len(tokens) :].any())
      self.assertAllClose(scores[row], [s for s, _ in expected], atol=1e-3)
      lengths.add(len(tokens))
    self.assertGreater(len(lengths), 1)

  def test_other_rows_and_filling_change_nothing(self):
    model = tiny.model(scale=2.0, seed=2)
    decode = make_decoder(model, Beam(4, 0.6), 5, jit_compile=False)
    together = decode(_rows([*_SOURCES, []], length=9)).numpy()
    for row, source in enumerate(_SOURCES):
      alone = decode(_rows([source])).numpy()[0]
      self.assertAllEqual(alone, together[row, : len(alone)])
    self.assertAllEqual(together[-1], [1] + [0] * 13)


if __name__ == "__main__":
  tf.test.main()
