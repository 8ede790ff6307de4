"""The image trainer's step, traced under a TPUStrategy of described hosts."""

import functools

import keras
import tensorflow as tf
from ml_collections import config_dict

from configs import digits
from lookahead_tf import AdaptiveStepSize
from tests.tpu_strategy import described_host, traced_step
from trainers.image_classification import experiment as experiment_lib
from trainers.image_classification import sources
from trainers.image_classification import step as step_lib

INNER = {
  "sgd": {"momentum": 0.9},
  "adam": {},
}
REPLICA_BATCH = 2


@functools.cache
def trace(
  inner: str | None,
  lookahead: str | None = None,
  *,
  hosts: int = 1,
  policy: str = "float32",
) -> traced_step.TracedStep:
  """Traces the step of the digits' CNN with its synchronized batch norm.

  Args:
    inner: A key of INNER, or None for the gradients alone, without update.
    lookahead: "fixed" or "adaptive" for Lookahead of that step size, "local"
      for local steps, or None.
    hosts: Hosts of 8 cores.
    policy: Keras' dtype policy for the layers.
  """
  config = _config(inner, lookahead, hosts)
  source = sources.load(config.data.name)

  def make(strategy):
    experiment = experiment_lib.unpack(config, source, strategy)
    model = experiment_lib.make_model_and_slots(experiment, strategy)
    step = step_lib.make_train_step(
      model,
      experiment.optimizer if inner else traced_step.NoOptimizer(),
      experiment.objective,
      experiment.clipping,
      replicas=strategy.num_replicas_in_sync,
      jit_compile=experiment.jit_compile,
    )
    size = config.data.image_size
    specs = (
      tf.TensorSpec((REPLICA_BATCH, size, size, source.channels), tf.uint8),
      tf.TensorSpec((REPLICA_BATCH,), tf.int32),
    )
    return model, experiment.optimizer if inner else None, step, specs

  return traced_step.trace(make, hosts=hosts, policy=policy)


def _config(inner, lookahead, hosts):
  config = digits.get_config("lookahead")
  config.model.width = 4
  cores = hosts * described_host.CORES_PER_HOST
  config.global_batch_size = REPLICA_BATCH * cores
  config.optimizer.name = inner or "sgd"
  config.optimizer.arguments = config_dict.create(**INNER[inner or "sgd"])
  if lookahead is None:
    config.lookahead = None
  elif lookahead == "adaptive":
    with config.ignore_type():
      config.lookahead.slow_step_size = keras.saving.serialize_keras_object(
        AdaptiveStepSize()
      )
  elif lookahead == "local":
    config.lookahead.local_steps = True
    config.model.synchronized_batch_norm = False
  return config
