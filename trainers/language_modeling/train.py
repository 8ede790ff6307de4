"""Training of a language model."""

import contextlib
import functools
import json
import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainers import (
  agreement,
  averaging,
  errors,
  files,
  loop,
  optimizers,
  trained,
)
from trainers import workdir as workdir_lib
from trainers.checkpoints import Checkpoints
from trainers.devices import Runtime
from trainers.input import Input
from trainers.language_modeling import segments
from trainers.language_modeling import step as step_lib
from trainers.language_modeling.carried_state import CarriedState
from trainers.language_modeling.experiment import Experiment
from trainers.language_modeling.model import AwdLstm, make_model
from trainers.language_modeling.pipelines import (
  EvaluationPipeline,
  TrainingPipeline,
)

PROGRAM = "trainers.language_modeling"
WORDS_FILE = "words.txt"


class Progress(tf.Module):
  """What a checkpoint holds beside model, optimizer and step.

  Attributes:
    carried: The state of the LSTM behind the last segment.
    factors: Of the learning rate.
  """

  def __init__(self, experiment: Experiment, strategy: tf.distribute.Strategy):
    super().__init__()
    self.carried = CarriedState(
      experiment.architecture.widths(), experiment.columns, strategy
    )
    self.factors = experiment.factors


def train(experiment: Experiment, run: Runtime) -> None:
  """Trains an experiment, and leaves everything in the workdir.

  That is the records config.json, source.json, vocabulary.json and
  runtime.json, the words, metrics.jsonl, TensorBoard events, checkpoints, the
  best checkpoint, model.keras with the final weights, and results.json with
  their perplexity.

  Args:
    experiment: From `experiment.load`, for the strategy of `run`.
    run: Where and how. If its workdir holds a run of this experiment, that run
      goes on.

  Raises:
    UserError: for what the user can put right.
    Interrupted: after a SIGTERM.
  """
  strategy, texts = run.strategy, experiment.texts
  keras.utils.set_random_seed(experiment.seed + 1)
  model = make_model_and_slots(experiment, texts.words.size, strategy)
  progress = Progress(experiment, strategy)
  task = loop.Task(
    model=model,
    optimizer=experiment.optimizer,
    input=_make_input(experiment, strategy),
    train_step=_make_train_step(model, progress, experiment, strategy),
    metrics=("loss", "accuracy", "words"),
    evaluate=_make_evaluation(model, experiment, strategy),
    best="perplexity",
    best_is_least=True,
    counts=("words",),
    state=progress,
    on_evaluation=_make_observer(experiment),
  )
  agreement.check_same_records(
    agreement.make_gather(strategy), experiment.records
  )
  with contextlib.ExitStack() as stack:
    if run.is_chief:
      stack.enter_context(workdir_lib.locked(run.workdir))
      # Not before all processes agree: the workdir is this run's from now on.
      workdir_lib.claim(run.workdir, **experiment.records)
      _write(run.workdir, WORDS_FILE, "\n".join(texts.words.words) + "\n")
    loop.train(task, experiment.plan, run)
    with errors.interrupted_by_lost_hosts(strategy):
      agreement.wait_for_all(strategy)  # The last checkpoint is there.
      _finish(model, progress, experiment, run)


def make_model_and_slots(
  experiment: Experiment,
  vocabulary_size: int,
  strategy: tf.distribute.Strategy,
) -> AwdLstm:
  """Returns the model of an experiment, after building its optimizer."""
  with strategy.scope():
    model = make_model(experiment.architecture, vocabulary_size)
    experiment.optimizer.build(model.trainable_variables)
  return model


def make_step(
  experiment: Experiment, strategy: tf.distribute.Strategy
) -> tuple[Callable[[Any], Any], Any]:
  """Returns one replica's training step, and the specs of its batch."""
  model = make_model_and_slots(
    experiment, experiment.texts.words.size, strategy
  )
  step = _make_train_step(
    model, Progress(experiment, strategy), experiment, strategy
  )
  rows = experiment.columns // strategy.num_replicas_in_sync
  shape = (rows, experiment.lengths.longest + 1)
  return step, {
    "tokens": tf.TensorSpec(shape, tf.int32),
    "size": tf.TensorSpec((), tf.int32),
    "is_first": tf.TensorSpec((), tf.bool),
    "step": tf.TensorSpec((), tf.int32),
  }


