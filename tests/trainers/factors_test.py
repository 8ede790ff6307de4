import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from trainers.factors import Factors

from trainers.errors import UserError

_STEPS = np.array([0, 1, 99, 7_998, 7_999, 8_000, 50_000])


def _rates(factors, constant, warmup_steps=8_000, hidden_size=512):
  schedule = Factors(factors, constant, warmup_steps, hidden_size)
  return np.array([float(schedule(step)) for step in _STEPS])


def _noam(learning_rate, warmup_steps=8_000, hidden_size=512):
  """tensor2tensor's older form: its formula, and its correction for Adam."""
  s = _STEPS + 1.0
  least = np.minimum(s * warmup_steps**-1.5, s**-0.5)
  return 0.002 * 5000.0 * hidden_size**-0.5 * least * learning_rate


class FactorsTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    ("constant*linear_warmup*rsqrt_decay*rsqrt_hidden_size", 2.0),
    (
      "constant*linear_warmup*rsqrt_normalized_decay*rsqrt_hidden_size",
      2.0 / 8_000**0.5,
    ),
  )
  def test_base_schedule_of_tensor2tensor_in_three_forms(self, factors, value):
    self.assertAllClose(_rates(factors, value), _noam(0.2), rtol=1e-5, atol=0)

  def test_without_warmup(self):
    rates = _rates("constant * rsqrt_normalized_decay", 1e-3)
    self.assertAllClose(
      rates, [1e-3] * 5 + [1e-3 * (8_000 / s) ** 0.5 for s in (8_001, 50_001)]
    )

  def test_for_adafactor(self):
    rates = _rates("rsqrt_decay", 1.0, warmup_steps=10_000)
    self.assertAllClose(rates, [0.01] * 6 + [50_001**-0.5], rtol=1e-5)

  def test_config_round_trip(self):
    schedule = Factors("constant*linear_warmup", 0.5, 100, 64)
    copy = keras.optimizers.schedules.deserialize(
      keras.optimizers.schedules.serialize(schedule)
    )
    self.assertEqual(copy.get_config(), schedule.get_config())
    self.assertAllClose(float(copy(9)), 0.05)

  @parameterized.parameters(
    ("constant*cosine", 1.0, 1, "Received: 'constant\\*cosine'"),
    ("constant", 0.0, 1, "constant=0.0"),
    ("constant", 1.0, 0, "warmup_steps=0"),
  )
  def test_mistakes(self, factors, constant, warmup_steps, message):
    with self.assertRaisesRegex(UserError, message):
      Factors(factors, constant, warmup_steps, 512)


if __name__ == "__main__":
  tf.test.main()
