"""Training of an image classifier."""

import contextlib
import os
from collections.abc import Sequence

import keras
import ml_collections
import tensorflow as tf

from trainers import (
  errors,
  loop,
  optimizers,
  plan,
  runtime,
  schedules,
  tpu_compile,
  workers,
)
from trainers import workdir as workdir_lib
from trainers.image_classification import (
  batch_norm,
  checks,
  evaluation,
  input_pipeline,
  sources,
  training_step,
)
from trainers.image_classification.model import make_model


def train(config: ml_collections.ConfigDict, run: runtime.Runtime) -> None:
  """Trains as `config` says, and leaves everything in the workdir.

  That is config.json, source.json, runtime.json, metrics.jsonl, TensorBoard
  events, checkpoints, the best checkpoint, and the trained model.keras, which
  holds the slow weights and is there whole or not at all.

  Args:
    config: An experiment, as in configs/.
    run: Where and how. If its workdir holds a run of this config, that goes on.

  Raises:
    UserError: for what the user can put right.
    Interrupted: after a SIGTERM.
  """
  strategy = run.strategy
  checks.check_config(config, strategy)
  source = sources.load(config.data, run.data_dir, run.fake_data)
  checks.check_source(config, source)
  steps = make_plan(config, source.train.size, run.profile_steps)
  # Not 0: TensorFlow reads a seed pair of zeros as none, and tests for it in a
  # way that fails where a dataset's seed is a tensor.
  keras.utils.set_random_seed(config.seed + 1)
  model, optimizer = make_model_and_optimizer(config, source, steps, strategy)
  task = _make_task(model, optimizer, source, config, strategy)
  records = {
    "config": config.to_dict(),
    "source": source.describe(),
    "runtime": {"precision": runtime.precision()},
  }
  workers.check_same_records(workers.make_gather(strategy), records)
  with contextlib.ExitStack() as stack:
    if run.is_chief:
      stack.enter_context(workdir_lib.locked(run.workdir))
      # Not before the config proved sound.
      workdir_lib.claim(run.workdir, **records)
    loop.train(task, steps, run)
    with optimizers.weights_to_evaluate(model, optimizer):
      if run.is_chief:
        _save_model(model, run.workdir)


def _save_model(model, workdir):
  path = os.path.join(workdir, "model.keras")
  partial = os.path.join(workdir, "partial.keras")
  with errors.writing(path, on_error=lambda: tf.io.gfile.remove(partial)):
    batch_norm.with_layers_of_keras(model).save(partial)
    tf.io.gfile.rename(partial, path, overwrite=True)
  print(f"Trained: {path}")


def _make_task(model, optimizer, source, config, strategy):
  contexts = []  # Of the hosts that this process feeds.

  def train_data(first_step, context):
    contexts.append(context)
    return _train_batches(source, config, first_step, context)

  def explain(first_step, steps):
    for context in contexts:
      mistake = input_pipeline.explain_training(
        source.train,
        config.data,
        seed=config.seed,
        global_batch_size=config.global_batch_size,
        first_step=first_step,
        steps=steps,
        context=context,
      )
      if mistake:
        return mistake
    return None

  return loop.Task(
    model=model,
    optimizer=optimizer,
    train_data=train_data,
    train_step=training_step.make_train_step(
      model, optimizer, config, strategy
    ),
    figures=("loss", "accuracy"),
    evaluate=evaluation.make_evaluation(
      model, optimizer, source.validation, config, strategy
    ),
    best="accuracy",
    explain=explain,
  )


def _train_batches(source, config, first_step, context):
  return input_pipeline.train_batches(
    source.train,
    config.data,
    seed=config.seed,
    global_batch_size=config.global_batch_size,
    first_step=first_step,
    context=context,
  )


def compile_for_tpu(
  config: ml_collections.ConfigDict,
  data_dir: str | None,
  slices: Sequence[str],
  fake_data: bool = False,
) -> int:
  """Compiles the training step for TPU slices, without a TPU.

  Args:
    config: An experiment, as in configs/.
    data_dir: Where the data is; see `sources.load`. Its size and classes count.
    slices: Names of TPU slices; see `tpu_compile.report`.
    fake_data: Whether to do without the data; see `sources.load`.

  Returns:
    The exit status: 0 if the step compiles for all of them and fits.

  Raises:
    UserError: for what the user can put right.
  """
  source = sources.load(config.data, data_dir, fake_data)
  checks.check_source(config, source)
  steps = make_plan(config, source.train.size)

  def make_step(config, strategy):
    checks.check_config(config, strategy)
    model, optimizer = make_model_and_optimizer(config, source, steps, strategy)
    context = tf.distribute.InputContext(
      num_replicas_in_sync=strategy.num_replicas_in_sync
    )
    batches = _train_batches(source, config, 0, context)
    step = training_step.make_train_step(model, optimizer, config, strategy)
    return step, batches.element_spec

  return tpu_compile.report_config(
    make_step, config, slices, config.global_batch_size
  )


def make_plan(
  config: ml_collections.ConfigDict,
  train_size: int,
  profile_steps: tuple[int, int] | None = None,
) -> plan.Plan:
  """Returns the plan of an experiment on `train_size` examples."""
  steps_per_epoch = train_size // config.global_batch_size
  return plan.Plan(
    total_steps=plan.steps_in(config.num_epochs, steps_per_epoch),
    steps_per_epoch=steps_per_epoch,
    steps_per_loop=config.steps_per_loop,
    eval_every_steps=plan.steps_in(config.eval_every_epochs, steps_per_epoch),
    checkpoint_every_steps=plan.steps_in(
      config.checkpoint_every_epochs, steps_per_epoch
    ),
    global_batch_size=config.global_batch_size,
    keep_checkpoints=config.keep_checkpoints,
    profile_steps=profile_steps,
  )


def make_model_and_optimizer(
  config: ml_collections.ConfigDict,
  source: sources.Source,
  steps: plan.Plan,
  strategy: tf.distribute.Strategy,
) -> tuple[keras.Model, keras.optimizers.Optimizer]:
  """Returns the model of an experiment and its optimizer, both built."""
  with strategy.scope():
    model = make_model(
      config.model,
      image_shape=(config.data.image_size,) * 2 + (source.channels,),
      num_classes=len(source.class_names),
      synchronized=config.model.synchronized_batch_norm
      and strategy.num_replicas_in_sync > 1,
    )
    optimizer = optimizers.make_optimizer(
      config,
      schedules.make_schedule(
        config.learning_rate, steps.steps_per_epoch, steps.total_steps
      ),
      strategy.num_replicas_in_sync,
    )
    optimizer.build(model.trainable_variables)
  return model, optimizer
