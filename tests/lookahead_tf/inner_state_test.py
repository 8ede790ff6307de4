import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead, inner_state
from tests.lookahead_tf import keras_optimizers

# Slots of a matrix and of a vector, as each optimizer's paper has them.
SLOTS = {
  "SGD": (0, 0),
  "Adam": (2, 2),
  "AdamW": (2, 2),
  "RMSprop": (1, 1),
  "Adagrad": (1, 1),
  "Adadelta": (2, 2),
  "Adamax": (2, 2),
  "Nadam": (2, 2),
  "Ftrl": (2, 2),
  "Lion": (1, 1),
  "Lamb": (2, 2),
  "Adafactor": (3, 1),  # The second moment of a matrix is factored.
}


def _variables():
  return [
    keras.Variable(tf.reshape(tf.range(6.0), (2, 3)), name="kernel"),
    keras.Variable([0.5, 1.5, 2.5], name="bias"),
  ]


def _kinds(optimizer):
  return [kind for kind in inner_state.find_slots(optimizer) if kind]


def _step(optimizer, variables, times=1):
  for _ in range(times):
    optimizer.apply([tf.ones_like(v.value) for v in variables], variables)


class FindSlotsTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(*SLOTS.items())
  def test_slots_of_a_matrix_and_of_a_vector(self, name, numbers):
    optimizer = getattr(keras.optimizers, name)()
    variables = _variables()
    optimizer.build(variables)
    for variable, number in zip(variables, numbers):
      slots = [
        slot
        for kind in _kinds(optimizer)
        for owner, slot in kind
        if owner is variable
      ]
      self.assertLen({id(slot) for slot in slots}, number)

  def test_counts_rates_averages_and_accumulators_are_no_slots(self):
    optimizer = keras.optimizers.Nadam(
      use_ema=True, gradient_accumulation_steps=2
    )
    optimizer.build(_variables())
    found = {slot.path for kind in _kinds(optimizer) for _, slot in kind}
    self.assertLen(found, 4)  # Two moments of two variables.
    others = [v.path for v in optimizer.variables if v.path not in found]
    for name in ("iteration", "learning_rate", "average", "accumulator"):
      self.assertTrue(any(name in path for path in others), name)

  def test_optimizers_within_an_optimizer(self):
    # The slow weights of another Lookahead are weights, not slots.
    outer = Lookahead(Lookahead(keras.optimizers.SGD(momentum=0.9)))
    outer.build(_variables())
    found = [kind[0][1].name for kind in _kinds(outer.inner_optimizer)]
    self.assertEqual(found, ["kernel_momentum"])


class ResetTest(tf.test.TestCase):
  def test_to_the_initial_value_not_to_zero(self):
    inner = keras.optimizers.Adagrad(initial_accumulator_value=0.25)
    _step(Lookahead(inner, 2, inner_state="reset"), _variables(), times=4)
    for accumulator in inner._accumulators:
      self.assertAllEqual(accumulator, np.full(accumulator.shape, 0.25))

  def test_of_an_optimizer_that_cannot_be_serialized(self):
    inner = keras.optimizers.SGD(lambda: 0.1, momentum=0.9)
    _step(Lookahead(inner, 2, inner_state="reset"), _variables(), times=2)
    self.assertAllEqual(inner.momentums[1], np.zeros(3))

  def test_of_an_optimizer_that_made_updates_before(self):
    variables = _variables()
    inner = keras.optimizers.SGD(0.1, momentum=0.9)
    _step(inner, variables, times=3)
    _step(Lookahead(inner, 2, inner_state="reset"), variables, times=2)
    for momentum in inner.momentums:
      self.assertAllEqual(momentum, np.zeros(momentum.shape))
    self.assertEqual(int(inner.iterations), 5)

  def test_a_copy_of_the_weights_becomes_a_copy_of_the_new_weights(self):
    keras_optimizers.require(self, "ScheduleFreeAdamW")
    variables = _variables()
    inner = keras.optimizers.ScheduleFreeAdamW(0.1)
    optimizer = Lookahead(inner, 2, 0.5, inner_state="reset")
    _step(optimizer, variables, times=2)
    for momentum, velocity, variable in zip(
      inner._momentums, inner._velocities, variables
    ):
      self.assertAllEqual(momentum, variable)
      self.assertAllEqual(velocity, np.zeros(velocity.shape))

  def test_a_copy_of_weights_that_are_one_number(self):
    keras_optimizers.require(self, "ScheduleFreeAdamW")
    variable = keras.Variable([1.0])
    inner = keras.optimizers.ScheduleFreeAdamW(0.1)
    _step(Lookahead(inner, 2, inner_state="reset"), [variable], times=2)
    self.assertNotAllClose(variable, [1.0])
    self.assertAllEqual(inner._momentums[0], variable)


class InterpolateTest(tf.test.TestCase):
  def test_starts_from_the_state_that_the_optimizer_has(self):
    # A momentum of -.1 before; -.1 beta - .1 = -.19 after the period's update.
    variable = keras.Variable([0.0])
    inner = keras.optimizers.SGD(0.1, momentum=0.9)
    _step(inner, [variable])
    optimizer = Lookahead(inner, 1, 0.5, inner_state="interpolate")
    _step(optimizer, [variable])
    self.assertAllClose(inner.momentums[0], [(-0.1 - 0.19) / 2])

  def test_the_average_of_the_inner_optimizer_is_left_alone(self):
    averages = []
    for state in ("maintain", "interpolate", "reset"):
      variables = _variables()
      inner = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
      _step(Lookahead(inner, 2, 0.5, inner_state=state), variables, times=5)
      averages.append(np.array(inner._model_variables_moving_average[0]))
    self.assertAllEqual(averages[0], averages[1])
    self.assertAllEqual(averages[0], averages[2])


if __name__ == "__main__":
  tf.test.main()
