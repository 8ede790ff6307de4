"""What a `fit` or a validation that was interrupted leaves behind."""

import functools

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead, SwapSlowWeights
from tests.lookahead_tf import keras_optimizers, small_model
from tests.lookahead_tf.small_model import make, train, values
from tests.lookahead_tf.test_case import TestCase

K = 5
EPOCH = 8  # Steps.
X, Y = small_model.X[: EPOCH * 8], small_model.Y[: EPOCH * 8]


class Interrupt(keras.callbacks.Callback):
  """Is as Ctrl-C at the third event of a kind."""

  def __init__(self, event):
    super().__init__()
    setattr(self, f"on_{event}", self._raise)
    self._calls = 0

  def _raise(self, *args, **kwargs):
    self._calls += 1
    if self._calls == 3:  # In the middle of a period.
      raise KeyboardInterrupt


def _model(inner=None, **arguments):
  inner = inner or keras.optimizers.SGD(0.1)
  return make(Lookahead(inner, K, 0.5), **arguments)


def _fit(model, callbacks=(), **arguments):
  callbacks = [SwapSlowWeights(), *callbacks]
  small_model.fit(model, EPOCH, callbacks=callbacks, **arguments)


def _others(model):
  return [w + 1.0 for w in values(model.trainable_variables)]


def _model_of_others(model):
  others = make()
  others.set_weights(_others(model))
  return others


def _assign(model, path):
  for variable, value in zip(model.trainable_variables, _others(model)):
    variable.assign(value)


def _set_weights(model, path):
  model.set_weights(_others(model))


def _legacy_file(model, path):
  others = _model_of_others(model)
  others.save(f"{path}.h5")
  model.load_weights(f"{path}.h5")


def _checkpoint(model, path):
  others = _model_of_others(model)
  saved = tf.train.Checkpoint(model=others).save(path)
  tf.train.Checkpoint(model=model).restore(saved).expect_partial()


CHANGES = (_assign, _set_weights, _legacy_file, _checkpoint)


def _momentum():
  return keras.optimizers.SGD(0.1, momentum=0.9)


@functools.cache
def _other():
  """Returns a model in the middle of a period; it is not to be changed."""
  model = _model(_momentum())
  train(model, 0, 3)
  return model


@functools.cache
def _weights_of_other(anew):
  """Returns the weights that it has after two epochs more."""
  model = _model(_momentum())
  train(model, 0, 3)
  if anew:
    model.optimizer.start_period()
  _fit(model, epochs=2, validate=True)
  return values(model.trainable_variables)


