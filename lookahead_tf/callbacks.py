"""Keras callbacks: slow weights for evaluation, and curves of them."""

import importlib.util
import os
import warnings
import weakref

import keras
from keras import ops

from lookahead_tf import (
  arguments,
  evaluation,
  installation,
  keras_internals,
  models,
)

# Models in a `fit` with SwapSlowWeights, or in one that an exception has ended.
_IN_FIT: weakref.WeakSet[keras.Model] = weakref.WeakSet()


class SwapSlowWeights(keras.callbacks.Callback):
  """Lets `fit`, `evaluate` and `predict` see the slow weights.

  ```python
  model.fit(x, y, validation_data=data, callbacks=[SwapSlowWeights(), ...])
  model.evaluate(x, y, callbacks=[SwapSlowWeights()])
  ```

  In `fit` the model holds the slow weights from its validation until the next
  epoch starts, and so for all callbacks at the end of an epoch: ModelCheckpoint
  saves them, EarlyStopping restores them. In epochs without validation they are
  there from this callback on: put it before those that should see them. Between
  batches the model holds the fast weights.

  At the end of `fit` it leaves the slow weights of all optimizers that are
  attributes of the model, where Keras ends those of `model.optimizer` alone.
  After a `fit` that an exception or Ctrl-C has ended, the next `fit` starts a
  period from the weights that the model then has. After an evaluation that was
  interrupted it puts the fast weights back first, unless other weights were
  assigned or loaded meanwhile.

  Raises:
    ValueError: by `fit`, `evaluate` and `predict`, if no optimizer of the model
      is a Lookahead.
  """

  def __init__(self):
    super().__init__()
    self._undo = None
    self._is_fitting = False

  def _find_built(self):
    return _find_built(self.model, "SwapSlowWeights")

  def _swap_in(self):
    if self._undo is None and self._find_built():
      keras_internals.read_state(self.model)
      self._undo = evaluation.swap_in(self.model, is_by_callback=True)

  def _swap_out(self):
    if self._undo is not None:
      undo, self._undo = self._undo, None
      undo.close()

  def set_model(self, model=None):
    _check_is_instance(self, SwapSlowWeights)
    super().set_model(model)
    # A fit or an evaluation begins: forget one that was interrupted.
    self._undo = None
    self._is_fitting = False

  def on_train_begin(self, logs=None):
    for lookahead in self._find_built():
      lookahead.find_statistics(self.model)
      lookahead.begin_fit(was_interrupted=self.model in _IN_FIT)
    _IN_FIT.add(self.model)
    self._is_fitting = True

  def on_epoch_begin(self, epoch, logs=None):
    self._swap_out()

  def on_epoch_end(self, epoch, logs=None):
    self._swap_in()

  def on_train_end(self, logs=None):
    self._is_fitting = False
    self._undo = None
    _IN_FIT.discard(self.model)
    for lookahead in self._find_built():
      lookahead.finish_training()  # Nothing, where Keras has made it do so.

  def on_test_begin(self, logs=None):
    self._swap_in()

  def on_test_end(self, logs=None):
    if not self._is_fitting:
      self._swap_out()

  def on_predict_begin(self, logs=None):
    self._swap_in()

  def on_predict_end(self, logs=None):
    self._swap_out()


