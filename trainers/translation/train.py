"""Training of a translation model."""

import contextlib
import functools
import math
import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainers import (
  agreement,
  files,
  initialization,
  loop,
  optimizers,
  summary,
  trained,
)
from trainers import workdir as workdir_lib
from trainers.devices import Runtime, set_seed
from trainers.input import Input
from trainers.translation import rows as rows_lib
from trainers.translation import step as step_lib
from trainers.translation import vocabulary
from trainers.translation.experiment import Experiment, make_model_and_slots
from trainers.translation.pipelines import BATCH_KEYS, RowsPipeline
from trainers.translation.trained import PROGRAM, Start, inherit_vocabulary
from trainers.translation.translator import Translator


def train(experiment: Experiment, run: Runtime) -> None:
  """Trains an experiment, and leaves everything in the workdir.

  The workdir then holds the records config.json, source.json, scoring.json,
  vocabulary.json and runtime.json, metrics.jsonl, TensorBoard events, the
  vocabulary, the training rows, checkpoints, the best checkpoint, the final
  translations, and results.json with their score.

  Args:
    experiment: From `experiment.load`, for the strategy of `run`.
    run: Where and how. If its workdir holds a run of this experiment, that run
      goes on.

  Raises:
    UserError: for what the user can put right.
    Interrupted: after a SIGTERM.
    KeyboardInterrupt: after a Ctrl-C, with a checkpoint if training had begun.
  """
  source = experiment.texts.source
  workdir_lib.check(run.workdir, **experiment.records)
  start = Start(run) if initialization.is_due(run) else None
  with contextlib.ExitStack() as stack:
    if run.is_chief:
      stack.enter_context(workdir_lib.locked(run.workdir))
    # Before the vocabulary is made: setting a seed makes TensorFlow forget its
    # kernels, and with them the model of every tokenizer.
    set_seed(experiment.seed)
    if run.init_from:
      words = inherit_vocabulary(run, start)
    else:
      words = vocabulary.load_or_train(
        source.train, experiment.vocabulary, run.workdir, run.is_chief
      )
    records = {**experiment.records, "vocabulary": words.describe()}
    workdir_lib.check(run.workdir, vocabulary=records["vocabulary"])
    agreement.check_same_records(agreement.make_gather(run.strategy), records)
    rows = rows_lib.training_rows(
      source.train, words, experiment.row_length, run.workdir, run.is_chief
    )
    plan = experiment.plan_on(len(rows.tokens))
    model = make_model_and_slots(
      experiment,
      words.size,
      run.strategy,
      initialization.make_prepare(start, experiment, run),
    )
    # Not before all processes agree: the workdir is this run's from now on.
    if run.is_chief:
      workdir_lib.claim(run.workdir, **records)
    loop.train(_make_task(model, words, rows, experiment, run), plan, run)


def _make_task(model, words, rows, experiment, run):
  """Returns what the loop trains, evaluates and ends with."""
  texts = experiment.texts
  notes = dict.fromkeys(texts.validation.notes + texts.final.notes)
  translator = _make_translator(
    model, words, experiment.decoding, experiment, run
  )
  return loop.Task(
    model=model,
    optimizer=experiment.optimizer,
    input=_make_input(rows, experiment, run.strategy),
    train_step=_make_train_step(model, experiment, run.strategy),
    metrics=("loss", "accuracy", "target_tokens"),
    evaluate=_make_evaluation(model, words, translator, experiment, run),
    best="bleu",
    counts=("target_tokens",),
    guessing_loss=math.log(words.size),
    title="Translation",
    facts=_facts(experiment, rows, words, model),
    notes=[("scores", note) for note in notes],
    unit="row",
    jit_compile=experiment.jit_compile,
    finish=functools.partial(_finish, model, translator, experiment, run),
  )


def make_step(
  experiment: Experiment, strategy: tf.distribute.Strategy
) -> tuple[Callable[[Any], Any], Any]:
  """Returns one replica's training step, and the specs of its batch.

  The vocabulary has the size that the config says.
  """
  model = make_model_and_slots(experiment, experiment.vocabulary.size, strategy)
  rows = experiment.rows_per_batch // strategy.num_replicas_in_sync
  spec = tf.TensorSpec((rows, experiment.row_length), tf.int32)
  step = _make_train_step(model, experiment, strategy)
  return step, dict.fromkeys(BATCH_KEYS, spec)