class InterruptedFitTest(TestCase):
  def _interrupt(self, model, event):
    with self.assertRaises(KeyboardInterrupt):
      _fit(model, [Interrupt(event)], epochs=9, validate="test" in event)

  def assertStays(self, model):
    """Training at a learning rate of 0 leaves the weights as they are."""
    weights = values(model.trainable_variables)
    model.optimizer.learning_rate = 0.0
    _fit(model, epochs=2, validate=True)
    self.assertSame(model.trainable_variables, weights)

  @parameterized.product(
    change=CHANGES,
    event=["train_batch_end", "test_batch_end", "epoch_begin"],
  )
  def test_weights_that_came_after_it_stay(self, change, event):
    model = _model(build=event == "test_batch_end")
    self._interrupt(model, event)
    change(model, self.new_path("others"))
    self.assertStays(model)

  @parameterized.parameters(*CHANGES)
  def test_reset_after_it(self, change):
    model = _model()
    self._interrupt(model, "train_batch_end")
    change(model, self.new_path("others"))
    model.optimizer.start_period()
    weights = values(model.trainable_variables)
    model.optimizer.learning_rate = 0.0
    small_model.fit(model, EPOCH)
    self.assertSame(model.trainable_variables, weights)

  @parameterized.product(
    event=["train_batch_end", "test_batch_end"],
    form=["keras", "checkpoint", "set_weights"],
  )
  def test_state_that_came_after_it_is_gone_on_from(self, event, form):
    other, model = _other(), _model(_momentum())
    self._interrupt(model, event)
    if form == "keras":
      path = self.new_path("others.weights.h5")
      other.save_weights(path)
      model.load_weights(path)
    elif form == "checkpoint":
      saved = tf.train.Checkpoint(model=other, optimizer=other.optimizer)
      saved = saved.save(self.new_path("others"))
      tf.train.Checkpoint(model=model, optimizer=model.optimizer).restore(saved)
    else:
      model.set_weights(other.get_weights())
      model.optimizer.set_weights(values(other.optimizer.variables))
    _fit(model, epochs=2, validate=True)
    # Nothing tells of it: a period starts at these weights.
    anew = form == "checkpoint" and event == "train_batch_end"
    self.assertSame(model.trainable_variables, _weights_of_other(anew))

  def test_nothing_came_after_a_validation_that_was_interrupted(self):
    model, other = (_model(build_optimizer=False) for _ in range(2))
    self._interrupt(model, "test_batch_end")  # In the first validation.
    _fit(model, epochs=1)
    # Without: 16 steps in one go, of which 3 periods and a step.
    for _ in range(2):
      train(other, 0, EPOCH)
    other.optimizer.finish_training()
    self.assertSame(model.trainable_variables, other.trainable_variables)

  @parameterized.parameters("train_batch_end", "test_batch_end")
  def test_an_evaluation_with_the_same_callback(self, event):
    model, callback = _model(), SwapSlowWeights()
    with self.assertRaises(KeyboardInterrupt):
      small_model.fit(
        model,
        EPOCH,
        epochs=9,
        callbacks=[callback, Interrupt(event)],
        validate=True,
      )
    model.optimizer.end_evaluation()
    fast = values(model.trainable_variables)
    with lookahead_tf.slow_weights(model):
      expected = model.evaluate(X, Y, verbose=0)
    found = model.evaluate(X, Y, verbose=0, callbacks=[callback])
    self.assertAllClose(found, expected, 1e-6)
    self.assertSame(model.trainable_variables, fast)
    model.train_on_batch(X, Y)  # Not refused.

  def test_a_multi_optimizer_that_was_built_in_the_interrupted_fit(self):
    keras_optimizers.require(self, "MultiOptimizer")
    lookahead = Lookahead(keras.optimizers.SGD(0.1), K)
    model = make(
      keras.optimizers.MultiOptimizer(lambda v: lookahead), build=False
    )
    self._interrupt(model, "train_batch_end")
    _set_weights(model, None)
    weights = values(model.trainable_variables)
    lookahead.learning_rate = 0.0
    _fit(model, epochs=2)
    self.assertSame(model.trainable_variables, weights)

  def test_statistics_that_came_after_it_stay(self):
    keras.utils.set_random_seed(1)
    norm = keras.layers.BatchNormalization(trainable=False)
    model = keras.Sequential([norm, keras.layers.Dense(2)])
    model.compile(Lookahead(keras.optimizers.SGD(0.01), K), loss="mse")
    self._interrupt(model, "test_batch_end")
    norm.moving_mean.assign([5.0] * 4)
    _fit(model)
    self.assertAllEqual(norm.moving_mean, [5.0] * 4)

  def test_a_variable_that_is_not_swapped(self):
    model = _model(build_optimizer=False)
    counter = keras.Variable(1.0)
    model.optimizer.build([*model.trainable_variables, counter])
    self._interrupt(model, "test_batch_end")
    counter.assign(5.0)
    _fit(model)
    self.assertAllEqual(counter, 5.0)

  def test_weights_that_were_not_finite(self):
    model = _model()
    self._interrupt(model, "test_batch_end")
    model.optimizer.end_evaluation()
    model.trainable_variables[0].assign(np.full((4, 2), np.nan))
    model.optimizer.start_period()
    self._interrupt(model, "test_batch_end")
    model.optimizer.end_evaluation()
    self.assertTrue(np.isnan(values(model.weights)[0]).all())
    model.train_on_batch(X, Y)  # Not refused.


if __name__ == "__main__":
  tf.test.main()
