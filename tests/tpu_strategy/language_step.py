"""The language model's steps, traced under a TPUStrategy."""

import functools
from unittest import mock

import tensorflow as tf

from configs import language_modeling, lookahead
from tests.tpu_strategy import traced_step
from trainers import devices, metrics
from trainers.language_modeling import experiment as experiment_lib
from trainers.language_modeling import step as step_lib
from trainers.language_modeling.state import CarriedState

LAYERS = 3
_WORDS = 40
_COLUMNS = 2  # Of a replica.
_LENGTHS = (3, 5)
_OPTIMIZERS = {
  "sgd": {"global_clipnorm": 0.25, "weight_decay": 1.2e-6},
  "adam": {"global_clipnorm": 0.25},
  "nt_asgd": {"patience": 2},
}


@functools.cache
def trace_training(
  optimizer: str,
  with_lookahead: bool = False,
  precision: str = "float32",
) -> traced_step.TracedStep:
  """Traces the training step of a small AWD-LSTM with all its regularizers.

  Args:
    optimizer: A key of _OPTIMIZERS.
    with_lookahead: Whether there is a Lookahead around the optimizer.
    precision: As of `devices.set_precision`.
  """

  def make(strategy):
    experiment, model = _make(optimizer, with_lookahead, strategy)
    progress = experiment_lib.make_progress(experiment, strategy)
    step = step_lib.make_train_step(
      model,
      experiment.optimizer,
      experiment.objective,
      experiment.clipping,
      progress.carried,
      progress.factors,
      experiment.lengths.fixed,
      replicas=strategy.num_replicas_in_sync,
      jit_compile=experiment.jit_compile,
      jit_compile_loss=experiment.jit_compile_loss,
    )
    specs = {
      "tokens": tf.TensorSpec((_COLUMNS, _LENGTHS[-1] + 1), tf.int32),
      "size": tf.TensorSpec((), tf.int32),
      "is_first": tf.TensorSpec((), tf.bool),
      "step": tf.TensorSpec((), tf.int32),
    }
    return model, experiment.optimizer, step, specs

  return _trace(make, precision)


@functools.cache
def trace_evaluation(precision: str = "float32") -> traced_step.TracedStep:
  """Traces what a core does with a segment of a text that is evaluated.

  Args:
    precision: As of `devices.set_precision`.
  """

  def make(strategy):
    experiment, model = _make("sgd", False, strategy)
    state = CarriedState(
      experiment.architecture.widths(), experiment.columns, strategy
    )
    # A graph executes nothing: here is what the loop over batches would call.
    with mock.patch.object(metrics, "make_means") as make_means:
      step_lib.make_perplexity(
        model,
        mock.create_autospec(step_lib.Input, instance=True),
        state,
        strategy,
        jit_compile=experiment.jit_compile,
      )
    (measure, *_), _ = make_means.call_args
    length = _LENGTHS[-1]
    specs = {
      "tokens": tf.TensorSpec((_COLUMNS, length + 1), tf.int32),
      "weights": tf.TensorSpec((_COLUMNS, length), tf.float32),
      "is_first": tf.TensorSpec((), tf.bool),
    }
    return model, None, measure, specs

  return _trace(make, precision)


def _trace(make, precision):
  before = devices.precision()
  devices.set_precision(precision)
  try:
    return traced_step.trace(make)
  finally:
    devices.set_precision(before)


def _make(optimizer, with_lookahead, strategy):
  config = language_modeling.get_config()
  config.bptt, config.bptt_lengths = 4, _LENGTHS
  config.global_batch_size = _COLUMNS * strategy.num_replicas_in_sync
  config.model.embedding_size, config.model.hidden_size = 4, 6
  config.model.num_layers = LAYERS
  config.optimizer.name = optimizer
  config.optimizer.arguments = _OPTIMIZERS[optimizer]
  if with_lookahead:
    lookahead.add_to(config, sync_period=5, slow_step_size=0.5)
  experiment = experiment_lib.unpack(config, None, strategy)
  model = experiment_lib.make_model_and_slots(experiment, _WORDS, strategy)
  return experiment, model