def _make_train_step(model, experiment, strategy):
  return step_lib.make_train_step(
    model,
    experiment.optimizer,
    experiment.label_smoothing,
    experiment.clipping,
    replicas=strategy.num_replicas_in_sync,
    jit_compile=experiment.jit_compile,
    jit_compile_loss=experiment.jit_compile_parts,
  )


def _make_input(rows, experiment, strategy):
  return Input(
    functools.partial(
      RowsPipeline, rows, experiment.rows_per_batch, experiment.seed
    ),
    strategy,
  )


def _make_translator(model, words, decoding, experiment, run):
  return Translator(
    model,
    words,
    decoding,
    run.strategy,
    jit_compile=experiment.jit_compile_search,
    is_chief=run.is_chief,
  )


def _make_evaluation(model, words, translator, experiment, run):
  """Returns a function that gives the loss and BLEU of the slow weights."""
  rows = rows_lib.evaluation_rows(
    experiment.texts.source.validation,
    words,
    experiment.row_length,
    run.is_chief,
  )
  loss = step_lib.make_loss(
    model,
    _make_input(rows, experiment, run.strategy),
    run.strategy,
    jit_compile=experiment.jit_compile_search,
  )
  scored = experiment.texts.validation
  if experiment.eval_decoding != experiment.decoding:
    translator = _make_translator(
      model, words, experiment.eval_decoding, experiment, run
    )

  def evaluate():
    with optimizers.weights_to_evaluate(model, experiment.optimizer):
      metrics = loss()
      score, _ = scored.score(translator(scored.sentences))
    return {**metrics, "bleu": score}

  return evaluate


def _finish(model, translator, experiment, run, checkpoints):
  """Scores the final weights, and writes the scores and the translations."""
  scored = experiment.texts.final
  chosen = trained.restore_weights(
    experiment.final_weights,
    checkpoints,
    model,
    experiment.optimizer,
    PROGRAM,
    experiment.average_checkpoints,
  )
  translations = translator(scored.sentences)
  score, signature = scored.score(translations)
  if run.is_chief:
    results = {
      "split": scored.name,
      "sentences": len(scored.sentences),
      "weights": chosen,
      "bleu": score,
      "signature": signature,
    }
    path = os.path.join(run.workdir, f"{scored.name}.translations")
    with files.writing(path):
      files.write_whole(path, "".join(f"{line}\n" for line in translations))
    trained.save_results(results, run.workdir)
    told = f"{score:.2f} ({chosen}) {signature}"
    print(_end_block(run.workdir, scored.name, told))


def _facts(experiment, rows, words, model):
  """Returns what is told of an experiment at its start."""
  texts = experiment.texts
  source = texts.source
  held, left_out = rows.tell()
  others = [split for split in (source.validation, source.test) if split]
  return [
    ("train", held),
    *((split.name, summary.counted(split.size, "pair")) for split in others),
    ("left out", left_out),
    ("vocabulary", summary.counted(words.size, "subword")),
    ("model", summary.model("Transformer", model)),
    *experiment.optimizer_lines,
  ]


def _end_block(workdir, split, score):
  """Returns what is told at the end of a run."""
  programs = {
    name: summary.command(
      f"trainers.translation.{name}", f"--workdir={workdir}", *arguments
    )
    for name, arguments in (
      ("translate", ("--input=FILE", "--output=NEW_FILE")),
      ("export", ("--output=NEW_FOLDER",)),
    )
  }
  return summary.end(
    f"Trained: {workdir}",
    [
      (f"{split} BLEU", score),
      *summary.outcome(workdir, "bleu"),
      ("translations", os.path.join(workdir, f"{split}.translations")),
      ("scores", os.path.join(workdir, "results.json")),
      *summary.files(workdir),
      summary.going_on("num_steps"),
    ],
    [
      ("translate a text file, a sentence a line", programs["translate"]),
      ("export a saved model from text to text", programs["export"]),
      summary.curves(workdir),
    ],
  )
