import tensorflow as tf
from absl.testing import parameterized

from tests import replicas
from trainers.errors import UserError
from trainers.input import Input, Pipeline


class _Numbers(Pipeline):
  """Counts from the first step on; one number is for one replica."""

  def __init__(self, context):
    super().__init__(context)
    self.context = context

  def batches(self, first_step):
    return tf.data.Dataset.range(first_step, 1_000)

  def examples(self):
    return tf.data.Dataset.range(4)


class _Unreadable(_Numbers):
  def find_unreadable(self, first_step=None, steps=0):
    return UserError(f"from {first_step}, {steps} steps")


class InputTest(tf.test.TestCase, parameterized.TestCase):
  def _make(self, kind, strategy):
    """Returns an Input, and the list of the pipelines that it makes."""
    made = []

    def make(context):
      made.append(kind(context))
      return made[-1]

    return Input(make, strategy), made

  @parameterized.parameters(1, 2)
  def test_batches_go_to_the_replicas_in_turn(self, count):
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    if count == 2:
      strategy = replicas.mirrored()
    numbers, made = self._make(_Numbers, strategy)

    def values(batches, steps):
      return [
        [int(v) for v in strategy.experimental_local_results(batch)]
        for _, batch in zip(range(steps), batches)
      ]

    self.assertEqual(
      values(numbers.batches(5), 2),
      [[5], [6]] if count == 1 else [[5, 6], [7, 8]],
    )
    examples = numbers.examples()
    for _ in range(2):  # They can be gone through again.
      self.assertEqual(
        values(examples, 9),
        [[0], [1], [2], [3]] if count == 1 else [[0, 1], [2, 3]],
      )
    # One host, whose pipeline gives both.
    (pipeline,) = made
    self.assertEqual(pipeline.context.num_replicas_in_sync, count)
    self.assertEqual(pipeline.context.num_input_pipelines, 1)

  def test_what_is_unreadable_is_asked_of_the_pipelines(self):
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    numbers, _ = self._make(_Numbers, strategy)
    self.assertIsNone(numbers.find_unreadable())
    numbers.batches(0)
    self.assertIsNone(numbers.find_unreadable(3, 2))
    unreadable, _ = self._make(_Unreadable, strategy)
    unreadable.batches(0)
    self.assertIn("from 3, 2 steps", str(unreadable.find_unreadable(3, 2)))


if __name__ == "__main__":
  tf.test.main()
