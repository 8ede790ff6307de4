"""Training and evaluation of an image classifier."""

import functools
import os
from collections.abc import Callable, Sequence

import keras
import ml_collections
import tensorflow as tf

from trainers import loop, optimizers, schedules, tpu_compile
from trainers import workdir as workdir_lib
from trainers.image_classification import checks, input_pipeline, sources
from trainers.image_classification.model import make_model


def train(
  config: ml_collections.ConfigDict,
  workdir: str,
  data_dir: str | None,
  strategy: tf.distribute.Strategy,
) -> None:
  """Trains as `config` says, and leaves everything in `workdir`.

  That is config.json, source.json, metrics.jsonl, TensorBoard events,
  checkpoints, and the trained model.keras, which holds the slow weights and is
  there whole or not at all.

  Args:
    config: An experiment, as in configs/.
    workdir: Directory of the run; if it holds one of this config, it goes on.
    data_dir: Where the data is; see `sources.load`.
    strategy: How to use the devices.

  Raises:
    UserError: for what the user can put right.
  """
  checks.check_config(config, strategy)
  source = sources.load(config.data, data_dir)
  checks.check_source(config, source)
  plan = make_plan(config, source.train.size)
  # Not 0: TensorFlow reads a seed pair of zeros as none, and tests for it in a
  # way that fails where a dataset's seed is a tensor.
  keras.utils.set_random_seed(config.seed + 1)
  model, optimizer = make_model_and_optimizer(config, source, plan, strategy)
  # Not before the config proved sound.
  workdir_lib.claim(workdir, config=config.to_dict(), source=source.describe())

  task = loop.Task(
    model=model,
    optimizer=optimizer,
    train_data=lambda step: input_pipeline.train_batches(
      source.train,
      config.data,
      seed=config.seed,
      global_batch_size=config.global_batch_size,
      replica_batch_size=_replica_batch_size(config, strategy),
      first_step=step,
    ),
    train_step=make_train_step(model, optimizer, config, strategy),
    figures=("loss", "accuracy"),
    evaluate=_make_evaluation(
      model, optimizer, source.validation, config, strategy
    ),
  )
  try:
    loop.train(task, plan, strategy, workdir)
  except tf.errors.OpError as error:
    mistake = source.train.explain() or source.validation.explain()
    raise mistake or error from None
  path = os.path.join(workdir, "model.keras")
  partial = os.path.join(workdir, "partial.keras")
  with optimizers.weights_to_evaluate(model, optimizer):
    model.save(partial)
  tf.io.gfile.rename(partial, path, overwrite=True)
  print(f"Trained to step {plan.total_steps}: {path}")


def compile_for_tpu(
  config: ml_collections.ConfigDict, data_dir: str | None, slices: Sequence[str]
) -> int:
  """Compiles the training step for TPU slices, without a TPU.

  Args:
    config: An experiment, as in configs/.
    data_dir: Where the data is; see `sources.load`. Its size and classes count.
    slices: Names of TPU slices; see `tpu_compile.report`.

  Returns:
    The exit status: 0 if the step compiles for all of them and fits.

  Raises:
    UserError: for what the user can put right.
  """
  source = sources.load(config.data, data_dir)
  checks.check_source(config, source)
  plan = make_plan(config, source.train.size)

  def make_step(config, strategy):
    checks.check_config(config, strategy)
    model, optimizer = make_model_and_optimizer(config, source, plan, strategy)
    batches = input_pipeline.train_batches(
      source.train,
      config.data,
      seed=config.seed,
      global_batch_size=config.global_batch_size,
      replica_batch_size=_replica_batch_size(config, strategy),
      first_step=0,
    )
    step = make_train_step(model, optimizer, config, strategy)
    return step, batches.element_spec

  inner = ml_collections.ConfigDict(config)
  with inner.unlocked():
    inner.lookahead = None
  return tpu_compile.report(
    functools.partial(make_step, config),
    functools.partial(make_step, inner) if config.lookahead else None,
    slices,
    config.global_batch_size,
  )


def make_plan(config: ml_collections.ConfigDict, train_size: int) -> loop.Plan:
  """Returns the plan of an experiment on `train_size` examples."""
  steps_per_epoch = train_size // config.global_batch_size
  return loop.Plan(
    total_steps=loop.steps_in(config.num_epochs, steps_per_epoch),
    steps_per_epoch=steps_per_epoch,
    steps_per_loop=config.steps_per_loop,
    eval_every_steps=loop.steps_in(config.eval_every_epochs, steps_per_epoch),
    checkpoint_every_steps=loop.steps_in(
      config.checkpoint_every_epochs, steps_per_epoch
    ),
    global_batch_size=config.global_batch_size,
  )


def make_model_and_optimizer(
  config: ml_collections.ConfigDict,
  source: sources.Source,
  plan: loop.Plan,
  strategy: tf.distribute.Strategy,
) -> tuple[keras.Model, keras.optimizers.Optimizer]:
  """Returns the model of an experiment and its optimizer, both built."""
  with strategy.scope():
    model = make_model(
      config.model,
      image_shape=(config.data.image_size,) * 2 + (source.channels,),
      num_classes=len(source.class_names),
      synchronized=strategy.num_replicas_in_sync > 1,
    )
    optimizer = optimizers.make_optimizer(
      config,
      schedules.make_schedule(
        config.learning_rate, plan.steps_per_epoch, plan.total_steps
      ),
    )
    optimizer.build(model.trainable_variables)
    optimizers.check_replicas(optimizer, strategy.num_replicas_in_sync)
  return model, optimizer


def _replica_batch_size(config, strategy):
  return config.global_batch_size // strategy.num_replicas_in_sync


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
    gradients = tape.gradient(objective, model.trainable_variables)
    optimizer.apply(gradients, model.trainable_variables)
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
      replica_batch_size=_replica_batch_size(config, strategy),
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
