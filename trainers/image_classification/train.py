"""Training and evaluation of an image classifier."""

import contextlib
import os
from collections.abc import Callable

import keras
import ml_collections
import tensorflow as tf

from trainers import gradients, loop, optimizers, plan, runtime, schedules
from trainers import workdir as workdir_lib
from trainers.image_classification import checks, input_pipeline, sources
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
  source = sources.load(config.data, run.data_dir)
  checks.check_source(config, source)
  steps = make_plan(config, source.train.size, run.profile_steps)
  # Not 0: TensorFlow reads a seed pair of zeros as none, and tests for it in a
  # way that fails where a dataset's seed is a tensor.
  keras.utils.set_random_seed(config.seed + 1)
  model, optimizer = make_model_and_optimizer(config, source, steps, strategy)
  task = _make_task(model, optimizer, source, config, strategy)
  with contextlib.ExitStack() as stack:
    if run.is_chief:
      stack.enter_context(workdir_lib.locked(run.workdir))
      # Not before the config proved sound.
      workdir_lib.claim(
        run.workdir,
        config=config.to_dict(),
        source=source.describe(),
        runtime={"precision": runtime.precision()},
      )
    try:
      loop.train(task, steps, run)
    except tf.errors.OpError as error:
      mistake = source.train.explain() or source.validation.explain()
      raise mistake or error from None
    with optimizers.weights_to_evaluate(model, optimizer):
      if run.is_chief:
        _save_model(model, run.workdir)


def _save_model(model, workdir):
  path = os.path.join(workdir, "model.keras")
  partial = os.path.join(workdir, "partial.keras")
  model.save(partial)
  tf.io.gfile.rename(partial, path, overwrite=True)
  print(f"Trained: {path}")


def _make_task(model, optimizer, source, config, strategy):
  return loop.Task(
    model=model,
    optimizer=optimizer,
    train_data=lambda step, context: input_pipeline.train_batches(
      source.train,
      config.data,
      seed=config.seed,
      global_batch_size=config.global_batch_size,
      first_step=step,
      context=context,
    ),
    train_step=make_train_step(model, optimizer, config, strategy),
    figures=("loss", "accuracy"),
    evaluate=_make_evaluation(
      model, optimizer, source.validation, config, strategy
    ),
    best="accuracy",
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


def make_train_step(
  model: keras.Model,
  optimizer: keras.optimizers.Optimizer,
  config: ml_collections.ConfigDict,
  strategy: tf.distribute.Strategy,
) -> Callable[[tuple[tf.Tensor, tf.Tensor]], dict[str, tf.Tensor]]:
  """Returns one replica's training step.

  It takes a batch (images, labels), updates the model, and returns the
  replica's share of the loss and the accuracy of the global batch.
  """
  replicas = strategy.num_replicas_in_sync
  clip = gradients.Clipping(config.optimizer.arguments, replicas)

  @tf.function(jit_compile=_uses_xla(config, strategy))
  def train_step(batch):
    images, labels = batch
    with tf.GradientTape() as tape:
      logits = model(images, training=True)
      losses = cross_entropy(logits, labels, config.label_smoothing)
      # The optimizer sums gradients over replicas.
      loss = tf.reduce_sum(losses) / config.global_batch_size
      penalty = l2_penalty(model, config.l2_penalty) / replicas
      objective = optimizer.scale_loss(loss + penalty)
    variables = model.trainable_variables
    optimizer.apply(clip(tape.gradient(objective, variables)), variables)
    correct = tf.reduce_sum(_is_correct(logits, labels))
    return {"loss": loss, "accuracy": correct / config.global_batch_size}

  return train_step


def _uses_xla(config, strategy):
  """Whether to compile one replica's step with XLA."""
  if config.jit_compile is not None:
    return config.jit_compile
  # On a CPU convolutions are faster without, and XLA on CPU and GPU compiles no
  # step in which replicas meet.
  gpus = tf.config.list_logical_devices("GPU")
  return bool(gpus) and strategy.num_replicas_in_sync == 1


def cross_entropy(
  logits: tf.Tensor, labels: tf.Tensor, label_smoothing: float = 0.0
) -> tf.Tensor:
  """Returns the cross entropy of each example, float32 of shape (batch,)."""
  classes = logits.shape[-1]
  targets = tf.one_hot(
    labels,
    classes,
    on_value=1.0 - label_smoothing + label_smoothing / classes,
    off_value=label_smoothing / classes,
  )
  return tf.nn.softmax_cross_entropy_with_logits(targets, logits)


def l2_penalty(model: keras.Model, coefficient: float) -> tf.Tensor:
  """Returns coefficient / 2 times the squared norm of all parameters.

  Its gradient is the `weight_decay` of PyTorch's SGD, which the paper's image
  experiments use: it goes through the momentum, and batch norm parameters and
  biases are not exempt.
  """
  if not coefficient:
    return tf.constant(0.0)
  return coefficient * tf.add_n(
    [tf.nn.l2_loss(v.value) for v in model.trainable_variables]
  )


def _is_correct(logits, labels):
  predictions = tf.argmax(logits, axis=-1, output_type=tf.int32)
  return tf.cast(predictions == labels, tf.float32)


def _make_evaluation(model, optimizer, split, config, strategy):
  """Returns a function that evaluates the model on the whole split."""
  batches = strategy.distribute_datasets_from_function(
    lambda context: input_pipeline.evaluation_batches(
      split,
      config.data,
      global_batch_size=config.global_batch_size,
      context=context,
    )
  )

  @tf.function(jit_compile=_uses_xla(config, strategy))
  def eval_step(images, labels, weights):
    logits = model(images, training=False)
    losses = cross_entropy(logits, labels)
    correct = _is_correct(logits, labels)
    return tf.stack(
      [
        tf.reduce_sum(losses * weights),
        tf.reduce_sum(correct * weights),
        tf.reduce_sum(weights),
      ]
    )

  @tf.function
  def sum_over_replicas(batch):
    parts = strategy.run(eval_step, args=batch)
    return strategy.reduce(tf.distribute.ReduceOp.SUM, parts, axis=None)

  def evaluate():
    with optimizers.weights_to_evaluate(model, optimizer):
      sums = sum(sum_over_replicas(batch) for batch in batches)
    loss, correct, count = sums.numpy().tolist()
    return {"loss": loss / count, "accuracy": correct / count}

  return evaluate
