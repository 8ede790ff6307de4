"""No synchronization drags the model to weights that it no longer has."""

import keras
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead
from tests.lookahead_tf import algorithm1
from tests.lookahead_tf.small_model import fit, gradient, make, train, values
from tests.lookahead_tf.test_case import TestCase

K = 3


def _lookahead():
  return Lookahead(keras.optimizers.SGD(0.1), K, 0.5)


class FollowingTest(TestCase):
  def assertGoesOnFromHere(self, model):
    """The next period is one of Algorithm 1 from the weights of now."""
    expected, _ = algorithm1.lookahead(
      algorithm1.Sgd(0.1), gradient, model.get_weights(), K, K, 0.5
    )
    train(model, 0, K)
    self.assertNear(model.trainable_variables, expected)

  def test_weights_assigned_between_build_and_the_first_step(self):
    model = make(_lookahead())
    model.set_weights([w + 3 for w in model.get_weights()])
    self.assertGoesOnFromHere(model)

  @parameterized.parameters(1, 2, 3, 4)
  def test_weights_assigned_after_fit(self, steps):
    model = make(_lookahead())
    fit(model, steps)
    model.set_weights([w + 3 for w in model.get_weights()])
    self.assertGoesOnFromHere(model)

  @parameterized.parameters(1, 2, 3, 4)
  def test_reset_in_each_phase(self, steps):
    model = make(_lookahead())
    train(model, 0, steps)
    model.set_weights([w + 3 for w in model.get_weights()])
    model.optimizer.start_period()
    self.assertSame(model.optimizer.slow_weights, model.weights)
    self.assertGoesOnFromHere(model)

  def test_a_file_of_weights_loaded_in_the_middle_of_a_period(self):
    path = self.new_path("bare.weights.h5")
    make(seed=2).save_weights(path)
    model = make(_lookahead())
    train(model, 0, 2)
    with self.assertWarnsRegex(UserWarning, model.optimizer.name):
      model.load_weights(path)
    self.assertAllEqual(model.get_weights()[0], make(seed=2).get_weights()[0])
    self.assertGoesOnFromHere(model)

  def test_a_file_of_weights_loaded_between_build_and_the_first_step(self):
    path = self.new_path("bare.weights.h5")
    make(seed=2).save_weights(path)
    model = make(_lookahead())
    model.load_weights(path)
    self.assertGoesOnFromHere(model)

  def test_a_model_saved_before_it_was_trained(self):
    path = self.new_path("untrained.keras")
    make(_lookahead(), build_optimizer=False).save(path)
    self.assertGoesOnFromHere(keras.models.load_model(path))

  def test_a_model_saved_before_it_was_built(self):
    path = self.new_path("unbuilt.keras")
    model = make(_lookahead(), seed=2, build_optimizer=False)
    model.save(path)
    loaded = keras.models.load_model(path)
    self.assertAllEqual(loaded.get_weights()[0], model.get_weights()[0])
    self.assertGoesOnFromHere(loaded)

  def test_a_checkpoint_without_the_optimizer(self):
    saved = make(seed=2)
    path = tf.train.Checkpoint(model=saved).save(self.new_path("model"))
    model = make(_lookahead())
    tf.train.Checkpoint(model=model).restore(path).expect_partial()
    self.assertAllEqual(model.get_weights()[0], saved.get_weights()[0])
    self.assertGoesOnFromHere(model)

  def test_early_stopping_restores_the_best_weights(self):
    best = []

    class Worsen(keras.callbacks.Callback):
      def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
          best.extend(self.model.get_weights())
        logs["loss"] = epoch

    model = make(_lookahead())
    stop = keras.callbacks.EarlyStopping(
      "loss", patience=2, restore_best_weights=True
    )
    fit(model, 4, epochs=9, callbacks=[Worsen(), stop])
    self.assertAllEqual(model.get_weights()[0], best[0])
    self.assertGoesOnFromHere(model)

  def test_anchors_of_slots_follow_too(self):
    variable = keras.Variable([1.0])
    inner = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer = Lookahead(inner, 2, 0.5, inner_state="interpolate")
    optimizer.build([variable])
    inner.momentums[0].assign([4.0])  # As a file of the inner state would.
    for _ in range(2):
      optimizer.apply([tf.zeros(1)], [variable])
    self.assertAllClose(inner.momentums[0], [(4.0 + 4.0 * 0.81) / 2])


class FinalizeTest(TestCase):
  @parameterized.parameters(3, 4)
  def test_fit_returns_the_slow_weights(self, steps):
    fitted, stepped = make(_lookahead()), make(_lookahead())
    fit(fitted, steps)
    train(stepped, 0, steps)
    expected = values(stepped.optimizer.slow_weights)
    self.assertSame(fitted.trainable_variables, expected)
    self.assertSame(fitted.optimizer.slow_weights, expected)

  def test_a_fit_of_less_than_a_period_warns(self):
    model = make(_lookahead())
    with self.assertWarnsRegex(UserWarning, "2 updates.*sync_period=3"):
      fit(model, 2)

  def test_with_an_average_the_average_stays(self):
    inner = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    optimizer = Lookahead(inner, sync_period=10)
    variable = keras.Variable(0.0)
    for _ in range(3):
      optimizer.apply([tf.constant(1.0)], [variable])
    optimizer.finalize_variable_values([variable])
    self.assertAllClose(variable, -2.25)  # Of -1, -2 and -3.

  def test_before_the_build(self):
    optimizer = _lookahead()
    optimizer.finalize_variable_values([])
    self.assertFalse(optimizer.built)


if __name__ == "__main__":
  tf.test.main()
