import tensorflow as tf

from trainers import errors


class WritingTest(tf.test.TestCase):
  def test_failures_to_write_say_what_to_do(self):
    removed = []
    for error in (
      OSError(28, "No space left on device"),
      tf.errors.ResourceExhaustedError(None, None, "No space left on device"),
    ):
      with (
        self.assertRaisesRegex(
          errors.UserError, "a/b cannot be written: .*No space.*Make room"
        ),
        errors.writing("a/b", on_error=lambda: removed.append(1)),
      ):
        raise error
    self.assertLen(removed, 2)

  def test_others_stay(self):
    with self.assertRaises(KeyError), errors.writing("a/b"):
      raise KeyError


class ReasonTest(tf.test.TestCase):
  def test_of_a_python_function_it_is_what_that_says(self):
    def fail(number):
      raise ValueError(f"there is no {number}")

    dataset = tf.data.Dataset.range(1).map(
      lambda number: tf.numpy_function(fail, [number], tf.int64)
    )
    with self.assertRaises(tf.errors.InvalidArgumentError) as raised:
      next(iter(dataset))
    self.assertEqual(errors.reason(raised.exception), "there is no 0")


if __name__ == "__main__":
  tf.test.main()