def make_perplexity(
  model: AwdLstm,
  tokens: np.ndarray,
  experiment: Experiment,
  strategy: tf.distribute.Strategy,
) -> Callable[[], dict[str, float]]:
  """Returns a function that evaluates the model's weights on a text.

  Args:
    model: The model.
    tokens: int32 of shape (words,).
    experiment: Whose model it is.
    strategy: The strategy that the model was made for.
  """
  columns, weights = segments.evaluation_columns(
    tokens, experiment.eval_columns, experiment.eval_context
  )
  replicas = strategy.num_replicas_in_sync
  rows = -(-len(columns) // replicas) * replicas
  length = min(experiment.lengths.longest, weights.shape[1])
  return step_lib.make_perplexity(
    model,
    Input(
      functools.partial(EvaluationPipeline, columns, weights, length),
      strategy,
    ),
    CarriedState(experiment.architecture.widths(), rows, strategy),
    strategy,
    jit_compile=experiment.jit_compile,
  )


def _make_input(experiment, strategy):
  columns = segments.training_columns(
    experiment.texts.tokens["train"], experiment.columns
  )
  plan = experiment.plan
  table = experiment.segments.table(
    -(-plan.total_steps // plan.steps_per_epoch)
  )
  return Input(
    functools.partial(
      TrainingPipeline, columns, table, experiment.lengths.longest
    ),
    strategy,
  )


def _make_train_step(model, progress, experiment, strategy):
  return step_lib.make_train_step(
    model,
    experiment.optimizer,
    experiment.objective,
    experiment.clipping,
    progress.carried,
    progress.factors,
    experiment.lengths.fixed,
    replicas=strategy.num_replicas_in_sync,
    jit_compile=experiment.jit_compile,
  )


def _make_evaluation(model, experiment, strategy):
  """Returns a function that evaluates the slow weights on the validation."""
  perplexity = make_perplexity(
    model, experiment.texts.tokens["validation"], experiment, strategy
  )

  def evaluate():
    with optimizers.weights_to_evaluate(model, experiment.optimizer):
      return perplexity()

  return evaluate


def _make_observer(experiment):
  """Returns a function of the metrics of an evaluation."""
  observe = averaging.observer(experiment.optimizer)

  def on_evaluation(evaluated):
    experiment.factors.observe(evaluated["loss"])
    if observe:
      observe(evaluated["loss"])

  return on_evaluation


def _finish(model, progress, experiment, run):
  """Evaluates the final weights, and writes them and their perplexity."""
  tokens = experiment.texts.tokens
  split = "test" if "test" in tokens else "validation"
  chosen = trained.restore_weights(
    experiment.final_weights,
    Checkpoints(run.workdir, model, experiment.optimizer, state=progress),
    model,
    experiment.optimizer,
    PROGRAM,
  )
  values = make_perplexity(model, tokens[split], experiment, run.strategy)()
  if run.is_chief:
    _save_model(model, run.workdir)
    results = {
      "split": split,
      "words": len(tokens[split]),
      "weights": chosen,
      **values,
    }
    text = json.dumps(results, indent=2) + "\n"
    _write(run.workdir, "results.json", text)
    print(f"{split}: perplexity {values['perplexity']:.2f} ({chosen})")


def _save_model(model, workdir):
  path = os.path.join(workdir, "model.keras")
  partial = os.path.join(workdir, "partial.keras")
  with files.writing(
    path, on_error=functools.partial(tf.io.gfile.remove, partial)
  ):
    model.save(partial)
    tf.io.gfile.rename(partial, path, overwrite=True)


def _write(workdir, name, content):
  path = os.path.join(workdir, name)
  with files.writing(path):
    files.write_whole(path, content)
