import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests import xla
from tests.trainers.translation import slow_beam_search, tiny
from tests.trainers.translation.numpy_transformer import NumpyTransformer
from trainers.translation.beam_search import (
  Beam,
  beam_search,
  make_decoder,
  search,
)

_STATES = 97


class _Tables:
  """Random log-probabilities that depend on all tokens so far, and on a row."""

  def __init__(self, rows, vocabulary, longest, seed):
    random = np.random.default_rng(seed)
    self.logits = 2 * random.normal(size=(rows, _STATES, vocabulary))
    self.logits = self.logits.astype("float32")
    self.weights = random.integers(1, _STATES, size=longest)
    self.rows, self.longest = rows, longest

  def model(self, row):
    """Returns the function that `slow_beam_search` takes."""

    def log_probabilities(tokens):
      fed = (0, *tokens)
      which = sum(w * (t + 1) for w, t in zip(self.weights, fed)) % _STATES
      logits = self.logits[row, which].astype("float64")
      return logits - np.log(np.exp(logits).sum())

    return log_probabilities

  def step(self, index, tokens, ancestors, state):
    """Is what `beam_search` takes: it keeps tokens where it first saw them."""
    # (longest, rows, size), of which `index` is new.
    state = tf.tensor_scatter_nd_update(state, [[index]], [tokens])
    fed = tf.gather(
      tf.transpose(state, (1, 2, 0)), ancestors, batch_dims=1, axis=1
    )  # (rows, size, longest, longest): by hypothesis, index, and time.
    fed = tf.linalg.diag_part(fed)
    weights = tf.where(
      tf.range(self.longest) <= index, tf.constant(self.weights, tf.int32), 0
    )
    which = tf.reduce_sum(weights * (fed + 1), axis=-1) % _STATES
    return tf.gather(self.logits, which, batch_dims=1), state

  def search(self, limits, size, alpha, jit_compile=False):
    """Returns what `beam_search` finds, as `slow_beam_search` returns it."""

    @tf.function(jit_compile=jit_compile, autograph=False)
    def run(limits):
      state = tf.zeros((self.longest, self.rows, size), tf.int32)
      return beam_search(
        self.step, state, limits, self.longest, Beam(size, alpha)
      )

    tokens, scores = (x.numpy() for x in run(tf.constant(limits, tf.int32)))
    found = []
    for row in range(self.rows):
      found.append([])
      for hypothesis, value in zip(tokens[row], scores[row]):
        if value > -1e8:
          end = hypothesis.tolist().index(1) + 1
          assert not hypothesis[end:].any()
          found[row].append((value, tuple(hypothesis[:end].tolist())))
    return found


class BeamSearchTest(tf.test.TestCase, parameterized.TestCase):
  def assertSameHypotheses(self, found, expected):
    self.assertEqual([t for _, t in found], [t for _, t in expected])
    self.assertAllClose(
      [s for s, _ in found], [s for s, _ in expected], rtol=1e-4
    )

  @parameterized.product(
    size=(1, 2, 4), alpha=(0.0, 0.6, 2.0), jit_compile=(False, True)
  )
  def test_equals_a_slow_search(self, size, alpha, jit_compile):
    if jit_compile:
      xla.require(self)
    tables = _Tables(rows=12, vocabulary=9, longest=10, seed=size)
    limits = [10, 10, 10, 10, 7, 7, 7, 4, 3, 2, 1, 10]
    found = tables.search(limits, size, alpha, jit_compile)
    lengths = set()
    for row, limit in enumerate(limits):
      expected = slow_beam_search.beam_search(
        tables.model(row), limit, size, alpha
      )
      self.assertSameHypotheses(found[row], expected)
      lengths |= {len(tokens) for _, tokens in expected}
    self.assertGreater(len(lengths), 3)  # Else this test would not say much.

  @parameterized.parameters(0.0, 0.6)
  def test_a_wide_beam_finds_the_best_of_all(self, alpha):
    tables = _Tables(rows=4, vocabulary=4, longest=4, seed=1)
    found = tables.search([4] * 4, 3**3, alpha)
    for row in range(4):
      expected = slow_beam_search.every(tables.model(row), 4, 4, alpha)
      self.assertSameHypotheses(found[row][:3], expected[:3])

  def test_greedy_takes_the_likeliest_token_each_time(self):
    tables = _Tables(rows=6, vocabulary=9, longest=12, seed=3)
    found = tables.search([12] * 6, 1, 0.6)
    for row in range(6):
      tokens = ()
      while not tokens or tokens[-1] != 1:
        ends = len(tokens) + 1 == 12
        token = 1 if ends else int(tables.model(row)(tokens).argmax())
        tokens = (*tokens, token)
      self.assertEqual(found[row][0][1], tokens)

  def test_stops_when_nothing_better_can_come(self):
    # To end is likelier than all else together, from the first token on.
    logits = tf.constant([[[0.0, 9.0, 0.0, 0.0, 0.0, 0.0]] * 2])
    steps = tf.Variable(0)

    def step(index, tokens, ancestors, state):
      del index, tokens, ancestors
      steps.assign_add(1)
      return logits, state

    tokens, _ = beam_search(step, (), tf.constant([50]), 50, Beam(2, 0.6))
    self.assertAllEqual(tokens[0, 0, :2], [1, 0])
    self.assertLess(int(steps), 10)


_SOURCES = ([3, 7, 2, 1], [8, 1], [4, 4, 6, 9, 10, 1], [5, 1])


def _rows(sources, length=6):
  return np.array([s + [0] * (length - len(s)) for s in sources], "int32")


class TransformerTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.product(size=(1, 4), jit_compile=(False, True))
  def test_equals_a_slow_search_without_a_cache(self, size, jit_compile):
    if jit_compile:
      xla.require(self)
    # Of so large logits that hypotheses differ, and some are long.
    model = tiny.model(scale=2.0, seed=2)
    decode = make_decoder(model, Beam(size, 0.6), 5, jit_compile)
    decoded = decode(_rows(_SOURCES)).numpy()
    reference = NumpyTransformer(model, tiny.architecture())
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
