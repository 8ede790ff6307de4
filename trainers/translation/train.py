"""Training of a translation model."""

import contextlib
import functools
import json
import os
from collections.abc import Callable, Sequence

import keras
import ml_collections
import tensorflow as tf

from trainers import (
  errors,
  loop,
  optimizers,
  plan,
  runtime,
  tpu_compile,
  workers,
)
from trainers import workdir as workdir_lib
from trainers.checkpoints import Checkpoints
from trainers.factors import Factors
from trainers.translation import (
  checks,
  evaluation,
  input_pipeline,
  prepared,
  scoring,
  sources,
  training_step,
  vocabulary,
  weights,
)
from trainers.translation.model import Transformer, make_model
from trainers.translation.sources import Source, Split
from trainers.translation.translator import Translator
from trainers.translation.vocabulary import Vocabulary


def train(config: ml_collections.ConfigDict, run: runtime.Runtime) -> None:
  """Trains as `config` says, and leaves everything in the workdir.

  That is the records config.json, source.json, vocabulary.json and
  runtime.json, metrics.jsonl, TensorBoard events, the vocabulary, the rows that
  were trained on, checkpoints, the best checkpoint, and results.json with the
  final scores.

  Args:
    config: An experiment, as in configs/.
    run: Where and how. If its workdir holds a run of this config, that goes on.

  Raises:
    UserError: for what the user can put right.
    Interrupted: after a SIGTERM.
  """
  strategy = run.strategy
  checks.check_config(config, strategy)
  rows_per_batch = _rows_per_batch(config, strategy)
  source = sources.load(config.data, run.data_dir)
  with contextlib.ExitStack() as stack:
    if run.is_chief:
      stack.enter_context(workdir_lib.locked(run.workdir))
    records = {
      "config": config.to_dict(),
      "source": source.describe(),
      "runtime": {"precision": runtime.precision()},
    }
    workdir_lib.check(run.workdir, **records)
    words = vocabulary.load_or_train(
      source.train, config.vocabulary, run.workdir, run.is_chief
    )
    rows = prepared.training_rows(
      source.train, words, config.data.max_length, run.workdir, run.is_chief
    )
    steps = make_plan(config, rows, rows_per_batch, run.profile_steps)
    # Not 0: see the image trainer.
    keras.utils.set_random_seed(config.seed + 1)
    model, optimizer = make_model_and_optimizer(config, words.size, strategy)
    if run.is_chief:  # Not before the config proved sound.
      workdir_lib.claim(run.workdir, **records, vocabulary=words.describe())
    loop.train(
      _make_task(model, optimizer, source, words, rows, config, run), steps, run
    )
    _wait_for_all(strategy)  # For the last checkpoint to be there.
    _score(model, optimizer, source, words, config, run)


def _rows_per_batch(config, strategy):
  return input_pipeline.rows_per_batch(
    config.global_batch_tokens,
    config.data.max_length,
    strategy.num_replicas_in_sync,
  )


def _make_task(model, optimizer, source, words, rows, config, run):
  rows_per_batch = _rows_per_batch(config, run.strategy)
  return loop.Task(
    model=model,
    optimizer=optimizer,
    train_data=lambda first_step, context: input_pipeline.train_batches(
      rows,
      seed=config.seed,
      global_batch_size=rows_per_batch,
      first_step=first_step,
      context=context,
    ),
    train_step=training_step.make_train_step(
      model, optimizer, config, run.strategy
    ),
    figures=("loss", "accuracy", "target_tokens"),
    evaluate=_make_evaluation(model, optimizer, source, words, config, run),
    best="bleu",
    counts=("target_tokens",),
  )


