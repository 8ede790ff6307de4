import collections

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests.trainers.hosts import input_context
from trainers.errors import UserError
from trainers.language_modeling import pipelines, segments

_LENGTHS = segments.Lengths(70, (35, 65, 70, 75))


class LengthsTest(tf.test.TestCase, parameterized.TestCase):
  def test_the_distribution(self):
    drawn = _LENGTHS.draw(100_000, seed=0)
    share = {k: v / 1e5 for k, v in collections.Counter(drawn.tolist()).items()}
    self.assertEqual({*share}, {*_LENGTHS.fixed})
    # Around the half one in 20; of the others those from 67 or 68 to 72 are 70.
    self.assertAllClose(share[35], 0.05, atol=0.005)
    for length in (65, 70, 75):
      self.assertBetween(share[length] / 0.95, 0.25, 0.45)
    self.assertAllClose(np.mean(drawn[drawn > 35]), 69.5, atol=0.5)

  def test_unrounded_they_are_those_of_the_reference(self):
    every = segments.Lengths(40, tuple(range(1, 100)))
    drawn = every.draw(100_000, seed=0)
    self.assertGreaterEqual(drawn.min(), 5)
    # The integer part of a normal distribution is half less than it.
    long = drawn[drawn > 27]
    self.assertAllClose(long.mean(), 39.5, atol=0.2)
    self.assertAllClose(long.std(), 5.0, atol=0.2)
    self.assertAllClose(np.mean(drawn < 29), 0.05 + 0.95 * 0.014, atol=0.01)

  @parameterized.parameters((), (0, 5), (5, 4), (5, 5))
  def test_mistakes(self, *fixed):
    with self.assertRaisesRegex(UserError, "bptt_lengths .*Received: "):
      segments.Lengths(70, fixed)
    with self.assertRaisesRegex(UserError, "bptt must be positive.*0"):
      segments.Lengths(0, (5,))


class SegmentsTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(1, 34, 35, 1000, 4711)
  def test_each_epoch_goes_through_the_columns(self, length):
    made = segments.Segments(length, _LENGTHS, seed=3)
    orders = []
    for epoch in range(3):
      starts, sizes = made.of_epoch(epoch)
      self.assertLen(sizes, made.steps_per_epoch)
      self.assertAllEqual(starts[1:], starts[:-1] + sizes[:-1])
      self.assertEqual((starts[0], sizes.sum()), (0, length))
      self.assertContainsSubset({*sizes[:-1].tolist()}, _LENGTHS.fixed)
      self.assertBetween(sizes[-1], 1, 75)
      orders.append(sizes.tolist())
    self.assertEqual([*map(sorted, orders)], [sorted(orders[0])] * 3)
    if length > 1000:
      self.assertNotEqual(orders[0], orders[1])
    again = segments.Segments(length, _LENGTHS, seed=3)
    self.assertAllEqual(again.of_epoch(2)[1], orders[2])

  def test_the_table(self):
    made = segments.Segments(1000, _LENGTHS, seed=0)
    table = made.table(3)
    steps = made.steps_per_epoch
    self.assertLen(table.starts, 3 * steps)
    for epoch in range(3):
      part = slice(epoch * steps, (epoch + 1) * steps)
      starts, sizes = made.of_epoch(epoch)
      self.assertAllEqual(table.starts[part], starts)
      self.assertAllEqual(table.sizes[part], sizes)
    # A run that is to be longer goes on from there.
    longer = segments.Segments(1000, _LENGTHS, seed=0).table(5)
    self.assertLen(longer.starts, 5 * steps)
    self.assertAllEqual(longer.starts[: 3 * steps], table.starts)
    self.assertAllEqual(longer.sizes[: 3 * steps], table.sizes)


class ColumnsTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters((23, 1), (23, 4), (24, 4), (5, 5))
  def test_training(self, words, columns):
    tokens = np.arange(1, words + 1, dtype=np.int32)
    made = segments.training_columns(tokens, columns)
    self.assertEqual(made.shape, (columns, words // columns + 1))
    # Each word once but for the remainder, behind the one before.
    targets = made[:, 1:].ravel()
    self.assertAllEqual(targets, tokens[: words // columns * columns])
    self.assertAllEqual(made[:, :-1].ravel(), targets - 1)

  @parameterized.product(
    words=[1, 2, 23, 24], columns=[1, 3, 4, 30], context=[0, 2, 7, 100]
  )
  def test_evaluation_counts_each_word_once(self, words, columns, context):
    tokens = np.arange(1, words + 1, dtype=np.int32)
    made, counts = segments.evaluation_columns(tokens, columns, context)
    self.assertEqual(made.shape, (columns, counts.shape[1] + 1))
    counted = made[:, 1:][counts == 1]
    self.assertAllEqual(np.sort(counted), tokens)
    self.assertAllEqual(made[:, :-1][counts == 1], counted - 1)
    for row, flags in zip(made, counts):
      before = row[1:][: flags.argmax()]
      if flags.any() and row[1] != 1:
        # So many words before the first that counts, or all.
        self.assertLen(before, min(context, words - 1))
        self.assertTrue((before > 0).all())

  @parameterized.parameters(
    (5375, 5375, 200), (5375, 20, 200), (5375, 20, 0), (3, 20, 200), (1, 1, 1)
  )
  def test_the_context_is_no_longer_than_a_column(self, words, most, context):
    tokens = np.arange(1, words + 1, dtype=np.int32)
    count = segments.evaluation_column_count(words, most, context)
    self.assertBetween(count, 1, most)
    _, counts = segments.evaluation_columns(tokens, count, context)
    # So reading the context takes no longer than reading the words.
    self.assertLessEqual(counts.size, 2 * words + count)
    if most == 20 and words > 3:
      self.assertEqual(count, most)

  def test_too_many_columns(self):
    segments.check_columns(700, 10, 70, "a.txt", "global_batch_size")
    with self.assertRaisesRegex(
      UserError, "global_batch_size=11 .*bptt=70 .*700 words of a.txt.* 10 or"
    ):
      segments.check_columns(700, 11, 70, "a.txt", "global_batch_size")
    with self.assertRaisesRegex(UserError, "longer text"):
      segments.check_columns(69, 1, 70, "a.txt", "global_batch_size")


class PipelinesTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters((1, 1), (1, 3), (3, 1))
  def test_segments_of_a_step_are_the_columns(self, hosts, local):
    replicas = hosts * local
    tokens = np.arange(1, 6 * 400 + 1, dtype=np.int32)
    columns = segments.training_columns(tokens, 6)
    made = segments.Segments(400, _LENGTHS, seed=0)
    table = made.table(2)
    steps = 2 * made.steps_per_epoch
    parts = [
      [
        *pipelines.TrainingPipeline(
          columns, table, 75, input_context(replicas, hosts, host)
        )
        .batches(1)
        .take(local * (steps - 1))
        .as_numpy_iterator()
      ]
      for host in range(hosts)
    ]
    for step in range(1, steps):
      rows = []
      for host in range(hosts):
        first = (step - 1) * local
        for batch in parts[host][first : first + local]:
          self.assertEqual(batch["step"], step)
          self.assertEqual(batch["size"], table.sizes[step])
          self.assertEqual(batch["is_first"], step == made.steps_per_epoch)
          self.assertEqual(batch["tokens"].shape, (6 // replicas, 76))
          rows.append(batch["tokens"][:, : batch["size"] + 1])
      start = table.starts[step]
      self.assertAllEqual(
        np.concatenate(rows),
        columns[:, start : start + table.sizes[step] + 1],
      )

  @parameterized.product(hosts=[1, 2], local=[1, 2], columns=[1, 3, 4])
  def test_evaluation_sees_each_word_once(self, hosts, local, columns):
    replicas = hosts * local
    tokens = np.arange(1, 101, dtype=np.int32)
    made = segments.evaluation_columns(tokens, columns, 5)
    counted, shapes = [], set()
    for host in range(hosts):
      pipeline = pipelines.EvaluationPipeline(
        *made, 7, input_context(replicas, hosts, host)
      )
      batches = [*pipeline.examples().as_numpy_iterator()]
      for i, batch in enumerate(batches):
        shapes.add((len(batches), *batch["tokens"].shape))
        self.assertEqual(batch["is_first"], i < local)
        is_counted = batch["weights"] == 1
        counted.extend(batch["tokens"][:, 1:][is_counted])
        self.assertAllEqual(
          batch["tokens"][:, :-1][is_counted],
          batch["tokens"][:, 1:][is_counted] - 1,
        )
        if i >= local:  # It goes on where the one before ended.
          self.assertAllEqual(
            batches[i - local]["tokens"][:, -1], batch["tokens"][:, 0]
          )
    self.assertLen(shapes, 1)
    self.assertAllEqual(np.sort(counted), tokens)


if __name__ == "__main__":
  tf.test.main()