class LogSlowWeights(keras.callbacks.Callback):
  """Draws the distance of fast and slow weights, and the slow step size.

  It writes, for TensorBoard, to the folder `train` in `log_dir`, where Keras'
  TensorBoard callback writes too:

  * `lookahead/distance`, the Euclidean norm of fast - slow over all variables
    with slow weights, before the last update of a period if it can be seen
    there, since it is 0 after each synchronization;
  * `lookahead/slow_step_size`, that of the period.

  Args:
    log_dir: Path of a folder.
    update_freq: "epoch", or after how many batches, an integer, to write
      again. The step of the curves is the epoch or the number of updates.

  Raises:
    ImportError: if TensorBoard is not installed.
    ValueError: if `update_freq` is neither; by `fit`, if the optimizer is no
      Lookahead.
  """

  def __init__(self, log_dir: str, update_freq: str | int = "epoch"):
    super().__init__()
    if importlib.util.find_spec("tensorboard") is None:
      raise ImportError(
        "LogSlowWeights needs TensorBoard: pip install tensorboard"
      )
    self._log_dir = os.fspath(log_dir)
    self._update_freq = arguments.update_freq(update_freq)
    self._writer = None

  def set_model(self, model=None):
    _check_is_instance(self, LogSlowWeights)
    super().set_model(model)

  def on_train_begin(self, logs=None):
    tf = installation.import_tensorflow("LogSlowWeights")
    self._find_built()
    self._summary = tf.summary
    self._writer = tf.summary.create_file_writer(
      os.path.join(self._log_dir, "train")
    )
    self._batches = 0
    self._distance = None

  def on_epoch_begin(self, epoch, logs=None):
    if self._update_freq == "epoch":
      self._distance = None

  def on_train_batch_end(self, batch, logs=None):
    if self._distance is None:
      keras_internals.read_state(self.model)
      if all(_is_before_the_last_update(x) for x in self._find_built()):
        self._distance = self._measure()
    self._batches += 1
    if self._batches == self._update_freq:
      (lookahead, *_) = self._find_built()
      self._write(int(ops.convert_to_numpy(lookahead.iterations)))
      self._batches = 0
      self._distance = None

  def on_epoch_end(self, epoch, logs=None):
    if self._update_freq == "epoch":
      self._write(epoch)

  def on_train_end(self, logs=None):
    self._writer.close()

  def _find_built(self):
    return _find_built(self.model, "LogSlowWeights")

  def _measure(self):
    squares = [
      ops.sum(ops.square(ops.cast(fast, "float32") - ops.cast(slow, "float32")))
      for lookahead in self._find_built()
      for fast, slow in lookahead.fast_and_slow()
    ]
    return float(ops.sqrt(sum(squares)))

  def _write(self, step):
    keras_internals.read_state(self.model)
    lookaheads = self._find_built()
    if self._distance is None and all(map(_is_at_the_start, lookaheads)):
      warnings.warn(
        "LogSlowWeights wrote no distance: with this `steps_per_execution` it "
        "sees the weights after synchronizations alone, where it is 0.",
        stacklevel=2,
      )
    elif self._distance is None:
      self._distance = self._measure()
    with self._writer.as_default(step=step):
      if self._distance is not None:
        self._summary.scalar("lookahead/distance", self._distance)
      for lookahead in lookaheads[:1]:
        self._summary.scalar(
          "lookahead/slow_step_size", lookahead.slow_step_size
        )


def _check_is_instance(callback, kind):
  """Raises a TypeError if Keras calls a method of the class `kind` itself.

  Keras does so where a list of callbacks holds the class. Then what should be
  the callback is the first argument, a model.
  """
  if not isinstance(callback, kind):
    raise TypeError(
      "`callbacks` must hold instances of callbacks, not their classes: write "
      f"{kind.__name__}(...). Received: {kind}"
    )


def _find_built(model, caller):
  """Returns the Lookaheads of `model`; none before its first update.

  Args:
    model: What is trained.
    caller: The name of the callback, for errors.
  """
  for optimizer in models.optimizers(model):
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
      optimizer = optimizer.inner_optimizer
    if hasattr(optimizer, "optimizers") and not optimizer.built:
      return []  # A MultiOptimizer finds its optimizers when it is built.
  found = evaluation.find_lookaheads(model, caller=caller)
  return [lookahead for lookahead in found if lookahead.built]


def _is_at_the_start(lookahead):
  return lookahead.updates_in_period == 0


def _is_before_the_last_update(lookahead):
  return lookahead.updates_in_period == lookahead.sync_period - 1
