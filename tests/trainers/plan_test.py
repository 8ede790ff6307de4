import tensorflow as tf
from absl.testing import parameterized

from trainers.errors import UserError
from trainers.plan import Plan, parse_profile_steps, steps_in


def make_plan(**fields) -> Plan:
  """Returns a plan of 11 steps, in epochs of 4, with `fields` in it."""
  return Plan(
    **{
      "total_steps": 11,
      "steps_per_epoch": 4,
      "steps_per_loop": 3,
      "eval_every_steps": 4,
      "checkpoint_every_steps": 5,
      "global_batch_size": 2,
      **fields,
    }
  )


def _stops(steps):
  step, stops = 0, []
  while step < steps.total_steps:
    step = steps.next_stop(step)
    stops.append(step)
  return stops


class PlanTest(tf.test.TestCase):
  def test_stops_wherever_the_host_has_work(self):
    self.assertEqual(_stops(make_plan()), [3, 4, 5, 6, 8, 9, 10, 11])

  def test_stops_around_a_profile(self):
    for steps, stops in (
      ((1, 1), [1, 3, 4, 5, 6, 8, 9, 10, 11]),
      ((3, 7), [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
      ((10, 90), [3, 4, 5, 6, 8, 9, 10, 11]),
    ):
      self.assertEqual(_stops(make_plan(profile_steps=steps)), stops)

  def test_profile_after_the_end(self):
    with self.assertRaisesRegex(UserError, "12-15 begins after.* is 11"):
      make_plan(profile_steps=(12, 15))

  def test_due_every_period_and_at_the_end(self):
    for is_due, expected in (
      (make_plan().is_evaluation_due, [4, 8, 11]),
      (make_plan().is_checkpoint_due, [5, 10, 11]),
    ):
      due = [step for step in range(1, 12) if is_due(step)]
      self.assertEqual(due, expected)

  def test_steps_in_epochs(self):
    self.assertEqual(steps_in(2.0, 10), 20)
    self.assertEqual(steps_in(0.25, 10), 3)
    self.assertEqual(steps_in(0.0, 10), 1)


class ParseProfileStepsTest(tf.test.TestCase, parameterized.TestCase):
  def test_steps(self):
    self.assertIsNone(parse_profile_steps(None))
    self.assertEqual(parse_profile_steps("100-110"), (100, 110))
    self.assertEqual(parse_profile_steps("1-1"), (1, 1))

  @parameterized.parameters("", "5", "0-3", "7-5", "a-b", "1-2-3")
  def test_mistakes(self, text):
    with self.assertRaisesRegex(UserError, f"such as 100-110.*{text!r}"):
      parse_profile_steps(text)


if __name__ == "__main__":
  tf.test.main()
