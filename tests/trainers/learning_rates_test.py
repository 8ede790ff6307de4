import keras
import numpy as np
import tensorflow as tf
from ml_collections import config_dict

from trainers import schedules
from trainers.errors import UserError


def _rates(steps_per_epoch, total_steps, **fields):
  fields = {"peak": 0.4, "warmup_epochs": 0.0, **fields}
  schedule = schedules.make_schedule(
    config_dict.create(**fields), steps_per_epoch, total_steps
  )
  return schedule, [float(schedule(step)) for step in range(total_steps)]


class SchedulesTest(tf.test.TestCase):
  def test_constant(self):
    _, rates = _rates(5, 10, schedule="constant")
    self.assertAllClose(rates, [0.4] * 10)

  def test_step_decays_at_the_first_step_of_an_epoch(self):
    _, rates = _rates(
      3, 12, schedule="step", decay_epochs=(1, 3), decay_factor=0.2
    )
    self.assertAllClose(rates, [0.4] * 3 + [0.08] * 6 + [0.016] * 3)

  def test_cosine(self):
    _, rates = _rates(5, 20, schedule="cosine")
    expected = 0.2 * (1 + np.cos(np.pi * np.arange(20) / 20))
    self.assertAllClose(rates, expected)

  def test_linear_warmup(self):
    _, rates = _rates(4, 8, schedule="constant", warmup_epochs=1.0)
    self.assertAllClose(rates, [0.1, 0.2, 0.3] + [0.4] * 5)

  def test_config_round_trip(self):
    schedule, rates = _rates(4, 8, schedule="cosine", warmup_epochs=1.0)
    copy = keras.optimizers.schedules.deserialize(
      keras.optimizers.schedules.serialize(schedule)
    )
    self.assertAllClose([float(copy(step)) for step in range(8)], rates)

  def test_mistakes(self):
    for fields, message in (
      ({"schedule": "linear"}, "Received: 'linear'"),
      ({"schedule": "constant", "peak": -1.0}, "peak=-1.0"),
      ({"schedule": "constant", "warmup_epochs": -2.0}, "warmup_epochs=-2.0"),
      (
        {"schedule": "step", "decay_epochs": (60, 30), "decay_factor": 0.1},
        r"Received: \[60, 30\]",
      ),
    ):
      with self.assertRaisesRegex(UserError, message):
        _rates(1, 100, **fields)


if __name__ == "__main__":
  tf.test.main()
