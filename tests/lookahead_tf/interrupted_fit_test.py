"""What a `fit` or a validation that was interrupted leaves behind."""

import os
import tempfile

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead, SwapSlowWeights
from tests.lookahead_tf import keras_optimizers

_rng = np.random.default_rng(0)
X = _rng.normal(size=(64, 3)).astype("float32")
Y = X.sum(1, keepdims=True)
K = 5


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


def _model(inner=None):
  keras.utils.set_random_seed(1)
  model = keras.Sequential([keras.layers.Dense(1)])
  inner = inner or keras.optimizers.SGD(0.1)
  model.compile(Lookahead(inner, K, 0.5), loss="mse")
  return model


def _built(model):
  model.build((None, 3))
  return model


def _fit(model, callbacks=(), **arguments):
  callbacks = [SwapSlowWeights(), *callbacks]
  model.fit(
    X, Y, batch_size=8, shuffle=False, verbose=0, callbacks=callbacks,
    **arguments,
  )  # fmt: skip


def _values(model):
  return [np.array(v) for v in model.trainable_variables]


def _others(model):
  return [w + 1.0 for w in _values(model)]


def _model_of_others(model):
  others = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
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


class InterruptedFitTest(tf.test.TestCase, parameterized.TestCase):
  def _path(self):
    return os.path.join(tempfile.mkdtemp(dir=self.get_temp_dir()), "others")

  def _interrupt(self, model, event):
    validation = {"validation_data": (X, Y)} if "test" in event else {}
    with self.assertRaises(KeyboardInterrupt):
      _fit(model, [Interrupt(event)], epochs=9, **validation)

  def assertStays(self, model):
    """Training at a learning rate of 0 leaves the weights as they are."""
    weights = _values(model)
    model.optimizer.learning_rate = 0.0
    _fit(model, epochs=2, validation_data=(X, Y))
    for found, expected in zip(_values(model), weights):
      self.assertAllEqual(found, expected)

  @parameterized.product(
    change=CHANGES,
    event=["train_batch_end", "test_batch_end", "epoch_begin"],
  )
  def test_weights_that_came_after_it_stay(self, change, event):
    model = _model()
    self._interrupt(model, event)
    change(model, self._path())
    self.assertStays(model)

  @parameterized.parameters(*CHANGES)
  def test_reset_after_it(self, change):
    model = _model()
    self._interrupt(model, "train_batch_end")
    change(model, self._path())
    model.optimizer.reset_slow_weights()
    weights = _values(model)
    model.optimizer.learning_rate = 0.0
    model.fit(X, Y, batch_size=8, verbose=0)
    for found, expected in zip(_values(model), weights):
      self.assertAllEqual(found, expected)

  @parameterized.product(
    event=["train_batch_end", "test_batch_end"],
    form=["keras", "checkpoint", "set_weights"],
  )
  def test_state_that_came_after_it_is_gone_on_from(self, event, form):
    # Saved in the middle of a period, by another model.
    other = _model(keras.optimizers.Adam(0.1))
    for i in range(3):
      other.train_on_batch(X[i : i + 8], Y[i : i + 8])
    model = _model(keras.optimizers.Adam(0.1))
    self._interrupt(model, event)
    if form == "keras":
      path = f"{self._path()}.weights.h5"
      other.save_weights(path)
      model.load_weights(path)
    elif form == "checkpoint":
      saved = tf.train.Checkpoint(model=other, optimizer=other.optimizer)
      saved = saved.save(self._path())
      tf.train.Checkpoint(model=model, optimizer=model.optimizer).restore(saved)
    else:
      model.set_weights(other.get_weights())
      model.optimizer.set_weights(
        [np.array(v) for v in other.optimizer.variables]
      )
    if form == "checkpoint" and event == "train_batch_end":
      # Nothing tells of it: a period starts at these weights.
      other.optimizer.reset_slow_weights()
    for each in (other, model):
      _fit(each, epochs=2, validation_data=(X, Y))
    for found, expected in zip(_values(model), _values(other)):
      self.assertAllEqual(found, expected)

  def test_nothing_came_after_a_validation_that_was_interrupted(self):
    model, other = _model(), _model()
    self._interrupt(model, "test_batch_end")  # In the first validation.
    _fit(model, epochs=1)
    # Without: 16 steps in one go, of which 3 periods and a step.
    for _ in range(2):
      for i in range(0, 64, 8):
        other.train_on_batch(X[i : i + 8], Y[i : i + 8])
    other.optimizer.return_slow_weights()
    for found, expected in zip(_values(model), _values(other)):
      self.assertAllEqual(found, expected)

  @parameterized.parameters("train_batch_end", "test_batch_end")
  def test_an_evaluation_with_the_same_callback(self, event):
    model, callback = _model(), SwapSlowWeights()
    with self.assertRaises(KeyboardInterrupt):
      model.fit(
        *(X, Y),
        batch_size=8,
        epochs=9,
        verbose=0,
        callbacks=[callback, Interrupt(event)],
        validation_data=(X, Y),
      )
    model.optimizer.restore_fast_weights()
    fast = _values(model)
    with lookahead_tf.slow_weights(model):
      expected = model.evaluate(X, Y, verbose=0)
    found = model.evaluate(X, Y, verbose=0, callbacks=[callback])
    self.assertAllClose(found, expected, 1e-6)
    for a, b in zip(_values(model), fast):
      self.assertAllEqual(a, b)
    model.train_on_batch(X, Y)  # Not refused.

  def test_a_multi_optimizer_that_was_built_in_the_interrupted_fit(self):
    keras_optimizers.require(self, "MultiOptimizer")
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Dense(1)])
    lookahead = Lookahead(keras.optimizers.SGD(0.1), K)
    model.compile(keras.optimizers.MultiOptimizer(lambda v: lookahead), "mse")
    self._interrupt(model, "train_batch_end")
    _set_weights(model, None)
    weights = _values(model)
    lookahead.learning_rate = 0.0
    _fit(model, epochs=2)
    for found, expected in zip(_values(model), weights):
      self.assertAllEqual(found, expected)

  def test_statistics_that_came_after_it_stay(self):
    keras.utils.set_random_seed(1)
    norm = keras.layers.BatchNormalization(trainable=False)
    model = keras.Sequential([norm, keras.layers.Dense(1)])
    model.compile(Lookahead(keras.optimizers.SGD(0.01), K), loss="mse")
    self._interrupt(model, "test_batch_end")
    norm.moving_mean.assign([5.0, 5.0, 5.0])
    _fit(model)
    self.assertAllEqual(norm.moving_mean, [5.0, 5.0, 5.0])

  def test_a_variable_that_is_not_swapped(self):
    model = _model()
    counter = keras.Variable(1.0)
    model.optimizer.build([*_built(model).trainable_variables, counter])
    self._interrupt(model, "test_batch_end")
    counter.assign(5.0)
    _fit(model)
    self.assertAllEqual(counter, 5.0)

  def test_weights_that_were_not_finite(self):
    model = _model()
    self._interrupt(model, "test_batch_end")
    model.optimizer.restore_fast_weights()
    model.trainable_variables[0].assign(np.full((3, 1), np.nan))
    model.optimizer.reset_slow_weights()
    self._interrupt(model, "test_batch_end")
    model.optimizer.restore_fast_weights()
    self.assertTrue(np.isnan(_values(model)[0]).all())
    model.train_on_batch(X, Y)  # Not refused.


if __name__ == "__main__":
  tf.test.main()
