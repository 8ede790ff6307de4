"""Training of a language model."""

import functools
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from trainers import (
  averaging,
  initialization,
  loop,
  optimizers,
  summary,
  trained,
)
from trainers import workdir as workdir_lib
from trainers.devices import Runtime, set_seed
from trainers.input import Input
from trainers.language_modeling import segments, vocabulary
from trainers.language_modeling import step as step_lib
from trainers.language_modeling.experiment import (
  Experiment,
  make_model_and_slots,
  make_progress,
)
from trainers.language_modeling.model import AwdLstm
from trainers.language_modeling.pipelines import (
  EvaluationPipeline,
  TrainingPipeline,
)
from trainers.language_modeling.sources import SPLITS
from trainers.language_modeling.state import CarriedState
from trainers.language_modeling.trained import PROGRAM, Start


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
    KeyboardInterrupt: after a Ctrl-C, with a checkpoint if training had begun.
  """
  strategy, words = run.strategy, experiment.texts.words
  start = Start(run) if initialization.is_due(run) else None

  set_seed(experiment.seed)
  model = make_model_and_slots(
    experiment,
    words.size,
    strategy,
    initialization.make_prepare(start, experiment, run),
  )
  progress = make_progress(experiment, strategy)
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
    make_ready=progress.carried.gather,
    on_evaluation=_make_observer(experiment),
    finish=functools.partial(_finish, model, experiment, run),
    guessing_loss=math.log(words.size),
    title="Language modeling",
    facts=_facts(experiment, model),
    unit="column",
    jit_compile=experiment.jit_compile,
  )
  with workdir_lib.owned(run, experiment.records):
    if run.is_chief:
      vocabulary.save(words, run.workdir)
    loop.train(task, experiment.plan, run)


def make_step(
  experiment: Experiment, strategy: tf.distribute.Strategy
) -> tuple[Callable[[Any], Any], Any]:
  """Returns one replica's training step, and the specs of its batch."""
  model = make_model_and_slots(
    experiment, experiment.texts.words.size, strategy
  )
  step = _make_train_step(
    model, make_progress(experiment, strategy), experiment, strategy
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
  context = experiment.eval_context
  count = segments.evaluation_column_count(
    len(tokens), experiment.eval_columns, context
  )
  columns, weights = segments.evaluation_columns(tokens, count, context)
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
    jit_compile_loss=experiment.jit_compile_loss,
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


def _finish(model, experiment, run, checkpoints):
  """Evaluates the final weights, and writes them and their perplexity."""
  tokens = experiment.texts.tokens
  split = "test" if "test" in tokens else "validation"
  chosen = trained.restore_weights(
    experiment.final_weights,
    checkpoints,
    model,
    experiment.optimizer,
    PROGRAM,
  )
  values = make_perplexity(model, tokens[split], experiment, run.strategy)()
  if run.is_chief:
    trained.save_keras_model(model, os.path.join(run.workdir, "model.keras"))
    results = {
      "split": split,
      "words": len(tokens[split]),
      "weights": chosen,
      **values,
    }
    trained.save_results(results, run.workdir)
    told = f"{values['perplexity']:.2f} ({chosen})"
    print(_end_block(run.workdir, split, told))


def _facts(experiment, model):
  """Returns what is told of an experiment at its start."""
  source = experiment.texts.source
  kind = "made-up word" if source.is_made_up else "word"
  facts = [
    (
      name,
      f"{summary.counted(split.words, kind)} in "
      f"{summary.counted(split.lines, 'line')}",
    )
    for name in SPLITS
    if (split := getattr(source, name))
  ]
  return [
    *facts,
    ("vocabulary", summary.counted(experiment.texts.words.size, "word")),
    ("model", summary.model("AWD-LSTM", model)),
    *experiment.optimizer_lines,
  ]


def _end_block(workdir, split, perplexity):
  """Returns what is told at the end of a run."""
  programs = {
    name: summary.command(
      f"trainers.language_modeling.{name}", f"--workdir={workdir}", argument
    )
    for name, argument in (
      ("generate", "--prompt=WORDS"),
      ("evaluate", "--input=FILE"),
    )
  }
  return summary.end(
    f"Trained: {workdir}",
    [
      (f"{split} perplexity", perplexity),
      *summary.outcome(workdir, "perplexity", is_least=True),
      ("final model", os.path.join(workdir, "model.keras")),
      ("scores", os.path.join(workdir, "results.json")),
      *summary.files(workdir),
      summary.going_on("num_epochs"),
    ],
    [
      ("continue a text", programs["generate"]),
      ("compute the perplexity of a text file", programs["evaluate"]),
      summary.curves(workdir),
    ],
  )
