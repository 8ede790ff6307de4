"""Input pipelines: one for each host, and all of a process as one object."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainers import hardware
from trainers.errors import UserError

# How many calls of a function a pipeline makes at once: as many as tf.data has
# threads on this machine. Without autotuning tf.data.AUTOTUNE means 16 at most.
PARALLEL_CALLS = hardware.count_cores()


def prefetch(dataset: tf.data.Dataset, replicas: int = 1) -> tf.data.Dataset:
  """Returns the elements of two steps ahead, without TensorFlow's autotuning.

  An iterator that TensorFlow tunes may take up to a minute to be deleted: the
  thread that tunes it looks at most once a minute whether it is to end. So a
  pipeline ends with this function, and its other transformations say
  PARALLEL_CALLS.

  Args:
    dataset: A whole input pipeline.
    replicas: How many of its elements make a step.
  """
  options = tf.data.Options()
  options.autotune.enabled = False
  return dataset.prefetch(2 * replicas).with_options(options)


class Pipeline:
  """The input of one host's replicas, from one split of a data set.

  A subclass has `batches` if its split is for training, and `examples` if it is
  for evaluation.

  Args:
    context: Which host this is of how many, and how many replicas there are.
  """

  def __init__(self, context: tf.distribute.InputContext):
    self._host = context.input_pipeline_id
    self._hosts = context.num_input_pipelines
    # Of this host.
    self._replicas = context.num_replicas_in_sync // self._hosts

  def batches(self, first_step: int) -> tf.data.Dataset:
    """Returns the batches to train on from a step on, without end.

    The batch of step i depends on the seed, on i and, for some pipelines, on
    the number of hosts. So a resumed run gets the batches that it would have
    got.

    Args:
      first_step: The step to begin with, counted from 0.

    Returns:
      Batches of one replica each, for the replicas of this host in turn.
    """
    raise NotImplementedError

  def examples(self) -> tf.data.Dataset:
    """Returns every example of the split once, to evaluate on.

    Returns:
      Batches of one replica each, all of one shape. All hosts have the same
      number of batches. Padding has weight 0.
    """
    raise NotImplementedError

  def find_unreadable(
    self, first_step: int | None = None, steps: int = 0
  ) -> UserError | None:
    """Returns what is wrong with the data that was read, or None.

    Args:
      first_step: The first step whose batch may be the cause, or None to look
        at all of `examples`.
      steps: How many steps from there on may be the cause.
    """
    del first_step, steps
    return None


class Input:
  """The input of all replicas: a Pipeline for each host of this process.

  Args:
    make_pipeline: Returns the pipeline of one host, given the
      `tf.distribute.InputContext` that says which host it is of how many.
    strategy: The strategy whose replicas get the batches.
  """

  def __init__(
    self,
    make_pipeline: Callable[[tf.distribute.InputContext], Pipeline],
    strategy: tf.distribute.Strategy,
  ):
    self._make_pipeline, self._strategy = make_pipeline, strategy
    self._pipelines = {}

  def batches(self, first_step: int) -> Any:
    """Returns distributed batches to train on; see Pipeline."""
    return self._distribute(lambda pipeline: pipeline.batches(first_step))

  def examples(self) -> Any:
    """Returns distributed batches to evaluate on; see Pipeline."""
    return self._distribute(lambda pipeline: pipeline.examples())

  def find_unreadable(
    self, first_step: int | None = None, steps: int = 0
  ) -> UserError | None:
    """Returns the first thing wrong on any of these hosts; see Pipeline."""
    mistakes = (
      pipeline.find_unreadable(first_step, steps)
      for pipeline in self._pipelines.values()
    )
    return next(filter(None, mistakes), None)

  def _distribute(self, read):
    def read_of_host(context):
      host = context.input_pipeline_id
      if host not in self._pipelines:
        self._pipelines[host] = self._make_pipeline(context)
      return read(self._pipelines[host])

    return self._strategy.distribute_datasets_from_function(read_of_host)
