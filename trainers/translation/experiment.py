"""A translation config, unpacked into plain values."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import ml_collections
import tensorflow as tf

from trainers import devices, initialization, optimizers, summary
from trainers.errors import UserError
from trainers.experiment import of_record as config_of_record
from trainers.experiment import (
  read_learning_rate,
  read_optimizer,
  smaller_batch,
)
from trainers.plan import Plan
from trainers.translation import checks, scoring, sources, vocabulary
from trainers.translation.layers import Architecture
from trainers.translation.model import Transformer, make_model
from trainers.translation.translator import Decoding


@dataclasses.dataclass(frozen=True)
class Texts:
  """The text of an experiment.

  Attributes:
    source: The data set.
    validation: What is scored during the training.
    final: What is scored at its end.
  """

  source: sources.Source
  validation: scoring.Scored
  final: scoring.Scored


@dataclasses.dataclass(frozen=True)
class Experiment:
  """What a config describes, on some text and with a strategy.

  Attributes:
    seed: Seed of the model and of the order, in [0, 2**32 - 2].
    texts: The text, or None if the step is compiled only.
    vocabulary: How the vocabulary is trained.
    row_length: Tokens in a row, on each side.
    rows_per_batch: Rows in a step, over all replicas.
    replicas: Number of replicas.
    architecture: Of the model.
    optimizer: Not built.
    clipping: Of the gradients.
    label_smoothing: In [0, 1).
    plan: What the loop does at which step; `plan_on` says how long an epoch is.
    decoding: How the final translations are made.
    eval_decoding: How translations are made during the training.
    final_weights: Which weights make the final translations, one of
      `checks.WEIGHTS`.
    average_checkpoints: How many checkpoints are averaged.
    jit_compile: Whether XLA compiles one replica's step.
    jit_compile_parts: Whether XLA compiles dropout and the loss, in a step that
      XLA does not compile.
    jit_compile_search: Whether XLA compiles the search, and evaluation.
    optimizer_lines: What is told of the optimizer at the start.
    records: All that decides the result of the run but for the vocabulary,
      JSON-like dictionaries.
  """

  seed: int
  texts: Texts | None
  vocabulary: vocabulary.Recipe
  row_length: int
  rows_per_batch: int
  replicas: int
  architecture: Architecture
  optimizer: keras.optimizers.Optimizer
  clipping: optimizers.Clipping
  label_smoothing: float
  plan: Plan
  decoding: Decoding
  eval_decoding: Decoding
  final_weights: str
  average_checkpoints: int
  jit_compile: bool
  jit_compile_parts: bool
  jit_compile_search: bool
  optimizer_lines: Sequence[summary.Line]
  records: Mapping[str, Mapping[str, Any]]

  def plan_on(self, rows: int) -> Plan:
    """Returns the plan on so many rows to train on.

    Raises:
      UserError: if that is less than one batch.
    """
    if self.rows_per_batch > rows:
      proposed = self.row_length * smaller_batch(rows, self.replicas)
      raise UserError(
        f"global_batch_tokens={self.rows_per_batch * self.row_length} is more "
        f"than the {rows * self.row_length} of all {rows} rows of training "
        f"text: try --config.global_batch_tokens={proposed}"
      )
    return dataclasses.replace(
      self.plan, steps_per_epoch=rows // self.rows_per_batch
    )


def load(config: ml_collections.ConfigDict, run: devices.Runtime) -> Experiment:
  """Returns the experiment of a config, on the text that it names.

  Args:
    config: An experiment, as in configs/.
    run: Where the text is, and which devices to use.

  Raises:
    UserError: for a value that cannot be trained with, and for text that is not
      there or cannot be scored.
  """
  _check_fake_data(run.fake_data)
  # Told before the text is read, which may take minutes.
  experiment = unpack(config, None, run.strategy, run.profile_steps)
  source = sources.load(read_data(config.data), run.data_dir)
  language = config.data.target_language
  texts = Texts(
    source,
    scoring.prepare(source.validation, language, config.eval_sentences),
    scoring.prepare(source.test or source.validation, language),
  )
  records = {
    **initialization.record(experiment.records, run),
    "source": source.describe(),
    "scoring": {
      "evaluation": texts.validation.bleu.describe(),
      "final": texts.final.bleu.describe(),
    },
  }
  return dataclasses.replace(experiment, texts=texts, records=records)


def source_to_compile(
  config: ml_collections.ConfigDict,
  data_dir: str | None = None,
  fake_data: bool = False,
) -> None:
  """Returns None: to compile a step takes no text.

  The vocabulary then has the size that the config says.

  Raises:
    UserError: for --fake_data.
  """
  del config, data_dir
  _check_fake_data(fake_data)


def unpack(
  config: ml_collections.ConfigDict,
  source: None,
  strategy: tf.distribute.Strategy,
  profile_steps: tuple[int, int] | None = None,
) -> Experiment:
  """Returns the experiment of a config, without its text.

  Args:
    config: An experiment, as in configs/.
    source: From `source_to_compile`: the text has no part in a step.
    strategy: The strategy to train with.
    profile_steps: As in `Plan`.

  Raises:
    UserError: for a value that cannot be trained with.
  """
  del source
  checks.check(config, strategy)
  jit_compile, jit_compile_parts = _what_xla_compiles(config, strategy)
  rows_per_batch = checks.count_rows(
    config.global_batch_tokens,
    config.data.max_length,
    strategy.num_replicas_in_sync,
  )
  optimizer, clipping = read_optimizer(
    config, read_learning_rate(config, 1, config.num_steps), strategy
  )
  decoding = Decoding(**config.decoding)
  return Experiment(
    seed=config.seed,
    texts=None,
    vocabulary=vocabulary.Recipe(**config.vocabulary),
    row_length=config.data.max_length,
    rows_per_batch=rows_per_batch,
    replicas=strategy.num_replicas_in_sync,
    architecture=Architecture(
      **config.model,
      uses_xla=jit_compile,
      jit_compile_dropout=jit_compile_parts,
    ),
    optimizer=optimizer,
    clipping=clipping,
    label_smoothing=config.label_smoothing,
    plan=_read_plan(config, rows_per_batch, profile_steps),
    decoding=decoding,
    eval_decoding=dataclasses.replace(
      decoding, beam_size=config.eval_beam_size or decoding.beam_size
    ),
    final_weights=config.final_weights,
    average_checkpoints=config.average_checkpoints,
    jit_compile=jit_compile,
    jit_compile_parts=jit_compile_parts,
    jit_compile_search=devices.uses_xla(
      config.jit_compile, strategy, on_cpu=True
    ),
    optimizer_lines=summary.optimizer(config.to_dict()),
    records={
      "config": config.to_dict(),
      "runtime": {"precision": devices.precision()},
    },
  )


def _what_xla_compiles(config, strategy):
  """Returns whether XLA compiles the step, and whether parts of it instead."""
  # XLA's products of bfloat16 are no faster on CPUs than those of float32, and
  # oneDNN's are.
  step = devices.uses_xla(
    config.jit_compile, strategy, on_cpu=devices.precision() != "bfloat16"
  )
  parts = not step and devices.uses_xla_within(config.jit_compile, strategy)
  return step, parts


def _read_plan(config, rows_per_batch, profile_steps):
  """Returns the plan of a run whose epochs have no length yet."""
  return Plan(
    total_steps=config.num_steps,
    steps_per_epoch=config.num_steps,
    steps_per_loop=config.steps_per_loop,
    eval_every_steps=config.eval_every_steps,
    checkpoint_every_steps=config.checkpoint_every_steps,
    global_batch_size=rows_per_batch,
    keep_checkpoints=config.keep_checkpoints,
    profile_steps=profile_steps,
  )


def of_record(
  record: Mapping[str, Any], strategy: tf.distribute.Strategy
) -> Experiment:
  """Returns the experiment of a run, without its text.

  Args:
    record: The run's config.json.
    strategy: The strategy to use now, of any number of replicas.

  Raises:
    UserError: as `unpack` does.
  """
  return unpack(config_of_record(record), None, strategy)


def make_model_and_slots(
  experiment: Experiment,
  vocabulary_size: int,
  strategy: tf.distribute.Strategy,
  prepare: Callable[[Transformer], None] = lambda model: None,
) -> Transformer:
  """Returns the model of an experiment, after building its optimizer.

  Args:
    experiment: What to train.
    vocabulary_size: Number of tokens.
    strategy: The strategy to train with.
    prepare: Called with the model, before the optimizer is built.
  """
  with strategy.scope():
    model = make_model(experiment.architecture, vocabulary_size)
    prepare(model)
    experiment.optimizer.build(model.trainable_variables)
  return model


def read_data(data: ml_collections.ConfigDict) -> sources.Data:
  """Returns what names the data set, from a config's `data`."""
  return sources.Data(
    name=data.name,
    languages=(data.source_language, data.target_language),
    splits={name: data[f"{name}_split"] for name in sources.SPLITS},
    text_files={
      name: tuple(data[f"{name}_{side}"] for side in sources.SIDES)
      for name in sources.SPLITS
    },
    validation_fraction=data.validation_fraction,
    split_seed=data.split_seed,
  )


def _check_fake_data(fake_data):
  if fake_data:
    raise UserError("--fake_data: this trainer cannot make up data.")
