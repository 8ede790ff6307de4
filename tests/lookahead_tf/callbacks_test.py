import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import LogSlowWeights, Lookahead, SwapSlowWeights
from tests import replicas
from tests.lookahead_tf import keras_optimizers, small_model
from tests.lookahead_tf.small_model import make, values
from tests.lookahead_tf.test_case import TestCase

EPOCH = 7  # Steps.
X, Y = small_model.X[: EPOCH * 8], small_model.Y[: EPOCH * 8]


def _equal(some, others):
  return all((a == b).all() for a, b in zip(values(some), values(others)))


class Recorder(keras.callbacks.Callback):
  """Notes when the model held the slow weights."""

  def __init__(self):
    super().__init__()
    self.seen = {}

  def _note(self, event):
    optimizer = self.model.optimizer
    if optimizer.built:
      is_slow = _equal(self.model.trainable_variables, optimizer.slow_weights)
      self.seen.setdefault(event, []).append(is_slow)

  def on_train_batch_end(self, batch, logs=None):
    self._note("train_batch_end")

  def on_test_batch_end(self, batch, logs=None):
    self._note("test_batch_end")

  def on_predict_batch_end(self, batch, logs=None):
    self._note("predict_batch_end")

  def on_epoch_end(self, epoch, logs=None):
    self._note("epoch_end")


def _fit(model, callbacks, epochs=3, **arguments):
  small_model.fit(model, EPOCH, epochs=epochs, callbacks=callbacks, **arguments)


