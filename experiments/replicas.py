"""The small networks in training on several replicas of a process of its own.

The replicas are logical CPUs. TensorFlow splits the CPU before it is used, and
two strategies in a process mix up their collective operations: so each number
of replicas has a process, which trains one run after another.
"""

import contextlib
import functools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import lookahead_tf
from experiments import local, small_network
from experiments.small_network import Task
from trainers import agreement, devices
from trainers.errors import UserError

Make = Callable[
  [keras.optimizers.schedules.LearningRateSchedule],
  keras.optimizers.Optimizer,
]


class Outcome(NamedTuple):
  """What became of a run.

  Attributes:
    loss: Of the held-out images with the slow weights, or with the weights
      where there are no slow ones: mean cross entropy in nats. NaN if the
      training diverged.
    accuracy: Likewise, in percent.
    half_way: How far replicas were from their mean at the last meeting in the
      first half of the run: the root of the mean squared distance.
    drift: Likewise at the last meeting of the run.
    bytes_sent: How many bytes a replica sent in an update, on the average, if
      the replicas form a ring.
  """

  loss: float
  accuracy: float
  half_way: float
  drift: float
  bytes_sent: float


class Training:
  """A network in training on the replicas of a strategy.

  Each batch is split among the replicas. The learning rate falls to 0 along a
  cosine.

  Args:
    make_optimizer: Returns an optimizer of that learning rate.
    task: What is trained. Replicas share out its batches evenly.
    updates: How many a run has.
    strategy: The only one of the process.

  Attributes:
    model: The network.
    optimizer: The optimizer, built.
  """

  def __init__(
    self,
    make_optimizer: Make,
    task: Task,
    updates: int,
    strategy: tf.distribute.Strategy,
  ):
    self._task, self._updates, self._strategy = task, updates, strategy
    # Outside of the strategy's scope: one variable, which all replicas read.
    self._peak = keras.Variable(0.0, name="peak", trainable=False)
    with strategy.scope():
      self.model = task.make_model()
      self.optimizer = make_optimizer(
        keras.optimizers.schedules.CosineDecay(self._peak, updates)
      )
      self.optimizer.build(self.model.trainable_variables)
    self._fresh = [variable.numpy() for variable in self.optimizer.variables]
    self._train = self._make_train()
    self._measure = small_network.make_measure(self.model, task.data)

  @property
  def slow_weights(self) -> np.ndarray:
    """The slow weights of a Lookahead, else the weights: a vector."""
    if isinstance(self.optimizer, lookahead_tf.Lookahead):
      return small_network.flat(self.optimizer.slow_weights)
    return small_network.flat(self.model.trainable_variables)

  @property
  def bytes_sent(self) -> float:
    """What a replica sends in an update, on the average, in a ring of all."""
    if isinstance(self.optimizer, lookahead_tf.Lookahead):
      given = self.optimizer.meeting_bytes / self.optimizer.sync_period
    else:
      given = sum(v.numpy().nbytes for v in self.model.trainable_variables)
    count = self._strategy.num_replicas_in_sync
    return 2 * (count - 1) / count * given

  def run(self, rate: float, seed: int) -> Outcome:
    """Trains from the beginning, whatever was trained before.

    Args:
      rate: The learning rate of the first update.
      seed: Of the initial weights, of dropout and of the order of the images,
        which do not depend on the optimizer.
    """
    self._restart(rate, seed)
    batches = _make_batches(self._task, seed, self._updates)
    half = self._updates // 2
    self._train(batches[:half])
    half_way = self._drift()
    self._train(batches[half:])
    found = self._measure(self.slow_weights)
    if not np.isfinite(found.loss):
      found = small_network.Evaluation(np.nan, np.nan)
    return Outcome(*found, half_way, self._drift(), self.bytes_sent)

  def _restart(self, rate, seed):
    keras.utils.set_random_seed(seed)
    fresh_model = self._task.make_model()
    for variable, fresh in zip(self.model.variables, fresh_model.variables):
      variable.assign(fresh.numpy())
    agreement.give_replicas_own_seeds(self.model, self._strategy)
    for variable, value in zip(self.optimizer.variables, self._fresh):
      variable.assign(value)
    if isinstance(self.optimizer, lookahead_tf.Lookahead):
      self.optimizer.start_period()
    self._peak.assign(rate)

  def _drift(self):
    if isinstance(self.optimizer, lookahead_tf.Lookahead):
      return self.optimizer.replica_drift
    return 0.0

  def _make_train(self):
    data, size = self._task.data, self._task.batch_size
    strategy, model, optimizer = self._strategy, self.model, self.optimizer
    own = size // strategy.num_replicas_in_sync

    def one_replica(batch):
      replica = tf.distribute.get_replica_context().replica_id_in_sync_group
      part = batch[replica * own : (replica + 1) * own]
      images = tf.gather(data.train_images, part)
      labels = tf.gather(data.train_labels, part)
      with tf.GradientTape() as tape:
        losses = small_network.losses(labels, model(images, training=True))
        loss = tf.reduce_sum(losses) / size
      variables = model.trainable_variables
      optimizer.apply(tape.gradient(loss, variables), variables)

    @tf.function(input_signature=[tf.TensorSpec((None, size), tf.int32)])
    def train(batches):
      for i in tf.range(tf.shape(batches)[0]):
        strategy.run(one_replica, (batches[i],))

    return train


