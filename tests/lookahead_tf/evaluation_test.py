import keras
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead
from tests import replicas
from tests.lookahead_tf import small_model
from tests.lookahead_tf.small_model import X, Y, make, values
from tests.lookahead_tf.test_case import TestCase


def _train(model):
  small_model.train(model, 0, 2)


class SlowWeightsTest(TestCase):
  def assertSlowInsideFastOutside(self, model, lookahead, **arguments):
    fast = values(model.trainable_variables)
    slow = values(lookahead.slow_weights)
    self.assertNotAllClose(fast[0], slow[0])
    with lookahead_tf.slow_weights(model, **arguments) as inside:
      self.assertIs(inside, model)
      self.assertSame(model.trainable_variables, slow)
    self.assertSame(model.trainable_variables, fast)
    self.assertSame(lookahead.slow_weights, slow)

  def test_bit_for_bit(self):
    model = make(Lookahead("sgd"))
    _train(model)
    self.assertSlowInsideFastOutside(model, model.optimizer)

  def test_after_an_exception(self):
    model = make(Lookahead("sgd"))
    _train(model)
    fast = values(model.trainable_variables)
    with (
      self.assertRaises(KeyboardInterrupt),
      lookahead_tf.slow_weights(model),
    ):
      model.trainable_variables[0].assign(tf.zeros((4, 2)))
      raise KeyboardInterrupt
    self.assertAllEqual(model.trainable_variables[0], fast[0])

  def test_through_a_loss_scale_optimizer(self):
    lookahead = Lookahead("sgd")
    model = make(keras.optimizers.LossScaleOptimizer(lookahead))
    _train(model)
    self.assertSlowInsideFastOutside(model, lookahead)

  def test_optimizer_of_a_custom_loop(self):
    lookahead = Lookahead(keras.optimizers.SGD(0.1))
    model = make("adam")
    lookahead.apply(
      [tf.ones_like(v.value) for v in model.trainable_variables],
      model.trainable_variables,
    )
    self.assertSlowInsideFastOutside(model, lookahead, optimizer=lookahead)

  def test_excluded_variables_stay(self):
    model = make(Lookahead("sgd", exclude="bias"))
    _train(model)
    _, bias = values(model.trainable_variables)
    with lookahead_tf.slow_weights(model):
      self.assertAllEqual(model.trainable_variables[1], bias)

  def test_saves_the_slow_weights(self):
    path = self.new_path("model.keras")
    model = make(Lookahead("sgd"))
    _train(model)
    with lookahead_tf.slow_weights(model):
      model.save(path)
    loaded = keras.models.load_model(path)
    self.assertSame(loaded.trainable_variables, model.optimizer.slow_weights)

  def test_mirrored(self):
    strategy = replicas.mirrored()
    with strategy.scope():
      lookahead = Lookahead(keras.optimizers.SGD(0.1))
      model = make()
      lookahead.build(model.trainable_variables)

    @tf.function
    def step():
      strategy.run(
        lambda: lookahead.apply(
          [tf.ones_like(v.value) for v in model.trainable_variables]
        )
      )

    step()
    self.assertSlowInsideFastOutside(model, lookahead, optimizer=lookahead)
    self.assertCopiesAgree(strategy, model.trainable_variables)

  @parameterized.parameters("fit", "train_on_batch", "apply")
  def test_training_within_it_is_refused_at_once(self, what):
    model = make(Lookahead("sgd"))
    _train(model)
    fast = values(model.weights)
    gradients = [tf.ones_like(v.value) for v in model.weights]
    names = f"'{model.optimizer.name}'.*`slow_weights`"
    with (
      self.assertRaisesRegex(RuntimeError, names),
      lookahead_tf.slow_weights(model),
    ):
      if what == "fit":
        model.fit(X, Y, verbose=0)
      elif what == "train_on_batch":
        model.train_on_batch(X, Y)
      else:
        model.optimizer.apply(gradients)
    self.assertSame(model.weights, fast)
    _train(model)  # As before.

  def test_a_compiled_step_within_it_is_noticed(self):
    model = make(Lookahead("sgd"))
    _train(model)
    ones = [tf.ones_like(v.value) for v in model.weights]
    step = tf.function(lambda: model.optimizer.apply(ones))
    step()
    fast = values(model.weights)
    with (
      self.assertRaisesRegex(RuntimeError, "'lookahead.* 2 updates"),
      lookahead_tf.slow_weights(model),
    ):
      step()
      step()
    self.assertSame(model.weights, fast)

  def test_within_another_it_does_nothing(self):
    model = make(Lookahead("sgd"))
    _train(model)
    fast = values(model.weights)
    with lookahead_tf.slow_weights(model):
      slow = values(model.weights)
      with lookahead_tf.slow_weights(model):
        self.assertAllEqual(model.weights[0], slow[0])
      self.assertAllEqual(model.weights[0], slow[0])
    self.assertAllEqual(model.weights[0], fast[0])

  def test_a_reset_within_it_keeps_the_slow_weights(self):
    model = make(Lookahead("sgd"))
    _train(model)
    with lookahead_tf.slow_weights(model):
      slow = values(model.weights)
      model.optimizer.start_period()
    self.assertAllEqual(model.weights[0], slow[0])
    _train(model)

  def test_compiled_anew_within_it(self):
    model = make(Lookahead("sgd"))
    _train(model)
    fast = values(model.weights)
    with lookahead_tf.slow_weights(model):
      model.compile(model.optimizer, loss="mae")
    self.assertAllEqual(model.weights[0], fast[0])
    _train(model)

  def test_mirrored_statistics_of_each_replica_stay(self):
    strategy = replicas.mirrored()
    with strategy.scope():
      layer = keras.layers.BatchNormalization()
      model = keras.Sequential([keras.Input((2,)), layer])
      lookahead = Lookahead(keras.optimizers.SGD(0.1))
      lookahead.build(model.trainable_variables)
    parts = strategy.experimental_local_results(layer.moving_mean.value)
    for i, part in enumerate(parts):
      part.assign([i, i + 1.0])
    with lookahead_tf.slow_weights(model, lookahead):
      pass
    for i, part in enumerate(parts):
      self.assertAllEqual(part, [i, i + 1.0])

  def test_other_optimizer(self):
    model = make("sgd")
    message = "^slow_weights needs .*Lookahead.*SGD"
    with self.assertRaisesRegex(ValueError, message):
      lookahead_tf.slow_weights(model).__enter__()

  def test_without_an_optimizer(self):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with self.assertRaisesRegex(ValueError, "model=.*not compiled"):
      lookahead_tf.slow_weights(model).__enter__()

  def test_optimizer_of_another_model(self):
    model, other = make(Lookahead("sgd")), make(Lookahead("sgd"))
    _train(other)
    with self.assertRaisesRegex(ValueError, "model=<Sequential"):
      lookahead_tf.slow_weights(model, other.optimizer).__enter__()

  def test_before_the_first_step(self):
    model = make(Lookahead("sgd"), build_optimizer=False)
    with self.assertRaisesRegex(ValueError, "build.*optimizer=.*Lookahead"):
      lookahead_tf.slow_weights(model).__enter__()


if __name__ == "__main__":
  tf.test.main()
