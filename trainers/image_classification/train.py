"""Training of an image classifier."""

import contextlib
import functools
import os
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from trainers import agreement, files, initialization, loop, optimizers
from trainers import workdir as workdir_lib
from trainers.devices import Runtime
from trainers.image_classification import fine_tuning
from trainers.image_classification import step as step_lib
from trainers.image_classification.experiment import Experiment
from trainers.image_classification.model import (
  make_model,
  with_layers_of_keras,
)
from trainers.input import Input


def train(experiment: Experiment, run: Runtime) -> None:
  """Trains an experiment, and leaves everything in the workdir.

  That is config.json, source.json, runtime.json, metrics.jsonl, TensorBoard
  events, checkpoints, the best checkpoint, and the trained model.keras, which
  holds the slow weights and is there whole or not at all.

  Args:
    experiment: From `experiment.load`, for the strategy of `run`.
    run: Where and how. If its workdir holds a run of this experiment, that run
      goes on.

  Raises:
    UserError: for what the user can put right.
    Interrupted: after a SIGTERM.
  """
  strategy = run.strategy
  start = None
  if initialization.is_due(run):
    start = fine_tuning.Start(run.init_from, strategy)

  def prepare(model):
    if start:
      sentence = start.assign(model, experiment)
      if run.is_chief:
        print(sentence)

  # Not 0: TensorFlow reads a seed pair of zeros as none, and tests for it in a
  # way that fails where a dataset's seed is a tensor.
  keras.utils.set_random_seed(experiment.seed + 1)
  model = make_model_and_slots(experiment, strategy, prepare)
  task = loop.Task(
    model=model,
    optimizer=experiment.optimizer,
    input=_make_input(experiment.source.train, experiment, strategy),
    train_step=_make_train_step(model, experiment, strategy),
    metrics=("loss", "accuracy"),
    evaluate=step_lib.make_evaluation(
      model,
      experiment.optimizer,
      experiment.objective,
      _make_input(experiment.source.validation, experiment, strategy),
      strategy,
      jit_compile=experiment.jit_compile,
    ),
    best="accuracy",
  )
  agreement.check_same_records(
    agreement.make_gather(strategy), experiment.records
  )
  with contextlib.ExitStack() as stack:
    if run.is_chief:
      stack.enter_context(workdir_lib.locked(run.workdir))
      # Not before all processes agree: the workdir is this run's from now on.
      workdir_lib.claim(run.workdir, **experiment.records)
    loop.train(task, experiment.plan, run)
    with optimizers.weights_to_evaluate(model, experiment.optimizer):
      if run.is_chief:
        _save_model(model, run.workdir)


def make_model_and_slots(
  experiment: Experiment,
  strategy: tf.distribute.Strategy,
  prepare: Callable[[keras.Model], None] = lambda model: None,
) -> keras.Model:
  """Returns the model of an experiment, after building its optimizer.

  Args:
    experiment: What to train.
    strategy: The strategy to train with.
    prepare: Called with the model, before the optimizer is built.
  """
  with strategy.scope():
    model = make_model(experiment.architecture)
    prepare(model)
    experiment.optimizer.build(model.trainable_variables)
  return model


def make_step(
  experiment: Experiment, strategy: tf.distribute.Strategy
) -> tuple[Callable[[Any], Any], Any]:
  """Returns one replica's training step, and the specs of its batch."""
  model = make_model_and_slots(experiment, strategy)
  context = tf.distribute.InputContext(
    num_replicas_in_sync=strategy.num_replicas_in_sync
  )
  pipeline = experiment.make_pipeline(experiment.source.train, context=context)
  step = _make_train_step(model, experiment, strategy)
  return step, pipeline.batches(first_step=0).element_spec


def _make_train_step(model, experiment, strategy):
  return step_lib.make_train_step(
    model,
    experiment.optimizer,
    experiment.objective,
    experiment.clipping,
    replicas=strategy.num_replicas_in_sync,
    jit_compile=experiment.jit_compile,
  )


def _make_input(split, experiment, strategy):
  return Input(
    lambda context: experiment.make_pipeline(split, context=context), strategy
  )


def _save_model(model, workdir):
  path = os.path.join(workdir, "model.keras")
  partial = os.path.join(workdir, "partial.keras")
  with files.writing(
    path, on_error=functools.partial(tf.io.gfile.remove, partial)
  ):
    with_layers_of_keras(model).save(partial)
    tf.io.gfile.rename(partial, path, overwrite=True)
  print(f"Trained: {path}")
