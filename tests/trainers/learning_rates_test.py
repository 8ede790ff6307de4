import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from trainers.learning_rates import FallingStepSize, LearningRate, Multiplied


def _rates(schedule, steps, **fields):
  """Returns a schedule, and its rates in steps 0, 1, ..."""
  rate = LearningRate(schedule, **{"peak": 0.4, "total_steps": steps, **fields})
  made = rate.make_schedule()
  return made, [float(made(step)) for step in range(steps)]


def _copy(schedule):
  return keras.optimizers.schedules.deserialize(
    keras.optimizers.schedules.serialize(schedule)
  )


class LearningRatesTest(tf.test.TestCase, parameterized.TestCase):
  def test_constant(self):
    _, rates = _rates("constant", 10)
    self.assertAllClose(rates, [0.4] * 10)

  def test_step_decays_at_the_steps_given(self):
    _, rates = _rates("step", 12, decay_at=(3.0, 9.0), decay_factor=0.2)
    self.assertAllClose(rates, [0.4] * 3 + [0.08] * 6 + [0.016] * 3)

  def test_cosine(self):
    _, rates = _rates("cosine", 20)
    expected = 0.2 * (1 + np.cos(np.pi * np.arange(20) / 20))
    self.assertAllClose(rates, expected)

  def test_linear_warmup(self):
    _, rates = _rates("constant", 8, warmup=4.0)
    self.assertAllClose(rates, [0.1, 0.2, 0.3] + [0.4] * 5)

  @parameterized.parameters((23, 100), (0, 100), (1, 7))
  def test_triangle(self, peak_step, steps):
    _, rates = _rates(
      "triangle", steps, warmup=peak_step, start_factor=0.2, end_factor=0.07
    )
    corners = ([0, peak_step, steps], [0.2, 1.0, 0.07])
    if not peak_step:
      corners = ([0, steps], [1.0, 0.07])
    self.assertAllClose(rates, 0.4 * np.interp(np.arange(steps), *corners))

  @parameterized.parameters("constant", "cosine", "step", "rsqrt", "triangle")
  def test_config_round_trip(self, name):
    schedule, rates = _rates(name, 8, warmup=4.0, decay_at=(5.0,))
    copy = _copy(schedule)
    self.assertEqual(copy.get_config(), schedule.get_config())
    self.assertAllClose([float(copy(step)) for step in range(8)], rates)


_STEPS = np.array([0, 1, 99, 7_998, 7_999, 8_000, 50_000])


def _rsqrt(peak, decay_start, warmup=0):
  schedule = LearningRate("rsqrt", peak, warmup, (decay_start,)).make_schedule()
  return np.array([float(schedule(step)) for step in _STEPS])


class FallingStepSizeTest(tf.test.TestCase, parameterized.TestCase):
  def test_the_source(self):
    # Synchronizations after 5, 10, ... of 476 steps, as cifar10-airbench has
    # them, and none beyond the last step falls further.
    schedule = FallingStepSize(1.0, 1 - 0.95**5, 5, 476, power=3.0)
    done = np.arange(5, 476, 5)
    expected = 1 - 0.95**5 * (done / 476) ** 3
    actual = [float(schedule(period)) for period in range(len(done))]
    self.assertAllClose(actual, expected)
    self.assertAllClose(schedule(1000), 1 - 0.95**5)
    self.assertAllClose(_copy(schedule)(7), expected[7])

  def test_a_line(self):
    schedule = FallingStepSize(0.8, 0.4, 2, 8)
    self.assertAllClose([schedule(p) for p in range(4)], [0.7, 0.6, 0.5, 0.4])

  @parameterized.parameters(
    ((1.5, 0.5, 5, 10), "`slow_step_size` .*1.5"),
    ((1.0, -0.5, 5, 10), "`final_slow_step_size` .*-0.5"),
    ((1.0, 0.5, 5, 10, 0.0), "`fall_power` .*0.0"),
  )
  def test_mistakes(self, arguments, message):
    with self.assertRaisesRegex(ValueError, message):
      FallingStepSize(*arguments)


class ReciprocalSquareRootTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters("factors", "noam")
  def test_base_schedule_of_tensor2tensor_in_two_forms(self, form):
    s = _STEPS + 1.0
    if form == "factors":
      # constant * linear_warmup * rsqrt_decay * rsqrt_hidden_size
      warmup = np.minimum(1.0, s / 8_000)
      expected = 2.0 * warmup / np.sqrt(np.maximum(s, 8_000)) / 512**0.5
    else:
      # learning_rate = .2, and the correction for Adam.
      least = np.minimum(s * 8_000**-1.5, s**-0.5)
      expected = 0.002 * 5000.0 * 512**-0.5 * least * 0.2
    actual = _rsqrt(2 / np.sqrt(8_000 * 512), 8_000, warmup=8_000)
    self.assertAllClose(actual, expected, rtol=1e-5, atol=0)

  def test_without_warmup(self):
    self.assertAllClose(
      _rsqrt(1e-3, 8_000),
      [1e-3] * 5 + [1e-3 * (8_000 / s) ** 0.5 for s in (8_001, 50_001)],
    )

  def test_for_adafactor(self):
    # rsqrt_decay from 10,000 steps on.
    self.assertAllClose(
      _rsqrt(0.01, 10_000), [0.01] * 6 + [50_001**-0.5], rtol=1e-5
    )

  def test_a_warmup_shorter_than_the_constant_rate(self):
    warmup = np.minimum((_STEPS + 1) / 100, 1)
    self.assertAllClose(
      _rsqrt(0.5, 8_000, warmup=100), warmup * _rsqrt(0.5, 8_000)
    )


class MultipliedTest(tf.test.TestCase):
  def test_factors_that_are_variables(self):
    factors = [tf.Variable(1.0), tf.Variable(0.5)]
    schedule = Multiplied(
      keras.optimizers.schedules.PolynomialDecay(8.0, 4, 0.0), *factors
    )
    optimizer = keras.optimizers.SGD(schedule)
    variable = keras.Variable([0.0])
    optimizer.build([variable])

    @tf.function
    def step():
      optimizer.apply([tf.ones(1)], [variable])

    step()  # Of rates 8, 6, 4, ... times the factors.
    factors[0].assign(0.25)
    step()
    self.assertAllClose(variable, [-8 * 0.5 - 6 * 0.25 * 0.5])
    self.assertAllClose(optimizer.learning_rate, 4 * 0.25 * 0.5)


if __name__ == "__main__":
  tf.test.main()
