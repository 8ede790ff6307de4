"""Training of an image classifier."""

import dataclasses
import functools
import math
import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainers import initialization, loop, summary, trained
from trainers import workdir as workdir_lib
from trainers.devices import Runtime, set_seed
from trainers.image_classification import export, speedrun
from trainers.image_classification import step as step_lib
from trainers.image_classification.experiment import (
  Experiment,
  make_model_and_slots,
)
from trainers.image_classification.pipelines import KINDS
from trainers.image_classification.trained import PROGRAM, Start
from trainers.input import Input

_CLASSES_SHOWN = 5
_WHITENED_AT_ONCE = 500  # Images.


def train(experiment: Experiment, run: Runtime) -> None:
  """Trains an experiment, and leaves everything in the workdir.

  The workdir then holds config.json, source.json, runtime.json, metrics.jsonl,
  TensorBoard events, checkpoints, the best checkpoint, best.keras and
  model.keras. `export.make_keras_model` makes the last two of the slow weights
  of the best evaluation and of the last step. Each is written whole or not at
  all.

  Args:
    experiment: From `experiment.load`, for the strategy of `run`.
    run: Where and how. If its workdir holds a run of this experiment, that run
      goes on.

  Raises:
    UserError: for what the user can put right.
    Interrupted: after a SIGTERM.
    KeyboardInterrupt: after a Ctrl-C, with a checkpoint if training had begun.
  """
  strategy = run.strategy
  start = Start(run) if initialization.is_due(run) else None
  set_seed(experiment.seed)
  prepare = initialization.make_prepare(start, experiment, run)
  if start is None:
    prepare = functools.partial(_whiten, experiment=experiment)
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
    guessing_loss=math.log(len(experiment.source.class_names)),
    title="Image classification",
    facts=_facts(experiment, model),
    notes=[("left out", note) for note in experiment.source.notes],
    unit="image",
    jit_compile=experiment.jit_compile,
    finish=functools.partial(_finish, model, experiment, run),
  )
  with workdir_lib.owned(run, experiment.records):
    loop.train(task, experiment.plan, run)


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


def _whiten(model, experiment):
  """Makes the whitening filters of a model, if it has any."""
  wanted, source = experiment.whitening_images, experiment.source
  if wanted is None or source.is_made_up:
    return
  filters = speedrun.whitening_filters(_whitening_images(wanted, experiment))
  model.get_layer(speedrun.WHITENING).kernel.assign(filters)


def _whitening_images(wanted, experiment):
  """Yields batches of normalized images from all over the training split."""
  split, batching = experiment.source.train, experiment.batching
  wanted = min(wanted, split.size)
  stride = split.size // wanted

  def records(host, hosts, seed, buffer):
    del host, hosts, seed, buffer
    return split.records(0, 1, None, 1).shard(stride, 0).take(wanted)

  pipeline = KINDS[experiment.pipeline](
    dataclasses.replace(split, size=wanted, records=records),
    dataclasses.replace(
      batching, global_batch_size=min(wanted, _WHITENED_AT_ONCE), cache=False
    ),
    tf.distribute.InputContext(),
  )
  for images, _, weights in pipeline.examples():
    yield step_lib.normalize(images[weights > 0], experiment.objective).numpy()


def _make_input(split, experiment, strategy):
  return Input(
    lambda context: experiment.make_pipeline(split, context=context), strategy
  )


def _finish(model, experiment, run, checkpoints):
  """Writes a file of the last weights and one of the best; tells the end."""
  for which, name in (("last", "model.keras"), ("best", "best.keras")):
    trained.restore_weights(
      which, checkpoints, model, experiment.optimizer, PROGRAM
    )
    if run.is_chief:
      path = os.path.join(run.workdir, name)
      trained.save_keras_model(export.make_keras_model(model, experiment), path)
  if run.is_chief:
    print(_end_block(run.workdir))


def _facts(experiment, model):
  """Returns what is told of an experiment at its start."""
  source = experiment.source
  classes = summary.counted(len(source.class_names), "class")
  shown = ", ".join(source.class_names[:_CLASSES_SHOWN])
  if len(source.class_names) > _CLASSES_SHOWN:
    shown += ", ..."
  kind = "made-up image" if source.is_made_up else "image"
  return [
    ("train", summary.counted(source.train.size, kind)),
    ("validation", summary.counted(source.validation.size, kind)),
    ("classes", f"{classes}: {shown}"),
    ("model", summary.model(experiment.architecture.name, model)),
    *experiment.optimizer_lines,
  ]


def _end_block(workdir):
  """Returns what is told at the end of a run."""
  return summary.end(
    f"Trained: {workdir}",
    [
      *summary.outcome(workdir, "accuracy"),
      ("final model", os.path.join(workdir, "model.keras")),
      ("best model", os.path.join(workdir, "best.keras")),
      *summary.files(workdir),
      summary.going_on("num_epochs"),
    ],
    [
      (
        "predict the classes of other photos",
        summary.command(
          "trainers.image_classification.predict",
          f"--workdir={workdir}",
          "--input=PHOTO_OR_FOLDER",
        ),
      ),
      (
        "export a saved model",
        summary.command(
          "trainers.image_classification.export",
          f"--workdir={workdir}",
          "--output=NEW_FOLDER",
        ),
      ),
      summary.curves(workdir),
    ],
  )