class SwapSlowWeightsTest(TestCase):
  @parameterized.product(recorder_first=[False, True], validate=[False, True])
  def test_fit(self, recorder_first, validate):
    lookahead = Lookahead(keras.optimizers.SGD(0.1), sync_period=5)
    model = make(lookahead, build_optimizer=False)
    recorder = Recorder()
    callbacks = [SwapSlowWeights(), recorder]
    if recorder_first:
      callbacks.reverse()
    _fit(model, callbacks, validate=validate)
    # 7 steps an epoch: the fast weights are the slow ones after each fifth.
    batches = [step % 5 == 0 for step in range(1, 22)]
    self.assertEqual(recorder.seen["train_batch_end"], batches)
    if validate:
      self.assertEqual(recorder.seen["test_batch_end"], [True] * 21)
    if validate or not recorder_first:
      self.assertEqual(recorder.seen["epoch_end"], [True] * 3)
    self.assertTrue(_equal(model.weights, model.optimizer.slow_weights))

  def test_through_a_loss_scale_optimizer(self):
    lookahead = Lookahead(keras.optimizers.SGD(0.1))
    model = make(keras.optimizers.LossScaleOptimizer(lookahead))
    model.train_on_batch(X, Y)
    expected = model.compute_loss(y=Y, y_pred=X @ lookahead.slow_weights[0])
    loss = model.evaluate(X, Y, verbose=0, callbacks=[SwapSlowWeights()])
    self.assertAllClose(loss, expected, 1e-5)

  def test_training_is_as_without_it(self):
    alone, swapped = (
      make(Lookahead(keras.optimizers.Adam(0.1))) for _ in range(2)
    )
    _fit(alone, [], validate=True)
    _fit(swapped, [SwapSlowWeights()], validate=True)
    self.assertSame(small_model.state(swapped), small_model.state(alone))

  @parameterized.parameters("evaluate", "predict")
  def test_evaluate_and_predict(self, what):
    model = make(Lookahead(keras.optimizers.SGD(0.1)))
    model.train_on_batch(X[:8], Y[:8])
    fast = values(model.weights)
    recorder = Recorder()
    data = (X, Y) if what == "evaluate" else (X,)
    callbacks = [SwapSlowWeights(), recorder]
    getattr(model, what)(*data, verbose=0, callbacks=callbacks)
    event = "test_batch_end" if what == "evaluate" else "predict_batch_end"
    self.assertAllEqual(recorder.seen[event], [True] * 2)
    self.assertTrue(_equal(model.weights, fast))

  def test_before_the_first_step_there_is_nothing_to_swap(self):
    model = make(Lookahead("sgd"), build_optimizer=False)
    found = model.predict(X, verbose=0, callbacks=[SwapSlowWeights()])
    self.assertAllEqual(found, model.predict(X, verbose=0))

  def test_model_checkpoint_saves_a_state_to_go_on_from(self):
    path = self.new_path("model.keras")
    model = make(Lookahead(keras.optimizers.SGD(0.1)))
    _fit(
      model,
      [SwapSlowWeights(), keras.callbacks.ModelCheckpoint(path)],
      epochs=1,
    )
    loaded = keras.models.load_model(path)
    self.assertTrue(_equal(loaded.weights, model.weights))
    for each in (loaded, model):
      small_model.train(each, 0, 5)
    self.assertTrue(_equal(loaded.weights, model.weights))

  def test_early_stopping_keeps_the_weights_that_it_restored(self):
    model = make(Lookahead(keras.optimizers.SGD(0.1)))
    best = []

    class Worsen(keras.callbacks.Callback):
      def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
          best.extend(values(self.model.weights))
        logs["val_loss"] = epoch

    stop = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    callbacks = [SwapSlowWeights(), Worsen(), stop]
    _fit(model, callbacks, epochs=9, validate=True)
    self.assertTrue(_equal(model.weights, best))

  @parameterized.parameters(False, True)
  def test_after_an_interrupted_validation(self, by_hand):
    model = make(Lookahead(keras.optimizers.SGD(0.1)))
    fast = []

    class Interrupt(keras.callbacks.Callback):
      def on_train_batch_end(self, batch, logs=None):
        fast[:] = values(self.model.weights)

      def on_test_batch_end(self, batch, logs=None):
        raise KeyboardInterrupt

    with self.assertRaises(KeyboardInterrupt):
      _fit(model, [SwapSlowWeights(), Interrupt()], validate=True)
    with self.assertRaisesRegex(RuntimeError, "end_evaluation"):
      model.train_on_batch(X, Y)
    if by_hand:
      model.optimizer.end_evaluation()
    else:
      again = SwapSlowWeights()
      again.set_model(model)
      again.on_train_begin()
    self.assertTrue(_equal(model.weights, fast))
    model.train_on_batch(X, Y)

  def test_mirrored(self):
    with replicas.mirrored().scope():
      model = make(Lookahead(keras.optimizers.SGD(0.1)))
    alone = make(Lookahead(keras.optimizers.SGD(0.1)))
    recorder = Recorder()
    for m in (model, alone):
      _fit(m, [SwapSlowWeights(), recorder], epochs=2, validate=True)
    self.assertAllEqual(recorder.seen["epoch_end"], [True] * 4)
    self.assertAllClose(values(model.weights), values(alone.weights))

  def test_a_multi_optimizer_that_is_not_built(self):
    keras_optimizers.require(self, "MultiOptimizer")
    lookahead = Lookahead(keras.optimizers.SGD(0.1))
    model = make(
      keras.optimizers.MultiOptimizer(lambda v: lookahead),
      build_optimizer=False,
    )
    _fit(model, [SwapSlowWeights()], validate=True)
    self.assertTrue(lookahead.built)

  def test_another_optimizer_is_refused_at_once(self):
    model, message = make("sgd"), "^SwapSlowWeights needs .*Lookahead.*SGD"
    with self.assertRaisesRegex(ValueError, message):
      _fit(model, [SwapSlowWeights()])
    with self.assertRaisesRegex(ValueError, message):
      model.evaluate(X, Y, verbose=0, callbacks=[SwapSlowWeights()])


