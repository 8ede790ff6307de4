"""A small convolutional network on scikit-learn's digits, in training.

What the experiments on the paper's pictures share: data, model, updates, and
the evaluation of any weights. The network has no batch normalization, so that
its weights alone decide what it predicts: a point of weight space that no
training has visited can be evaluated like any other.

600 digits are trained on and 1,197 are held out, so that one digit is .08 % of
the accuracy. Dropout keeps the gradients noisy when all 600 digits are right,
as many images and augmentation do in the paper's networks.
"""

import functools
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from keras import layers
from sklearn import datasets, model_selection

import lookahead_tf
from trainers import tracing
from trainers.errors import UserError

TRAINED_ON = 600
HELD_OUT = 1197
BATCH_SIZE = 30
STEPS_PER_EPOCH = TRAINED_ON // BATCH_SIZE
DESCRIPTION = (
  f"A convolutional network of 19,178 weights on scikit-learn's digits, with "
  f"{TRAINED_ON} digits to train on in batches of {BATCH_SIZE}; loss and "
  f"accuracy are those of the other {HELD_OUT:,} digits."
)


class Data(NamedTuple):
  """Images, float32 of (n, height, width, channels), and int32 labels (n,)."""

  train_images: np.ndarray
  train_labels: np.ndarray
  held_out_images: np.ndarray
  held_out_labels: np.ndarray


class Task(NamedTuple):
  """What a `Training` trains, and on what.

  Attributes:
    data: The images to train on, and those that are held out.
    make_model: Returns a new network of those images; its outputs are logits.
    batch_size: The images of an update.
  """

  data: Data
  make_model: Callable[[], keras.Model]
  batch_size: int


class Evaluation(NamedTuple):
  """What the held-out images say of some weights.

  Attributes:
    loss: Mean cross entropy in nats. NaN where the weights are not finite.
    accuracy: In percent.
  """

  loss: float
  accuracy: float


class Period(NamedTuple):
  """The weights of one period of Lookahead, each a vector of float64.

  Attributes:
    fast: theta_0 to theta_k of shape (k + 1, weights). The first ones are the
      slow weights that the period starts from.
    slow: The slow weights after the synchronization, of shape (weights,).
  """

  fast: np.ndarray
  slow: np.ndarray


def define_flags(
  values: flags.FlagValues, sync_period: int, least_sync_period: int = 1
) -> None:
  """Defines flags of momentum SGD within Lookahead.

  Args:
    values: Where they go.
    sync_period: Default of --sync_period.
    least_sync_period: Its least value.
  """
  flags.DEFINE_float(
    "learning_rate",
    0.1,
    "Of SGD, which is constant.",
    lower_bound=0.0,
    flag_values=values,
  )
  flags.DEFINE_float(
    "momentum",
    0.9,
    "Of SGD.",
    lower_bound=0.0,
    upper_bound=1.0,
    flag_values=values,
  )
  flags.DEFINE_integer(
    "sync_period",
    sync_period,
    "The paper's k.",
    lower_bound=least_sync_period,
    flag_values=values,
  )
  flags.DEFINE_float(
    "slow_step_size",
    0.5,
    "The paper's alpha, above 0.",
    lower_bound=0.01,
    upper_bound=1.0,
    flag_values=values,
  )


def from_flags(values: flags.FlagValues, seed: int) -> "Training":
  """Returns the training that the flags of `define_flags` describe."""
  optimizer = make_optimizer(
    values.learning_rate,
    values.momentum,
    values.sync_period,
    values.slow_step_size,
  )
  return Training(optimizer, seed)


def make_optimizer(
  learning_rate: float,
  momentum: float,
  sync_period: int | None = None,
  slow_step_size: float = 0.5,
  inner_state: str = "maintain",
) -> keras.optimizers.Optimizer:
  """Returns SGD with momentum, within Lookahead if there is a `sync_period`."""
  sgd = keras.optimizers.SGD(learning_rate, momentum=momentum)
  if sync_period is None:
    return sgd
  return lookahead_tf.Lookahead(sgd, sync_period, slow_step_size, inner_state)


@functools.cache
def load_data() -> Data:
  """Returns the digits in [0, 1]; the split is the same for every seed."""
  digits = datasets.load_digits()
  images = (digits.images[..., np.newaxis] / 16).astype("float32")
  labels = digits.target.astype("int32")
  train, held_out = model_selection.train_test_split(
    np.arange(len(images)),
    train_size=TRAINED_ON,
    random_state=0,
    stratify=labels,
  )
  return Data(images[train], labels[train], images[held_out], labels[held_out])


def digits() -> Task:
  """Returns the digits and their network."""
  return Task(load_data(), make_model, BATCH_SIZE)


def make_model() -> keras.Model:
  """Returns three convolutions, dropout and a linear layer.

  The model takes images (batch, 8, 8, 1) and returns logits (batch, 10).
  """
  convolution = functools.partial(
    layers.Conv2D, kernel_size=3, padding="same", activation="relu"
  )
  return keras.Sequential(
    [
      keras.Input((8, 8, 1)),
      convolution(16),
      convolution(32),
      layers.MaxPooling2D(),
      convolution(32),
      layers.Flatten(),
      layers.Dropout(0.3),
      layers.Dense(10),
    ]
  )


