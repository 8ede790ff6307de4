import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead


class ArgumentsTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    ({"inner_optimizer": None}, TypeError, "inner_optimizer=None"),
    ({"inner_optimizer": 3}, TypeError, "inner_optimizer=3"),
    ({"inner_optimizer": keras.optimizers.SGD}, TypeError, r"write SGD\(\)"),
    ({"inner_optimizer": "adamm"}, ValueError, "inner_optimizer='adamm'"),
    ({"inner_optimizer": {"class": "x"}}, ValueError, "inner_optimizer={"),
    ({"sync_period": 0}, ValueError, "sync_period=0"),
    ({"sync_period": -3}, ValueError, "sync_period=-3"),
    ({"sync_period": 2.5}, TypeError, "sync_period=2.5"),
    ({"sync_period": "5"}, TypeError, "sync_period='5'"),
    ({"sync_period": True}, TypeError, "sync_period=True"),
    ({"sync_period": None}, TypeError, "sync_period=None"),
    ({"slow_step_size": -0.1}, ValueError, "slow_step_size=-0.1"),
    ({"slow_step_size": 1.5}, ValueError, "slow_step_size=1.5"),
    ({"slow_step_size": float("nan")}, ValueError, "slow_step_size=nan"),
    ({"slow_step_size": "0.5"}, TypeError, "slow_step_size='0.5'"),
    ({"slow_step_size": True}, TypeError, "slow_step_size=True"),
    ({"inner_state": "pullback"}, ValueError, "inner_state='pullback'"),
    ({"inner_state": None}, TypeError, "inner_state=None"),
    ({"exclude": 3}, TypeError, "exclude=3"),
    ({"exclude": ["a", 3]}, TypeError, "Received: 3"),
    ({"exclude": {"bias": 1}}, TypeError, "of type dict"),
    ({"exclude": ["(bias"]}, ValueError, r"'\(bias'"),
    ({"name": 3}, TypeError, "name=3"),
    ({"sync_perod": 3}, TypeError, "sync_perod"),
  )
  def test_a_mistake_is_named_with_its_value(self, arguments, error, message):
    with self.assertRaisesRegex(error, message):
      Lookahead(**{"inner_optimizer": "sgd", **arguments})

  @parameterized.parameters(
    ("slow_step_size", 1.5, r"slow_step_size` must be in \[0, 1\]\. .*at 1.5"),
    (
      "slow_step_size",
      -0.5,
      r"slow_step_size` must be in \[0, 1\]\. .*at -0.5",
    ),
    ("slow_momentum", 1.0, r"slow_momentum` must be in \[0, 1\)\. .*at 1.0"),
  )
  def test_schedules_start_in_the_interval(self, name, first, message):
    schedules = keras.optimizers.schedules
    with self.assertRaisesRegex(ValueError, message):
      Lookahead("sgd", **{name: schedules.CosineDecay(first, 10)})
    # The end of the interval, and 0.
    last = 1.0 if name == "slow_step_size" else 0.5
    for first in (0.0, last):
      schedule = schedules.CosineDecay(first, 10)
      self.assertIsInstance(Lookahead("sgd", **{name: schedule}), Lookahead)

  def test_loss_scale_optimizer_belongs_outside(self):
    inner = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    with self.assertRaisesRegex(
      ValueError, r"LossScaleOptimizer\(Lookahead\(...\)\)"
    ):
      Lookahead(inner)

  def test_inner_optimizer_by_name_config_or_instance(self):
    config = keras.optimizers.serialize(keras.optimizers.Adam(0.02))
    before = str(config)
    for inner in ("adam", "Adam", config, keras.optimizers.Adam()):
      optimizer = Lookahead(inner)
      self.assertIsInstance(optimizer.inner_optimizer, keras.optimizers.Adam)
    self.assertEqual(str(config), before)

  def test_numbers_of_other_types(self):
    optimizer = Lookahead("sgd", np.int64(3), 1)
    self.assertEqual(optimizer.sync_period, 3)
    self.assertEqual(optimizer.slow_step_size, 1.0)


if __name__ == "__main__":
  tf.test.main()
