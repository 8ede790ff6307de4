"""What a config describes: a plan, a model, an optimizer and a step."""

from collections.abc import Sequence

import keras
import ml_collections
import tensorflow as tf

from trainers import optimizers, plan, tpu_compile
from trainers.errors import UserError
from trainers.factors import Factors
from trainers.translation import checks, input_pipeline, training_step
from trainers.translation.model import Transformer, make_model
from trainers.translation.prepared import Rows


def rows_per_batch(
  config: ml_collections.ConfigDict, strategy: tf.distribute.Strategy
) -> int:
  """Returns the rows of a global batch.

  Raises:
    UserError: if they are not the same whole number for each replica.
  """
  return input_pipeline.rows_per_batch(
    config.global_batch_tokens,
    config.data.max_length,
    strategy.num_replicas_in_sync,
  )


def make_plan(
  config: ml_collections.ConfigDict,
  rows: Rows,
  batch_size: int,
  profile_steps: tuple[int, int] | None = None,
) -> plan.Plan:
  """Returns the plan of an experiment.

  Args:
    config: The experiment.
    rows: What is trained on.
    batch_size: Rows in a step, over all replicas.
    profile_steps: As in `plan.Plan`.

  Raises:
    UserError: if there is less than one batch of rows.
  """
  size = len(rows.tokens)
  if batch_size > size:
    raise UserError(
      f"global_batch_tokens={config.global_batch_tokens} is more than the "
      f"{size * config.data.max_length} of all {size} rows of training text."
    )
  return plan.Plan(
    total_steps=config.num_steps,
    steps_per_epoch=size // batch_size,
    steps_per_loop=config.steps_per_loop,
    eval_every_steps=config.eval_every_steps,
    checkpoint_every_steps=config.checkpoint_every_steps,
    global_batch_size=batch_size,
    keep_checkpoints=config.keep_checkpoints,
    profile_steps=profile_steps,
  )


def make_optimizer(
  config: ml_collections.ConfigDict, strategy: tf.distribute.Strategy
) -> keras.optimizers.Optimizer:
  """Returns the optimizer of an experiment, not built.

  Raises:
    UserError: for a wrong name or argument.
  """
  rate = config.learning_rate
  return optimizers.make_optimizer(
    config,
    Factors(
      rate.factors, rate.constant, rate.warmup_steps, config.model.d_model
    ),
    strategy.num_replicas_in_sync,
  )


def make_model_and_optimizer(
  config: ml_collections.ConfigDict,
  vocabulary_size: int,
  strategy: tf.distribute.Strategy,
) -> tuple[Transformer, keras.optimizers.Optimizer]:
  """Returns the model of an experiment and its optimizer, both built."""
  with strategy.scope():
    model = make_model(
      config.model, vocabulary_size, training_step.uses_xla(config, strategy)
    )
    optimizer = make_optimizer(config, strategy)
    optimizer.build(model.trainable_variables)
  return model, optimizer


def compile_for_tpu(
  config: ml_collections.ConfigDict, data_dir: str | None, slices: Sequence[str]
) -> int:
  """Compiles the training step for TPU slices, without a TPU.

  It takes no data: a vocabulary has the size that the config says.

  Args:
    config: An experiment, as in configs/.
    data_dir: Not used.
    slices: Names of TPU slices; see `tpu_compile.report`.

  Returns:
    The exit status: 0 if the step compiles for all of them and fits.

  Raises:
    UserError: for what the user can put right.
  """
  del data_dir
  return tpu_compile.report_config(
    _make_step, config, slices, config.global_batch_tokens, "tokens"
  )


def _make_step(config, strategy):
  checks.check_config(config, strategy)
  rows = rows_per_batch(config, strategy) // strategy.num_replicas_in_sync
  model, optimizer = make_model_and_optimizer(
    config, config.vocabulary.size, strategy
  )
  spec = tf.TensorSpec((rows, config.data.max_length), tf.int32)
  step = training_step.make_train_step(model, optimizer, config, strategy)
  return step, dict.fromkeys(training_step.BATCH_KEYS, spec)