class Training:
  """The network in training, one update at a time.

  Args:
    optimizer: A Keras optimizer, not built.
    seed: Of the initial weights, of dropout and of the order of the images.
    task: What is trained. The digits if None.

  Attributes:
    model: The network.
    optimizer: The optimizer, built.
  """

  def __init__(
    self,
    optimizer: keras.optimizers.Optimizer,
    seed: int,
    task: Task | None = None,
  ):
    keras.utils.set_random_seed(seed)
    self._task = task or digits()
    self.model = self._task.make_model()
    self.optimizer = optimizer
    optimizer.build(self.model.trainable_variables)
    self._fresh = [variable.numpy() for variable in optimizer.variables]
    self._batches = _endless_batches(seed, self._task)
    self._step = _make_step(self.model, optimizer, self._task.data)
    self._measure = make_measure(self.model, self._task.data)

  def restart(self, seed: int, learning_rate: float) -> None:
    """Begins anew, as with a new optimizer of that learning rate.

    A new Training would trace its functions again, which takes longer than a
    hundred updates.
    """
    keras.utils.set_random_seed(seed)
    # With the state of dropout, which is no weight.
    fresh_model = self._task.make_model()
    for variable, fresh in zip(self.model.variables, fresh_model.variables):
      variable.assign(fresh)
    for variable, value in zip(self.optimizer.variables, self._fresh):
      variable.assign(value)
    self.optimizer.learning_rate = learning_rate
    if isinstance(self.optimizer, lookahead_tf.Lookahead):
      self.optimizer.start_period()
    self._batches = _endless_batches(seed, self._task)

  def step(self) -> float:
    """Makes one update; returns the loss of its batch before the update."""
    return float(self._step(tf.constant(next(self._batches))))

  def steps(self, count: int) -> None:
    """Makes so many updates.

    Raises:
      UserError: if it diverges.
    """
    for _ in range(count):
      _check(self.step())

  def period(self) -> Period:
    """Makes the updates of one period of a Lookahead at the start of one.

    Raises:
      UserError: if it diverges.
    """
    fast = [self.weights()]
    for _ in range(self.optimizer.sync_period - 1):
      self.steps(1)
      fast.append(self.weights())
    self.steps(1)
    slow = self.weights()
    # The last update and the synchronization are one call of the optimizer.
    # Algorithm 1 solved for the last fast weights.
    last = fast[0] + (slow - fast[0]) / self.optimizer.slow_step_size
    return Period(np.array([*fast, last]), slow)

  def weights(self) -> np.ndarray:
    """Returns the weights that the model has now, a vector of float64."""
    return flat(self.model.trainable_variables)

  def slow_weights(self) -> np.ndarray:
    """Returns the slow weights of a Lookahead; else the weights.

    Before the first update a Lookahead has none.
    """
    if isinstance(self.optimizer, lookahead_tf.Lookahead):
      return flat(self.optimizer.slow_weights)
    return self.weights()

  def evaluate(self, weights: np.ndarray | None = None) -> Evaluation:
    """Returns loss and accuracy of the held-out images, without dropout.

    Args:
      weights: A vector like that of `weights`. The model's own if None.
    """
    if weights is None:
      weights = self.weights()
    return self._measure(weights)


def flat(variables: Iterable[keras.Variable]) -> np.ndarray:
  """Returns the values of variables, one behind the other, in float64."""
  parts = [variable.numpy().reshape(-1) for variable in variables]
  return np.concatenate(parts, dtype="float64")


def _check(loss):
  # A hundred times the loss of guessing, with which training never recovers.
  if not loss < 100 * math.log(10):
    raise UserError(
      f"The training diverged: its loss is {loss:g}. Give a smaller "
      "--learning_rate or --momentum."
    )


def _endless_batches(seed, task):
  """Yields the numbers of the images of each batch, epoch after epoch."""
  random = np.random.default_rng(seed)
  size = len(task.data.train_labels)
  while True:
    order = random.permutation(size).astype("int32")
    yield from np.array_split(order, size // task.batch_size)


def losses(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
  """Returns the cross entropy of each image in nats, of shape (batch,).

  Args:
    labels: int32 of shape (batch,).
    logits: float32 of shape (batch, classes).
  """
  return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def _make_step(model, optimizer, data):
  @tf.function
  def step(batch):
    images = tf.gather(data.train_images, batch)
    labels = tf.gather(data.train_labels, batch)
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean(losses(labels, model(images, training=True)))
    variables = model.trainable_variables
    optimizer.apply(tape.gradient(loss, variables), variables)
    return loss

  return tracing.concrete(step)


def make_measure(
  model: keras.Model, data: Data
) -> Callable[[np.ndarray], Evaluation]:
  """Returns a function that evaluates a model on the held-out images.

  Args:
    model: A network without batch normalization.
    data: The images.

  Returns:
    A function of the trainable weights, a vector like that of `flat`.
  """
  shapes = [variable.shape for variable in model.trainable_variables]
  sizes = [math.prod(shape) for shape in shapes]

  @tf.function
  def measure(weights):
    values = [
      tf.reshape(part, shape)
      for part, shape in zip(tf.split(weights, sizes), shapes)
    ]
    others = [variable.value for variable in model.non_trainable_variables]
    logits, _ = model.stateless_call(
      values, others, data.held_out_images, training=False
    )
    answers = tf.argmax(logits, axis=-1, output_type=tf.int32)
    is_right = tf.cast(answers == data.held_out_labels, tf.float32)
    loss = tf.reduce_mean(losses(data.held_out_labels, logits))
    return loss, tf.reduce_mean(is_right)

  traced = tracing.concrete(measure)

  def evaluate(weights):
    loss, accuracy = traced(tf.constant(weights, tf.float32))
    return Evaluation(float(loss), 100 * float(accuracy))

  return evaluate
