"""Training of a translation model."""

import contextlib
import json
import os
from collections.abc import Callable

import keras
import ml_collections

from trainers import (
  errors,
  interruption,
  loop,
  optimizers,
  runtime,
  workers,
)
from trainers import workdir as workdir_lib
from trainers.checkpoints import Checkpoints
from trainers.translation import (
  checks,
  evaluation,
  experiment,
  input_pipeline,
  prepared,
  scoring,
  sources,
  training_step,
  vocabulary,
  weights,
)
from trainers.translation.translator import Translator


def train(config: ml_collections.ConfigDict, run: runtime.Runtime) -> None:
  """Trains as `config` says, and leaves everything in the workdir.

  That is the records config.json, source.json, scoring.json, vocabulary.json
  and runtime.json, metrics.jsonl, TensorBoard events, the vocabulary, the rows
  that were trained on, checkpoints, the best checkpoint, and results.json with
  the final scores.

  Args:
    config: An experiment, as in configs/.
    run: Where and how. If its workdir holds a run of this config, that goes on.

  Raises:
    UserError: for what the user can put right.
    Interrupted: after a SIGTERM.
  """
  strategy = run.strategy
  checks.check_config(config, strategy)
  experiment.make_optimizer(config, strategy)  # For its mistakes to be told.
  rows_per_batch = experiment.rows_per_batch(config, strategy)
  source = sources.load(config.data, run.data_dir)
  # Now, for what is wrong with these texts to be told.
  validation, final = _texts_to_score(source, config)
  if run.is_chief:
    for note in dict.fromkeys(validation.notes + final.notes):
      print(note)
  with contextlib.ExitStack() as stack:
    if run.is_chief:
      stack.enter_context(workdir_lib.locked(run.workdir))
    records = {
      "config": config.to_dict(),
      "source": source.describe(),
      "scoring": {
        "evaluation": validation.bleu.describe(),
        "final": final.bleu.describe(),
      },
      "runtime": {"precision": runtime.precision()},
    }
    workdir_lib.check(run.workdir, **records)
    # Not 0: see the image trainer. And not later: TensorFlow then forgets its
    # kernels, and with them the model of every tokenizer.
    keras.utils.set_random_seed(config.seed + 1)
    words = vocabulary.load_or_train(
      source.train, config.vocabulary, run.workdir, run.is_chief
    )
    records["vocabulary"] = words.describe()
    workdir_lib.check(run.workdir, vocabulary=records["vocabulary"])
    workers.check_same_records(workers.make_gather(strategy), records)
    rows = prepared.training_rows(
      source.train, words, config.data.max_length, run.workdir, run.is_chief
    )
    steps = experiment.make_plan(
      config, rows, rows_per_batch, run.profile_steps
    )
    model, optimizer = experiment.make_model_and_optimizer(
      config, words.size, strategy
    )
    if run.is_chief:  # Not before the config proved sound.
      workdir_lib.claim(run.workdir, **records)
    translator = Translator(
      model,
      words,
      config.decoding,
      strategy,
      jit_compile=training_step.uses_xla(config, strategy),
      is_chief=run.is_chief,
    )
    task = _make_task(
      model, optimizer, source, validation, words, rows, translator, config, run
    )
    loop.train(task, steps, run)
    with interruption.of_lost_hosts(strategy):
      _wait_for_all(strategy)  # For the last checkpoint to be there.
      _score(model, optimizer, final, translator, config, run)


def _texts_to_score(source, config):
  """Returns what is scored during the training, and at its end."""
  language = config.data.target_language
  return (
    scoring.prepare(source.validation, language, config.eval_sentences),
    scoring.prepare(source.test or source.validation, language),
  )


def _make_task(
  model, optimizer, source, validation, words, rows, translator, config, run
):
  rows_per_batch = experiment.rows_per_batch(config, run.strategy)
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
    evaluate=_make_evaluation(
      model,
      optimizer,
      source.validation,
      validation,
      words,
      translator,
      config,
      run,
    ),
    best="bleu",
    counts=("target_tokens",),
  )


def _make_evaluation(
  model, optimizer, split, scored, words, translator, config, run
) -> Callable[[], dict[str, float]]:
  """Returns a function that gives the loss and BLEU of the slow weights."""
  loss = evaluation.make_loss(
    model,
    prepared.evaluation_rows(
      split, words, config.data.max_length, run.is_chief
    ),
    config,
    experiment.rows_per_batch(config, run.strategy),
    run.strategy,
  )
  if config.eval_beam_size:
    translator = Translator(
      model,
      words,
      config.decoding,
      run.strategy,
      beam_size=config.eval_beam_size,
      jit_compile=training_step.uses_xla(config, run.strategy),
      is_chief=run.is_chief,
    )

  def evaluate():
    with optimizers.weights_to_evaluate(model, optimizer):
      figures = loss()
      score, _ = scored.score(translator(scored.sentences))
    return {**figures, "bleu": score}

  return evaluate


def _score(model, optimizer, scored, translator, config, run):
  """Scores the final weights, and writes the scores and the translations."""
  chosen = weights.restore(
    config.final_weights,
    Checkpoints(run.workdir, model, optimizer),
    model,
    optimizer,
    config.average_checkpoints,
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
    _write(run.workdir, f"{scored.name}.translations", translations)
    _write(run.workdir, "results.json", [json.dumps(results, indent=2)])
    print(f"{scored.name}: BLEU {score:.2f} ({chosen}) {signature}")


def _write(directory, name, lines):
  path = os.path.join(directory, name)
  with errors.writing(path):
    workdir_lib.write_whole(path, "".join(f"{line}\n" for line in lines))


def _wait_for_all(strategy):
  workers.make_gather(strategy)(0)
