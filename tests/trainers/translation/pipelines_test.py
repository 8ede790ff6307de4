import itertools

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests.trainers.hosts import input_context
from trainers.translation.pipelines import RowsPipeline
from trainers.translation.rows import Rows

_LENGTH = 7


def _rows(count=10):
  """Rows whose first source token is 10 plus their number."""
  rng = np.random.default_rng(0)
  tokens = np.zeros((count, 2, _LENGTH), np.uint16)
  for row, side in itertools.product(range(count), range(2)):
    ends = rng.choice(_LENGTH, size=2, replace=False)
    tokens[row, side, : ends.max() + 1] = 5
    tokens[row, side, ends] = 1
  tokens[:, 0, 0] = 10 + np.arange(count)
  return Rows(tokens, pairs=2 * count, empty=0, too_long=0)


def _train(number, rows=None, first_step=0, context=None, seed=0, batch=4):
  """The first batches, as NumPy arrays."""
  pipeline = RowsPipeline(
    rows or _rows(), batch, seed, context or input_context()
  )
  batches = pipeline.batches(first_step)
  return list(itertools.islice(batches.as_numpy_iterator(), number))


def _numbers(batches):
  """The numbers of the rows in batches."""
  return [batch["source"][:, 0].tolist() for batch in batches]


class SegmentsTest(tf.test.TestCase):
  def test_by_hand(self):
    rows = np.zeros((3, 2, _LENGTH), np.uint16)
    rows[0, 0] = [7, 8, 1, 9, 1, 0, 0]
    rows[0, 1] = [7, 1, 8, 8, 8, 9, 1]
    rows[1, 0] = [1, 1, 7, 1, 0, 0, 0]  # Sentences without text.
    rows[1, 1] = [7, 7, 7, 7, 7, 7, 1]
    pipeline = RowsPipeline(Rows(rows, 3, 0, 0), 3, 0, input_context())
    (batch,) = pipeline.examples().as_numpy_iterator()
    self.assertAllEqual(batch["source"], rows[:, 0])
    self.assertAllEqual(batch["target"], rows[:, 1])
    self.assertAllEqual(
      batch["source_segments"],
      [[1, 1, 1, 2, 2, 0, 0], [1, 2, 3, 3, 0, 0, 0], [0] * 7],
    )
    self.assertAllEqual(
      batch["source_positions"],
      [[0, 1, 2, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0, 0], [0] * 7],
    )
    self.assertAllEqual(
      batch["target_segments"], [[1, 1, 2, 2, 2, 2, 2], [1] * 7, [0] * 7]
    )
    self.assertAllEqual(
      batch["target_positions"],
      [[0, 1, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6], [0] * 7],
    )
    for value in batch.values():
      self.assertEqual(value.dtype, np.int32)

  def test_against_a_loop_over_tokens(self):
    rows = _rows(50)
    batches = RowsPipeline(rows, 50, 0, input_context()).examples()
    (batch,) = batches.as_numpy_iterator()
    for side, name in enumerate(("source", "target")):
      for row in range(50):
        segment, position = 1, 0
        for place, token in enumerate(rows.tokens[row, side]):
          found = (
            batch[f"{name}_segments"][row, place],
            batch[f"{name}_positions"][row, place],
          )
          self.assertEqual(found, (segment, position) if token else (0, 0))
          segment += token == 1
          position = 0 if token == 1 else position + 1


class TrainBatchesTest(tf.test.TestCase, parameterized.TestCase):
  def test_an_epoch_has_no_row_twice_and_the_next_another_order(self):
    numbers = _numbers(_train(40))
    epochs = [a + b for a, b in zip(numbers[::2], numbers[1::2])]
    for epoch in epochs:
      self.assertLen(set(epoch), 8)
      self.assertTrue(set(epoch) <= set(range(10, 20)))
    self.assertGreater(len({tuple(epoch) for epoch in epochs}), 17)
    # What one epoch leaves out is in another.
    self.assertEqual(set(itertools.chain(*epochs)), set(range(10, 20)))

  def test_every_row_comes_to_every_place(self):
    numbers = np.array(_numbers(_train(1000, batch=10)))
    self.assertAllEqual(np.sort(numbers, axis=1) - 10, [range(10)] * 1000)
    counts = np.stack([np.bincount(column - 10) for column in numbers.T])
    # 100 times each on average, with a standard deviation of 9.5.
    self.assertAllInRange(counts, 55, 145)

  def test_a_batch_holds_whole_rows(self):
    rows = _rows()
    for batch in _train(3, rows):
      chosen = batch["source"][:, 0] - 10
      self.assertAllEqual(batch["source"], rows.tokens[chosen, 0])
      self.assertAllEqual(batch["target"], rows.tokens[chosen, 1])

  def test_shapes_are_static(self):
    batches = RowsPipeline(_rows(), 4, 0, input_context(replicas=2)).batches(0)
    for spec in batches.element_spec.values():
      self.assertEqual(spec, tf.TensorSpec((2, _LENGTH), tf.int32))

  def test_the_seed_decides(self):
    one, same, other = (_numbers(_train(2, seed=seed)) for seed in (1, 1, 2))
    self.assertEqual(one, same)
    self.assertNotEqual(one, other)

  def test_the_greatest_seed(self):
    self.assertLen(_train(1, seed=2**32 - 2), 1)

  @parameterized.parameters(1, 2, 5, 1_000_001)
  def test_what_a_step_sees_does_not_depend_on_the_first(self, step):
    before = _numbers(_train(3, first_step=step - 1))
    self.assertEqual(before[1:], _numbers(_train(2, first_step=step)))

  def test_replicas_share_the_global_batch(self):
    whole = _numbers(_train(3))
    parts = _numbers(_train(6, context=input_context(2)))
    self.assertEqual(whole, [parts[i] + parts[i + 1] for i in (0, 2, 4)])


class EvaluationBatchesTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(1, 3, 4, 10, 16)
  def test_every_row_once_in_batches_of_one_shape(self, batch):
    context = input_context(replicas=2)
    batches = RowsPipeline(_rows(), 2 * batch, 0, context).examples()
    seen = []
    for values in batches.as_numpy_iterator():
      self.assertEqual(values["target"].shape, (batch, _LENGTH))
      is_row = values["target_segments"].any(axis=1)
      self.assertAllEqual(values["target"].any(axis=1), is_row)
      seen += values["source"][is_row, 0].tolist()
    self.assertEqual(seen, list(range(10, 20)))


class HostsTest(tf.test.TestCase):
  """Four replicas on two hosts see what four on one host see."""

  def assertParts(self, one_host, two_hosts):
    self.assertLen(one_host, sum(map(len, two_hosts)))
    for i in range(0, len(one_host), 4):
      self.assertEqual(
        one_host[i : i + 4],
        two_hosts[0][i // 2 : i // 2 + 2] + two_hosts[1][i // 2 : i // 2 + 2],
      )

  def test_training(self):
    self.assertParts(
      _numbers(_train(24, context=input_context(4))),
      [
        _numbers(_train(12, context=input_context(4, 2, host)))
        for host in (0, 1)
      ],
    )

  def test_evaluation(self):
    def numbers(context):
      pipeline = RowsPipeline(_rows(), 8, 0, context)
      return _numbers(pipeline.examples().as_numpy_iterator())

    self.assertParts(
      numbers(input_context(4)),
      [numbers(input_context(4, 2, host)) for host in (0, 1)],
    )


if __name__ == "__main__":
  tf.test.main()