def _make_batches(task, seed, updates):
  """Returns the numbers of the images of each batch, of all epochs of a run."""
  random = np.random.default_rng(seed)
  count = len(task.data.train_labels)
  per_epoch = count // task.batch_size
  orders = [
    random.permutation(count)[: per_epoch * task.batch_size]
    for _ in range(-(-updates // per_epoch))
  ]
  batches = np.concatenate(orders).reshape(-1, task.batch_size)
  return tf.constant(batches[:updates], tf.int32)


class Process:
  """A process with so many replicas, for runs; `starting` makes it.

  Args:
    process: It runs.
    link: The connection to it.
  """

  def __init__(self, process, link):
    self._process, self._link = process, link

  def run(self, make_optimizer: Make, rate: float, seed: int) -> Outcome:
    """Trains in the process; see `Training`.

    Args:
      make_optimizer: As for `Training`, to be pickled. Runs of equal ones in
        turn are traced once.
      rate: As for `Training.run`.
      seed: Likewise.

    Raises:
      UserError: if the process ends.
    """
    try:
      self._link.send((make_optimizer, rate, seed))
      return self._link.recv()
    except (EOFError, BrokenPipeError, ConnectionResetError) as error:
      self._process.join()
      raise UserError(
        "The process that trains has ended with exit status "
        f"{self._process.exitcode}, -9 where memory runs out. The same command "
        "goes on with the runs that are missing."
      ) from error


@contextlib.contextmanager
def starting(replicas: int, task: Task, updates: int) -> Iterator[Process]:
  """Returns a context manager with a process of so many replicas.

  Args:
    replicas: How many.
    task: As for `Training`, to be pickled.
    updates: Likewise.
  """
  context = multiprocessing.get_context("spawn")
  here, there = context.Pipe()
  process = context.Process(
    target=_work, args=(there, replicas, task, updates), daemon=True
  )
  with local.without_ctrl_c():
    process.start()
  there.close()
  try:
    yield Process(process, here)
  finally:
    process.kill()  # It waits for a run, or nobody waits for it.
    process.join()


def _work(link, replicas, task, updates):
  """Trains the runs that come, in a process of its own."""
  threading.Thread(target=local.end_with_parent, daemon=True).start()
  tf.config.set_visible_devices([], "GPU")
  strategy = devices.make_strategy("mirrored", replicas)

  @functools.lru_cache(1)
  def training(make_optimizer):
    return Training(make_optimizer, task, updates, strategy)

  with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
    while True:
      make_optimizer, rate, seed = link.recv()
      link.send(training(make_optimizer).run(rate, seed))
  os._exit(0)  # TensorFlow takes its time to end.