class LogSlowWeightsTest(TestCase):
  def test_another_optimizer_is_refused_at_once(self):
    message = "^LogSlowWeights needs .*Lookahead.*SGD"
    with self.assertRaisesRegex(ValueError, message):
      _fit(make("sgd"), [LogSlowWeights(self.new_path())])

  def _read(self, path):
    """Returns {tag: [(step, value)]} of the event files in a folder."""
    found = {}
    for name in sorted(os.listdir(path)):
      for record in tf.data.TFRecordDataset([os.path.join(path, name)]):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
          number = float(tf.make_ndarray(value.tensor))
          found.setdefault(value.tag, []).append((event.step, number))
    return found

  @parameterized.parameters(("epoch", [0, 1, 2]), (10, [10, 20]))
  def test_curves(self, update_freq, steps):
    path = self.new_path()
    model = make(Lookahead(keras.optimizers.SGD(0.1), 5, 0.25))
    distances = []

    class Measure(keras.callbacks.Callback):
      def on_train_batch_end(self, batch, logs=None):
        square = sum(
          ((np.array(v) - np.array(s)) ** 2).sum()
          for v, s in zip(self.model.weights, model.optimizer.slow_weights)
        )
        distances.append(np.sqrt(square))

    _fit(model, [Measure(), LogSlowWeights(path, update_freq)])
    found = self._read(os.path.join(path, "train"))
    self.assertEqual(
      found["lookahead/slow_step_size"], [(step, 0.25) for step in steps]
    )
    # Four updates into a period: updates 4, 9, 14, 19 of 7 an epoch.
    updates = [4, 9, 19] if update_freq == "epoch" else [4, 14]
    expected = [distances[update - 1] for update in updates]
    self.assertAllClose([d for _, d in found["lookahead/distance"]], expected)
    self.assertEqual([s for s, _ in found["lookahead/distance"]], steps)
    self.assertAllGreater(np.array(expected), 0)

  def test_no_curve_of_zeros(self):
    path = self.new_path()
    model = make(Lookahead(keras.optimizers.SGD(0.1), 7))
    model.compile(model.optimizer, loss="mse", steps_per_execution=7)
    with self.assertWarnsRegex(UserWarning, "distance"):
      _fit(model, [LogSlowWeights(path)])
    found = self._read(os.path.join(path, "train"))
    self.assertEqual(list(found), ["lookahead/slow_step_size"])

  @parameterized.parameters(0, -1, True, "batch", 1.5)
  def test_a_wrong_frequency(self, value):
    with self.assertRaisesRegex(ValueError, f"update_freq={value!r}"):
      LogSlowWeights("logs", value)


class KerasCallbacksTest(TestCase):
  def test_schedulers_reach_the_inner_learning_rate(self):
    model = make(Lookahead(keras.optimizers.SGD(1.0)))
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.5**epoch)
    _fit(model, [schedule])
    self.assertAllClose(model.optimizer.inner_optimizer.learning_rate, 0.25)
    plateau = keras.callbacks.ReduceLROnPlateau(
      "loss", factor=0.1, patience=1, min_delta=1e9
    )
    _fit(model, [plateau])
    self.assertAllClose(model.optimizer.inner_optimizer.learning_rate, 0.0025)

  def test_tensorboard_and_swap_ema_weights(self):
    inner = keras.optimizers.SGD(0.1, use_ema=True)
    model = make(Lookahead(inner))
    callbacks = [
      keras.callbacks.TensorBoard(self.new_path()),
      keras.callbacks.SwapEMAWeights(),
    ]
    _fit(model, callbacks, validate=True)
    average = inner._model_variables_moving_average
    self.assertTrue(_equal(model.trainable_variables, average))

  def test_swap_ema_weights_with_mixed_precision(self):
    inner = keras.optimizers.SGD(0.1, use_ema=True)
    model = make(keras.optimizers.LossScaleOptimizer(Lookahead(inner)))
    callbacks = [keras.callbacks.SwapEMAWeights()]
    _fit(model, callbacks, validate=True)
    average = inner._model_variables_moving_average
    self.assertTrue(_equal(model.trainable_variables, average))

  def test_backup_and_restore(self):
    path = self.new_path()
    whole, broken = (
      make(Lookahead(keras.optimizers.Adam(0.1))) for _ in range(2)
    )
    _fit(whole, [], epochs=4)

    class Interrupt(keras.callbacks.Callback):
      def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
          raise KeyboardInterrupt

    def backup():
      return keras.callbacks.BackupAndRestore(path)

    with self.assertRaises(KeyboardInterrupt):
      _fit(broken, [backup(), Interrupt()], epochs=4)
    resumed = make(Lookahead(keras.optimizers.Adam(0.1)))
    _fit(resumed, [backup()], epochs=4)
    self.assertSame(small_model.state(resumed), small_model.state(whole))


class ClassesTest(TestCase):
  @parameterized.parameters(SwapSlowWeights, LogSlowWeights)
  def test_a_class_instead_of_an_instance(self, kind):
    model = make(Lookahead("sgd"))
    with self.assertRaisesRegex(TypeError, rf"`callbacks`.*{kind.__name__}\("):
      _fit(model, [kind])


if __name__ == "__main__":
  tf.test.main()
