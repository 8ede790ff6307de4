"""One process; strategies_test.py has two."""

import tensorflow as tf

from tests import replicas
from trainers import workers
from trainers.errors import UserError


class WorkersTest(tf.test.TestCase):
  def test_one_process_agrees_with_itself(self):
    gather = workers.make_gather(replicas.mirrored())
    self.assertEqual(gather(3), [3])
    workers.check_same_step(gather, 3)

  def test_processes_that_see_different_directories(self):
    with self.assertRaisesRegex(UserError, r"\[0, 7\]: --workdir must be one"):
      workers.check_same_step(lambda step: [0, step], 7)

  def test_processes_with_other_data(self):
    gather = workers.make_gather(replicas.mirrored())
    records = {"config": {"seed": 0}, "source": {"size": 3}}
    workers.check_same_records(gather, records)
    here = iter([True, False])
    with self.assertRaisesRegex(UserError, "do not have the same source: "):
      workers.check_same_records(
        lambda number: [number, number if next(here) else 1], records
      )


if __name__ == "__main__":
  tf.test.main()