def _make_evaluation(
  model, optimizer, source, words, config, run
) -> Callable[[], dict[str, float]]:
  """Returns a function that gives the loss and BLEU of the slow weights."""
  split = source.validation
  loss = evaluation.make_loss(
    model,
    prepared.evaluation_rows(
      split, words, config.data.max_length, run.is_chief
    ),
    config,
    _rows_per_batch(config, run.strategy),
    run.strategy,
  )
  translator = Translator(
    model,
    words,
    config.decoding,
    run.strategy,
    beam_size=config.eval_beam_size,
    is_chief=run.is_chief,
  )
  sentences, references = (
    column[: config.eval_sentences] for column in split.columns()
  )

  def evaluate():
    with optimizers.weights_to_evaluate(model, optimizer):
      figures = loss()
      score, _ = scoring.bleu(translator(sentences), references)
    return {**figures, "bleu": score}

  return evaluate


def _score(model, optimizer, source, words, config, run):
  """Scores the final weights, and writes the scores and the translations."""
  checkpoints = Checkpoints(run.workdir, model, optimizer)
  chosen = weights.restore(
    config.final_weights,
    checkpoints,
    model,
    optimizer,
    config.average_checkpoints,
  )
  translator = Translator(
    model, words, config.decoding, run.strategy, is_chief=run.is_chief
  )
  results = {"weights": chosen}
  for split in filter(None, (source.validation, source.test)):
    sentences, references = split.columns()
    translations = translator(sentences)
    score, signature = scoring.bleu(translations, references)
    results[split.name] = {"bleu": score, "sentences": split.size}
    results["signature"] = signature
    if run.is_chief:
      _write(run.workdir, f"{split.name}.translations", translations)
      print(f"{split.name}: BLEU {score:.2f} ({chosen}) {signature}")
  if run.is_chief:
    _write(run.workdir, "results.json", [json.dumps(results, indent=2)])


def _write(directory, name, lines):
  path = os.path.join(directory, name)
  with errors.writing(path):
    workdir_lib.write_whole(path, "".join(f"{line}\n" for line in lines))


def _wait_for_all(strategy):
  workers.make_gather(strategy)(0)


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
  rows = _rows_per_batch(config, strategy) // strategy.num_replicas_in_sync
  model, optimizer = make_model_and_optimizer(
    config, config.vocabulary.size, strategy
  )
  spec = tf.TensorSpec((rows, config.data.max_length), tf.int32)
  step = training_step.make_train_step(model, optimizer, config, strategy)
  return step, dict.fromkeys(training_step.BATCH_KEYS, spec)


def make_plan(
  config: ml_collections.ConfigDict,
  rows: prepared.Rows,
  rows_per_batch: int,
  profile_steps: tuple[int, int] | None = None,
) -> plan.Plan:
  """Returns the plan of an experiment.

  Args:
    config: The experiment.
    rows: What is trained on.
    rows_per_batch: Over all replicas.
    profile_steps: As in `plan.Plan`.

  Raises:
    UserError: if there is less than one batch of rows.
  """
  size = len(rows.tokens)
  if rows_per_batch > size:
    raise errors.UserError(
      f"global_batch_tokens={config.global_batch_tokens} is more than the "
      f"{size * config.data.max_length} of all {size} rows of training text."
    )
  return plan.Plan(
    total_steps=config.num_steps,
    steps_per_epoch=size // rows_per_batch,
    steps_per_loop=config.steps_per_loop,
    eval_every_steps=config.eval_every_steps,
    checkpoint_every_steps=config.checkpoint_every_steps,
    global_batch_size=rows_per_batch,
    keep_checkpoints=config.keep_checkpoints,
    profile_steps=profile_steps,
  )


def make_model_and_optimizer(
  config: ml_collections.ConfigDict,
  vocabulary_size: int,
  strategy: tf.distribute.Strategy,
) -> tuple[Transformer, keras.optimizers.Optimizer]:
  """Returns the model of an experiment and its optimizer, both built."""
  rate = config.learning_rate
  with strategy.scope():
    model = make_model(config.model, vocabulary_size)
    optimizer = optimizers.make_optimizer(
      config,
      Factors(
        rate.factors, rate.constant, rate.warmup_steps, config.model.d_model
      ),
      strategy.num_replicas_in_sync,
    )
    optimizer.build(model.trainable_variables)
  return model, optimizer
